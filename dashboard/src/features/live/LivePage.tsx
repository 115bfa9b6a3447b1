import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { api, take } from "@/api/client";
import type { Severity, TransactionRow } from "@/api/types";
import { Page } from "@/app/Page";
import { useSourceNames } from "@/features/transactions/Filters";
import { BREAK_NAMES, BREAKS, SEVERITIES, sourceLabel } from "@/lib/labels";
import { parseAmount } from "@/lib/money";
import { plural } from "@/lib/numbers";
import { placeOf, useChosen } from "@/lib/places";
import { useKeys, useTriage } from "@/lib/useKeys";
import { tape, useFeedStatus, useTape } from "@/live/hooks";
import type { TapeRow } from "@/live/tape";
import { Button } from "@/ui/Button";
import { CurrencyInput } from "@/ui/CurrencyInput";
import { Input, Select } from "@/ui/Field";
import { Grid, TOP_PX } from "@/ui/grid/Grid";
import { Empty, FailedLine } from "@/ui/States";
import { LiveCard, liveColumns } from "./columns";
import s from "./LivePage.module.css";
import { type LiveSearch, passes } from "./search";

const route = getRouteApi("/app/live");
const rowId = (row: TapeRow) => row.txn_id;
const SCOPE = "live";
/** Paused by hand, or not. It outlives this screen: whoever opens a row comes back to the tape as it was left. */
const sitting = { paused: false };
const SEED_ROWS = 200;
/** After a long gap the stored mismatches are read back to the last one known, in at most so many pages. */
const SEED_PAGES_MAX = 10;

export default function LivePage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const view = useTape();
  const status = useFeedStatus();
  const sources = useSourceNames();
  const [paused, setPaused] = useState(sitting.paused);
  const atTop = useRef(placeOf(SCOPE) < TOP_PX);
  const [activeId, setActiveId] = useChosen(SCOPE);
  const seed = useSeed();

  const change = useCallback(
    (next: Partial<LiveSearch>) =>
      void navigate({ from: "/live", to: "/live", search: (now) => ({ ...now, ...next }), replace: true }),
    [navigate],
  );
  const columns = useMemo(() => liveColumns(sources), [sources]);
  const rows = useMemo(() => view.rows.filter((row) => passes(search, row)), [view.rows, search]);
  const pause = (next: boolean) => {
    sitting.paused = next;
    setPaused(next);
    tape.hold(next || !atTop.current);
  };
  const open = (row: TapeRow) => void navigate({ to: "/transactions/$txnId", params: { txnId: row.txn_id } });
  useTriage(rows, rowId, activeId, (row) => setActiveId(row.txn_id), open);
  useKeys({ p: () => pause(!paused) });

  return (
    <Page
      full
      title="Live"
      lead="Mismatches as they are decided"
      actions={
        <>
          <Button icon={paused ? "play" : "pause"} onClick={() => pause(!paused)}>
            {paused ? "Go on" : "Pause"}
          </Button>
          <Button kind="ghost" onClick={() => tape.clear()}>
            Clear
          </Button>
        </>
      }
    >
      <div className={s.tools}>
        <Select
          aria-label="Kind of break"
          value={search.break?.[0] ?? ""}
          onChange={(event) => {
            const kind = BREAK_NAMES.find((name) => name === event.target.value);
            change({ break: kind ? [kind] : undefined });
          }}
        >
          <option value="">Any break</option>
          {BREAK_NAMES.map((kind) => (
            <option key={kind} value={kind}>
              {BREAKS[kind].label}
            </option>
          ))}
        </Select>
        <Select
          aria-label="Missing source"
          value={search.missing ?? ""}
          onChange={(event) => change({ missing: event.target.value || undefined })}
        >
          <option value="">Missing or not</option>
          {sources.map((name) => (
            <option key={name} value={name}>
              Missing at {sourceLabel(name)}
            </option>
          ))}
        </Select>
        <Select
          aria-label="Severity"
          value={search.severity ?? ""}
          onChange={(event) =>
            change({ severity: (event.target.value || undefined) as Severity | undefined })
          }
        >
          <option value="">Any severity</option>
          {Object.entries(SEVERITIES).map(([id, label]) => (
            <option key={id} value={id}>
              {label} or worse
            </option>
          ))}
        </Select>
        <CurrencyInput
          aria-label="Currency"
          className={s.currency}
          placeholder="Currency"
          value={search.currency}
          onCurrency={(currency) => change({ currency, min: undefined })}
        />
        <MinAmount search={search} change={change} />
      </div>
      {seed.isError && <FailedLine error={seed.error} retry={() => void seed.refetch()} />}
      <div className={s.list}>
        {view.waiting > 0 && (
          <button type="button" className={s.pill} onClick={() => tape.release(paused)}>
            {view.waiting} new
          </button>
        )}
        <Grid
          label="Mismatches, newest first"
          rows={rows}
          columns={columns}
          rowId={rowId}
          card={(row) => <LiveCard row={row} />}
          scope={SCOPE}
          activeId={activeId}
          onActive={(row) => setActiveId(row.txn_id)}
          onOpen={open}
          onFollow={(row) => setActiveId(row.txn_id)}
          onTop={(top) => {
            atTop.current = top;
            tape.hold(paused || !top);
          }}
          rowClass={(row) => (row.verdict === "MATCHED" ? s.healed : undefined)}
          empty={
            <Empty
              title={
                seed.isPending
                  ? "Looking for the latest"
                  : rows.length === view.rows.length
                    ? "No mismatch so far"
                    : "None that passes the filters"
              }
            >
              {status.state === "live"
                ? "The feed is up: a mismatch shows here when it is decided."
                : "Waiting for the feed."}
            </Empty>
          }
          foot={
            <>
              <span>
                {plural(rows.length, "mismatch", "mismatches")}
                {rows.length !== view.rows.length && ` of ${view.rows.length}`}
                {paused && <strong>, paused</strong>}
              </span>
              <span className={s.hints}>
                <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> open, <kbd>p</kbd> pause
              </span>
            </>
          }
        />
      </div>
    </Page>
  );
}

