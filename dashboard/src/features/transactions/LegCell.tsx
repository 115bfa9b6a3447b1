import type { TransactionRow } from "@/api/types";
import { cx } from "@/lib/cx";
import { amount } from "@/lib/money";
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
  return (
    <span className={s.leg}>
      <span className={cx(s.value, differs("amount_minor") && s.odd)}>
        {differs("amount_minor") && <Unequal />}
        {amount(leg.amount_minor, leg.currency)}
      </span>
      {(leg.currency !== row.currency || differs("currency")) && (
        <span className={cx(s.value, differs("currency") && s.odd)}>
          {differs("currency") && <Unequal />}
          {leg.currency}
        </span>
      )}
      {(!timeDiffers || differs("status")) && (
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
