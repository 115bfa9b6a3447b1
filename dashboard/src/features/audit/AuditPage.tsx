import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { download } from "@/api/client";
import { queries } from "@/api/queries";
import type { AuditQuery, AuditRow } from "@/api/types";
import { Page } from "@/app/Page";
import desk from "@/features/exceptions/ExceptionsPage.module.css";
import { plural } from "@/lib/numbers";
import { moment } from "@/lib/time";
import { useFill } from "@/lib/useFill";
import { useTriage } from "@/lib/useKeys";
import { useNarrow } from "@/lib/useNarrow";
import { Button } from "@/ui/Button";
import { Field, Input } from "@/ui/Field";
import type { GridColumn } from "@/ui/grid/columns";
import { EmptySearch, FillState } from "@/ui/grid/Filling";
import { Grid } from "@/ui/grid/Grid";
import { idCharacters, personCharacters } from "@/ui/grid/measures";
import { MomentInput } from "@/ui/MomentInput";
import { Panel } from "@/ui/Panel";
import { Empty, Failed, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import { sayFailed } from "@/ui/Toasts";
import s from "./AuditPage.module.css";
import { Chains } from "./Chains";
import { type AuditSearch, auditQuery, chainOf } from "./search";

const route = getRouteApi("/app/audit");
const rowId = (row: AuditRow) => `${row.chain}:${row.seq}`;

const COLUMNS: GridColumn<AuditRow>[] = [
  {
    id: "at",
    header: "When",
    width: 92,
    characters: (row) => moment(row.occurred_at).length,
    cell: (row) => <At at={row.occurred_at} />,
  },
  {
    id: "actor",
    header: "Who",
    width: 84,
    grow: 0.6,
    characters: (row) => personCharacters(row.actor),
    cell: (row) => <span className="clip">{row.actor}</span>,
  },
  {
    id: "action",
    header: "What",
    width: 140,
    grow: 0.9,
    characters: (row) => row.action.length,
    cell: (row) => <span className="mono clip">{row.action}</span>,
  },
  {
    id: "object",
    header: "Object",
    width: 200,
    grow: 1.5,
    characters: (row) => row.object_type.length + 1 + idCharacters(row.object_id),
    stages: [0, 0],
    cell: (row) => (
      <span className="clip">
        <span className="muted">{row.object_type}</span> <span className="mono">{row.object_id}</span>
      </span>
    ),
  },
  {
    id: "object_id",
    header: "Object",
    width: 150,
    grow: 1.5,
    characters: (row) => idCharacters(row.object_id),
    stages: [1, 2],
    cell: (row) => (
      <span className="mono clip" title={row.object_type}>
        {row.object_id}
      </span>
    ),
  },
  {
    id: "entry",
    header: "Entry",
    width: 104,
    stages: [0, 1],
    grow: 0.6,
    cell: (row) => (
      <span className="mono clip">
        {row.chain} #{row.seq}
      </span>
    ),
  },
];

export default function AuditPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const change = useCallback(
    (next: Partial<AuditSearch>) =>
      void navigate({ from: "/audit", to: "/audit", search: (now) => ({ ...now, ...next }), replace: true }),
    [navigate],
  );
  const query = useMemo(() => auditQuery(search), [search]);
  const found = useInfiniteQuery(queries.audit(query));
  const rows = useMemo(() => found.data?.pages.flatMap((page) => page.items) ?? [], [found.data]);
  const active = rows.find((row) => rowId(row) === search.open);
  const activate = (row: AuditRow) => change({ open: rowId(row) });
  useTriage(rows, rowId, search.open, activate, activate);
  const alone = useNarrow() && active !== undefined;
  const fill = useFill(found, rows.length);
  return (
    <Page full title="Audit" lead="Who did or saw what" actions={<ExportButton query={query} />}>
      {alone && (
        <Button icon="left" className={s.back} onClick={() => change({ open: undefined })}>
          All entries
        </Button>
      )}
      <Chains
        hidden={alone}
        chosen={chainOf(search)}
        onChain={(chain) => change({ chain, open: undefined })}
      />
      <Filters
        key={`${search.actor}.${search.action}.${search.object}`}
        search={search}
        change={change}
        hidden={alone}
      />
      <div className={s.split}>
        <div className={desk.list} hidden={alone}>
          {found.isPending && <Loading lines={12} label="Loading the audit trail" />}
          {found.isError && rows.length === 0 && (
            <Failed error={found.error} retry={() => void found.refetch()} />
          )}
          {found.data && (
            <Grid
              label="Audit entries"
              rows={rows}
              columns={COLUMNS}
              rowId={rowId}
              card={(row) => (
                <div className={s.card}>
                  <strong>{row.actor}</strong>
                  <span className="mono clip">
                    {row.action} {row.object_id}
                  </span>
                  <span className="muted">
                    <At at={row.occurred_at} />
                  </span>
                </div>
              )}
              scope={`audit ${JSON.stringify(query)}`}
              activeId={search.open}
              onActive={activate}
              onEnd={fill.more}
              empty={
                <EmptySearch fill={fill} searchedTo={found.data.pages.at(-1)?.searched_to}>
                  <Empty title="No entry matches">
                    Names and actions are looked for as they are written in the list.
                  </Empty>
                </EmptySearch>
              }
              foot={
                <>
                  <span>
                    {plural(rows.length, "entry", "entries")} loaded
                    <FillState fill={fill} />
                  </span>
                  <span className={desk.hints}>
                    <kbd>j</kbd> <kbd>k</kbd> move
                  </span>
                </>
              }
            />
          )}
        </div>
        {active && <Entry row={active} />}
      </div>
    </Page>
  );
}

