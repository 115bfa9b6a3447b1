/** Durations as people write them, exact to the millisecond: `30 s`, `1.5 s`, `5 min`, `12 h`, `3 d`. */

const UNITS: readonly [number, string][] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
];
const MILLIS: Readonly<Record<string, number>> = {
  ms: 1,
  "": 1_000,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** In the largest unit that leaves nothing over; seconds with decimals where none does. */
export function durationText(ms: number): string {
  if (ms === 0) return "0 s";
  for (const [size, unit] of UNITS) if (ms % size === 0) return `${ms / size} ${unit}`;
  const rest = String(ms % 1_000)
    .padStart(3, "0")
    .replace(/0+$/, "");
  return `${Math.floor(ms / 1_000)}.${rest} s`;
}

/** Milliseconds, or null for what is no duration or has a part of a millisecond. Without a unit it is seconds. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9})(?:\.(\d{1,3}))?\s*(ms|s|m|min|h|d|)$/.exec(text.trim().toLowerCase());
  if (!match) return null;
  const size = BigInt(MILLIS[match[3] ?? ""] ?? 0);
  const thousandths = BigInt(match[1] ?? "0") * 1_000n + BigInt((match[2] ?? "").padEnd(3, "0"));
  const total = thousandths * size;
  return total % 1_000n === 0n ? Number(total / 1_000n) : null;
}
