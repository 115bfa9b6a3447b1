/** The columns of the exceptions desk. */

import { Link } from "@tanstack/react-router";
import type { ExceptionRow } from "@/api/types";
import list from "@/features/transactions/list.module.css";
import { oddSources, rowSources } from "@/lib/legs";
import type { GridColumn } from "@/ui/grid/columns";
import { BreakTags, LegGlyph, SeverityMark, StateMark } from "@/ui/marks";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";

export function exceptionColumns(touched: boolean): GridColumn<ExceptionRow>[] {
  return [
    {
      id: "severity",
      header: "Severity",
      width: "84px",
      cell: (row) => <SeverityMark severity={row.severity} />,
    },
    {
      id: "amount",
      header: "Amount",
      width: "124px",
      align: "end",
      cell: (row) => <Sum minor={row.transaction.amount_minor} currency={row.transaction.currency} />,
    },
    {
      id: "legs",
      header: "Legs",
      width: "36px",
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
      width: "minmax(124px, 1fr)",
      cell: (row) => <BreakTags breaks={row.transaction.breaks} missing={row.transaction.missing_sources} />,
    },
    {
      id: "txn_id",
      header: "Transaction",
      width: "minmax(148px, 1fr)",
      cell: (row) => (
        <Link to="/transactions/$txnId" params={{ txnId: row.txn_id }} className={`mono ${list.id}`}>
          {row.txn_id}
        </Link>
      ),
    },
    ...(touched
      ? [
          {
            id: "state",
            header: "State",
            width: "112px",
            cell: (row: ExceptionRow) => <StateMark state={row.state} />,
          },
          {
            id: "assignee",
            header: "Assignee",
            width: "80px",
            cell: (row: ExceptionRow) => row.assignee ?? <span className="muted">nobody</span>,
          },
        ]
      : []),
    {
      id: "decided",
      header: "Decided",
      width: "78px",
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
        <span className="muted">{row.assignee ?? <At at={row.transaction.decided_at} />}</span>
      </div>
    </div>
  );
}
