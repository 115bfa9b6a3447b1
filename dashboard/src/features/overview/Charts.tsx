import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { queries } from "@/api/queries";
import type { Series } from "@/api/types";
import type { WINDOWS } from "@/app/windows";
import { BREAK_NAMES, sourceLabel, sourceOrder } from "@/lib/labels";
import { StackChart, type StackSeries } from "@/ui/chart/StackChart";
import { fillSlots } from "@/ui/chart/scale";
import { Panel } from "@/ui/Panel";
import { FailedLine, Loading } from "@/ui/States";
import s from "./OverviewPage.module.css";

const NOTHING: Readonly<Record<string, number>> = {};

/** Events by source, and below it on the same axis the breaks. */
export function Charts({ window }: { window: (typeof WINDOWS)[keyof typeof WINDOWS] }) {
  const found = useQuery(queries.series(window.ms, window.stepMs));
  return (
    <Panel title="Activity" aside={`in steps of ${window.stepMs / 60_000} min`}>
      {found.isPending && <Loading lines={8} label="Loading the charts" />}
      {found.isError && !found.data && <FailedLine error={found.error} retry={() => void found.refetch()} />}
      {found.data && <Both series={found.data} />}
    </Panel>
  );
}

function Both({ series }: { series: Series }) {
  const { step_ms, since, until } = series;
  const slots = useMemo(
    () => fillSlots(series.points, since, until, step_ms, NOTHING),
    [series.points, since, until, step_ms],
  );
  const sources = useMemo(() => {
    const names = series.points.flatMap((point) =>
      Object.keys(point.values).flatMap((key) => (key.startsWith("events.") ? [key.slice(7)] : [])),
    );
    return sourceOrder(names);
  }, [series.points]);
  const events: StackSeries[] = sources.map((name, at) => ({
    key: `events.${name}`,
    label: sourceLabel(name),
    color: `var(--c${(at % 3) + 1})`,
    ...(at === 1 ? { pattern: "stripe" as const } : at === 2 ? { pattern: "dot" as const } : {}),
  }));
  const breaks = useMemo(() => breakSlots(slots), [slots]);
  return (
    <div className={s.charts}>
      <div>
        <h3 className={s.chartName}>Events</h3>
        <StackChart
          label="Events by source over time"
          series={events}
          slots={slots}
          stepMs={step_ms}
          unit="accepted"
        />
      </div>
      <div>
        <h3 className={s.chartName}>Breaks</h3>
        <StackChart
          label="Breaks over time"
          series={BREAK_SERIES}
          slots={breaks}
          stepMs={step_ms}
          unit="found"
        />
      </div>
    </div>
  );
}

const BREAK_SERIES: readonly StackSeries[] = [
  { key: "missing", label: "Missing at a source", color: "var(--bad-mark)", pattern: "stripe" },
  { key: "differs", label: "Sources differ", color: "var(--bad-mark)" },
];

/** Seven kinds would be a rainbow: what is missing and what differs tell apart an outage from an error. */
function breakSlots(slots: readonly { at: number; values: Readonly<Record<string, number>> }[]) {
  return slots.map(({ at, values }) => ({
    at,
    values: {
      missing: Math.max(0, values["break.MISSING"] ?? 0),
      differs: BREAK_NAMES.filter((kind) => kind !== "MISSING").reduce(
        (sum, kind) => sum + Math.max(0, values[`break.${kind}`] ?? 0),
        0,
      ),
    },
  }));
}
