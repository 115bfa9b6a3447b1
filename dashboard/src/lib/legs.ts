/** Which cells of a row differ, judged as the service does: against what most sources say, in a tie the first one. */

import type { BreakName, Leg, TransactionRow } from "@/api/types";
import { sourceOrder } from "./labels";

export type LegField = "amount_minor" | "currency" | "status" | "event_time";

const FIELD_OF: Partial<Record<BreakName, LegField>> = {
  AMOUNT: "amount_minor",
  CURRENCY: "currency",
  STATUS: "status",
  TIMESTAMP: "event_time",
};

/** `source.field` of each cell that breaks; differences within tolerance are not in it. */
export function oddCells(row: Pick<TransactionRow, "breaks" | "legs">): ReadonlySet<string> {
  const odd = new Set<string>();
  const names = sourceOrder(Object.keys(row.legs));
  for (const kind of row.breaks) {
    const field = FIELD_OF[kind];
    if (!field) continue;
    if (field === "event_time" || field === "amount_minor") {
      const values = names.flatMap((name) => {
        const leg = row.legs[name];
        return leg ? [{ name, value: leg[field] }] : [];
      });
      for (const name of outside(values)) odd.add(`${name}.${field}`);
      continue;
    }
    const expected = usual(names.flatMap((name) => reported(row.legs[name], field)));
    for (const name of names) if (row.legs[name]?.[field] !== expected) odd.add(`${name}.${field}`);
  }
  return odd;
}

interface Reported {
  name: string;
  value: number;
}

/**
 * Who stands apart where numbers may differ a little. Sorted, the numbers are cut at their widest gap, which a break by
 * definition is as wide as any tolerance between neighbours; the smaller part is odd, in a tie the part without the
 * first source. Equality would not do: three clocks hardly ever agree to the millisecond, and two that do agree within
 * tolerance must not be accused because of the third.
 */
function outside(values: readonly Reported[]): string[] {
  const sorted = [...values].sort((a, b) => a.value - b.value);
  let cut = 0;
  let widest = 0;
  for (let at = 1; at < sorted.length; at += 1) {
    const gap = (sorted[at]?.value ?? 0) - (sorted[at - 1]?.value ?? 0);
    if (gap > widest) {
      widest = gap;
      cut = at;
    }
  }
  if (cut === 0) return [];
  const low = sorted.slice(0, cut);
  const high = sorted.slice(cut);
  const first = values[0]?.name;
  const lowIsOdd =
    low.length !== high.length ? low.length < high.length : !low.some(({ name }) => name === first);
  return (lowIsOdd ? low : high).map(({ name }) => name);
}

/** The sources that have at least one such cell. */
export function oddSources(row: Pick<TransactionRow, "breaks" | "legs">): ReadonlySet<string> {
  return new Set([...oddCells(row)].map((cell) => cell.slice(0, cell.lastIndexOf("."))));
}

/** All sources a row speaks of: with a leg, or missing. */
export function rowSources(row: Pick<TransactionRow, "legs" | "missing_sources">): string[] {
  return sourceOrder([...Object.keys(row.legs), ...row.missing_sources]);
}

function reported(leg: Leg | undefined, field: LegField): (string | number)[] {
  return leg ? [leg[field]] : [];
}

function usual(values: readonly (string | number)[]): string | number | undefined {
  const counts = new Map<string | number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let best: string | number | undefined;
  for (const [value, times] of counts)
    if (best === undefined || times > (counts.get(best) ?? 0)) best = value;
  return best;
}
