import type { TransactionDetail } from "@/api/types";
import { sourceLabel, sourceOrder } from "@/lib/labels";
import { clock, fineSpan } from "@/lib/time";
import { spanTicks } from "@/ui/chart/scale";
import { useWidth } from "@/ui/chart/useWidth";
import s from "./Timeline.module.css";

const LANE = 34;
const LEFT = 76;
const RIGHT = 16;
const TOP = 10;
const BOTTOM = 42;

/** One lane per source: when its events happened by its own clock (ring) and when they arrived (dot). */
export function Timeline({ detail }: { detail: TransactionDetail }) {
  const [box, width] = useWidth();
  const { result, rules, events } = detail;
  const sources = sourceOrder([...rules.expected_sources, ...events.map((event) => event.source)]);
  const moments = [
    ...events.flatMap((event) => [event.event_time, event.arrival]),
    result.first_arrival,
    Math.min(rules.window_closes, Math.max(result.decided_at, result.last_arrival)),
    result.decided_at,
  ];
  const first = Math.min(...moments);
  const last = Math.max(...moments);
  const pad = Math.max(20, (last - first) * 0.04);
  const since = first - pad;
  const until = last + pad;
  const plot = Math.max(1, width - LEFT - RIGHT);
  const x = (at: number) => LEFT + ((Math.min(at, until) - since) / (until - since)) * plot;
  const height = TOP + sources.length * LANE + BOTTOM;
  const bottom = TOP + sources.length * LANE;
  const decidedX = x(result.decided_at);

  return (
    <div>
      <ul className={s.legend}>
        <li>
          <svg width="12" height="12" aria-hidden="true">
            <circle cx="6" cy="6" r="4" className={s.happened} />
          </svg>
          happened, by the source's clock
        </li>
        <li>
          <svg width="12" height="12" aria-hidden="true">
            <circle cx="6" cy="6" r="4.5" className={s.arrived} />
          </svg>
          arrived
        </li>
        <li>
          <svg width="14" height="12" aria-hidden="true">
            <rect y="1" width="14" height="10" className={s.window} />
          </svg>
          match window, {fineSpan(rules.match_window_ms)}
        </li>
      </ul>
      <div ref={box} style={{ height }}>
        {width > 0 && (
          <svg width={width} height={height} role="img" aria-label={summarise(detail)}>
            <rect
              className={s.window}
              x={x(result.first_arrival)}
              y={TOP}
              width={Math.max(2, x(rules.window_closes) - x(result.first_arrival))}
              height={sources.length * LANE}
            />
            {sources.map((source, lane) => {
              const y = TOP + lane * LANE + LANE / 2;
              const own = events.filter((event) => event.source === source);
              return (
                <g key={source}>
                  <text x={0} y={y + 4} className={s.lane}>
                    {sourceLabel(source)}
                  </text>
                  <line x1={LEFT} x2={width - RIGHT} y1={y} y2={y} className={s.rule} />
                  {own.map((event) => (
                    <g key={event.seq} opacity={event.redelivery ? 0.4 : 1}>
                      <line x1={x(event.event_time)} x2={x(event.arrival)} y1={y} y2={y} className={s.path} />
                      <circle cx={x(event.event_time)} cy={y} r="4" className={s.happened} />
                      <circle cx={x(event.arrival)} cy={y} r="4.5" className={s.arrived} />
                    </g>
                  ))}
                  {own.length === 0 && (
                    <text x={LEFT + 8} y={y - 5} className={s.nothing}>
                      nothing arrived
                    </text>
                  )}
                </g>
              );
            })}
            {spanTicks(first, last, plot / 90).map((offset) => (
              <text key={offset} x={x(first + offset)} y={bottom + 14} className={s.tick} textAnchor="middle">
                {offset === 0 ? clock(first) : `+${fineSpan(offset)}`}
              </text>
            ))}
            <line x1={decidedX} x2={decidedX} y1={TOP - 6} y2={bottom + 2} className={s.decided} />
            <text
              x={decidedX}
              y={bottom + 32}
              className={s.decidedText}
              textAnchor={decidedX > width - 90 ? "end" : decidedX < LEFT + 60 ? "start" : "middle"}
            >
              decided {clock(result.decided_at)}
            </text>
          </svg>
        )}
      </div>
    </div>
  );
}

function summarise(detail: TransactionDetail): string {
  const parts = detail.events.map(
    (event) =>
      `${sourceLabel(event.source)} happened at ${clock(event.event_time)} and arrived at ${clock(event.arrival)}`,
  );
  return `${parts.join("; ")}; decided at ${clock(detail.result.decided_at)}`;
}
