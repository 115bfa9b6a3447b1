import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { incidentDetail } from "@/app/IncidentBar";
import { findCommands } from "@/app/Palette";
import { returnAddress } from "@/auth/session";
import { auditQuery } from "@/features/audit/search";
import { hexLines } from "@/features/deadletters/hex";
import { sortFor as deskSortFor, exceptionQuery, isLive, matchesDesk } from "@/features/exceptions/search";
import { passes, readLiveSearch } from "@/features/live/search";
import { judge } from "@/features/overview/health";
import {
  AMOUNT_MINOR_MAX,
  anyMoney,
  BPS_MAX,
  draftBody,
  draftFields,
  MATCH_WINDOW_MS_MAX,
  sameMoney,
  TIME_TOLERANCE_MS_MAX,
} from "@/features/rules/draft";
import { ruleLines } from "@/features/rules/RulesView";
import {
  filterCount,
  readTransactionSearch,
  sortFor,
  transactionQuery,
} from "@/features/transactions/search";
import { durationText, parseDuration } from "@/lib/durations";
import { oddCells, oddSources } from "@/lib/legs";
import { matchesQuery } from "@/lib/match";
import { amount, exponent, isCurrency, notACurrency } from "@/lib/money";
import { percent, relationCount, shortCount } from "@/lib/numbers";
import { parseSearch, stringifySearch } from "@/lib/search";
import { ago, fineSpan, moment, span } from "@/lib/time";
import { fillSlots, niceTop, spanTicks, timeTicks } from "@/ui/chart/scale";
import { makeWorld, ruleSets, sources, summary } from "../mock/data";
import { result } from "./samples";

const plain = (text: string) => text.replaceAll(/[\u00a0\u2009]/g, " ");

test("a moment of another day has its date, one of another year its year", () => {
  const now = Date.UTC(2026, 10, 24, 15);
  expect(moment(Date.UTC(2026, 10, 24, 14, 3, 27), now)).toBe("14:03:27");
  expect(moment(Date.UTC(2026, 10, 23, 14, 3), now)).toBe("23 Nov 14:03");
  expect(moment(Date.UTC(2025, 10, 23, 14, 3), now)).toBe("23 Nov 2025 14:03");
});

test("an incident's moments are shown as moments", () => {
  const detail = `nothing since ${new Date(Date.now()).toISOString().slice(0, 11)}00:00:05Z`;
  expect(incidentDetail({ detail })).toBe("nothing since 00:00:05");
  expect(incidentDetail({ detail: "no report for 12 s" })).toBe("no report for 12 s");
});

test("the sign-in service is asked to come back without its own parameters", () => {
  expect(returnAddress("https://console/x?state=new&break=A,B&code=1")).toBe("https://console/x?break=A%2CB");
  expect(returnAddress("https://console/x?break=A,B#part")).toBe("https://console/x?break=A,B#part");
});

describe("view state in the URL", () => {
  test("survives the way to the address bar and back", () => {
    const search = readTransactionSearch({
      verdict: "MISMATCHED",
      break: ["AMOUNT", "MISSING"],
      currency: "EUR",
      min: 1000,
      late: true,
      q: "TX1*",
    });
    const address = stringifySearch({ ...search });
    expect(address).toContain("break=AMOUNT,MISSING");
    expect(readTransactionSearch(parseSearch(address.slice(1)))).toEqual(search);
  });

  test("what is broken or unknown is left out", () => {
    const raw = parseSearch("verdict=PERHAPS&break=AMOUNT,NOISE&currency=euro&min=-3&late=maybe&sort=;drop");
    expect(readTransactionSearch(raw)).toEqual({ break: ["AMOUNT"] });
  });

  test("a plain view has a plain address", () => {
    expect(stringifySearch({ verdict: undefined, break: [], q: "" })).toBe("");
  });

  test.each([
    [{ sort: "-amount_minor" as const }, "-decided_at"],
    [{ sort: "-amount_minor" as const, verdict: "MISMATCHED" as const }, "-amount_minor"],
    [{ sort: "txn_id" as const }, "-decided_at"],
    [{ q: "TX1*" }, "txn_id"],
  ])("asks only for orders that the service has: %o", (search, sort) => {
    expect(sortFor(search)).toBe(sort);
    expect(transactionQuery(search).sort).toBe(sort);
  });

  test("counts filters, not the text and the order", () => {
    expect(filterCount({ q: "a", sort: "decided_at", break: ["AMOUNT"], late: false })).toBe(2);
  });

  test("the audit trail begins with what people did, and looks everywhere for an object", () => {
    expect(auditQuery({})).toEqual({ chain: "api" });
    expect(auditQuery({ object: "TX1" })).toEqual({ object_id: "TX1" });
    expect(auditQuery({ chain: "all" })).toEqual({});
    expect(auditQuery({ chain: "shard-0", actor: "x" })).toEqual({ chain: "shard-0", actor: "x" });
  });

  test("the desk begins with what is open", () => {
    expect(exceptionQuery({})).toEqual({ bucket: "open", sort: "-decided_at" });
    expect(exceptionQuery({ sort: "-updated_at" }).sort).toBe("-decided_at");
    expect(exceptionQuery({ sort: "-updated_at", bucket: "mine" }).sort).toBe("-updated_at");
  });
});

