/** The columns of the live screen. */

import { Link } from "@tanstack/react-router";
import { LegCell } from "@/features/transactions/LegCell";
import list from "@/features/transactions/list.module.css";
import { sourceLabel } from "@/lib/labels";
import { oddCells, oddSources, rowSources } from "@/lib/legs";
import { money } from "@/lib/money";
import { preciseClock } from "@/lib/time";
import type { TapeRow } from "@/live/tape";
import type { GridColumn } from "@/ui/grid/columns";
import { idCharacters, legCharacters } from "@/ui/grid/measures";
import { BreakTags, LegGlyph, SeverityMark, VerdictMark } from "@/ui/marks";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";

export function liveColumns(sources: readonly string[]): GridColumn<TapeRow>[] {
  return [
    {
      id: "decided",
      header: "Decided",
      width: 92,
      cell: (row) => (
        <span title={new Date(row.decided_at).toISOString()}>{preciseClock(row.decided_at)}</span>
      ),
    },
    {
      id: "severity",
      header: "Severity",
      width: 86,
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
      width: 126,
      grow: 0.5,
      cell: (row) => <BreakTags short breaks={row.breaks} missing={row.missing_sources} />,
    },
    {
      id: "amount",
      header: "Amount",
      width: 132,
      characters: (row) => money(row.amount_minor, row.currency).length,
      align: "end",
      cell: (row) => <Sum minor={row.amount_minor} currency={row.currency} />,
    },
    {
      id: "legs",
      header: "Legs",
      width: 36,
      stages: [1, 1],
      cell: (row) => <LegGlyph sources={rowSources(row)} legs={row.legs} odd={oddSources(row)} />,
    },
    ...sources.map(
      (source): GridColumn<TapeRow> => ({
        id: `leg.${source}`,
        header: sourceLabel(source),
        width: 140,
        grow: 1,
        characters: (row) => legCharacters(row, source),
        stages: [0, 0],
        cell: (row) => <LegCell row={row} source={source} odd={oddCells(row)} />,
      }),
    ),
    {
      id: "txn_id",
      header: "Transaction",
      width: 140,
      grow: 0.6,
      characters: (row) => idCharacters(row.txn_id),
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