function Filters({
  search,
  change,
  hidden,
}: {
  search: AuditSearch;
  change: (next: Partial<AuditSearch>) => void;
  hidden: boolean;
}) {
  const [actor, setActor] = useState(search.actor ?? "");
  const [action, setAction] = useState(search.action ?? "");
  const [object, setObject] = useState(search.object ?? "");
  const { open: _open, ...filters } = search;
  const filtered = Object.values(filters).some((value) => value !== undefined);
  return (
    <form
      hidden={hidden}
      className={s.filters}
      onSubmit={(event) => {
        event.preventDefault();
        change({
          actor: actor.trim() || undefined,
          action: action.trim() || undefined,
          object: object.trim() || undefined,
          open: undefined,
        });
      }}
    >
      <Field label="Who">
        <Input value={actor} onChange={(event) => setActor(event.target.value)} />
      </Field>
      <Field label="What">
        <Input value={action} onChange={(event) => setAction(event.target.value)} />
      </Field>
      <Field label="Object">
        <Input value={object} onChange={(event) => setObject(event.target.value)} />
      </Field>
      <Field label="From">
        <MomentInput value={search.since} onMoment={(since) => change({ since })} />
      </Field>
      <Field label="Before">
        <MomentInput value={search.until} onMoment={(until) => change({ until })} />
      </Field>
      <Button type="submit" kind="primary">
        Search
      </Button>
      {filtered && (
        <Button
          kind="ghost"
          onClick={() =>
            change({
              actor: undefined,
              action: undefined,
              object: undefined,
              chain: undefined,
              since: undefined,
              until: undefined,
              open: undefined,
            })
          }
        >
          Clear
        </Button>
      )}
    </form>
  );
}

function Entry({ row }: { row: AuditRow }) {
  return (
    <aside className={s.side} aria-label="The selected entry">
      <Panel title={`Entry ${row.seq}`} aside={<span className="mono">{row.chain}</span>}>
        <dl className={s.facts}>
          <dt>Who</dt>
          <dd>{row.actor}</dd>
          <dt>What</dt>
          <dd className="mono">
            {row.action} {row.object_id}
          </dd>
          <dt>When</dt>
          <dd>
            <At at={row.occurred_at} />
          </dd>
          <dt>Request</dt>
          <dd className="mono">{row.request_id || <span className="muted">none</span>}</dd>
          <dt>From</dt>
          <dd className="mono">{row.source_ip || <span className="muted">inside</span>}</dd>
          <dt>Hash</dt>
          <dd className="mono">{row.hash}</dd>
        </dl>
        <pre className={s.json}>{JSON.stringify(row.details, null, 2)}</pre>
      </Panel>
    </aside>
  );
}

function ExportButton({ query }: { query: AuditQuery }) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    const params = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
    try {
      await download("/api/v1/audit/export", params, "audit.csv");
    } catch (error) {
      sayFailed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button icon="download" busy={busy} onClick={() => void run()}>
      Export
    </Button>
  );
}
