/** Plain numbers as text. */

import type { Count } from "@/api/types";

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const ONE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });

/** `12,345`. */
export function count(value: number): string {
  return WHOLE.format(value);
}

/** `950`, `12.3k`, `4.1m`: for labels where room is short. */
export function shortCount(value: number): string {
  if (value < 10_000) return count(value);
  if (value < 1_000_000) return `${ONE.format(Math.floor(value / 100) / 10)}k`;
  if (value < 1_000_000_000) return `${ONE.format(Math.floor(value / 100_000) / 10)}m`;
  return `${ONE.format(Math.floor(value / 100_000_000) / 10)}bn`;
}

/** Events a second: a decimal below ten. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : count(perSecond);
}

/** Share as per cent with two decimals, rounded down so that 99.999 % never reads as all. */
export function percent(share: number): string {
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)}\u2009%`;
}

/** `1 row`, `2 rows`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** `1,234`, or the bounds that are known: `1,699 to 5,794`, `at least 1,699`. */
export function relationCount(found: Count): string {
  const text = count(found.value);
  if (found.relation === "exact") return text;
  if (found.at_most === null || found.at_most === undefined) return `at least ${text}`;
  return found.at_most === found.value ? text : `${text} to ${count(found.at_most)}`;
}
