import { describe, expect, test } from "vitest";
import { incidentDetail } from "@/app/IncidentBar";
import { findCommands } from "@/app/Palette";
import { returnAddress } from "@/auth/session";
import { auditQuery } from "@/features/audit/search";
import { hexLines } from "@/features/deadletters/hex";
import { exceptionQuery } from "@/features/exceptions/search";
import { passes, readLiveSearch } from "@/features/live/search";
import { judge } from "@/features/overview/health";
import { draftBody, draftFields } from "@/features/rules/draft";
import {
  filterCount,
  readTransactionSearch,
  sortFor,
  transactionQuery,
} from "@/features/transactions/search";
import { oddCells, oddSources } from "@/lib/legs";
import { matchesQuery } from "@/lib/match";
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

  test("the live screen's own filters", () => {
    expect(passes(readLiveSearch({ severity: "high" }), result("a"))).toBe(false);
    expect(passes(readLiveSearch({ severity: "low", break: "AMOUNT" }), result("a"))).toBe(true);
    expect(passes(readLiveSearch({ missing: "CORE" }), result("a", { missing_sources: ["CORE"] }))).toBe(
      true,
    );
  });
});

describe("cells that differ", () => {
  test("are those against the majority", () => {
    expect([...oddCells(result("a"))]).toEqual(["MOBILE.amount_minor"]);
  });

  test("in a tie the first source is right", () => {
    const leg = { amount_minor: 1, currency: "EUR", status: "SUCCESS" as const, event_time: 0 };
    const row = result("a", { legs: { GATEWAY: { ...leg, amount_minor: 2 }, CORE: leg } });
    expect([...oddSources(row)]).toEqual(["GATEWAY"]);
  });

  test("of three clocks the one that stands apart is marked, not the two that nearly agree", () => {
    const at = (event_time: number) => ({
      amount_minor: 1,
      currency: "EUR",
      status: "SUCCESS" as const,
      event_time,
    });
    const legs = { CORE: at(0), GATEWAY: at(1_000), MOBILE: at(3_600_000) };
    expect([...oddCells(result("a", { breaks: ["TIMESTAMP"], legs }))]).toEqual(["MOBILE.event_time"]);
    const ahead = { CORE: at(3_600_000), GATEWAY: at(0), MOBILE: at(1_000) };
    expect([...oddCells(result("a", { breaks: ["TIMESTAMP"], legs: ahead }))]).toEqual(["CORE.event_time"]);
  });

  test("differences that are no break are not marked", () => {
    expect(oddCells(result("a", { breaks: ["STATUS"] })).size).toBe(0);
  });
});

describe("numbers and times as text", () => {
  test("a share never rounds up to all", () => {
    expect(plain(percent(0.999999))).toBe("99.99 %");
    expect(plain(percent(1))).toBe("100.00 %");
  });

  test("counts say how sure they are", () => {
    expect(relationCount({ value: 10_000, relation: "at_least" })).toBe("10,000+");
    expect(relationCount({ value: 5, relation: "exact" })).toBe("5");
    expect(relationCount({ value: 5_000, relation: "estimate" })).toBe("~5,000");
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

  test("the form gives back what it was given", () => {
    expect(draftBody(draftFields(base), base)).toEqual({ ok: true, body: base });
  });

  test.each([
    [{ window: "0" }, "longer than nothing"],
    [{ window: "soon" }, "seconds"],
    [{ sources: " , " }, "At least one source"],
    [{ sources: "CORE, core" }, "named twice"],
    [{ tolerances: [{ currency: "EURO", absolute: "1", bps: "0" }] }, "three letters"],
    [{ high: "10", critical: "9" }, "below high"],
    [{ second: "1.5" }, "whole number"],
  ])("refuses %o", (change, problem) => {
    const outcome = draftBody({ ...draftFields(base), ...change }, base);
    expect(outcome).toMatchObject({ ok: false, problem: expect.stringContaining(problem) });
  });

  test("reads seconds without rounding", () => {
    const outcome = draftBody({ ...draftFields(base), clock: "2.005" }, base);
    expect(outcome).toMatchObject({ ok: true, body: { time_tolerance_ms: 2_005 } });
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