describe("holding live results against a list's filter", () => {
  test.each([
    [{}, true],
    [{ verdict: "MATCHED" as const }, false],
    [{ break: ["STATUS" as const, "AMOUNT" as const] }, true],
    [{ break: ["STATUS" as const] }, false],
    [{ currency: "USD" }, false],
    [{ amount_min: 1_200, amount_max: 1_200 }, true],
    [{ amount_min: 1_201 }, false],
    [{ since: 2_001 }, false],
    [{ until: 2_000 }, false],
    [{ missing_source: "CORE" }, false],
    [{ late: true }, false],
    [{ late: false, final: true }, true],
    [{ q: "TX*" }, true],
    [{ q: "TX" }, false],
  ])("%o", (query, belongs) => {
    expect(matchesQuery(query, result("TX1"))).toBe(belongs);
  });

  test("breaks without a verdict are looked for among mismatches, as the service does", () => {
    const pending = result("TX1", {
      verdict: "PENDING",
      final: false,
      breaks: ["AMOUNT"],
      missing_sources: ["CORE"],
    });
    expect(matchesQuery({ break: ["AMOUNT"] }, pending)).toBe(false);
    expect(matchesQuery({ missing_source: "CORE" }, pending)).toBe(false);
    expect(matchesQuery({ break: ["AMOUNT"], verdict: "PENDING" }, pending)).toBe(true);
    expect(matchesQuery({}, pending)).toBe(true);
  });

  test("the desk counts as new only what its filters would show", () => {
    const row = result("TX1");
    expect(matchesDesk({}, row)).toBe(true);
    expect(matchesDesk({ severity: "medium", currency: "EUR", break: ["AMOUNT"] }, row)).toBe(true);
    expect(matchesDesk({ severity: "high" }, row)).toBe(false);
    expect(matchesDesk({ currency: "USD" }, row)).toBe(false);
    expect(matchesDesk({}, result("TX1", { verdict: "MATCHED", breaks: [] }))).toBe(false);
    expect(isLive({})).toBe(true);
    for (const search of [
      { bucket: "mine" as const },
      { sort: "-amount_minor" as const },
      { assignee: "anna" },
    ])
      expect(isLive(search)).toBe(false);
  });

  test("a bucket is asked for only in an order that it has", () => {
    expect(deskSortFor({})).toBe("-decided_at");
    expect(deskSortFor({ sort: "-updated_at" })).toBe("-decided_at");
    expect(deskSortFor({ bucket: "mine" })).toBe("-updated_at");
    expect(deskSortFor({ bucket: "mine", sort: "-amount_minor" })).toBe("-amount_minor");
    expect(deskSortFor({ bucket: "resolved", sort: "-amount_minor" })).toBe("-updated_at");
  });

  test("the live screen's own filters", () => {
    expect(passes(readLiveSearch({ severity: "high" }), result("a"))).toBe(false);
    expect(passes(readLiveSearch({ severity: "low", break: "AMOUNT" }), result("a"))).toBe(true);
    expect(passes(readLiveSearch({ missing: "CORE" }), result("a", { missing_sources: ["CORE"] }))).toBe(
      true,
    );
  });
});

