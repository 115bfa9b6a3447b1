/** The view state of the dead letters, in the URL. */

import { compact, oneOf, type RawSearch, text } from "@/lib/search";

export const STATES = ["new", "replayed", "dismissed"] as const;

export interface DeadLetterSearch {
  state?: (typeof STATES)[number] | undefined;
  reason?: string | undefined;
  open?: string | undefined;
}

export function readDeadLetterSearch(raw: RawSearch): DeadLetterSearch {
  return compact({
    state: oneOf(raw, "state", STATES),
    reason: text(raw, "reason"),
    open: text(raw, "open"),
  });
}
