/** The draft's form and the rules it stands for: text in, checked rules or the first problem out. */

import type { BreakName, RulesBody, Severity } from "@/api/types";
import { durationText, parseDuration } from "@/lib/durations";
import { amount, exponent, isCurrency, money, notACurrency, notAnAmount, parseAmount } from "@/lib/money";

export const MATCH_WINDOW_MS_MAX = 7 * 86_400_000;
export const TIME_TOLERANCE_MS_MAX = 366 * 86_400_000;
export const AMOUNT_MINOR_MAX = 10 ** 15;
export const BPS_MAX = 10_000;

/** Stands for every currency that has no line of its own. */
export const ANY = "default";
/** A limit for any currency is typed as one with two decimals writes it. */
const ANY_IS_WRITTEN_AS = "EUR";
/** Currencies that show what a limit for any currency means: two decimals, none, three. */
const SAMPLES = ["EUR", "JPY", "KWD"] as const;

export interface Tolerance {
  currency: string;
  /** Major units. */
  absolute: string;
  /** Of the largest leg. */
  percent: string;
}

/** Limits of a currency in major units; an empty one is that of any currency. */
export interface Levels {
  currency: string;
  high: string;
  critical: string;
  second: string;
}

export interface DraftFields {
  window: string;
  clock: string;
  sources: string;
  tolerances: Tolerance[];
  kinds: Partial<Record<BreakName, Severity>>;
  levels: Levels[];
}

/** Basis points as per cent: `5` is `0.05`. */
export function percentText(bps: number): string {
  const part = String(bps % 100)
    .padStart(2, "0")
    .replace(/0+$/, "");
  return `${Math.floor(bps / 100)}${part && `.${part}`}`;
}

/** Basis points of a typed percentage, or null for what is none or has a part of one. */
export function parsePercent(text: string): number | null {
  const match = /^(\d{1,3})(?:\.(\d{0,2}))?$/.exec(text.trim());
  if (!match) return null;
  const bps = Number(match[1]) * 100 + Number((match[2] ?? "").padEnd(2, "0"));
  return bps <= BPS_MAX ? bps : null;
}

/** What a number of minor units of any currency is in some of them: a cent, a yen, a fils. */
export function anyMoney(minor: number): string {
  return minor === 0 ? "0" : SAMPLES.map((currency) => money(minor, currency)).join(", ");
}

/** What a limit that is the same number of whole units in each currency is in some of them. */
export function sameMoney(minor: number): string {
  if (minor === 0) return "0";
  return SAMPLES.map((currency) => {
    const places = exponent(currency);
    return money(places >= 2 ? minor * 10 ** (places - 2) : Math.floor(minor / 10 ** (2 - places)), currency);
  }).join(", ");
}

function written(currency: string): string {
  return currency === ANY ? ANY_IS_WRITTEN_AS : currency;
}

/** Minor units that a field's text stands for, or null. */
export function minorOf(text: string, currency: string): number | null {
  const minor = parseAmount(text, written(currency));
  return minor !== null && minor <= AMOUNT_MINOR_MAX ? minor : null;
}

export function draftFields(body: RulesBody): DraftFields {
  const tolerance = (currency: string, each: { absolute_minor: number; bps: number }): Tolerance => ({
    currency,
    absolute: amount(each.absolute_minor, written(currency)),
    percent: percentText(each.bps),
  });
  const { amounts, second_person_above_minor: seconds } = body.severities;
  const level = (currency: string): Levels => {
    const shown = (minor: number | undefined) =>
      minor === undefined ? "" : amount(minor, written(currency));
    return {
      currency,
      high: shown(amounts[currency]?.high_minor),
      critical: shown(amounts[currency]?.critical_minor),
      second: shown(seconds[currency]),
    };
  };
  const own = [...new Set([...Object.keys(amounts), ...Object.keys(seconds)])].filter((code) => code !== ANY);
  return {
    window: durationText(body.match_window_ms),
    clock: durationText(body.time_tolerance_ms),
    sources: body.expected_sources.join(", "),
    tolerances: [
      tolerance(ANY, body.default_tolerance),
      ...Object.entries(body.tolerances)
        .sort()
        .map(([currency, each]) => tolerance(currency, each)),
    ],
    kinds: body.severities.kinds as Partial<Record<BreakName, Severity>>,
    levels: [level(ANY), ...own.sort().map(level)],
  };
}

