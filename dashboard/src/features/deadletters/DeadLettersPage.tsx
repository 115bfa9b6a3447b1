import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { queries } from "@/api/queries";
import type { DeadLetter } from "@/api/types";
import { Page } from "@/app/Page";
import desk from "@/features/exceptions/ExceptionsPage.module.css";
import { plural } from "@/lib/numbers";
import { compact } from "@/lib/search";
import { moment } from "@/lib/time";
import { useTriage } from "@/lib/useKeys";
import { useNarrow } from "@/lib/useNarrow";
import { Button } from "@/ui/Button";
import { Select } from "@/ui/Field";
import type { GridColumn } from "@/ui/grid/columns";
import { Grid } from "@/ui/grid/Grid";
import { idCharacters } from "@/ui/grid/measures";
import { Empty, Failed, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import s from "./DeadLetters.module.css";
import { Letter } from "./Letter";
import { type DeadLetterSearch, REASONS, type Reason, reasonLabel, STATES } from "./search";

const route = getRouteApi("/app/dead-letters");
const rowId = (row: DeadLetter) => row.id;

const COLUMNS: GridColumn<DeadLetter>[] = [
  {
    id: "arrival",
    header: "Arrived",
    width: 82,
    characters: (row) => moment(row.arrival).length,
    cell: (row) => <At at={row.arrival} />,
  },
  { id: "state", header: "State", width: 88, cell: (row) => <LetterState state={row.state} /> },
  {
    id: "reason",
    header: "Reason",
    width: 112,
    grow: 0.7,
    characters: (row) => reasonLabel(row.reason).length,
    cell: (row) => reasonLabel(row.reason),
  },
  {
    id: "place",
    header: "Log position",
    width: 154,
    grow: 0.9,
    characters: (row) => idCharacters(row.id),
    cell: (row) => <span className="mono clip">{row.id}</span>,
  },
];

export function LetterState({ state }: { state: DeadLetter["state"] }) {
  return (
    <span className={s[state]}>
      <span aria-hidden="true">{{ new: "●", replayed: "↻", dismissed: "○" }[state]}</span> {state}
    </span>
  );
}

export default function DeadLettersPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const change = useCallback(
    (next: Partial<DeadLetterSearch>) =>
      void navigate({
        from: "/dead-letters",
        to: "/dead-letters",
        search: (now) => ({ ...now, ...next }),
        replace: true,
      }),
    [navigate],
  );
  const filter = useMemo(
    () => compact({ state: search.show, reason: search.reason }),
    [search.show, search.reason],
  );
  const found = useInfiniteQuery(queries.deadLetters(filter));
  const rows = useMemo(() => found.data?.pages.flatMap((page) => page.items) ?? [], [found.data]);
  const activate = (row: DeadLetter) => change({ open: row.id });
  useTriage(rows, rowId, search.open, activate, activate);
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = found;
  const narrow = useNarrow();
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  return (
    <Page full title="Dead letters" lead="Records that could not be read as events">
      <div className={desk.tools}>
        <div className={desk.tabs} role="group" aria-label="State">
          {[undefined, ...STATES].map((state) => (
            <button
              key={state ?? "all"}
              type="button"
              className={desk.tab}
              aria-pressed={search.show === state}
              onClick={() => change({ show: state, open: undefined })}
            >
              {state === undefined ? "All" : state.charAt(0).toUpperCase() + state.slice(1)}
            </button>
          ))}
        </div>
        <div className={desk.filters}>
          <Select
            aria-label="Reason"
            value={search.reason ?? ""}
            onChange={(event) =>
              change({ reason: (event.target.value || undefined) as Reason | undefined, open: undefined })
            }
          >
            <option value="">Any reason</option>
            {Object.entries(REASONS).map(([id, label]) => (
              <option key={id} value={id}>
                {label}
              </option>
            ))}
          </Select>
        </div>
      </div>
      {narrow && search.open && (
        <Button icon="left" className={s.back} onClick={() => change({ open: undefined })}>
          All records
        </Button>
      )}
      <div className={s.split}>
        <div className={desk.list} hidden={narrow && search.open !== undefined}>
          {found.isPending && <Loading lines={12} label="Loading dead letters" />}
          {found.isError && rows.length === 0 && (
            <Failed error={found.error} retry={() => void found.refetch()} />
          )}
          {found.data && (
            <Grid
              label="Dead letters"
              rows={rows}
              columns={COLUMNS}
              rowId={rowId}
              card={(row) => (
                <div className={s.card}>
                  <LetterState state={row.state} />
                  <strong>{reasonLabel(row.reason)}</strong>
                  <span className="mono clip">{row.id}</span>
                </div>
              )}
              scope={`dead-letters ${JSON.stringify(filter)}`}
              activeId={search.open}
              onActive={activate}
              onEnd={more}
              empty={
                search.show || search.reason ? (
                  <Empty title="None of this kind">Another state or reason may have some.</Empty>
                ) : (
                  <Empty title="No dead letter">Every record could be read as an event.</Empty>
                )
              }
              foot={
                <>
                  <span>{plural(rows.length, "record")} loaded</span>
                  <span className={desk.hints}>
                    <kbd>j</kbd> <kbd>k</kbd> move
                  </span>
                </>
              }
            />
          )}
        </div>
        <aside
          className={s.side}
          aria-label="The selected record"
          hidden={narrow && search.open === undefined}
        >
          {search.open ? (
            <Letter key={search.open} id={search.open} />
          ) : (
            <div className={desk.none}>
              <Empty title="Choose a record">To see its bytes and what the schema makes of them.</Empty>
            </div>
          )}
        </aside>
      </div>
    </Page>
  );
}
