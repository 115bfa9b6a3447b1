/** The view state of the transactions list, in the URL, and the query that it makes. */

import type { BreakName, TransactionQuery, TransactionSort, Verdict } from "@/api/types";
import { BREAK_NAMES, VERDICT_NAMES } from "@/lib/labels";
import { compact, flag, oneOf, type RawSearch, someOf, text, whole } from "@/lib/search";

export interface TransactionSearch {
  q?: string | undefined;
  verdict?: Verdict | undefined;
  break?: BreakName[] | undefined;
  source?: string | undefined;
  missing?: string | undefined;
  late?: boolean | undefined;
  final?: boolean | undefined;
  currency?: string | undefined;
  min?: number | undefined;
  max?: number | undefined;
  since?: number | undefined;
  until?: number | undefined;
  sort?: TransactionSort | undefined;
}

const SORTS: readonly TransactionSort[] = [
  "-decided_at",
  "decided_at",
  "-amount_minor",
  "amount_minor",
  "-spread_minor",
  "spread_minor",
  "txn_id",
];

export function readTransactionSearch(raw: RawSearch): TransactionSearch {
  const currency = text(raw, "currency")?.toUpperCase();
  return compact({
    q: text(raw, "q"),
    verdict: oneOf(raw, "verdict", VERDICT_NAMES),
    break: someOf(raw, "break", BREAK_NAMES),
    source: text(raw, "source"),
    missing: text(raw, "missing"),
    late: flag(raw, "late"),
    final: flag(raw, "final"),
    currency: currency && /^[A-Z]{3}$/.test(currency) ? currency : undefined,
    min: whole(raw, "min"),
    max: whole(raw, "max"),
    since: whole(raw, "since"),
    until: whole(raw, "until"),
    sort: oneOf(raw, "sort", SORTS),
  });
}

/** The order that the service can give: amounts only among mismatches, ids only for a search by id. */
export function sortFor(search: TransactionSearch): TransactionSort {
  if (search.q) return "txn_id";
  const sort = search.sort ?? "-decided_at";
  if (sort === "txn_id") return "-decided_at";
  const byMoney = sort.includes("amount_minor") || sort.includes("spread_minor");
  return byMoney && search.verdict !== "MISMATCHED" ? "-decided_at" : sort;
}

export function transactionQuery(search: TransactionSearch): TransactionQuery {
  return compact({
    q: search.q,
    verdict: search.verdict,
    break: search.break,
    source: search.source,
    missing_source: search.missing,
    late: search.late,
    final: search.final,
    currency: search.currency,
    amount_min: search.min,
    amount_max: search.max,
    since: search.since,
    until: search.until,
    sort: sortFor(search),
  });
}

/** How many filters are set, apart from the text and the order. */
export function filterCount(search: TransactionSearch): number {
  const { q: _q, sort: _sort, ...filters } = search;
  return Object.values(filters).filter((value) => value !== undefined).length;
}