/** Begins the tape with what is stored; after a gap the bridge has it asked for again. */
function useSeed() {
  const seed = useQuery({
    queryKey: ["live", "seed"],
    queryFn: ({ signal }) => latestMismatches(signal),
  });
  const { data } = seed;
  useEffect(() => {
    if (data) tape.seed(data, data[0]?.decided_at ?? 0);
  }, [data]);
  return seed;
}

/** The newest stored mismatches: a page, and after a gap as many as it takes to come to where the tape was before. */
async function latestMismatches(signal: AbortSignal): Promise<TransactionRow[]> {
  const reached = tape.snapshot().rows.length > 0 ? tape.reach() : () => true;
  const found: TransactionRow[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < SEED_PAGES_MAX; page += 1) {
    const { items, next_cursor }: { items: TransactionRow[]; next_cursor: string | null } = await take(
      api.GET("/api/v1/transactions", {
        params: { query: { verdict: "MISMATCHED", limit: SEED_ROWS, ...(cursor ? { cursor } : {}) } },
        signal,
      }),
    );
    found.push(...items);
    cursor = next_cursor;
    const last = items.at(-1);
    if (cursor === null || (last !== undefined && reached(last))) break;
  }
  return found;
}

function MinAmount({ search, change }: { search: LiveSearch; change: (next: Partial<LiveSearch>) => void }) {
  const known = /^[A-Z]{3}$/.test(search.currency ?? "");
  const [text, setText] = useState("");
  if (!known) return null;
  return (
    <Input
      aria-label="Amount from"
      className={s.amount}
      placeholder="Amount from"
      inputMode="decimal"
      value={text}
      onChange={(event) => {
        setText(event.target.value);
        const minor =
          event.target.value === "" ? undefined : parseAmount(event.target.value, search.currency ?? "");
        if (minor !== null) change({ min: minor });
      }}
    />
  );
}
