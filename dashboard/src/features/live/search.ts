/** The view state of the live screen, in the URL. */

import type { BreakName, LiveResult, Severity } from "@/api/types";
import { BREAK_NAMES, SEVERITIES } from "@/lib/labels";
import { compact, oneOf, type RawSearch, someOf, text, whole } from "@/lib/search";

export interface LiveSearch {
  break?: BreakName[] | undefined;
  missing?: string | undefined;
  severity?: Severity | undefined;
  currency?: string | undefined;
  min?: number | undefined;
}

const RANK: Readonly<Record<Severity, number>> = { low: 0, medium: 1, high: 2, critical: 3 };

export function readLiveSearch(raw: RawSearch): LiveSearch {
  return compact({
    break: someOf(raw, "break", BREAK_NAMES),
    missing: text(raw, "missing"),
    severity: oneOf(raw, "severity", Object.keys(SEVERITIES) as Severity[]),
    currency: text(raw, "currency")?.toUpperCase(),
    min: whole(raw, "min"),
  });
}

export function passes(search: LiveSearch, row: LiveResult): boolean {
  if (search.break && !search.break.some((kind) => row.breaks.includes(kind))) return false;
  if (search.missing && !row.missing_sources.includes(search.missing)) return false;
  if (search.severity && RANK[row.severity ?? "low"] < RANK[search.severity]) return false;
  if (search.currency && !row.currency.startsWith(search.currency)) return false;
  return search.min === undefined || row.amount_minor >= search.min;
}
