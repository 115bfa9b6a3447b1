/** Small marks for verdicts, breaks, severities and states: each has a shape and a word, never colour alone. */

import type { BreakName, ExceptionState, Leg, Severity, Verdict } from "@/api/types";
import { cx } from "@/lib/cx";
import { BREAKS, SEVERITIES, STATES, sourceLabel, VERDICTS } from "@/lib/labels";
import s from "./marks.module.css";

export function VerdictMark({
  verdict,
  late,
  final = true,
}: {
  verdict: Verdict;
  late?: boolean;
  final?: boolean;
}) {
  return (
    <span className={cx(s.mark, s[verdict])}>
      <VerdictShape verdict={verdict} />
      <span>
        {VERDICTS[verdict]}
        {late && <span className={s.note}> late</span>}
        {!final && verdict !== "PENDING" && <span className={s.note}> so far</span>}
      </span>
    </span>
  );
}

/** Matched: two equal bars. Mismatched: the same, struck through. Pending: an open ring. */
function VerdictShape({ verdict }: { verdict: Verdict }) {
  return (
    <svg
      width="12"
      height="12"
      viewBox="0 0 12 12"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      aria-hidden="true"
    >
      {verdict === "PENDING" && <circle cx="6" cy="6" r="4" strokeDasharray="2.5 2.5" />}
      {verdict !== "PENDING" && <path d="M1.5 4.2h9M1.5 7.8h9" />}
      {verdict === "MISMATCHED" && <path d="M8.5 1 3.5 11" />}
    </svg>
  );
}

/** The breaks of a transaction. `short` shows the gravest and counts the rest, for lists. */
export function BreakTags({
  breaks,
  missing = [],
  short,
}: {
  breaks: readonly BreakName[];
  missing?: readonly string[];
  short?: boolean;
}) {
  if (breaks.length === 0) return <span className="muted">none</span>;
  const shown = short ? breaks.slice(0, 1) : breaks;
  const rest = breaks.slice(shown.length);
  return (
    <span className={s.tags}>
      {shown.map((kind) => (
        <span key={kind} className={s.tag} title={BREAKS[kind].means}>
          {BREAKS[kind].label}
          {kind === "MISSING" && missing.length > 0 && (
            <span className={s.tagMore}> {missing.map(sourceLabel).join(", ")}</span>
          )}
        </span>
      ))}
      {rest.length > 0 && (
        <span className={s.note} title={rest.map((kind) => BREAKS[kind].label).join(", ")}>
          +{rest.length}
          <span className="sr">: {rest.map((kind) => BREAKS[kind].label).join(", ")}</span>
        </span>
      )}
    </span>
  );
}

const LEVEL: Readonly<Record<Severity, number>> = { low: 1, medium: 2, high: 3, critical: 4 };

export function SeverityMark({ severity, word = true }: { severity: Severity; word?: boolean }) {
  return (
    <span
      className={cx(s.severity, s[severity])}
      title={word ? undefined : `${SEVERITIES[severity]} severity`}
    >
      <svg width="14" height="12" viewBox="0 0 14 12" aria-hidden="true">
        {[0, 1, 2, 3].map((step) => (
          <rect
            key={step}
            x={step * 3.6}
            y={9 - step * 2.4}
            width="2.4"
            height={3 + step * 2.4}
            fill="currentColor"
            opacity={step < LEVEL[severity] ? 1 : 0.22}
          />
        ))}
      </svg>
      <span className={word ? undefined : "sr"}>{SEVERITIES[severity]}</span>
    </span>
  );
}

export function StateMark({ state, proposed }: { state: ExceptionState; proposed?: boolean }) {
  return (
    <span className={cx(s.mark, s[state])}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
        <circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
        {state === "assigned" && <path d="M6 1.5A4.5 4.5 0 0 0 6 10.5z" fill="currentColor" />}
        {state === "in_review" && <circle cx="6" cy="6" r="2.3" fill="currentColor" />}
        {state === "resolved" && <circle cx="6" cy="6" r="4.5" fill="currentColor" />}
      </svg>
      <span>
        {STATES[state]}
        {proposed && <span className={s.note}> second person</span>}
      </span>
    </span>
  );
}

/**
 * The legs of a transaction as a small glyph, one bar per source in order: solid where it agrees, notched where it
 * differs, an outline where it is missing.
 */
export function LegGlyph({
  sources,
  legs,
  odd,
}: {
  sources: readonly string[];
  legs: Readonly<Record<string, Leg>>;
  odd: ReadonlySet<string>;
}) {
  const words = sources.map((name) => {
    const state = !legs[name] ? "missing" : odd.has(name) ? "differs" : "agrees";
    return `${sourceLabel(name)} ${state}`;
  });
  const width = sources.length * 9 - 3;
  return (
    <svg
      className={s.glyph}
      width={width}
      height="14"
      viewBox={`0 0 ${width} 14`}
      role="img"
      aria-label={words.join(", ")}
    >
      {sources.map((name, at) => {
        const x = at * 9;
        if (!legs[name])
          return (
            <rect
              key={name}
              className={s.legMissing}
              x={x + 0.5}
              y="1.5"
              width="5"
              height="11"
              strokeDasharray="2 1.5"
            />
          );
        return odd.has(name) ? (
          <path key={name} className={s.legOdd} d={`M${x} 1h6v4.5l-3 1.5 3 1.5v4.5h-6z`} />
        ) : (
          <rect key={name} className={s.legFine} x={x} y="1" width="6" height="12" />
        );
      })}
    </svg>
  );
}
