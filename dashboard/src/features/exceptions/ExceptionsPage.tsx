import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { queries } from "@/api/queries";
import type { Bucket, ExceptionRow, Severity } from "@/api/types";
import { Page } from "@/app/Page";
import { useMay, useMe } from "@/auth/me";
import { useSourceNames } from "@/features/transactions/Filters";
import list from "@/features/transactions/list.module.css";
import { BREAK_NAMES, BREAKS, SEVERITIES, sourceLabel } from "@/lib/labels";
import { count, plural, relationCount } from "@/lib/numbers";
import { useFill } from "@/lib/useFill";
import { useKeys, useTriage } from "@/lib/useKeys";
import { useNarrow } from "@/lib/useNarrow";
import { useNewArrivals } from "@/live/hooks";
import { Button } from "@/ui/Button";
import { CurrencyInput } from "@/ui/CurrencyInput";
import { Select } from "@/ui/Field";
import { EmptySearch, FillState, OrderNote } from "@/ui/grid/Filling";
import { Grid } from "@/ui/grid/Grid";
import { Empty, Failed, Loading } from "@/ui/States";
import { useAct } from "./actions";
import { BulkDialog } from "./BulkDialog";
import { ExceptionCard, exceptionColumns } from "./columns";
import { DeskPanel } from "./DeskPanel";
import { Difference } from "./Difference";
import s from "./ExceptionsPage.module.css";
import {
  BUCKETS,
  type ExceptionSearch,
  type ExceptionSort,
  exceptionFilter,
  exceptionQuery,
  isLive,
  matchesDesk,
  sortFor,
  sortsOf,
} from "./search";

const route = getRouteApi("/app/exceptions");
const rowId = (row: ExceptionRow) => row.txn_id;
const SORT_LABELS: Readonly<Record<ExceptionSort, string>> = {
  "-decided_at": "Newest first",
  decided_at: "Oldest first",
  "-amount_minor": "Largest first",
  "-updated_at": "Last changed",
};

export default function ExceptionsPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const may = useMay();
  const [bulk, setBulk] = useState(false);
  const change = useCallback(
    (next: Partial<ExceptionSearch>) =>
      void navigate({
        from: "/exceptions",
        to: "/exceptions",
        search: (now) => ({ ...now, ...next }),
        replace: true,
      }),
    [navigate],
  );
  const canBulk = may("applyBulkAction") && search.bucket !== "resolved" && search.bucket !== "awaiting_me";
  return (
    <Page
      full
      title="Exceptions"
      actions={canBulk && <Button onClick={() => setBulk(true)}>Act on all found</Button>}
    >
      <div className={s.tools}>
        <BucketTabs
          value={search.bucket ?? "open"}
          onChange={(bucket) => change({ bucket, assignee: undefined, open: undefined })}
        />
        <Filters search={search} change={change} />
      </div>
      <Desk search={search} change={change} />
      {canBulk && <BulkDialog filter={exceptionFilter(search)} open={bulk} onClose={() => setBulk(false)} />}
    </Page>
  );
}

function BucketTabs({ value, onChange }: { value: Bucket; onChange: (bucket: Bucket) => void }) {
  const may = useMay();
  const { data } = useQuery(queries.buckets());
  const counts: Partial<Record<Bucket, string>> = data
    ? {
        open: relationCount(data.open),
        assigned: count(data.assigned),
        in_review: count(data.in_review),
        resolved: count(data.resolved),
        mine: count(data.mine),
        awaiting_me: count(data.awaiting_me),
      }
    : {};
  return (
    <div className={s.tabs} role="group" aria-label="Buckets">
      {BUCKETS.filter((bucket) => !bucket.desk || may("actOnException")).map((bucket) => (
        <button
          key={bucket.id}
          type="button"
          className={s.tab}
          aria-pressed={value === bucket.id}
          onClick={() => onChange(bucket.id)}
        >
          {bucket.label} <span className={s.count}>{counts[bucket.id] ?? ""}</span>
        </button>
      ))}
    </div>
  );
}

