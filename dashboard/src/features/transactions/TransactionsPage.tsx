import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useCallback, useDeferredValue, useEffect, useMemo, useState } from "react";
import { queries } from "@/api/queries";
import type { TransactionRow, Verdict } from "@/api/types";
import { Page } from "@/app/Page";
import { useMay } from "@/auth/me";
import { VERDICT_NAMES, VERDICTS } from "@/lib/labels";
import { matchesQuery } from "@/lib/match";
import { plural, relationCount } from "@/lib/numbers";
import { useChosen } from "@/lib/places";
import { readPreference, writePreference } from "@/lib/storage";
import { useFill } from "@/lib/useFill";
import { useTriage } from "@/lib/useKeys";
import { useNewArrivals } from "@/live/hooks";
import { Button } from "@/ui/Button";
import { Input } from "@/ui/Field";
import { EmptySearch, FillState, OrderNote } from "@/ui/grid/Filling";
import { Grid } from "@/ui/grid/Grid";
import { Icon } from "@/ui/Icon";
import { Menu, MenuCheck } from "@/ui/Menu";
import { Empty, Failed, Loading } from "@/ui/States";
import { TransactionCard, transactionColumns } from "./columns";
import { ExportButton } from "./ExportButton";
import { FilterButton, FilterChips, useSourceNames } from "./Filters";
import s from "./list.module.css";
import { sortFor, type TransactionSearch, transactionQuery } from "./search";
import { ViewsMenu } from "./ViewsMenu";

const route = getRouteApi("/app/transactions");
const rowId = (row: TransactionRow) => row.txn_id;

export default function TransactionsPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const may = useMay();
  const change = useCallback(
    (next: Partial<TransactionSearch>) =>
      void navigate({
        from: "/transactions",
        to: "/transactions",
        search: (now) => ({ ...now, ...next }),
        replace: true,
      }),
    [navigate],
  );
  return (
    <Page
      full
      title="Transactions"
      lead={<Found search={search} />}
      actions={
        <>
          <ViewsMenu search={search} open={(view) => void navigate({ to: "/transactions", search: view })} />
          {may("exportTransactions") && <ExportButton search={search} />}
        </>
      }
    >
      <div className={s.tools}>
        <Finder value={search.q} onChange={(q) => change({ q })} />
        <VerdictTabs value={search.verdict} onChange={(verdict) => change({ verdict })} />
        <FilterButton search={search} change={change} />
      </div>
      <FilterChips search={search} change={change} />
      <List search={search} change={change} />
    </Page>
  );
}

function Found({ search }: { search: TransactionSearch }) {
  const { sort: _sort, ...filter } = transactionQuery(search);
  const { data } = useQuery(queries.transactionCount(filter));
  return <span>{data ? `${relationCount(data)} found` : "\u00a0"}</span>;
}

function Finder({
  value,
  onChange,
}: {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
}) {
  const [text, setText] = useState(value ?? "");
  useEffect(() => setText(value ?? ""), [value]);
  return (
    <form
      className={s.find}
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        onChange(text.trim() || undefined);
      }}
    >
      <Icon name="search" size={14} />
      <Input
        type="search"
        aria-label="Transaction id"
        placeholder="Transaction id, or its beginning and *"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          if (event.target.value === "") onChange(undefined);
        }}
      />
    </form>
  );
}

function VerdictTabs({
  value,
  onChange,
}: {
  value: Verdict | undefined;
  onChange: (value: Verdict | undefined) => void;
}) {
  return (
    <div className={s.tabs} role="group" aria-label="Verdict">
      <button
        type="button"
        className={s.tab}
        aria-pressed={value === undefined}
        onClick={() => onChange(undefined)}
      >
        All
      </button>
      {VERDICT_NAMES.map((name) => (
        <button
          key={name}
          type="button"
          className={s.tab}
          aria-pressed={value === name}
          onClick={() => onChange(name)}
        >
          {VERDICTS[name]}
        </button>
      ))}
    </div>
  );
}

