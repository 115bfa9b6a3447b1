/** Whether a live result belongs to a list, by the list's own filter. The server decides; this only counts "n new". */

import type { LiveResult, TransactionQuery } from "@/api/types";

export function matchesQuery(query: TransactionQuery, row: LiveResult): boolean {
  // Without a verdict, breaks and missing sources are looked for among mismatches, as the service does.
  const verdict = query.verdict ?? (query.break?.length || query.missing_source ? "MISMATCHED" : undefined);
  if (verdict && row.verdict !== verdict) return false;
  if (query.break?.length && !query.break.some((kind) => row.breaks.includes(kind))) return false;
  if (query.source && !row.sources.includes(query.source)) return false;
  if (query.missing_source && !row.missing_sources.includes(query.missing_source)) return false;
  if (query.late !== undefined && query.late !== null && row.late_sources.length > 0 !== query.late)
    return false;
  if (query.final !== undefined && query.final !== null && row.final !== query.final) return false;
  if (query.currency && row.currency !== query.currency) return false;
  if (typeof query.amount_min === "number" && row.amount_minor < query.amount_min) return false;
  if (typeof query.amount_max === "number" && row.amount_minor > query.amount_max) return false;
  if (typeof query.since === "number" && row.decided_at < query.since) return false;
  if (typeof query.until === "number" && row.decided_at >= query.until) return false;
  if (query.q) {
    const prefix = query.q.endsWith("*") ? query.q.slice(0, -1) : null;
    if (prefix === null ? row.txn_id !== query.q : !row.txn_id.startsWith(prefix)) return false;
  }
  return true;
}
