import type { TransactionRow } from "@/api/types";
import { cx } from "@/lib/cx";
import { amount, money } from "@/lib/money";
import { clock } from "@/lib/time";
import s from "./LegCell.module.css";

type Row = Pick<TransactionRow, "legs" | "missing_sources" | "currency" | "breaks">;

/** What one source says of a transaction, in one line; what differs is boxed and marked with ≠. */
export function LegCell({ row, source, odd }: { row: Row; source: string; odd: ReadonlySet<string> }) {
  const leg = row.legs[source];
  if (!leg) {
    const missing = row.missing_sources.includes(source);
    return <span className={missing ? s.missing : s.waiting}>{missing ? "missing" : "not yet"}</span>;
  }
  const differs = (field: string) => odd.has(`${source}.${field}`);
  const timeDiffers = differs("event_time");
  const currencyShown = leg.currency !== row.currency || differs("currency");
  // A status that agrees makes room for what differs; the whole leg is in the title.
  const statusShown = differs("status") || !(timeDiffers || currencyShown);
  return (
    <span className={s.leg} title={`${money(leg.amount_minor, leg.currency)}, ${leg.status.toLowerCase()}`}>
      <span className={cx(s.value, differs("amount_minor") && s.odd)}>
        {differs("amount_minor") && <Unequal />}
        {amount(leg.amount_minor, leg.currency)}
      </span>
      {currencyShown && (
        <span className={cx(s.value, differs("currency") && s.odd)}>
          {differs("currency") && <Unequal />}
          {leg.currency}
        </span>
      )}
      {statusShown && (
        <span className={cx(s.status, differs("status") && s.odd)}>
          {differs("status") && <Unequal />}
          {leg.status.toLowerCase()}
        </span>
      )}
      {timeDiffers && (
        <span className={cx(s.status, s.odd)}>
          <Unequal />
          {clock(leg.event_time)}
        </span>
      )}
    </span>
  );
}

function Unequal() {
  return (
    <span className={s.unequal}>
      <span aria-hidden="true">≠</span>
      <span className="sr">differs: </span>
    </span>
  );
}
