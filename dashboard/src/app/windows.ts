/** The windows of time that the overview can show. */

export const WINDOWS = {
  "1h": { label: "1 hour", ms: 3_600_000, stepMs: 60_000 },
  "6h": { label: "6 hours", ms: 6 * 3_600_000, stepMs: 300_000 },
  "24h": { label: "24 hours", ms: 86_400_000, stepMs: 900_000 },
} as const;

export type WindowName = keyof typeof WINDOWS;
