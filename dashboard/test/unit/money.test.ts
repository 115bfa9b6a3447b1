import { describe, expect, test } from "vitest";
import { amount, money, notAnAmount, parseAmount, shortMoney, signedAmount } from "@/lib/money";

const plain = (text: string) => text.replaceAll(/[\u00a0\u2009]/g, " ");

describe("money", () => {
  test.each([
    [123456, "EUR", "EUR 1,234.56"],
    [5, "USD", "USD 0.05"],
    [0, "GBP", "GBP 0.00"],
    [5400, "JPY", "JPY 5,400"],
    [17500, "KWD", "KWD 17.500"],
    [1, "KWD", "KWD 0.001"],
    [12345, "CLF", "CLF 1.2345"],
    [100000000000000, "EUR", "EUR 1,000,000,000,000.00"],
  ])("%i minor units of %s read %s", (minor, currency, text) => {
    expect(plain(money(minor, currency))).toBe(text);
  });

  test("negative amounts have a true minus sign, differences a plus", () => {
    expect(amount(-1050, "EUR")).toBe("\u221210.50");
    expect(signedAmount(1050, "EUR")).toBe("+10.50");
    expect(signedAmount(0, "EUR")).toBe("0.00");
  });

  test.each([
    [99999, "EUR", "EUR 999.99"],
    [100000, "EUR", "EUR 1.00 k"],
    [1234567, "EUR", "EUR 12.3 k"],
    [99999999, "EUR", "EUR 999 k"],
    [100000000, "EUR", "EUR 1.00 m"],
    [1_234_567, "JPY", "JPY 1.23 m"],
  ])("%i of %s in short is %s, never rounded up", (minor, currency, text) => {
    expect(plain(shortMoney(minor, currency))).toBe(text);
  });

  test.each([
    ["1,234.5", "EUR", 123450],
    ["12", "EUR", 1200],
    ["0.001", "KWD", 1],
    ["5400", "JPY", 5400],
    ["5400.5", "JPY", null],
    ["1.234", "EUR", null],
    ["-3", "EUR", null],
    ["three", "EUR", null],
    ["12,50", "EUR", null],
    ["12,5", "EUR", null],
    ["1,23", "EUR", null],
    ["1.234,50", "EUR", null],
    ["1,2345", "EUR", null],
    ["1,234", "EUR", 123400],
    ["1,234,567.80", "EUR", 123456780],
    ["1,234", "KWD", null],
    ["1,234.5", "KWD", 1234500],
    ["1,234", "JPY", 1234],
    [" 12.30 ", "EUR", 1230],
  ])("%s typed in %s is %s minor units", (text, currency, minor) => {
    expect(parseAmount(text, currency)).toBe(minor);
  });

  test("a comma that might be a decimal one is refused with both readings", () => {
    expect(notAnAmount("12,50", "EUR")).toBe("With a comma it could be either: type 12.50 or 1250");
    expect(notAnAmount("twelve", "EUR")).toBe("Not an amount in EUR");
  });
});