function List({
  search,
  change,
}: {
  search: TransactionSearch;
  change: (next: Partial<TransactionSearch>) => void;
}) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const query = useMemo(() => transactionQuery(search), [search]);
  const found = useInfiniteQuery(queries.transactions(query));
  const rows = useMemo(() => found.data?.pages.flatMap((page) => page.items) ?? [], [found.data]);
  const deferred = useDeferredValue(rows);
  const shown = deferred.length > 0 ? deferred : rows; // never "nothing matches" for the moment before the first rows
  const known = useMemo(() => new Set(rows.map(rowId)), [rows]);
  const scope = `transactions ${JSON.stringify(query)}`;
  const [activeId, setActiveId] = useChosen(scope);
  const sources = useSourceNames();
  const columns = useMemo(
    () => transactionColumns(sources, search.verdict === "MISMATCHED"),
    [sources, search.verdict],
  );
  const [chosen, setChosen] = useState<Record<string, boolean>>(() => readPreference("columns", {}));
  const visibility = useMemo(
    () => Object.fromEntries(columns.map((column) => [column.id, chosen[column.id] ?? !column.extra])),
    [columns, chosen],
  );
  const arrivals = useNewArrivals(
    (row) => matchesQuery(query, row),
    known,
    sortFor(search) === "-decided_at",
    scope,
  );
  const open = (row: TransactionRow) =>
    void navigate({ to: "/transactions/$txnId", params: { txnId: row.txn_id } });
  useTriage(rows, rowId, activeId, (row) => setActiveId(row.txn_id), open);

  const fill = useFill(found, rows.length);

  if (found.isPending) {
    return (
      <div className={s.list}>
        <Loading lines={14} label="Loading transactions" />
      </div>
    );
  }
  if (found.isError && rows.length === 0) {
    return (
      <div className={s.list}>
        <Failed error={found.error} retry={() => void found.refetch()} />
      </div>
    );
  }
  return (
    <div className={s.list}>
      {arrivals.count > 0 && (
        <button
          type="button"
          className={s.pill}
          onClick={() => {
            arrivals.reset();
            void client.resetQueries({ queryKey: ["transactions", "list"] });
          }}
        >
          {arrivals.count > 999 ? "999+" : arrivals.count} new
        </button>
      )}
      <Grid
        label="Transactions"
        rows={shown}
        columns={columns}
        rowId={rowId}
        card={(row) => <TransactionCard row={row} />}
        scope={scope}
        activeId={activeId}
        onActive={(row) => setActiveId(row.txn_id)}
        onOpen={open}
        onFollow={(row) => setActiveId(row.txn_id)}
        visibility={visibility}
        sort={sortFor(search)}
        onSort={(sort) => change({ sort: sort as NonNullable<TransactionSearch["sort"]> })}
        onEnd={fill.more}
        empty={
          <EmptySearch fill={fill} searchedTo={found.data?.pages.at(-1)?.searched_to}>
            <Empty
              title="No transaction matches"
              action={
                <Button onClick={() => void navigate({ to: "/transactions", search: {} })}>
                  Clear all filters
                </Button>
              }
            >
              Take a filter away, or look further back in time.
            </Empty>
          </EmptySearch>
        }
        foot={
          <>
            <span>
              {plural(rows.length, "row")} loaded
              {found.hasNextPage ? <FillState fill={fill} /> : ", all of them"}
            </span>
            <OrderNote order={found.data?.pages[0]?.amount_order} />
            <span className={s.hints}>
              <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> open
            </span>
            <Menu
              end
              trigger={
                <Button small kind="ghost" icon="columns">
                  Columns
                </Button>
              }
            >
              {columns
                .filter((column) => !column.fixed && !column.stages?.[0])
                .map((column) => (
                  <MenuCheck
                    key={column.id}
                    checked={visibility[column.id] ?? true}
                    onChange={(on) => {
                      const next = { ...chosen, [column.id]: on };
                      setChosen(next);
                      writePreference("columns", next);
                    }}
                  >
                    {column.header}
                    {column.stages && ", where there is room"}
                  </MenuCheck>
                ))}
            </Menu>
          </>
        }
      />
    </div>
  );
}
