/** Is it healthy, since when, and what is wrong: one judgement from what the service reports. */

import type { Incident, SourceState, Summary } from "@/api/types";
import { sourceLabel } from "@/lib/labels";
import { span } from "@/lib/time";

export interface Health {
  level: "good" | "warn" | "bad";
  headline: string;
  detail: string;
  since: number | null;
}

const LAG_WARN = 50_000;
/** Longer than a refresh and its first retries: what is on screen then is history, however green. */
const UNHEARD_MS = 45_000;

/** `sources` is null when the service does not say; `heardAt` is when this browser got the summary, null when unknown. */
export function judge(
  summary: Summary,
  sources: readonly SourceState[] | null,
  incidents: readonly Incident[],
  now: number,
  heardAt: number | null = null,
): Health {
  if (heardAt !== null && now - heardAt > UNHEARD_MS) {
    return {
      level: "bad",
      headline: "No word from the service",
      detail: "What stands below is old.",
      since: heardAt,
    };
  }
  const open = incidents.filter((incident) => incident.closed_at === null);
  const oldest = open.reduce<number | null>(
    (least, each) => (least === null ? each.opened_at : Math.min(least, each.opened_at)),
    null,
  );
  if (summary.pipeline === "stopped") {
    return {
      level: "bad",
      headline: "The pipeline has stopped",
      detail: "Nothing is being reconciled.",
      since: oldest,
    };
  }
  const silent = (sources ?? []).filter((source) => source.silent && source.expected);
  if (silent.length > 0) {
    const names = silent.map((source) => sourceLabel(source.name)).join(" and ");
    const last = silent[0]?.last_event;
    return {
      level: "warn",
      headline: `${names} ${silent.length === 1 ? "is" : "are"} silent`,
      detail: last ? `The last event came ${span(now - last)} ago.` : "No event has come yet.",
      since: oldest,
    };
  }
  if (summary.pipeline === "degraded") {
    return {
      level: "warn",
      headline: "The pipeline is degraded",
      detail: "It runs, with a part restarting.",
      since: oldest,
    };
  }
  if (open.length > 0) {
    return {
      level: "warn",
      headline: "Running, with an open incident",
      detail: open[0]?.detail ?? "",
      since: oldest,
    };
  }
  if ((summary.lag ?? 0) > LAG_WARN) {
    return {
      level: "warn",
      headline: "Catching up",
      detail: "The pipeline is behind the end of the log.",
      since: null,
    };
  }
  if (sources === null) {
    return {
      level: "warn",
      headline: "Running, its sources unknown",
      detail: "The service does not say which sources are heard.",
      since: null,
    };
  }
  const ended = incidents.reduce<number | null>(
    (latest, each) => (each.closed_at === null ? latest : Math.max(latest ?? 0, each.closed_at)),
    null,
  );
  return { level: "good", headline: "Running", detail: "Every source is current.", since: ended };
}
