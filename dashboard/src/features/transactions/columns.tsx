/** The columns of the transactions list. */

import { Link } from "@tanstack/react-router";
import type { TransactionRow } from "@/api/types";
import { sourceLabel } from "@/lib/labels";
import { oddCells, oddSources, rowSources } from "@/lib/legs";
import { money } from "@/lib/money";
import { moment } from "@/lib/time";
import type { GridColumn } from "@/ui/grid/columns";
import { idCharacters, legCharacters, personCharacters } from "@/ui/grid/measures";
import { BreakTags, LegGlyph, SeverityMark, StateMark, VerdictMark } from "@/ui/marks";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";
import { LegCell } from "./LegCell";
import s from "./list.module.css";

export function transactionColumns(
  sources: readonly string[],
  moneySorts: boolean,
): GridColumn<TransactionRow>[] {
  return [
    {
      id: "verdict",
      header: "Verdict",
      width: 104,
      fixed: true,
      cell: (row) => (
        <VerdictMark verdict={row.verdict} late={row.late_sources.length > 0} final={row.final} />
      ),
    },
    {
      id: "txn_id",
      header: "Transaction",
      width: 140,
      grow: 0.9,
      characters: (row) => idCharacters(row.txn_id),
      fixed: true,
      cell: (row) => (
        <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${s.id}`}>
          {row.txn_id}
        </Link>
      ),
    },
    {
      id: "amount",
      header: "Amount",
      width: 132,
      characters: (row) => money(row.amount_minor, row.currency).length,
      align: "end",
      ...(moneySorts ? { sorts: ["-amount_minor", "amount_minor"] } : {}),
      cell: (row) => <Sum minor={row.amount_minor} currency={row.currency} />,
    },
    ...sources.map(
      (source): GridColumn<TransactionRow> => ({
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
      id: "legs",
      header: "Legs",
      width: 36,
      stages: [1, 1],
      cell: (row) => <LegGlyph sources={rowSources(row)} legs={row.legs} odd={oddSources(row)} />,
    },
    {
      id: "breaks",
      header: "Breaks",
      width: 88,
      grow: 0.7,
      cell: (row) =>
        row.breaks.length > 0 ? <BreakTags short breaks={row.breaks} /> : <span className="muted">none</span>,
    },
    {
      id: "spread",
      header: "Spread",
      width: 104,
      characters: (row) => money(row.spread_minor, row.currency).length,
      align: "end",
      extra: true,
      ...(moneySorts ? { sorts: ["-spread_minor", "spread_minor"] } : {}),
      cell: (row) =>
        row.spread_minor === 0 ? (
          <span className="muted">0</span>
        ) : (
          <Sum minor={row.spread_minor} currency={row.currency} />
        ),
    },
    {
      id: "severity",
      header: "Severity",
      width: 92,
      extra: true,
      cell: (row) =>
        row.severity ? <SeverityMark severity={row.severity} /> : <span className="muted">none</span>,
    },
    {
      id: "exception",
      header: "Exception",
      width: 112,
      extra: true,
      cell: (row) =>
        row.exception_state ? <StateMark state={row.exception_state} /> : <span className="muted">none</span>,
    },
    {
      id: "assignee",
      header: "Assignee",
      width: 92,
      characters: (row) => personCharacters(row.assignee),
      extra: true,
      cell: (row) => row.assignee ?? <span className="muted">nobody</span>,
    },
    {
      id: "rules",
      header: "Rules",
      width: 54,
      extra: true,
      cell: (row) => `v${row.rules_version}`,
    },
    {
      id: "decided",
      header: "Decided",
      width: 76,
      characters: (row) => moment(row.decided_at).length,
      align: "end",
      sorts: ["-decided_at", "decided_at"],
      cell: (row) => <At at={row.decided_at} />,
    },
  ];
}

/** A transaction on a narrow screen. */
export function TransactionCard({ row }: { row: TransactionRow }) {
  return (
    <div className={s.card}>
      <div className={s.cardLine}>
        <VerdictMark verdict={row.verdict} late={row.late_sources.length > 0} final={row.final} />
        <strong>
          <Sum minor={row.amount_minor} currency={row.currency} />
        </strong>
      </div>
      <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${s.id}`}>
        {row.txn_id}
      </Link>
      <div className={s.cardLine}>
        {row.breaks.length > 0 ? (
          <BreakTags breaks={row.breaks.slice(0, 2)} missing={row.missing_sources} />
        ) : (
          <span />
        )}
        <span className="muted">
          <At at={row.decided_at} />
        </span>
      </div>
    </div>
  );
}
