/** Moments and spans as text. Moments are integer milliseconds since 1970; shown in the browser's own zone. */

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", year: "numeric" });
const FULL = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** `14:03:27`. */
export function clock(at: number): string {
  return CLOCK.format(at);
}

/** `14:03`. */
export function shortClock(at: number): string {
  return SHORT.format(at);
}

/** `14:03:27.482`, where milliseconds tell something. */
export function preciseClock(at: number): string {
  const ms = ((at % 1000) + 1000) % 1000;
  return `${clock(at)}.${String(ms).padStart(3, "0")}`;
}

/** `14:03:27` today, `23 Nov 14:03` on another day, `23 Nov 2025 14:03` in another year. */
export function moment(at: number, now: number = Date.now()): string {
  const [then, today] = [new Date(at), new Date(now)];
  if (then.toDateString() === today.toDateString()) return clock(at);
  const date = then.getFullYear() === today.getFullYear() ? DAY : DATE;
  return `${date.format(at)} ${shortClock(at)}`;
}

/** `23 Nov`. */
export function day(at: number): string {
  return DAY.format(at);
}

/** Everything, for titles. */
export function fullMoment(at: number): string {
  return FULL.format(at);
}

const UNITS: readonly [number, string][] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
];

/** A span in its largest fitting unit: `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`. */
export function span(ms: number): string {
  const size = Math.abs(ms);
  const sign = ms < 0 ? "\u2212" : "";
  for (const [unit, name] of UNITS) {
    if (size >= unit) return `${sign}${Math.floor(size / unit)}\u00a0${name}`;
  }
  return `${sign}${Math.round(size)}\u00a0ms`;
}

/** A short span with a decimal: `850 ms`, `1.4 s`, `30 s`. */
export function fineSpan(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1_000 || size >= 60_000) return span(ms);
  const seconds = (size / 1_000).toFixed(size < 10_000 ? 1 : 0).replace(/\.0$/, "");
  return `${ms < 0 ? "\u2212" : ""}${seconds}\u00a0s`;
}

/** `just now`, `12 s ago`, `4 min ago`. */
export function ago(at: number, now: number): string {
  const age = now - at;
  return age < 1_500 ? "just now" : `${span(age)} ago`;
}

/** Value for an `<input type="datetime-local">`. */
export function toLocalInput(at: number | undefined): string {
  if (at === undefined) return "";
  const date = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 16);
}

/** Milliseconds from a `datetime-local` input, or undefined. */
export function fromLocalInput(text: string): number | undefined {
  const at = new Date(text).getTime();
  return text === "" || Number.isNaN(at) ? undefined : at;
}
