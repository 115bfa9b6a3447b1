import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { queries } from "@/api/queries";
import { LegCell } from "@/features/transactions/LegCell";
import { sourceLabel } from "@/lib/labels";
import { oddCells, rowSources } from "@/lib/legs";
import { BreakTags } from "@/ui/marks";
import { Panel } from "@/ui/Panel";
import { Loading } from "@/ui/States";
import s from "./Difference.module.css";

/** What the sources say of the selected transaction, so that triage needs no second screen. */
export function Difference({ txnId }: { txnId: string }) {
  const found = useQuery(queries.exception(txnId));
  const row = found.data?.exception.transaction;
  return (
    <Panel
      title={
        <Link to="/transactions/$txnId" params={{ txnId }} className={`mono ${s.id}`}>
          {txnId}
        </Link>
      }
    >
      {found.isPending && <Loading lines={3} label="Loading the legs" />}
      {row && (
        <dl className={s.legs}>
          <dt>Breaks</dt>
          <dd>
            <BreakTags breaks={row.breaks} missing={row.missing_sources} />
          </dd>
          {rowSources(row).map((source) => (
            <Leg key={source} name={sourceLabel(source)}>
              <LegCell row={row} source={source} odd={oddCells(row)} />
            </Leg>
          ))}
        </dl>
      )}
    </Panel>
  );
}

function Leg({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