function Filters({
  search,
  change,
}: {
  search: ExceptionSearch;
  change: (next: Partial<ExceptionSearch>) => void;
}) {
  const sources = useSourceNames();
  const may = useMay();
  const touched = search.bucket !== undefined && search.bucket !== "open" && search.bucket !== "mine";
  const people = useQuery({ ...queries.people(), enabled: touched && may("listPeople") });
  return (
    <div className={s.filters}>
      <Select
        aria-label="Kind of break"
        value={search.break?.[0] ?? ""}
        onChange={(event) => {
          const kind = BREAK_NAMES.find((name) => name === event.target.value);
          change({
            break: kind ? [kind] : undefined,
            missing: kind === "MISSING" ? search.missing : undefined,
          });
        }}
      >
        <option value="">Any break</option>
        {BREAK_NAMES.map((kind) => (
          <option key={kind} value={kind}>
            {BREAKS[kind].label}
          </option>
        ))}
      </Select>
      {search.break?.[0] === "MISSING" && (
        <Select
          aria-label="Missing source"
          value={search.missing ?? ""}
          onChange={(event) => change({ missing: event.target.value || undefined })}
        >
          <option value="">At any source</option>
          {sources.map((name) => (
            <option key={name} value={name}>
              At {sourceLabel(name)}
            </option>
          ))}
        </Select>
      )}
      <Select
        aria-label="Severity"
        value={search.severity ?? ""}
        onChange={(event) => change({ severity: (event.target.value || undefined) as Severity | undefined })}
      >
        <option value="">Any severity</option>
        {Object.entries(SEVERITIES).map(([id, label]) => (
          <option key={id} value={id}>
            {label}
          </option>
        ))}
      </Select>
      <CurrencyInput
        aria-label="Currency"
        className={s.currency}
        placeholder="Currency"
        value={search.currency}
        onCurrency={(currency) => change({ currency, open: undefined })}
      />
      {(touched || search.assignee) && may("listPeople") && (
        <Select
          aria-label="Assignee"
          value={search.assignee ?? ""}
          onChange={(event) => change({ assignee: event.target.value || undefined, open: undefined })}
        >
          <option value="">Any assignee</option>
          {[...new Set([...(people.data ?? []).map((person) => person.username), search.assignee])]
            .filter((name) => name !== undefined)
            .map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
        </Select>
      )}
      <Select
        aria-label="Order"
        value={sortFor(search)}
        onChange={(event) => change({ sort: event.target.value as NonNullable<ExceptionSearch["sort"]> })}
      >
        {sortsOf(search.bucket).map((sort) => (
          <option key={sort} value={sort}>
            {SORT_LABELS[sort]}
          </option>
        ))}
      </Select>
    </div>
  );
}

function Desk({
  search,
  change,
}: {
  search: ExceptionSearch;
  change: (next: Partial<ExceptionSearch>) => void;
}) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const narrow = useNarrow();
  const query = useMemo(() => exceptionQuery(search), [search]);
  const found = useInfiniteQuery(queries.exceptions(query));
  const rows = useMemo(() => found.data?.pages.flatMap((page) => page.items) ?? [], [found.data]);
  const columns = useMemo(() => exceptionColumns(search.bucket ?? "open"), [search.bucket]);
  const activate = (row: ExceptionRow) => change({ open: row.txn_id });
  const openPage = (row: ExceptionRow) =>
    void navigate({ to: "/transactions/$txnId", params: { txnId: row.txn_id } });
  useTriage(rows, rowId, search.open, activate, openPage);
  const known = useMemo(() => new Set(rows.map(rowId)), [rows]);
  const arrivals = useNewArrivals(
    (row) => matchesDesk(search, row),
    known,
    isLive(search),
    JSON.stringify(query),
  );
  const active = rows.find((row) => row.txn_id === search.open);
  const fill = useFill(found, rows.length);

  return (
    <div className={s.split}>
      <div className={s.list}>
        {arrivals.count > 0 && found.data && (
          <button
            type="button"
            className={list.pill}
            onClick={() => {
              arrivals.reset();
              void client.resetQueries({ queryKey: ["exceptions", "list"] });
            }}
          >
            {arrivals.count > 999 ? "999+" : arrivals.count} new
          </button>
        )}
        {found.isPending && <Loading lines={14} label="Loading exceptions" />}
        {found.isError && rows.length === 0 && (
          <Failed error={found.error} retry={() => void found.refetch()} />
        )}
        {found.data && (
          <Grid
            label="Exceptions"
            rows={rows}
            columns={columns}
            rowId={rowId}
            card={(row) => <ExceptionCard row={row} />}
            scope={`exceptions ${JSON.stringify(query)}`}
            activeId={search.open}
            onActive={activate}
            {...(narrow ? { onOpen: openPage } : {})}
            onEnd={fill.more}
            empty={
              <EmptySearch fill={fill} searchedTo={found.data.pages.at(-1)?.searched_to}>
                <Empty title="Nothing in this bucket">
                  A new break shows up here within moments of its decision.
                </Empty>
              </EmptySearch>
            }
            foot={
              <>
                <span>
                  {plural(rows.length, "row")} loaded
                  <FillState fill={fill} />
                </span>
                <OrderNote order={found.data.pages[0]?.amount_order} />
                <span className={s.hints}>
                  <kbd>j</kbd> <kbd>k</kbd> move, <kbd>a</kbd> assign to me, <kbd>Enter</kbd> open
                </span>
              </>
            }
          />
        )}
      </div>
      {!narrow && (
        <aside className={s.side} aria-label="The selected exception">
          {search.open ? (
            <>
              <Difference key={`${search.open}.legs`} txnId={search.open} />
              <DeskPanel key={search.open} txnId={search.open} />
            </>
          ) : (
            <div className={s.none}>
              <Empty title="Choose an exception">Press j for the first one, then go on with j and k.</Empty>
            </div>
          )}
        </aside>
      )}
      {active && <TriageKeys row={active} />}
    </div>
  );
}

/** Keys that act on the selected row. */
function TriageKeys({ row }: { row: ExceptionRow }) {
  const may = useMay();
  const me = useMe();
  const act = useAct(row.txn_id);
  const canAssign = may("actOnException") && row.state !== "resolved" && row.assignee !== me.username;
  useKeys({
    a: canAssign ? () => act.mutate({ action: "assign", version: row.version, note: "" }) : undefined,
  });
  return null;
}
