/** Carries the live feed into the query cache: patches what is on screen, coalesced, and refetches after a gap. */

import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import { ApiProblem } from "@/api/problem";
import { HOUR_MS, queries } from "@/api/queries";
import type { ExceptionRow, LiveResult, TransactionRow } from "@/api/types";
import { Coalescer } from "./coalesce";
import type { LiveFeed } from "./feed";
import type { ExceptionChange, VerdictBatch } from "./messages";
import type { Tape } from "./tape";

type Pages<T> = InfiniteData<{ items: T[]; next_cursor: string | null }>;

/** Changes the rows of a cached list that `change` has something for; the same list when it has nothing. */
export function patchPages<T>(data: Pages<T> | undefined, change: (row: T) => T): Pages<T> | undefined {
  if (!data) return data;
  let touched = false;
  const pages = data.pages.map((page) => {
    let pageTouched = false;
    const items = page.items.map((row) => {
      const next = change(row);
      if (next !== row) pageTouched = true;
      return next;
    });
    touched ||= pageTouched;
    return pageTouched ? { ...page, items } : page;
  });
  return touched ? { ...data, pages } : data;
}

function newer(row: TransactionRow, latest: ReadonlyMap<string, LiveResult>): TransactionRow {
  const next = latest.get(row.txn_id);
  return next && next.revision > row.revision ? { ...row, ...next } : row;
}

/** Whether a message had no room for all mismatches of its flush. */
export function leavesOut(batch: Pick<VerdictBatch, "counts" | "results">): boolean {
  const told = batch.results.filter((result) => result.verdict === "MISMATCHED").length;
  return (batch.counts.MISMATCHED ?? 0) > told;
}

const LEFT_OUT_EVERY_MS = 5_000;

const REFRESH_AGAIN_MS = 5_000;

/** Asks again for all that is on screen. The feed may be back before the rest of the service: then later for the rest. */
async function refresh(client: QueryClient): Promise<void> {
  await client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "me" });
  await new Promise((done) => setTimeout(done, REFRESH_AGAIN_MS));
  const failed = ({ state }: Query) => state.error instanceof ApiProblem && state.error.passing;
  while (client.getQueryCache().findAll({ type: "active", predicate: failed }).length > 0) {
    await client.refetchQueries({ type: "active", predicate: failed });
    await new Promise((done) => setTimeout(done, REFRESH_AGAIN_MS));
  }
}

export function bridge(feed: LiveFeed, client: QueryClient, tape: Tape): void {
  const verdicts = new Coalescer<VerdictBatch>((batches) => {
    const results = batches.flatMap((batch) => batch.results);
    tape.add(results, Date.now());
    const latest = new Map(results.map((result) => [result.txn_id, result]));
    client.setQueriesData<Pages<TransactionRow>>({ queryKey: ["transactions", "list"] }, (data) =>
      patchPages(data, (row) => newer(row, latest)),
    );
    client.setQueriesData<Pages<ExceptionRow>>({ queryKey: ["exceptions", "list"] }, (data) =>
      patchPages(data, (row) => {
        const transaction = newer(row.transaction, latest);
        return transaction === row.transaction ? row : { ...row, transaction };
      }),
    );
    for (const [, txnId] of client
      .getQueryCache()
      .findAll({ queryKey: ["transaction"], type: "active" })
      .map((query) => query.queryKey)) {
      if (latest.has(txnId as string)) void client.invalidateQueries({ queryKey: ["transaction", txnId] });
    }
  });
  // A burst that no message holds is read from the store: now and then, not at every message of the burst.
  const leftOut = new Coalescer<VerdictBatch>(
    () => void client.invalidateQueries({ queryKey: ["live", "seed"] }),
    LEFT_OUT_EVERY_MS,
  );
  feed.on("verdict", (batch) => {
    verdicts.push([batch]);
    if (leavesOut(batch)) leftOut.push([batch]);
  });

  const summaries = new Coalescer<Parameters<typeof setSummary>[0]>((items) => {
    const last = items.at(-1);
    if (last) setSummary(last);
  });
  const setSummary = (summary: Parameters<Parameters<typeof feed.on<"summary">>[1]>[0]) =>
    client.setQueryData(queries.summary(HOUR_MS).queryKey, summary);
  feed.on("summary", (summary) => summaries.push([summary]));
  feed.on("pipeline", (pipeline) => client.setQueryData(queries.pipeline().queryKey, pipeline));
  feed.on("incident", () => void client.invalidateQueries({ queryKey: ["incidents"] }));

  const desk = new Coalescer<ExceptionChange>((changes) => {
    const latest = new Map(changes.map((change) => [change.txn_id, change]));
    client.setQueriesData<Pages<ExceptionRow>>({ queryKey: ["exceptions", "list"] }, (data) =>
      patchPages(data, (row) => {
        const change = latest.get(row.txn_id);
        if (!change || change.version <= row.version) return row;
        return { ...row, state: change.state, version: change.version, assignee: change.assignee };
      }),
    );
    for (const txnId of latest.keys()) void client.invalidateQueries({ queryKey: ["exception", txnId] });
    void client.invalidateQueries({ queryKey: ["exceptions", "buckets"] });
  });
  feed.on("exception", (change) => desk.push([change]));

  feed.on("resync", () => void refresh(client));
}