describe("cells that differ", () => {
  test("are those that the service names, and no others", () => {
    const row = result("a", { differing: { MOBILE: ["amount_minor", "event_time"], CORE: ["status"] } });
    expect([...oddCells(row)]).toEqual(["MOBILE.amount_minor", "MOBILE.event_time", "CORE.status"]);
    expect([...oddSources(row)]).toEqual(["MOBILE", "CORE"]);
    expect(oddCells(result("a", { differing: {}, breaks: ["TIMESTAMP"] })).size).toBe(0);
  });
});

describe("currencies", () => {
  test("have the decimals of ISO 4217, historic ones as well", () => {
    expect(["EUR", "JPY", "KWD", "CLF", "ITL", "ATS"].map(exponent)).toEqual([2, 0, 3, 4, 0, 2]);
    expect(amount(1_936_27, "ITL")).toBe("193,627");
  });

  test("are told from codes that are none, with what is meant", () => {
    expect(isCurrency("GBP")).toBe(true);
    expect(isCurrency("ITL")).toBe(true);
    expect(isCurrency("ITL", { inUse: true })).toBe(false);
    for (const code of ["GBX", "XAU", "ABC", "GB", ""]) expect(isCurrency(code)).toBe(false);
    expect(notACurrency("GBX")).toBe("GBX is no currency of ISO 4217: write the amount in GBP");
    expect(notACurrency("XAU")).toBe("XAU has no minor unit in ISO 4217: no amount can be written in it");
    expect(notACurrency("ABC")).toBe("ABC is no currency of ISO 4217");
    expect(notACurrency("ITL")).toBe("ITL is no longer in use");
    expect(notACurrency("GB")).toContain("three letters");
  });
});

describe("durations", () => {
  test.each([
    [500, "0.5 s"],
    [30_000, "30 s"],
    [90_000, "90 s"],
    [2_005, "2.005 s"],
    [7_200_000, "2 h"],
    [366 * 86_400_000, "366 d"],
    [0, "0 s"],
  ])("%d ms is %s, both ways", (ms, text) => {
    expect(durationText(ms)).toBe(text);
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    ["45", 45_000],
    ["500ms", 500],
    ["1.5 h", 5_400_000],
    ["5m", 300_000],
    ["0.5 ms", null],
    ["1.0005", null],
    ["soon", null],
    ["-1 s", null],
    ["1e3", null],
    ["", null],
  ])("reads %s", (text, ms) => expect(parseDuration(text)).toBe(ms));
});

describe("numbers and times as text", () => {
  test("a share never rounds up to all", () => {
    expect(plain(percent(0.999999))).toBe("99.99 %");
    expect(plain(percent(1))).toBe("100.00 %");
  });

  test("counts say how sure they are", () => {
    expect(relationCount({ value: 10_000, relation: "at_least", at_most: null })).toBe("at least 10,000");
    expect(relationCount({ value: 1_699, relation: "at_least", at_most: 5_794 })).toBe("1,699 to 5,794");
    expect(relationCount({ value: 5, relation: "exact", at_most: null })).toBe("5");
    expect(shortCount(12_345)).toBe("12.3k");
  });

  test("spans", () => {
    expect(plain(span(59_999))).toBe("59 s");
    expect(plain(span(3_600_000))).toBe("1 h");
    expect(plain(fineSpan(1_400))).toBe("1.4 s");
    expect(plain(fineSpan(30_000))).toBe("30 s");
    expect(plain(ago(1_000, 13_000))).toBe("12 s ago");
    expect(ago(1_000, 1_500)).toBe("just now");
  });
});

describe("charts", () => {
  test("tops are round and never below the data", () => {
    for (const max of [0, 3, 7, 11, 99, 101, 7_501, 123_456])
      expect(niceTop(max)).toBeGreaterThanOrEqual(max);
    expect(niceTop(1_100)).toBe(1_500);
  });

  test.each([5, 11, 12.5, 29, 31, 1_001])("the half of an axis for %d is a whole number", (max) => {
    expect(niceTop(max) / 2).toBe(Math.floor(niceTop(max) / 2));
  });

  test("empty buckets are slots too", () => {
    const slots = fillSlots([{ at: 120_000, values: { a: 1 } }], 0, 240_000, 60_000, {});
    expect(slots.map((slot) => slot.values)).toEqual([{}, {}, { a: 1 }, {}]);
  });

  test("ticks stay inside and are not too many", () => {
    const ticks = timeTicks(0, 3_600_000, 6);
    expect(ticks.length).toBeLessThanOrEqual(7);
    expect(spanTicks(0, 30_000, 8)).toEqual([0, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000]);
  });
});

