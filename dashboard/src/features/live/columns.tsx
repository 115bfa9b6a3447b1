/** The columns of the live screen. */

import { Link } from "@tanstack/react-router";
import { LegCell } from "@/features/transactions/LegCell";
import list from "@/features/transactions/list.module.css";
import { sourceLabel } from "@/lib/labels";
import { oddCells } from "@/lib/legs";
import { preciseClock } from "@/lib/time";
import type { TapeRow } from "@/live/tape";
import type { GridColumn } from "@/ui/grid/columns";
import { BreakTags, SeverityMark, VerdictMark } from "@/ui/marks";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";

export function liveColumns(sources: readonly string[]): GridColumn<TapeRow>[] {
  return [
    {
      id: "decided",
      header: "Decided",
      width: "92px",
      cell: (row) => (
        <span title={new Date(row.decided_at).toISOString()}>{preciseClock(row.decided_at)}</span>
      ),
    },
    {
      id: "severity",
      header: "Severity",
      width: "86px",
      cell: (row) =>
        row.verdict === "MATCHED" ? (
          <VerdictMark verdict="MATCHED" />
        ) : (
          <SeverityMark severity={row.severity ?? "low"} />
        ),
    },
    {
      id: "breaks",
      header: "Breaks",
      width: "minmax(126px, 0.5fr)",
      cell: (row) => <BreakTags short breaks={row.breaks} missing={row.missing_sources} />,
    },
    {
      id: "amount",
      header: "Amount",
      width: "112px",
      align: "end",
      cell: (row) => <Sum minor={row.amount_minor} currency={row.currency} />,
    },
    ...sources.map(
      (source): GridColumn<TapeRow> => ({
        id: `leg.${source}`,
        header: sourceLabel(source),
        width: "minmax(140px, 1fr)",
        cell: (row) => <LegCell row={row} source={source} odd={oddCells(row)} />,
      }),
    ),
    {
      id: "txn_id",
      header: "Transaction",
      width: "minmax(140px, 0.6fr)",
      cell: (row) => (
        <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${list.id}`}>
          {row.txn_id}
        </Link>
      ),
    },
  ];
}

export function LiveCard({ row }: { row: TapeRow }) {
  return (
    <div className={list.card}>
      <div className={list.cardLine}>
        {row.verdict === "MATCHED" ? (
          <VerdictMark verdict="MATCHED" />
        ) : (
          <SeverityMark severity={row.severity ?? "low"} />
        )}
        <strong>
          <Sum minor={row.amount_minor} currency={row.currency} />
        </strong>
      </div>
      <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${list.id}`}>
        {row.txn_id}
      </Link>
      <div className={list.cardLine}>
        <BreakTags breaks={row.breaks.slice(0, 2)} missing={row.missing_sources} />
        <span className="muted">
          <At at={row.decided_at} />
        </span>
      </div>
    </div>
  );
}
