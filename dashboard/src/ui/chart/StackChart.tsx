/** Stacked bars over time, drawn as SVG. The same numbers are in a table for those who do not see it. */

import { useId, useState } from "react";
import { count, shortCount } from "@/lib/numbers";
import { shortClock } from "@/lib/time";
import s from "./StackChart.module.css";
import { niceTop, timeTicks } from "./scale";
import { useWidth } from "./useWidth";

export interface StackSeries {
  key: string;
  label: string;
  color: string;
  /** How it is filled beside its colour: plain, stripes or dots. */
  pattern?: "stripe" | "dot";
}

export interface StackSlot {
  at: number;
  values: Readonly<Record<string, number>>;
}

const HEIGHT = 150;
const LEFT = 40;
const BOTTOM = 20;
const TOP = 8;

export function StackChart({
  label,
  series,
  slots,
  stepMs,
  unit,
}: {
  label: string;
  series: readonly StackSeries[];
  slots: readonly StackSlot[];
  stepMs: number;
  unit: string;
}) {
  const [box, width] = useWidth();
  const [over, setOver] = useState<number | null>(null);
  const id = useId();
  const totals = slots.map((slot) => series.reduce((sum, each) => sum + (slot.values[each.key] ?? 0), 0));
  const sum = totals.reduce((all, each) => all + each, 0);
  const top = niceTop(Math.max(0, ...totals));
  const plotWidth = Math.max(0, width - LEFT - 4);
  const plotHeight = HEIGHT - TOP - BOTTOM;
  const slotWidth = slots.length > 0 ? plotWidth / slots.length : 0;
  const gap = slotWidth > 6 ? 1.5 : slotWidth > 3 ? 0.75 : 0;
  const y = (value: number) => TOP + plotHeight * (1 - value / top);
  const since = slots[0]?.at ?? 0;
  const until = (slots.at(-1)?.at ?? 0) + stepMs;
  const ticks = width > 0 ? timeTicks(since, until, Math.max(2, Math.floor(plotWidth / 90))) : [];
  const hovered = over === null ? undefined : slots[over];

  return (
    <figure className={s.figure}>
      <figcaption className={s.caption}>
        <span className="sr">{label}</span>
        <ul className={s.legend}>
          {series.map((each) => (
            <li key={each.key} className={s.key}>
              <svg width="10" height="10" aria-hidden="true">
                <rect width="10" height="10" rx="1" fill={fillOf(id, each)} />
              </svg>
              {each.label}
              <span className={s.value}>{hovered ? count(hovered.values[each.key] ?? 0) : ""}</span>
            </li>
          ))}
        </ul>
        <span className={s.at}>{hovered ? shortClock(hovered.at) : `${count(sum)} ${unit}`}</span>
      </figcaption>
      <div ref={box} className={s.box}>
        {width > 0 && (
          <svg
            width={width}
            height={HEIGHT}
            aria-hidden="true"
            onPointerLeave={() => setOver(null)}
            onPointerMove={(event) => {
              const x = event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT;
              const at = Math.floor(x / slotWidth);
              setOver(at >= 0 && at < slots.length ? at : null);
            }}
          >
            <defs>
              {series.map(
                (each) => each.pattern && <Pattern key={each.key} id={`${id}${each.key}`} series={each} />,
              )}
            </defs>
            {[0, 0.5, 1].map((share) => (
              <g key={share}>
                <line className={s.rule} x1={LEFT} x2={width - 4} y1={y(top * share)} y2={y(top * share)} />
                {(sum > 0 || share === 0) && (
                  <text className={s.tick} x={LEFT - 8} y={y(top * share) + 3.5} textAnchor="end">
                    {shortCount(top * share)}
                  </text>
                )}
              </g>
            ))}
            {sum === 0 && (
              <text className={s.nothing} x={LEFT + plotWidth / 2} y={y(top * 0.25) + 4} textAnchor="middle">
                None in this time
              </text>
            )}
            {slots.map((slot, at) => {
              let below = 0;
              return (
                <g key={slot.at} opacity={over === null || over === at ? 1 : 0.45}>
                  {series.map((each) => {
                    const value = slot.values[each.key] ?? 0;
                    if (value <= 0) return null;
                    const from = y(below);
                    below += value;
                    const height = Math.max(from - y(below), 1);
                    return (
                      <rect
                        key={each.key}
                        x={LEFT + at * slotWidth + gap / 2}
                        y={from - height}
                        width={Math.max(slotWidth - gap, 0.5)}
                        height={height}
                        fill={fillOf(id, each)}
                      />
                    );
                  })}
                </g>
              );
            })}
            {ticks.map((at) => {
              const x = LEFT + ((at - since) / (until - since)) * plotWidth;
              return (
                <text
                  key={at}
                  className={s.tick}
                  x={Math.min(x, width)}
                  y={HEIGHT - 5}
                  textAnchor={x > width - 18 ? "end" : "middle"} // at the very end it would be cut in half
                >
                  {shortClock(at)}
                </text>
              );
            })}
          </svg>
        )}
      </div>
      <table className="sr">
        <caption>{label}</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {series.map((each) => (
              <th key={each.key} scope="col">
                {each.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {slots
            .filter((_, at) => (totals[at] ?? 0) > 0)
            .slice(-30)
            .map((slot) => (
              <tr key={slot.at}>
                <th scope="row">{shortClock(slot.at)}</th>
                {series.map((each) => (
                  <td key={each.key}>{count(slot.values[each.key] ?? 0)}</td>
                ))}
              </tr>
            ))}
        </tbody>
      </table>
    </figure>
  );
}

function fillOf(id: string, series: StackSeries): string {
  return series.pattern ? `url(#${id}${series.key})` : series.color;
}

function Pattern({ id, series }: { id: string; series: StackSeries }) {
  return (
    <pattern id={id} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
      <rect width="5" height="5" fill={series.color} />
      {series.pattern === "stripe" ? (
        <rect width="1.6" height="5" fill="var(--surface)" opacity="0.55" />
      ) : (
        <circle cx="2.5" cy="2.5" r="1.1" fill="var(--surface)" opacity="0.7" />
      )}
    </pattern>
  );
}
