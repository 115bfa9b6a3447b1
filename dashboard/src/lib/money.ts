/**
 * Money, formatted in this one place: integer minor units and a currency in, text out. No floating point.
 */

import { decimals, HISTORIC, IN_USE, NOT_ISO, WITHOUT_MINOR_UNIT } from "./currencies";

const CURRENT: Readonly<Record<string, number>> = decimals(IN_USE);
const EXPONENTS: Readonly<Record<string, number>> = { ...decimals(HISTORIC), ...CURRENT };

/** Decimals of a currency. */
export function exponent(currency: string): number {
  return EXPONENTS[currency] ?? 2;
}

/** Whether amounts can be in it: a code of ISO 4217 that has a minor unit, in use or, unless told otherwise, historic. */
export function isCurrency(code: string, { inUse = false } = {}): boolean {
  return code in (inUse ? CURRENT : EXPONENTS);
}

/** What is wrong with three letters that are no currency, and what would be right. */
export function notACurrency(code: string): string {
  if (!/^[A-Z]{3}$/.test(code)) return "A currency has three letters, as in EUR";
  const meant = NOT_ISO[code];
  if (meant) return `${code} is no currency of ISO 4217: write the amount in ${meant}`;
  if (WITHOUT_MINOR_UNIT.some((line) => line.split(" ").includes(code)))
    return `${code} has no minor unit in ISO 4217: no amount can be written in it`;
  return code in EXPONENTS ? `${code} is no longer in use` : `${code} is no currency of ISO 4217`;
}

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

/** The number alone, as in `1,234.50`; negative numbers with a true minus sign. */
export function amount(minor: number, currency: string): string {
  const places = exponent(currency);
  const digits = String(Math.abs(Math.trunc(minor))).padStart(places + 1, "0");
  const whole = grouped(digits.slice(0, digits.length - places));
  const fraction = places === 0 ? "" : `.${digits.slice(-places)}`;
  return `${minor < 0 ? "\u2212" : ""}${whole}${fraction}`;
}

/** Currency and number, as in `EUR 1,234.50`. The code is used, not the sign: `$` is a dozen currencies. */
export function money(minor: number, currency: string): string {
  return `${currency}\u00a0${amount(minor, currency)}`;
}

/** With its sign even when positive, for differences. */
export function signedAmount(minor: number, currency: string): string {
  return minor > 0 ? `+${amount(minor, currency)}` : amount(minor, currency);
}

const STEPS: readonly [bigint, string][] = [
  [1_000_000_000n, "bn"],
  [1_000_000n, "m"],
  [1_000n, "k"],
];

/** Rounded down to three or four digits, as in `EUR 1.23 m`, where room is short; the full sum belongs in a title. */
export function shortMoney(minor: number, currency: string): string {
  const unit = 10n ** BigInt(exponent(currency));
  const whole = BigInt(Math.abs(Math.trunc(minor)));
  const sign = minor < 0 ? "\u2212" : "";
  for (const [step, suffix] of STEPS) {
    const size = step * unit;
    if (whole >= size) {
      const hundredths = (whole * 100n) / size;
      const places = hundredths >= 10_000n ? 0 : hundredths >= 1_000n ? 1 : 2;
      const shown = hundredths / 10n ** BigInt(2 - places);
      const text = String(shown).padStart(places + 1, "0");
      const cut = text.length - places;
      const number = places === 0 ? grouped(text) : `${grouped(text.slice(0, cut))}.${text.slice(cut)}`;
      return `${currency}\u00a0${sign}${number}\u2009${suffix}`;
    }
  }
  return money(minor, currency);
}

/**
 * Minor units of a typed number such as `1,234.5`, or null when it is none or has too many decimals.
 *
 * A comma stands between thousands, as amounts are shown here. Where it might be a decimal comma the text is refused:
 * `12,50` is no amount, and neither is `1,234` of a currency with three decimals.
 */
export function parseAmount(text: string, currency: string): number | null {
  const places = exponent(currency);
  const trimmed = text.trim();
  if (!/^(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?$/.test(trimmed)) return null;
  if (places === 3 && /^\d{1,3},\d{3}$/.test(trimmed)) return null;
  const match = /^(\d{1,15})(?:\.(\d*))?$/.exec(trimmed.replaceAll(",", ""));
  if (!match) return null;
  const fraction = match[2] ?? "";
  if (fraction.length > places) return null;
  const minor = Number(`${match[1]}${fraction.padEnd(places, "0")}`);
  return Number.isSafeInteger(minor) ? minor : null;
}

/** Why a typed text is no amount, with what would be right. */
export function notAnAmount(text: string, currency: string): string {
  const comma = /^(\d[\d.]*),(\d{1,4})$/.exec(text.trim());
  return comma
    ? `With a comma it could be either: type ${comma[1]}.${comma[2]} or ${comma[1]}${comma[2]}`
    : `Not an amount in ${currency}`;
}
