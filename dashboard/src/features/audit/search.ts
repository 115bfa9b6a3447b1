/** The view state of the audit trail, in the URL, and the query that it makes. */

import type { AuditQuery } from "@/api/types";
import { compact, type RawSearch, text, whole } from "@/lib/search";

export interface AuditSearch {
  actor?: string | undefined;
  action?: string | undefined;
  object?: string | undefined;
  chain?: string | undefined;
  since?: number | undefined;
  until?: number | undefined;
  open?: string | undefined;
}

export function readAuditSearch(raw: RawSearch): AuditSearch {
  return compact({
    actor: text(raw, "actor"),
    action: text(raw, "action"),
    object: text(raw, "object"),
    chain: text(raw, "chain"),
    since: whole(raw, "since"),
    until: whole(raw, "until"),
    open: text(raw, "open"),
  });
}

/** What people and the service did; the matchers' chains hold an entry per flush, many a second. */
export const SERVICE_CHAIN = "api";
export const ALL_CHAINS = "all";

/** The chain in view: the service's own, unless another is chosen or an object is searched for. */
export function chainOf(search: AuditSearch): string {
  return search.chain ?? (search.object ? ALL_CHAINS : SERVICE_CHAIN);
}

export function auditQuery(search: AuditSearch): AuditQuery {
  const chain = chainOf(search);
  return compact({
    actor: search.actor,
    action: search.action,
    object_id: search.object,
    chain: chain === ALL_CHAINS ? undefined : chain,
    since: search.since,
    until: search.until,
  });
}