describe("health", () => {
  const now = 1_700_000_000_000;
  const sum = summary(makeWorld(now), now, 3_600_000);

  test("good, since the last incident ended", () => {
    const ended = {
      incident_id: 1,
      kind: "source_silent" as const,
      subject: "MOBILE",
      opened_at: 1,
      closed_at: 5,
      detail: "",
    };
    expect(judge(sum, sources(now).items, [ended], now)).toMatchObject({ level: "good", since: 5 });
  });

  test("a stopped pipeline outweighs all else", () => {
    expect(judge({ ...sum, pipeline: "stopped" }, [], [], now).level).toBe("bad");
  });

  test("names the silent source", () => {
    const items = sources(now).items.map((each) => ({ ...each, silent: each.name === "MOBILE" }));
    expect(judge(sum, items, [], now).headline).toBe("Mobile is silent");
  });

  test("claims nothing of sources that nobody has told of", () => {
    expect(judge(sum, null, [], now)).toMatchObject({
      level: "warn",
      headline: "Running, its sources unknown",
    });
  });

  test("news that is old is not health", () => {
    const heard = (agoMs: number) => judge(sum, sources(now).items, [], now, now - agoMs);
    expect(heard(30_000).level).toBe("good");
    expect(heard(60_000)).toMatchObject({
      level: "bad",
      headline: "No word from the service",
      since: now - 60_000,
    });
  });

  test("a backlog is catching up, not running", () => {
    expect(judge({ ...sum, lag: 100_000 }, sources(now).items, [], now).headline).toBe("Catching up");
  });
});

