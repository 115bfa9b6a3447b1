/** Which cells of a row break. The service judges, by the tolerance of the rules that judged the row; nothing is guessed here. */

import type { TransactionRow } from "@/api/types";
import { sourceOrder } from "./labels";

/** `source.field` of each cell that breaks; differences within tolerance are not in it. */
export function oddCells(row: Pick<TransactionRow, "differing">): ReadonlySet<string> {
  return new Set(
    Object.entries(row.differing).flatMap(([source, fields]) => fields.map((field) => `${source}.${field}`)),
  );
}

/** The sources that have at least one such cell. */
export function oddSources(row: Pick<TransactionRow, "differing">): ReadonlySet<string> {
  return new Set(Object.keys(row.differing));
}

/** All sources a row speaks of: with a leg, or missing. */
export function rowSources(row: Pick<TransactionRow, "legs" | "missing_sources">): string[] {
  return sourceOrder([...Object.keys(row.legs), ...row.missing_sources]);
}
