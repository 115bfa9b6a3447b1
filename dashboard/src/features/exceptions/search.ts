/** The view state of the exceptions desk, in the URL, and the query that it makes. */

import type { BreakName, Bucket, ExceptionFilter, ExceptionQuery, LiveResult, Severity } from "@/api/types";
import { BREAK_NAMES, SEVERITIES } from "@/lib/labels";
import { matchesQuery } from "@/lib/match";
import { compact, oneOf, type RawSearch, someOf, text } from "@/lib/search";

export interface ExceptionSearch {
  bucket?: Bucket | undefined;
  break?: BreakName[] | undefined;
  missing?: string | undefined;
  currency?: string | undefined;
  severity?: Severity | undefined;
  assignee?: string | undefined;
  sort?: ExceptionSort | undefined;
  open?: string | undefined;
}

export type ExceptionSort = NonNullable<ExceptionQuery["sort"]>;

export const BUCKETS: readonly { id: Bucket; label: string; desk: boolean }[] = [
  { id: "open", label: "Open", desk: false },
  { id: "assigned", label: "Assigned", desk: false },
  { id: "in_review", label: "In review", desk: false },
  { id: "mine", label: "Mine", desk: true },
  { id: "awaiting_me", label: "Awaiting me", desk: true },
  { id: "resolved", label: "Resolved", desk: false },
];

const SORTS: readonly ExceptionSort[] = ["-decided_at", "decided_at", "-amount_minor", "-updated_at"];

export function readExceptionSearch(raw: RawSearch): ExceptionSearch {
  const currency = text(raw, "currency")?.toUpperCase();
  return compact({
    bucket: oneOf(
      raw,
      "bucket",
      BUCKETS.map((bucket) => bucket.id),
    ),
    break: someOf(raw, "break", BREAK_NAMES),
    missing: text(raw, "missing"),
    currency: currency && /^[A-Z]{3}$/.test(currency) ? currency : undefined,
    severity: oneOf(raw, "severity", Object.keys(SEVERITIES) as Severity[]),
    assignee: text(raw, "assignee"),
    sort: oneOf(raw, "sort", SORTS),
    open: text(raw, "open"),
  });
}

/** The orders that a bucket can be read in, the usual one first: by last change only where people have changed things. */
export function sortsOf(bucket: Bucket = "open"): readonly ExceptionSort[] {
  if (bucket === "open") return ["-decided_at", "decided_at", "-amount_minor"];
  return bucket === "resolved"
    ? ["-updated_at"]
    : ["-updated_at", "-decided_at", "decided_at", "-amount_minor"];
}

export function sortFor(search: ExceptionSearch): ExceptionSort {
  const [usual, ...others] = sortsOf(search.bucket);
  return others.find((sort) => sort === search.sort) ?? (usual as ExceptionSort);
}

export function exceptionQuery(search: ExceptionSearch): ExceptionQuery {
  return compact({
    bucket: search.bucket ?? "open",
    break: search.break,
    missing_source: search.missing,
    currency: search.currency,
    severity: search.severity,
    assignee: search.assignee,
    sort: sortFor(search),
  });
}

/** The same as a filter for bulk actions. */
export function exceptionFilter(search: ExceptionSearch): ExceptionFilter {
  return {
    breaks: search.break ?? [],
    only: false,
    ...compact({
      bucket: search.bucket ?? "open",
      missing_source: search.missing,
      currency: search.currency,
      severity: search.severity,
      assignee: search.assignee,
    }),
  };
}

/** Whether new mismatches belong on top of this view. Nobody has one of these yet, so no assignee has. */
export function isLive(search: ExceptionSearch): boolean {
  return (search.bucket ?? "open") === "open" && sortFor(search) === "-decided_at" && !search.assignee;
}

/** Whether a result of the live feed belongs to this view. */
export function matchesDesk(search: ExceptionSearch, row: LiveResult): boolean {
  if (search.severity && row.severity !== search.severity) return false;
  return matchesQuery(
    compact({
      verdict: "MISMATCHED" as const,
      break: search.break,
      missing_source: search.missing,
      currency: search.currency,
    }),
    row,
  );
}
