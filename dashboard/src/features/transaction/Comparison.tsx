import type { CellDifference, TransactionDetail } from "@/api/types";
import { sourceLabel, sourceOrder } from "@/lib/labels";
import { amount, money, signedAmount } from "@/lib/money";
import { fineSpan, preciseClock } from "@/lib/time";
import { Scroll } from "@/ui/Scroll";
import s from "./TransactionPage.module.css";

type Field = CellDifference["field"];

const FIELDS: readonly [Field, string][] = [
  ["amount_minor", "Amount"],
  ["currency", "Currency"],
  ["status", "Status"],
  ["event_time", "Event time"],
];

/** The legs side by side; a cell that differs says by how much, and whether the rules allow it. */
export function Comparison({ detail }: { detail: TransactionDetail }) {
  const { result, rules } = detail;
  const sources = sourceOrder([
    ...rules.expected_sources,
    ...Object.keys(result.legs),
    ...result.missing_sources,
  ]);
  const found = new Map(detail.differences.map((each) => [`${each.source}.${each.field}`, each]));
  const allowed: Record<Field, string> = {
    amount_minor:
      rules.amount_tolerance_minor > 0 ? money(rules.amount_tolerance_minor, result.currency) : "none",
    currency: "none",
    status: "none",
    event_time: fineSpan(rules.time_tolerance_ms),
  };
  return (
    <Scroll label="Legs side by side">
      <table className={s.table}>
        <thead>
          <tr>
            <th scope="col">Field</th>
            {sources.map((source) => (
              <th key={source} scope="col" className={s.strong}>
                {sourceLabel(source)}
              </th>
            ))}
            <th scope="col">Difference allowed</th>
          </tr>
        </thead>
        <tbody>
          {FIELDS.map(([field, label]) => (
            <tr key={field}>
              <th scope="row">{label}</th>
              {sources.map((source) => (
                <td key={source}>
                  <Cell
                    detail={detail}
                    source={source}
                    field={field}
                    difference={found.get(`${source}.${field}`)}
                  />
                </td>
              ))}
              <td className="muted">{allowed[field]}</td>
            </tr>
          ))}
          <tr>
            <th scope="row">Arrived</th>
            {sources.map((source) => (
              <td key={source}>{arrivals(detail, source)}</td>
            ))}
            <td className="muted">within {fineSpan(rules.match_window_ms)}</td>
          </tr>
        </tbody>
      </table>
    </Scroll>
  );
}

function arrivals(detail: TransactionDetail, source: string) {
  const last = detail.events.filter((event) => event.source === source && !event.redelivery).at(-1);
  if (!last) return <span className="muted">nothing</span>;
  const late = detail.result.late_sources.includes(source);
  return (
    <span className={s.cell}>
      {preciseClock(last.arrival)}
      {late && <span className={s.delta}>late by {fineSpan(last.arrival - detail.rules.window_closes)}</span>}
    </span>
  );
}

function Cell({
  detail,
  source,
  field,
  difference,
}: {
  detail: TransactionDetail;
  source: string;
  field: Field;
  difference: CellDifference | undefined;
}) {
  const leg = detail.result.legs[source];
  if (!leg) {
    if (field !== "amount_minor") return null;
    const missing = detail.result.missing_sources.includes(source);
    return <span className={missing ? s.missing : "muted"}>{missing ? "missing" : "not yet"}</span>;
  }
  const value = {
    amount_minor: amount(leg.amount_minor, leg.currency),
    currency: leg.currency,
    status: leg.status.toLowerCase(),
    event_time: preciseClock(leg.event_time),
  }[field];
  if (!difference) return <span className={s.cell}>{value}</span>;
  const delta =
    difference.difference === null
      ? `others: ${String(difference.expected).toLowerCase()}`
      : field === "amount_minor"
        ? signedAmount(difference.difference, leg.currency)
        : `${difference.difference > 0 ? "+" : ""}${fineSpan(difference.difference)}`;
  return difference.breaking ? (
    <span className={s.odd}>
      <span>
        <span aria-hidden="true">≠ </span>
        <span className="sr">differs: </span>
        {value}
      </span>
      <span className={s.delta}>{field === "currency" ? `others: ${difference.expected}` : delta}</span>
    </span>
  ) : (
    <span className={s.tolerated}>
      {value}
      <span className={s.delta}>{difference.tolerance === null ? delta : `${delta}, allowed`}</span>
    </span>
  );
}
