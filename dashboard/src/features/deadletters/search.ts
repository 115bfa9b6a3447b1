/** The view state of the dead letters, in the URL. */

import type { DeadLetterQuery } from "@/api/types";
import { compact, oneOf, type RawSearch, text } from "@/lib/search";

export const STATES = ["new", "replayed", "dismissed"] as const;

export type Reason = NonNullable<DeadLetterQuery["reason"]>;

/** Why a record was set aside, in the order in which a record is read. */
export const REASONS: Readonly<Record<Reason, string>> = {
  not_framed: "Not framed",
  unknown_schema: "Unknown schema",
  incompatible_schema: "Incompatible schema",
  malformed: "Malformed",
  wrong_source: "Wrong source",
  ambiguous_source: "Fits two sources",
  bad_id: "Bad id",
  bad_amount: "Bad amount",
  unknown_currency: "Unknown currency",
  absurd_time: "Absurd time",
};

export function reasonLabel(reason: string): string {
  return (REASONS as Readonly<Record<string, string>>)[reason] ?? reason.replaceAll("_", " ");
}

export interface DeadLetterSearch {
  /** Not `state`: in an address that one comes back to from the sign-in page, that name is OpenID Connect's. */
  show?: (typeof STATES)[number] | undefined;
  reason?: Reason | undefined;
  open?: string | undefined;
}

export function readDeadLetterSearch(raw: RawSearch): DeadLetterSearch {
  return compact({
    show: oneOf(raw, "show", STATES),
    reason: oneOf(raw, "reason", Object.keys(REASONS) as Reason[]),
    open: text(raw, "open"),
  });
}
