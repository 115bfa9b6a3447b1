/** Characters that the values of columns take, so that columns can be wide enough for them. */

import type { TransactionRow } from "@/api/types";
import { amount } from "@/lib/money";

/** A UUID is shown whole; what is longer is cut, and whole in its own screen. Ids are set in smaller type than figures. */
const ID_MAX = 36;
const ID_SCALE = 0.96;
const PERSON_MAX = 24;
const UNEQUAL = 2;

export function idCharacters(id: string): number {
  return Math.min(id.length, ID_MAX) * ID_SCALE;
}

export function personCharacters(name: string | null): number {
  return Math.min(name?.length ?? 0, PERSON_MAX);
}

/** The part of a leg that is never cut: its amount, and the currency where it is shown. */
export function legCharacters(
  row: Pick<TransactionRow, "legs" | "currency" | "differing">,
  source: string,
): number {
  const leg = row.legs[source];
  if (!leg) return 0;
  const odd = row.differing[source] ?? [];
  const figures =
    amount(leg.amount_minor, leg.currency).length + (odd.includes("amount_minor") ? UNEQUAL : 0);
  const shown = leg.currency !== row.currency || odd.includes("currency");
  return figures + (shown ? 1 + leg.currency.length + UNEQUAL : 0);
}
