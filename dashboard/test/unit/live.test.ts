import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiProblem } from "@/api/problem";
import { bridge, leavesOut, patchPages } from "@/live/bridge";
import { Coalescer } from "@/live/coalesce";
import { LiveFeed } from "@/live/feed";
import { FeedPosition } from "@/live/sequence";
import { Tape } from "@/live/tape";
import { result } from "./samples";

describe("the position in the feed", () => {
  test("follows numbers, ignores repeats, tells gaps", () => {
    const position = new FeedPosition();
    expect(position.last).toBeNull();
    expect([7, 8, 8, 3, 9, 12, 13].map((seq) => position.take(seq))).toEqual([
      "next",
      "next",
      "repeat",
      "repeat",
      "next",
      "gap",
      "next",
    ]);
  });

  test("takes several flushes in one message by the first and the last of their numbers", () => {
    const position = new FeedPosition();
    const steps = [
      [7, 7],
      [8, 11],
      [9, 11],
      [12, 12],
      [14, 20],
      [21, 22],
    ] as const;
    expect(steps.map(([first, last]) => position.take(last, first))).toEqual([
      "next",
      "next",
      "repeat",
      "next",
      "gap",
      "next",
    ]);
    expect(position.last).toBe(22);
  });

  test("goes on from where it is told after a refetch", () => {
    const position = new FeedPosition();
    position.take(5);
    position.reset(90);
    expect(position.take(91)).toBe("next");
  });

  test("may go back, when the feed began anew", () => {
    const position = new FeedPosition();
    position.take(500);
    position.reset(2);
    expect(position.take(3)).toBe("next");
  });
});

describe("coalescing", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("hands on what came within the interval in one go", () => {
    const got: number[][] = [];
    const coalescer = new Coalescer<number>((items) => got.push(items), 250);
    coalescer.push([1]);
    vi.advanceTimersByTime(100);
    coalescer.push([2, 3]);
    expect(got).toEqual([]);
    vi.advanceTimersByTime(150);
    expect(got).toEqual([[1, 2, 3]]);
    vi.advanceTimersByTime(1_000);
    expect(got).toHaveLength(1);
  });

  test("is bounded: the oldest go, and are counted", () => {
    const got: [number[], number][] = [];
    const coalescer = new Coalescer<number>((items, dropped) => got.push([items, dropped]), 250, 3);
    coalescer.push([1, 2, 3, 4, 5]);
    coalescer.flush();
    expect(got).toEqual([[[3, 4, 5], 2]]);
  });
});

describe("the tape", () => {
  test("that was cleared stays so when what is stored is read again", () => {
    const tape = new Tape();
    tape.add([result("a", { decided_at: 10 }), result("b", { decided_at: 20 })], 1);
    tape.clear();
    tape.seed(
      [result("c", { decided_at: 30 }), result("b", { decided_at: 20 }), result("a", { decided_at: 10 })],
      2,
    );
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["c"]);
  });

  test("puts new mismatches on top and leaves matches out", () => {
    const tape = new Tape();
    tape.add([result("a"), result("b", { verdict: "MATCHED", breaks: [] }), result("c")], 1);
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["c", "a"]);
  });

  test("changes a row where it stands, and shows that it healed", () => {
    const tape = new Tape();
    tape.add([result("a"), result("b")], 1);
    tape.add([result("a", { revision: 2, verdict: "MATCHED", breaks: [] })], 2);
    expect(tape.snapshot().rows.map((row) => [row.txn_id, row.verdict])).toEqual([
      ["b", "MISMATCHED"],
      ["a", "MATCHED"],
    ]);
  });

  test("an older revision never replaces a newer one", () => {
    const tape = new Tape();
    tape.add([result("a", { revision: 3 })], 1);
    tape.add([result("a", { revision: 2, breaks: ["STATUS"] })], 2);
    expect(tape.snapshot().rows[0]?.revision).toBe(3);
  });

  test("while held, new rows wait and are counted; rows on screen still change", () => {
    const tape = new Tape();
    tape.add([result("a")], 1);
    tape.hold(true);
    tape.add([result("b"), result("a", { revision: 2, breaks: ["STATUS"] })], 2);
    expect(tape.snapshot()).toMatchObject({ waiting: 1, held: true });
    expect(tape.snapshot().rows.map((row) => row.breaks)).toEqual([["STATUS"]]);
    tape.release(true);
    expect(tape.snapshot()).toMatchObject({ waiting: 0, held: true });
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["b", "a"]);
  });

  test("is capped, on screen and waiting", () => {
    const tape = new Tape(3);
    tape.add(
      ["a", "b", "c", "d"].map((id) => result(id)),
      1,
    );
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["d", "c", "b"]);
    tape.hold(true);
    tape.add(
      ["e", "f", "g", "h"].map((id) => result(id)),
      2,
    );
    expect(tape.snapshot().waiting).toBe(3);
    tape.hold(false);
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["h", "g", "f"]);
  });

  test("begins with what is stored, without doubling what the feed brought", () => {
    const tape = new Tape();
    tape.add([result("b", { decided_at: 20 })], 1);
    tape.seed([result("b", { decided_at: 20 }), result("a", { decided_at: 10 })], 2);
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["b", "a"]);
  });
});

