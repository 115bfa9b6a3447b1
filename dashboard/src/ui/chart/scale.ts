/** Arithmetic of charts: pure, no drawing. */

/** A round even number at or above `max`, for the top of an axis: its half is written there, too. */
export function niceTop(max: number): number {
  if (max <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(max));
  for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) {
    const top = step * power;
    if (top >= max && top % 2 === 0) return top;
  }
  return 10 * power;
}

/** Evenly spaced slots from `since` to `until`, each with the values found in it, so that gaps show as gaps. */
export function fillSlots<T>(
  points: readonly { at: number; values: T }[],
  since: number,
  until: number,
  stepMs: number,
  empty: T,
): { at: number; values: T }[] {
  const first = Math.floor(since / stepMs) * stepMs;
  const byAt = new Map(points.map((point) => [Math.floor(point.at / stepMs) * stepMs, point.values]));
  const slots: { at: number; values: T }[] = [];
  for (let at = first; at < until; at += stepMs) slots.push({ at, values: byAt.get(at) ?? empty });
  return slots;
}

/** Round moments for the labels of a time axis: about `wanted` of them. */
export function timeTicks(since: number, until: number, wanted: number): number[] {
  const minute = 60_000;
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((m) => m * minute);
  const step = steps.find((each) => (until - since) / each <= wanted) ?? 2880 * minute;
  const offset = new Date(since).getTimezoneOffset() * minute;
  const first = Math.ceil((since - offset) / step) * step + offset;
  const ticks: number[] = [];
  for (let at = first; at <= until; at += step) ticks.push(at);
  return ticks;
}

/** Round spans after a beginning: 0, then multiples of a step so that about `wanted` fit. */
export function spanTicks(first: number, last: number, wanted: number): number[] {
  const length = Math.max(1, last - first);
  const step = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000].find(
    (each) => length / each <= Math.max(1, wanted),
  );
  if (step === undefined) return [0];
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, at) => at * step);
}