describe("drafting rules", () => {
  const base = ruleSets(0)[1]?.body;
  if (!base) throw new Error("no rules");
  const fields = draftFields(base);
  const line = (currency: string, absolute: string, percent = "0") => ({ currency, absolute, percent });
  const levels = (currency: string, high: string, critical: string, second: string) => ({
    currency,
    high,
    critical,
    second,
  });

  test("the form gives back what it was given", () => {
    expect(draftBody(fields, base)).toEqual({ ok: true, body: base });
    const own = {
      ...base,
      default_tolerance: { absolute_minor: 3, bps: 5 },
      tolerances: { KWD: { absolute_minor: 1_234_567, bps: 10_000 }, JPY: { absolute_minor: 5, bps: 1 } },
      severities: {
        ...base.severities,
        amounts: { ...base.severities.amounts, KWD: { high_minor: 1, critical_minor: 1_000_000_000 } },
        second_person_above_minor: { default: 5, JPY: 12_345 },
      },
    };
    expect(draftBody(draftFields(own), own)).toEqual({ ok: true, body: own });
  });

  test("shows and takes major units of each currency, and per cent", () => {
    expect(fields.tolerances).toEqual([
      line("default", "0.00"),
      line("EUR", "0.01"),
      line("JPY", "0", "0.05"),
    ]);
    expect(fields.levels).toEqual([levels("default", "10,000.00", "100,000.00", "10,000.00")]);
    const outcome = draftBody(
      {
        ...fields,
        tolerances: [line("default", "0.02", "0.1"), line("KWD", "1.005"), line("JPY", "1,000", "12.34")],
        levels: [levels("default", "10,000", "100,000.5", "20,000"), levels("KWD", "", "", "3,000.000")],
      },
      base,
    );
    expect(outcome).toMatchObject({
      ok: true,
      body: {
        default_tolerance: { absolute_minor: 2, bps: 10 },
        tolerances: { KWD: { absolute_minor: 1_005, bps: 0 }, JPY: { absolute_minor: 1_000, bps: 1_234 } },
        severities: {
          amounts: { default: { high_minor: 1_000_000, critical_minor: 10_000_050 } },
          second_person_above_minor: { default: 2_000_000, KWD: 3_000_000 },
        },
      },
    });
  });

  test.each([
    [{ window: "0" }, "longer than nothing"],
    [{ window: "soon" }, "must be a duration"],
    [{ window: "8 d" }, "at most 7 d"],
    [{ clock: "367 d" }, "at most 366 d"],
    [{ sources: " , " }, "At least one source"],
    [{ sources: "CORE, core" }, "named twice"],
    [{ tolerances: [line("EURO", "1")] }, "three letters"],
    [{ tolerances: [line("GBX", "1")] }, "GBX is no currency of ISO 4217: write the amount in GBP"],
    [{ tolerances: [line("ITL", "1")] }, "no longer in use"],
    [{ tolerances: [line("EUR", "1"), line("EUR", "2")] }, "EUR has two tolerances"],
    [{ tolerances: [line("EUR", "0.005")] }, "at most 2 decimals"],
    [{ tolerances: [line("JPY", "0.5")] }, "at most 0 decimals"],
    [{ tolerances: [line("EUR", "0,05")] }, "could be either"],
    [{ tolerances: [line("EUR", "10000000000000.01")] }, "must be an amount"],
    [{ tolerances: [line("EUR", "0", "0.001")] }, "0 to 100 %"],
    [{ tolerances: [line("EUR", "0", "100.01")] }, "0 to 100 %"],
    [{ levels: [levels("default", "10", "9", "1")] }, "below high"],
    [{ levels: [levels("default", "1", "2", "1.555")] }, "at most 2 decimals"],
    [{ levels: [levels("default", "1", "2", "1"), levels("EUR", "1", "", "")] }, "Critical from, of EUR"],
    [{ levels: [levels("default", "1", "2", "")] }, "Second person above"],
  ])("refuses %o", (change, problem) => {
    const outcome = draftBody({ ...fields, ...change }, base);
    expect(outcome).toMatchObject({ ok: false, problem: expect.stringContaining(problem) });
  });

  test("a clock may be a year apart, and a duration is never rounded", () => {
    const clock = (text: string) => draftBody({ ...fields, clock: text }, base);
    expect(clock("2.005")).toMatchObject({ ok: true, body: { time_tolerance_ms: 2_005 } });
    expect(clock("366 d")).toMatchObject({ ok: true, body: { time_tolerance_ms: 366 * 86_400_000 } });
  });

  test("the limits are those of the service", () => {
    const { components } = JSON.parse(readFileSync("../api/openapi.json", "utf8"));
    const body = components.schemas.RulesBody.properties;
    const tolerance = components.schemas.ToleranceShape.properties;
    expect(body.match_window_ms.maximum).toBe(MATCH_WINDOW_MS_MAX);
    expect(body.time_tolerance_ms.maximum).toBe(TIME_TOLERANCE_MS_MAX);
    expect(tolerance.absolute_minor.maximum).toBe(AMOUNT_MINOR_MAX);
    expect(tolerance.bps.maximum).toBe(BPS_MAX);
  });

  test("a limit for any currency is read out in some of them", () => {
    expect(plain(anyMoney(1))).toBe("EUR 0.01, JPY 1, KWD 0.001");
    expect(plain(sameMoney(1_000_050))).toBe("EUR 10,000.50, JPY 10,000, KWD 10,000.500");
  });

  test("rules are told exactly: a minute and a half is not a minute", () => {
    const lines = ruleLines({ ...base, match_window_ms: 90_000 });
    expect(lines.find((each) => each.name === "Match window")?.value).toBe("90 s");
    const second = lines.find((each) => each.group === "Second person above");
    expect(plain(second?.value ?? "")).toBe("EUR 10,000.00, JPY 10,000, KWD 10,000.000");
  });
});

test("bytes become a hex dump", () => {
  const lines = hexLines("00000000077b41".padEnd(36, "2e"));
  expect(lines[0]?.offset).toBe("0000");
  expect(lines[0]?.text.startsWith("·····{A")).toBe(true);
  expect(lines[1]?.offset).toBe("0010");
});

test("commands are found by the beginnings of their words", () => {
  const run = () => undefined;
  const commands = ["Dead letters", "My exceptions", "Exceptions awaiting my approval"].map((label) => ({
    id: label,
    label,
    hint: "",
    icon: "search" as const,
    run,
  }));
  expect(findCommands(commands, "my ex").map((each) => each.label)).toEqual([
    "My exceptions",
    "Exceptions awaiting my approval",
  ]);
  expect(findCommands(commands, "etters")).toEqual([]);
});
