/** Every read of the API as query options, so that keys and fetchers live in one place. */

import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, take } from "./client";
import type { AuditQuery, DeadLetterQuery, ExceptionQuery, RuleSet, TransactionQuery } from "./types";

export const HOUR_MS = 3_600_000;
const PAGE_ROWS = 100;
const RULES_EVERY_MS = 30_000;

/** A search may stop early with a cursor: the next page goes on from there. */
const paged = {
  initialPageParam: null as string | null,
  getNextPageParam: (page: { next_cursor: string | null }) => page.next_cursor,
};

export const queries = {
  me: () =>
    queryOptions({
      queryKey: ["me"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/me", { signal })),
      staleTime: Number.POSITIVE_INFINITY,
    }),

  summary: (windowMs: number = HOUR_MS) =>
    queryOptions({
      queryKey: ["summary", windowMs],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/summary", { params: { query: { window_ms: windowMs } }, signal })),
      placeholderData: keepPreviousData,
      refetchInterval: windowMs === HOUR_MS ? 30_000 : 10_000, // the feed brings the last hour's every two seconds
    }),

  series: (windowMs: number, stepMs: number) =>
    queryOptions({
      queryKey: ["series", windowMs, stepMs],
      queryFn: ({ signal }) => {
        const until = Date.now();
        const since = until - windowMs;
        const metric = ["verdict.", "events.", "break."];
        return take(
          api.GET("/api/v1/series", { params: { query: { since, until, step_ms: stepMs, metric } }, signal }),
        );
      },
      refetchInterval: 10_000,
      placeholderData: keepPreviousData,
    }),

  sources: () =>
    queryOptions({
      queryKey: ["sources"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/sources", { signal })),
      refetchInterval: 3_000,
    }),

  pipeline: () =>
    queryOptions({
      queryKey: ["pipeline"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/pipeline", { signal })),
      refetchInterval: 15_000,
    }),

  incidents: (openOnly: boolean) =>
    queryOptions({
      queryKey: ["incidents", openOnly],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/incidents", { params: { query: { open_only: openOnly, limit: 20 } }, signal })),
      refetchInterval: 60_000,
    }),

  transactions: (query: TransactionQuery) =>
    infiniteQueryOptions({
      queryKey: ["transactions", "list", query],
      queryFn: ({ pageParam, signal }) =>
        take(
          api.GET("/api/v1/transactions", {
            params: { query: { ...query, limit: PAGE_ROWS, ...(pageParam ? { cursor: pageParam } : {}) } },
            signal,
          }),
        ),
      ...paged,
      maxPages: 50,
      placeholderData: keepPreviousData,
    }),

  transactionCount: (query: TransactionQuery) =>
    queryOptions({
      queryKey: ["transactions", "count", query],
      queryFn: ({ signal }) => take(api.GET("/api/v1/transactions/count", { params: { query }, signal })),
      refetchInterval: ({ state }) => (state.data?.relation === "at_least" ? 60_000 : 15_000), // a long count is dear
      placeholderData: keepPreviousData,
    }),

  transaction: (txnId: string) =>
    queryOptions({
      queryKey: ["transaction", txnId],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/transactions/{txn_id}", { params: { path: { txn_id: txnId } }, signal })),
    }),

  transactionAudit: (txnId: string) =>
    queryOptions({
      queryKey: ["transaction", txnId, "audit"],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/transactions/{txn_id}/audit", { params: { path: { txn_id: txnId } }, signal })),
    }),

  exceptions: (query: ExceptionQuery) =>
    infiniteQueryOptions({
      queryKey: ["exceptions", "list", query],
      queryFn: ({ pageParam, signal }) =>
        take(
          api.GET("/api/v1/exceptions", {
            params: { query: { ...query, limit: PAGE_ROWS, ...(pageParam ? { cursor: pageParam } : {}) } },
            signal,
          }),
        ),
      ...paged,
      maxPages: 50,
      placeholderData: keepPreviousData,
    }),

  buckets: () =>
    queryOptions({
      queryKey: ["exceptions", "buckets"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/exceptions/buckets", { signal })),
      refetchInterval: 15_000,
    }),

  exception: (txnId: string) =>
    queryOptions({
      queryKey: ["exception", txnId],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/exceptions/{txn_id}", { params: { path: { txn_id: txnId } }, signal })),
    }),

  people: () =>
    queryOptions({
      queryKey: ["people"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/people", { signal })),
      staleTime: 60_000,
    }),

  rules: () =>
    queryOptions({
      queryKey: ["rules"],
      queryFn: async ({ signal }) => {
        const { items, ...rest } = await take(api.GET("/api/v1/rules", { signal }));
        return { ...rest, items: items as RuleSet[] };
      },
      // A version that is scheduled comes into force by itself: ask again just then, and now and then for the rest.
      refetchInterval: ({ state }) => {
        const due = (state.data?.items ?? [])
          .map((set) => (set.effective_from ?? 0) - Date.now())
          .filter((left) => left > 0);
        return Math.min(RULES_EVERY_MS, ...due.map((left) => left + 500));
      },
    }),

  deadLetters: (query: DeadLetterQuery) =>
    infiniteQueryOptions({
      queryKey: ["dead-letters", "list", query],
      queryFn: ({ pageParam, signal }) =>
        take(
          api.GET("/api/v1/dead-letters", {
            params: { query: { ...query, limit: PAGE_ROWS, ...(pageParam ? { cursor: pageParam } : {}) } },
            signal,
          }),
        ),
      ...paged,
      placeholderData: keepPreviousData,
      refetchInterval: 15_000,
    }),

  deadLetter: (id: string) =>
    queryOptions({
      queryKey: ["dead-letters", "one", id],
      queryFn: ({ signal }) =>
        take(api.GET("/api/v1/dead-letters/{letter_id}", { params: { path: { letter_id: id } }, signal })),
    }),

  audit: (query: AuditQuery) =>
    infiniteQueryOptions({
      queryKey: ["audit", "list", query],
      queryFn: ({ pageParam, signal }) =>
        take(
          api.GET("/api/v1/audit", {
            params: { query: { ...query, limit: PAGE_ROWS, ...(pageParam ? { cursor: pageParam } : {}) } },
            signal,
          }),
        ),
      ...paged,
      maxPages: 50,
      placeholderData: keepPreviousData,
    }),

  chains: () =>
    queryOptions({
      queryKey: ["audit", "chains"],
      queryFn: ({ signal }) => take(api.GET("/api/v1/audit/chains", { signal })),
      refetchInterval: 60_000,
    }),
};
