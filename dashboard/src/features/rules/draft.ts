/** The draft's form and the rules it stands for: text in, checked rules or the first problem out. */

import type { BreakName, RulesBody, Severity } from "@/api/types";

export interface Tolerance {
  currency: string;
  absolute: string;
  bps: string;
}

export interface DraftFields {
  window: string;
  clock: string;
  sources: string;
  tolerances: Tolerance[];
  kinds: Partial<Record<BreakName, Severity>>;
  high: string;
  critical: string;
  second: string;
}

export function draftFields(body: RulesBody): DraftFields {
  const levels = body.severities.amounts.default;
  return {
    window: String(body.match_window_ms / 1_000),
    clock: String(body.time_tolerance_ms / 1_000),
    sources: body.expected_sources.join(", "),
    tolerances: [
      {
        currency: "default",
        absolute: String(body.default_tolerance.absolute_minor),
        bps: String(body.default_tolerance.bps),
      },
      ...Object.entries(body.tolerances)
        .sort()
        .map(([currency, each]) => ({
          currency,
          absolute: String(each.absolute_minor),
          bps: String(each.bps),
        })),
    ],
    kinds: body.severities.kinds as Partial<Record<BreakName, Severity>>,
    high: String(levels?.high_minor ?? 0),
    critical: String(levels?.critical_minor ?? 0),
    second: String(body.severities.second_person_above_minor.default ?? 0),
  };
}

type Outcome = { ok: true; body: RulesBody } | { ok: false; problem: string };

class FieldError extends Error {}

function whole(text: string, name: string, most: number): number {
  if (!/^\d{1,16}$/.test(text.trim())) throw new FieldError(`${name} must be a whole number.`);
  const value = Number(text);
  if (value > most) throw new FieldError(`${name} may be at most ${most.toLocaleString("en-GB")}.`);
  return value;
}

function millis(text: string, name: string): number {
  const match = /^(\d{1,7})(?:\.(\d{1,3}))?$/.exec(text.trim());
  if (!match) throw new FieldError(`${name} must be seconds, with three decimals at most.`);
  return Number(match[1]) * 1_000 + Number((match[2] ?? "").padEnd(3, "0"));
}

/** The rules of the form; what the form does not show is kept from `base`. */
export function draftBody(fields: DraftFields, base: RulesBody): Outcome {
  try {
    const window = millis(fields.window, "The match window");
    if (window === 0) throw new FieldError("The match window must be longer than nothing.");
    const sources = fields.sources
      .split(",")
      .map((name) => name.trim().toUpperCase())
      .filter(Boolean);
    if (sources.length === 0) throw new FieldError("At least one source must be expected.");
    if (new Set(sources).size !== sources.length) throw new FieldError("A source is named twice.");
    const tolerances = fields.tolerances.map((each) => {
      if (each.currency !== "default" && !/^[A-Z]{3}$/.test(each.currency)) {
        throw new FieldError("A currency has three letters, as in EUR.");
      }
      const name =
        each.currency === "default" ? "The tolerance of any currency" : `The tolerance of ${each.currency}`;
      return [
        each.currency,
        { absolute_minor: whole(each.absolute, name, 10 ** 15), bps: whole(each.bps, name, 10_000) },
      ] as const;
    });
    const own = tolerances.filter(([currency]) => currency !== "default");
    if (new Set(own.map(([currency]) => currency)).size !== own.length) {
      throw new FieldError("A currency has two tolerances.");
    }
    const high = whole(fields.high, "High from", 10 ** 15);
    const critical = whole(fields.critical, "Critical from", 10 ** 15);
    if (critical < high) throw new FieldError("Critical must not begin below high.");
    return {
      ok: true,
      body: {
        match_window_ms: window,
        time_tolerance_ms: millis(fields.clock, "The difference of clocks"),
        expected_sources: sources,
        default_tolerance:
          tolerances.find(([currency]) => currency === "default")?.[1] ?? base.default_tolerance,
        tolerances: Object.fromEntries(own),
        severities: {
          ...base.severities,
          kinds: { ...base.severities.kinds, ...fields.kinds },
          amounts: { ...base.severities.amounts, default: { high_minor: high, critical_minor: critical } },
          second_person_above_minor: {
            ...base.severities.second_person_above_minor,
            default: whole(fields.second, "Second person above", 10 ** 15),
          },
        },
      },
    };
  } catch (error) {
    if (error instanceof FieldError) return { ok: false, problem: error.message };
    throw error;
  }
}
