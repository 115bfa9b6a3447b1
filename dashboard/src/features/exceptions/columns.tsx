/** The columns of the exceptions desk. */

import { Link } from "@tanstack/react-router";
import type { Bucket, ExceptionRow } from "@/api/types";
import list from "@/features/transactions/list.module.css";
import { oddSources, rowSources } from "@/lib/legs";
import { money } from "@/lib/money";
import { moment } from "@/lib/time";
import type { GridColumn } from "@/ui/grid/columns";
import { idCharacters, personCharacters } from "@/ui/grid/measures";
import { BreakTags, LegGlyph, SeverityMark, StateMark } from "@/ui/marks";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";

/** What a bucket says by its name needs no column: of "mine" the assignee, of "assigned" the state. */
export function exceptionColumns(bucket: Bucket): GridColumn<ExceptionRow>[] {
  const mixed = bucket === "mine" || bucket === "awaiting_me";
  return [
    {
      id: "severity",
      header: "Severity",
      width: 78,
      cell: (row) => <SeverityMark severity={row.severity} />,
    },
    {
      id: "amount",
      header: "Amount",
      width: 132,
      characters: (row) => money(row.transaction.amount_minor, row.transaction.currency).length,
      align: "end",
      cell: (row) => <Sum minor={row.transaction.amount_minor} currency={row.transaction.currency} />,
    },
    {
      id: "legs",
      header: "Legs",
      width: 36,
      stages: [0, 0],
      cell: (row) => (
        <LegGlyph
          sources={rowSources(row.transaction)}
          legs={row.transaction.legs}
          odd={oddSources(row.transaction)}
        />
      ),
    },
    {
      id: "breaks",
      header: "Breaks",
      width: 124,
      grow: 1,
      stages: [0, 0],
      cell: (row) => <BreakTags breaks={row.transaction.breaks} missing={row.transaction.missing_sources} />,
    },
    {
      id: "kinds",
      header: "Breaks",
      width: 80,
      grow: 0.7,
      stages: [1, 2],
      cell: (row) => <BreakTags short breaks={row.transaction.breaks} />,
    },
    {
      id: "txn_id",
      header: "Transaction",
      width: 148,
      grow: 1,
      characters: (row) => idCharacters(row.txn_id),
      cell: (row) => (
        <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${list.id}`}>
          {row.txn_id}
        </Link>
      ),
    },
    ...(mixed
      ? [
          {
            id: "state",
            header: "State",
            width: 100,
            cell: (row: ExceptionRow) => <StateMark state={row.state} />,
          },
        ]
      : []),
    ...(bucket !== "open" && bucket !== "mine"
      ? [
          {
            id: "assignee",
            header: "Assignee",
            width: 80,
            characters: (row: ExceptionRow) => personCharacters(row.assignee),
            cell: (row: ExceptionRow) => row.assignee ?? <span className="muted">nobody</span>,
          },
        ]
      : []),
    {
      id: "decided",
      header: "Decided",
      width: 78,
      characters: (row) => moment(row.transaction.decided_at).length,
      align: "end",
      cell: (row) => <At at={row.transaction.decided_at} />,
    },
  ];
}

export function ExceptionCard({ row }: { row: ExceptionRow }) {
  return (
    <div className={list.card}>
      <div className={list.cardLine}>
        <SeverityMark severity={row.severity} />
        <strong>
          <Sum minor={row.transaction.amount_minor} currency={row.transaction.currency} />
        </strong>
      </div>
      <span className={`mono ${list.id}`}>{row.txn_id}</span>
      <div className={list.cardLine}>
        <BreakTags breaks={row.transaction.breaks.slice(0, 2)} missing={row.transaction.missing_sources} />
        <span className="muted">
          {row.assignee && `${row.assignee}, `}
          <At at={row.transaction.decided_at} />
        </span>
      </div>
    </div>
  );
}
