/** Plain numbers as text. */

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

/** `1,234`, `10,000+` or `~5,000`, by what the count says of itself. */
export function relationCount(found: { value: number; relation: "exact" | "at_least" | "estimate" }): string {
  const text = count(found.value);
  return found.relation === "exact" ? text : found.relation === "at_least" ? `${text}+` : `~${text}`;
}