type Outcome = { ok: true; body: RulesBody } | { ok: false; problem: string };

class FieldError extends Error {}

function duration(text: string, name: string, most: number): number {
  const ms = parseDuration(text);
  if (ms === null) throw new FieldError(`${name} must be a duration, as 30 s, 5 min, 12 h or 3 d.`);
  if (ms > most) throw new FieldError(`${name} may be at most ${durationText(most)}.`);
  return ms;
}

function minor(text: string, currency: string, name: string): number {
  const found = minorOf(text, currency);
  if (found !== null) return found;
  const comma = text.includes(",") ? notAnAmount(text, written(currency)) : null;
  const places = exponent(written(currency));
  throw new FieldError(
    comma ? `${name}: ${comma}.` : `${name} must be an amount with at most ${places} decimals.`,
  );
}

function bps(text: string, name: string): number {
  const found = parsePercent(text);
  if (found === null) throw new FieldError(`${name} must be 0 to 100 %, with two decimals at most, as 0.05.`);
  return found;
}

function nameOf(currency: string): string {
  return currency === ANY ? "any currency" : currency;
}

/** Refuses what is no currency, and one that stands there twice. */
function checkCurrencies(lines: readonly { currency: string }[], what: string): void {
  const own = lines.map((line) => line.currency).filter((currency) => currency !== ANY);
  for (const currency of own)
    if (!isCurrency(currency, { inUse: true })) throw new FieldError(`${notACurrency(currency)}.`);
  const twice = own.find((currency, at) => own.indexOf(currency) !== at);
  if (twice) throw new FieldError(`${twice} has two ${what}.`);
}

/** The rules of the form, in minor units and basis points; what the form does not show is kept from `base`. */
export function draftBody(fields: DraftFields, base: RulesBody): Outcome {
  try {
    const window = duration(fields.window, "The match window", MATCH_WINDOW_MS_MAX);
    if (window === 0) throw new FieldError("The match window must be longer than nothing.");
    const sources = fields.sources
      .split(",")
      .map((name) => name.trim().toUpperCase())
      .filter(Boolean);
    if (sources.length === 0) throw new FieldError("At least one source must be expected.");
    if (new Set(sources).size !== sources.length) throw new FieldError("A source is named twice.");
    checkCurrencies(fields.tolerances, "tolerances");
    const tolerances = fields.tolerances.map((each) => {
      const name = `The tolerance of ${nameOf(each.currency)}`;
      return [
        each.currency,
        { absolute_minor: minor(each.absolute, each.currency, name), bps: bps(each.percent, name) },
      ] as const;
    });
    checkCurrencies(fields.levels, "lines of limits");
    const amounts: RulesBody["severities"]["amounts"] = {};
    const seconds: RulesBody["severities"]["second_person_above_minor"] = {};
    for (const each of fields.levels) {
      const name = nameOf(each.currency);
      const isAny = each.currency === ANY;
      if (isAny || each.high.trim() || each.critical.trim()) {
        const high = minor(each.high, each.currency, `High from, of ${name},`);
        const critical = minor(each.critical, each.currency, `Critical from, of ${name},`);
        if (critical < high) throw new FieldError(`Critical must not begin below high (${name}).`);
        amounts[each.currency] = { high_minor: high, critical_minor: critical };
      }
      if (isAny || each.second.trim())
        seconds[each.currency] = minor(each.second, each.currency, `Second person above, of ${name},`);
    }
    return {
      ok: true,
      body: {
        match_window_ms: window,
        time_tolerance_ms: duration(fields.clock, "The difference of clocks", TIME_TOLERANCE_MS_MAX),
        expected_sources: sources,
        default_tolerance: tolerances.find(([currency]) => currency === ANY)?.[1] ?? base.default_tolerance,
        tolerances: Object.fromEntries(tolerances.filter(([currency]) => currency !== ANY)),
        severities: {
          ...base.severities,
          kinds: { ...base.severities.kinds, ...fields.kinds },
          amounts,
          second_person_above_minor: seconds,
        },
      },
    };
  } catch (error) {
    if (error instanceof FieldError) return { ok: false, problem: error.message };
    throw error;
  }
}