describe("after a gap", () => {
  const before = () => {
    const tape = new Tape();
    tape.add([result("a", { decided_at: 10 }), result("b", { decided_at: 20 })], 1);
    return tape;
  };

  test("what was missed waits while the tape is held, like all else", () => {
    const tape = before();
    tape.hold(true);
    tape.seed([result("c", { decided_at: 30 }), result("b", { decided_at: 20 })], 2);
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["b", "a"]);
    expect(tape.snapshot().waiting).toBe(1);
    tape.release(true);
    expect(tape.snapshot().rows.map((row) => row.txn_id)).toEqual(["c", "b", "a"]);
  });

  test("stored rows are read back to one that was known before, or to the tape's beginning", () => {
    const tape = before();
    const reached = tape.reach();
    tape.add([result("z", { decided_at: 90 })], 2); // came after the gap: no sign that the gap is filled
    expect(reached(result("z", { decided_at: 90 }))).toBe(false);
    expect(reached(result("b", { decided_at: 20 }))).toBe(true);
    expect(reached(result("older", { decided_at: 9 }))).toBe(true);
  });

  test("what the service could not answer yet is asked for until it does", async () => {
    vi.useFakeTimers();
    const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
    const answers = ["before", new ApiProblem({ status: 503 }), new ApiProblem({ status: 0 }), "after"];
    const ask = vi.fn(async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    });
    const off = new QueryObserver(client, { queryKey: ["live", "seed"], queryFn: ask }).subscribe(
      () => undefined,
    );
    await vi.advanceTimersByTimeAsync(1);
    const feed = new LiveFeed();
    const handlers = new Map<string, (data: unknown) => void>();
    vi.spyOn(feed, "on").mockImplementation((event, handler) => {
      handlers.set(event, handler as (data: unknown) => void);
      return () => true;
    });
    bridge(feed, client, new Tape());
    handlers.get("resync")?.({ reason: "a gap in the feed" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.getQueryData(["live", "seed"])).toBe("after");
    expect(ask).toHaveBeenCalledTimes(4);
    off();
    vi.useRealTimers();
  });

  test("a message without room for all mismatches is noticed, one that leaves out matches is not", () => {
    const results = [result("a"), result("b", { verdict: "MATCHED", breaks: [] })];
    expect(leavesOut({ counts: { MISMATCHED: 1, MATCHED: 900 }, results })).toBe(false);
    expect(leavesOut({ counts: { MISMATCHED: 2 }, results })).toBe(true);
  });
});

describe("patching cached pages", () => {
  const pages = { pages: [{ items: [{ id: 1 }, { id: 2 }], next_cursor: null }], pageParams: [null] };

  test("gives the very same list when nothing on it changed", () => {
    expect(patchPages(pages, (row) => row)).toBe(pages);
  });

  test("gives a new list when a row did", () => {
    const next = patchPages(pages, (row) => (row.id === 2 ? { id: 20 } : row));
    expect(next).not.toBe(pages);
    expect(next?.pages[0]?.items).toEqual([{ id: 1 }, { id: 20 }]);
  });
});
