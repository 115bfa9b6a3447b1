"""Random histories judged three times: by the core, by the oracle, and by a third judge written here from the contract.

The third judge knows nothing of the other two. It goes through one transaction event by event, in the contract's own
words and order. A history is rich in what is rare in life: one event id with several contents, redeliveries, events
that move on or go back, late ones, silent sources, equal times, and times exactly at a tolerance.
"""

from __future__ import annotations

import random
from itertools import pairwise

import polars as pl
import pytest

from actors.matching.decide import decide, drop_redeliveries
from actors.matching.frames import EVENT_SCHEMA
from cluster.oracle.judge import Seen, judge
from schemas.events import DEFAULT_SOURCES, SourceSpec, Status, key_group_of
from schemas.rules import TIME_TOLERANCE_MS_MAX, Rulebook, RuleSet, Tolerance
from schemas.verdicts import STATUS_LETTERS, Break, Verdict

A0 = 1_790_000_000_000
SOURCES = (*DEFAULT_SOURCES, SourceSpec("RISK", "risk_txns", expected=False))
TRANSACTIONS = 150  # of one round, judged by the core in one frame
ROUNDS = 40


def contract(events: list[Seen], rules: RuleSet, watermarks: list[int]) -> dict[str, object]:
    """The verdict on one transaction."""
    distinct: list[Seen] = []
    for event in sorted(events, key=lambda e: (e.arrival, e.source, e.partition, e.offset)):
        if not any(same_event(event, earlier) for earlier in distinct):
            distinct.append(event)
    close = distinct[0].arrival + rules.match_window_ms
    expected = {n for n, source in enumerate(SOURCES) if source.name in rules.expected_sources}
    complete = [
        n
        for n in range(1, len(distinct) + 1)
        if expected <= set(legs := legs_of(distinct[:n]))
        and all(leg.status is not Status.PENDING for leg in legs.values())
    ]
    legs = legs_of(distinct)
    waited = (expected - set(legs)) | {n for n, leg in legs.items() if leg.status is Status.PENDING}
    final = bool(complete) or all(watermarks[n] > close for n in waited)
    before = [n for n in complete if distinct[n - 1].arrival <= close][:1]
    decided = before[0] if before else sum(event.arrival <= close for event in distinct)
    breaks = {Break.MISSING} if expected - set(legs) else set()
    for source in legs:
        own = sorted((e for e in distinct if e.source == source), key=order)
        breaks |= {kind for pair in pairwise(own) if (kind := change(*pair)) is not None}
    amounts = [leg.amount_minor for leg in legs.values()]
    tolerances = [rules.tolerance(leg.currency) for leg in legs.values()]
    allowed = min(max(each.absolute_minor, max(amounts) * each.bps // 10_000) for each in tolerances)
    times = [leg.event_time for leg in legs.values()]
    breaks |= {Break.AMOUNT} if max(amounts) - min(amounts) > allowed else set()
    breaks |= {Break.CURRENCY} if len({leg.currency for leg in legs.values()}) > 1 else set()
    breaks |= {Break.STATUS} if len({leg.status for leg in legs.values()}) > 1 else set()
    breaks |= {Break.TIMESTAMP} if max(times) - min(times) > rules.time_tolerance_ms else set()
    verdict = Verdict.PENDING if not final else Verdict.MISMATCHED if breaks else Verdict.MATCHED
    return {
        "verdict": verdict,
        "revision": 1 + len(distinct) - decided if final else 0,
        "breaks": breaks if final else None,  # what is shown before the decision is the engine's courtesy
        "missing": expected - set(legs) if final else None,
        "late": {event.source for event in distinct if event.arrival > close} if final else None,
        "legs": ";".join(
            f"{n}:{e.amount_minor}:{e.currency}:{STATUS_LETTERS[e.status]}:{e.event_time}"
            for n, e in sorted(legs.items())
        ),
        "counted": {event.stored_seq for event in distinct},
    }


def same_event(one: Seen, other: Seen) -> bool:
    identity = (one.source, one.event_id) == (other.source, other.event_id)
    money = (one.amount_minor, one.currency) == (other.amount_minor, other.currency)
    return identity and money and one.status is other.status and one.event_time == other.event_time


def order(event: Seen) -> tuple[int, ...]:
    return event.event_time, event.arrival, event.offset


def legs_of(events: list[Seen]) -> dict[int, Seen]:
    return {source: max((e for e in events if e.source == source), key=order) for source in {e.source for e in events}}


def change(earlier: Seen, later: Seen) -> Break | None:
    if (earlier.amount_minor, earlier.currency) != (later.amount_minor, later.currency):
        return Break.CONFLICT
    if earlier.status is later.status:
        return Break.DUPLICATE
    settles = earlier.status is Status.PENDING
    reverses = earlier.status is Status.SUCCESS and later.status is Status.REVERSED
    return None if settles or reverses else Break.CONFLICT


def rules_of(rng: random.Random) -> RuleSet:
    return RuleSet(
        match_window_ms=rng.choice([1, 20, 30_000]),
        time_tolerance_ms=rng.choice([0, 3, 5_000, rng.randrange(TIME_TOLERANCE_MS_MAX), TIME_TOLERANCE_MS_MAX]),
        default_tolerance=Tolerance(rng.choice([0, 1, 5]), rng.choice([0, 0, 250, 500])),
        tolerances=rng.choice([{}, {"JPY": Tolerance(absolute_minor=1)}]),
        expected_sources=rng.choice([("CORE", "GATEWAY", "MOBILE"), ("CORE", "RISK")]),
    )


def history(rng: random.Random, txn_id: str, rules: RuleSet) -> list[Seen]:
    """One transaction: what its sources tell, then what happens to that on the way."""
    window, tolerance = rules.match_window_ms, rules.time_tolerance_ms
    usual = (rng.choice([100, 10**15]), rng.choice(["EUR", "JPY"]), Status.SUCCESS)
    told: list[tuple] = []  # source, event_id, amount, currency, status, event_time
    for source in range(len(SOURCES)):
        if rng.random() < 0.2:
            continue
        time = rng.choice([0, 0, 1, tolerance, tolerance + 1])
        story = rng.choice(["says", "says", "says", "progress", "reversal", "two contents", "anything", "again later"])
        statuses = [Status.PENDING, Status.SUCCESS] if story == "progress" else [usual[2]]
        statuses += [Status.REVERSED] if story == "reversal" else []
        one_id = rng.random() < 0.5
        for step, status in enumerate(statuses):
            told.append((source, "a" if one_id else f"a{step}", usual[0], usual[1], status, time + step))
        if story == "two contents":
            told.append((source, "a", usual[0] - rng.choice([1, 5, 90]), usual[1], usual[2], time + rng.randrange(2)))
        if story == "anything":
            money = (rng.choice([99, 100, 105]), rng.choice(["EUR", "JPY", "USD"]))
            told.append((source, rng.choice("ab"), *money, rng.choice(list(Status)), time + rng.randrange(3)))
        if story == "again later":
            told.append((source, rng.choice("ab"), *usual, time + 1))
    told = told or [(0, "a", *usual, 0)]
    told += [rng.choice(told) for _ in range(rng.choice([0, 0, 1, 3]))]  # redeliveries
    rng.shuffle(told)
    arrivals = sorted(rng.choice([0, 1, 2, window, window + 1, window + 50]) for _ in told)
    return [
        Seen(
            source,
            event_id,
            txn_id,
            amount,
            currency,
            status,
            A0 - TIME_TOLERANCE_MS_MAX + time,
            f"ACC-{rng.randrange(2)}",
            rng.choice([None, "T0"]),
            A0 + arrival,
            rng.randrange(2),
            offset,
        )
        for offset, ((source, event_id, amount, currency, status, time), arrival) in enumerate(
            zip(told, arrivals, strict=True)
        )
    ]


def frame_of(events: list[Seen]) -> pl.DataFrame:
    rows = [
        (
            key_group_of(e.txn_id), e.stored_seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency,
            int(e.status), e.event_time, e.arrival, e.partition, e.offset, e.stored_attributes,
        )
        for e in events
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


def bits(mask: int, count: int = 16) -> set[int]:
    return {n for n in range(count) if mask >> n & 1}


def by_core(frame: pl.DataFrame, rules: RuleSet, watermarks: list[int]) -> dict[str, dict[str, object]]:
    distinct, redeliveries = drop_redeliveries(frame)
    assert len(distinct) + len(redeliveries) == len(frame)
    return {
        row["txn_id"]: {
            "verdict": Verdict(row["verdict"]),
            "revision": row["revision"],
            "breaks": {Break(n) for n in bits(row["breaks"])} if row["final"] else None,
            "missing": bits(row["missing"]) if row["final"] else None,
            "late": bits(row["late"]) if row["final"] else None,
            "legs": row["legs"],
            "counted": set(row["event_seqs"]),
        }
        for row in decide(distinct, Rulebook([rules]), SOURCES, watermarks).iter_rows(named=True)
    }


def by_oracle(events: list[Seen], rules: RuleSet, watermarks: list[int]) -> dict[str, object]:
    found = judge(events, Rulebook([rules]), SOURCES, watermarks)
    return {
        "verdict": found.verdict,
        "revision": found.revision,
        "breaks": set(found.breaks) if found.final else None,
        "missing": set(found.missing) if found.final else None,
        "late": set(found.late) if found.final else None,
        "legs": found.packed_legs,
        "counted": {event.stored_seq for event in events if not event.redelivery},
    }


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_three_judges_agree(seed):
    rng = random.Random(seed)
    rules = rules_of(rng)
    close = A0 + 2 + rules.match_window_ms
    watermarks = [rng.choice([0, close, close + 1, 1 << 60]) for _ in SOURCES]
    histories = {f"T{n}": history(rng, f"T{n}", rules) for n in range(TRANSACTIONS)}
    everything = [event for events in histories.values() for event in events]
    for seq, event in enumerate(everything, start=1):
        event.stored_seq = seq
    shuffled = everything.copy()
    rng.shuffle(shuffled)
    found = by_core(frame_of(shuffled), rules, watermarks)
    for txn_id, events in histories.items():
        right = contract(events, rules, watermarks)
        assert by_oracle(events, rules, watermarks) == right, (txn_id, events)
        assert found.pop(txn_id) == right, (txn_id, events)
    assert not found


def test_the_histories_are_rich():
    """Each matter of interest occurs in many of them, or agreement says little."""
    rng = random.Random(0)
    # Attributes are compared where a configuration names them: tests/matching/test_attributes.py.
    kinds = [kind for kind in Break if kind is not Break.ATTRIBUTE]
    seen = dict.fromkeys(("redelivery", "two contents", "late", *kinds, *Verdict), 0)
    for n in range(3_000):
        rules = rules_of(rng)
        events = history(rng, f"T{n}", rules)
        for seq, event in enumerate(events):
            event.stored_seq = seq
        right = contract(events, rules, [rng.choice([0, 1 << 60]) for _ in SOURCES])
        counted = len(right["counted"])
        seen["redelivery"] += counted < len(events)
        seen["two contents"] += counted > len({(event.source, event.event_id) for event in events})
        seen["late"] += bool(right["late"])
        seen[right["verdict"]] += 1
        for kind in right["breaks"] or ():
            seen[kind] += 1
    assert min(seen.values()) > 50, seen
