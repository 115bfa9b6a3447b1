import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { queries } from "@/api/queries";
import type { Summary } from "@/api/types";
import { WINDOWS, type WindowName } from "@/app/windows";
import { shortMoney } from "@/lib/money";
import { count, percent, rate } from "@/lib/numbers";
import { fineSpan } from "@/lib/time";
import s from "./OverviewPage.module.css";

const CURRENCIES_SHOWN = 2;

/** Six figures; each leads to the list behind it. */
export function Stats({ summary, windowName }: { summary: Summary; windowName: WindowName }) {
  const window = WINDOWS[windowName];
  const buckets = useQuery(queries.buckets());
  const matched = summary.verdicts.MATCHED ?? 0;
  const mismatched = summary.verdicts.MISMATCHED ?? 0;
  const risk = summary.at_risk.filter((each) => each.amount_minor !== 0).sort((a, b) => b.count - a.count);
  const shown = summary.at_risk_total === null ? CURRENCIES_SHOWN : 1;
  return (
    <div className={s.stats}>
      <Link className={s.stat} to="/transactions" search={{ verdict: "MATCHED" }}>
        <span className={s.statName}>Match rate, {window.label}</span>
        <span className={s.statValue}>
          {summary.match_rate === null ? "none yet" : percent(summary.match_rate)}
        </span>
        <span className={s.statNote}>
          {count(matched)} matched, {count(mismatched)} not
        </span>
      </Link>
      <Link className={s.stat} to="/exceptions" search={{ bucket: "open" }}>
        <span className={s.statName}>Open exceptions</span>
        <span className={s.statValue}>{count(summary.open_exceptions)}</span>
        <span className={s.statNote}>
          {buckets.data
            ? `${count(buckets.data.assigned)} assigned, ${count(buckets.data.in_review)} in review`
            : "not resolved yet"}
        </span>
      </Link>
      <Link className={s.stat} to="/exceptions" search={{ bucket: "open" }}>
        <span
          className={s.statName}
          title="Of open exceptions: the difference where only amounts differ, the whole amount where the payment is in doubt."
        >
          Money at risk{summary.at_risk_total !== null && ", in all"}
        </span>
        <span className={s.risk}>
          {risk.length === 0 && "none"}
          {summary.at_risk_total !== null && risk.length > 0 && (
            <span>{shortMoney(summary.at_risk_total.amount_minor, summary.at_risk_total.currency)}</span>
          )}
          {risk.slice(0, shown).map((each) => (
            <span key={each.currency}>{shortMoney(each.amount_minor, each.currency)}</span>
          ))}
          {risk.length > shown && (
            <span className={s.riskMore}>
              {summary.at_risk_total === null
                ? `and ${risk.length - shown} more currencies`
                : `of it; and ${risk.length - shown} more currencies`}
            </span>
          )}
        </span>
      </Link>
      <Link className={s.stat} to="/live">
        <span className={s.statName}>Events a second</span>
        <span className={s.statValue}>{rate(summary.events_per_s)}</span>
        <span className={s.statNote}>
          {count(summary.redeliveries)} sent again, {count(summary.late)} late
        </span>
      </Link>
      <Link className={s.stat} to="/pipeline">
        <span className={s.statName}>Lag</span>
        <span className={s.statValue}>{summary.lag === null ? "unknown" : count(summary.lag)}</span>
        <span className={s.statNote}>messages not yet read</span>
      </Link>
      <Link className={s.stat} to="/pipeline">
        <span className={s.statName}>Verdict latency, p99</span>
        <span className={s.statValue}>
          {summary.latency_p99_ms === null ? "unknown" : fineSpan(summary.latency_p99_ms)}
        </span>
        <span className={s.statNote}>from decision to commit</span>
      </Link>
    </div>
  );
}
