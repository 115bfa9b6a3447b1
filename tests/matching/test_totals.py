"""The shape `totals` against a plain implementation written from the design, over generated items."""

import random
from itertools import pairwise

import polars as pl
import pytest

from actors.matching.totals import ITEM_SCHEMA, Sides, SumTooLargeError, decide_totals
from schemas.events import SourceSpec, Status, key_group_of
from schemas.rules import RuleSet, Tolerance
from schemas.verdicts import Verdict, break_names, source_names

NAMES = ("A", "B", "C")
SOURCES = [SourceSpec(name, name) for name in NAMES]


def event(key, source, item, amount, status=Status.SUCCESS, currency="EUR", at=0, event_id=None, fee=None, seq=1):
    return {
        "key_group": key_group_of(key),
        "seq": seq,
        "txn_id": key,
        "source": source,
        "event_id": event_id or f"{item}:{seq}",
        "amount_minor": amount,
        "currency": currency,
        "status": int(status),
        "event_time": at,
        "arrival": 1_000,
        "partition": source,
        "offset": seq,
        "item_id": item,
        "fee_minor": fee,
    }


def judged(events, sides, rules):
    frame = pl.DataFrame(events, schema=ITEM_SCHEMA)
    found = {}
    for row in decide_totals(frame, rules, SOURCES, sides).iter_rows(named=True):
        found[row["txn_id"]] = row | {
            "names": break_names(row["breaks"]),
            "missing_names": source_names(row["missing"], NAMES),
        }
    return found


def plainly(events, sides, rules):  # noqa: PLR0912 - one branch a rule
    """Breaks and missing sources by key, worked out one item at a time."""
    keys = {}
    for one in events:
        keys.setdefault(one["txn_id"], {}).setdefault((one["source"], one["item_id"]), []).append(one)
    answers = {}
    for key, items in keys.items():
        breaks, sums = set(), {}
        for (source, _), history in items.items():
            seen, distinct = set(), []
            for one in sorted(history, key=lambda one: (one["arrival"], one["partition"], one["offset"])):
                content = tuple(
                    one[name] for name in ("event_id", "amount_minor", "currency", "status", "event_time", "fee_minor")
                )
                if content not in seen:
                    seen.add(content)
                    distinct.append(one)
            distinct.sort(key=lambda one: (one["event_time"], one["arrival"], one["offset"], one["partition"]))
            for before, after in pairwise(distinct):
                same = all(before[name] == after[name] for name in ("amount_minor", "currency", "fee_minor"))
                if same and before["status"] == after["status"]:
                    breaks.add("DUPLICATE")
                elif not (
                    same
                    and (
                        (before["status"] == Status.PENDING)
                        or (before["status"], after["status"]) == (Status.SUCCESS, Status.REVERSED)
                    )
                ):
                    breaks.add("CONFLICT")
            leg = distinct[-1]
            if leg["status"] == Status.SUCCESS:
                side = 0 if source in sides.left else 1
                entry = sums.setdefault(leg["currency"], [[0, 0], [0, 0], 0])
                entry[0][side] += leg["amount_minor"]
                entry[1][side] += 1
                if sides.fees == ("left", "right")[side]:
                    entry[2] += leg["fee_minor"] or 0
        has = [any(entry[1][side] for entry in sums.values()) for side in (0, 1)]
        missing = []
        if has[0] != has[1]:
            lacking = sides.right if has[0] else sides.left
            missing = [
                name for number, name in enumerate(NAMES) if number in lacking and name in rules.expected_sources
            ]
            if missing:
                breaks.add("MISSING")
        if all(has):
            for code, (amounts, counts, fees) in sums.items():
                if not all(counts):
                    breaks.add("CURRENCY")
                    continue
                net = amounts[0] - amounts[1] - fees
                size = max(abs(amounts[0]), abs(amounts[1]))
                tolerance = rules.tolerance(code)
                allowed = max(tolerance.absolute_minor, size * tolerance.bps // 10_000)
                if (net if sides.relation == "at_most" else abs(net)) > allowed:
                    breaks.add("AMOUNT")
        answers[key] = (breaks, missing)
    return answers


@pytest.mark.parametrize("seed", range(12))
def test_as_the_plain_implementation(seed):
    rng = random.Random(seed)
    sides = Sides(
        frozenset({0}) if rng.random() < 0.5 else frozenset({0, 1}),
        frozenset({2}),
        rng.choice(["equal", "at_most"]),
        rng.choice(["left", "right", "none"]),
    )
    if 1 not in sides.left:
        sides = Sides(sides.left, frozenset({1, 2}), sides.relation, sides.fees)
    rules = RuleSet(
        version=3,
        expected_sources=tuple(rng.sample(NAMES, rng.randrange(1, 4))),
        default_tolerance=Tolerance(rng.choice([0, 5]), rng.choice([0, 100])),
        tolerances={"JPY": Tolerance(1, 0)},
    )
    events = []
    for number in range(300):
        for item in range(rng.randrange(1, 6)):
            source = rng.randrange(3)
            currency = rng.choices(["EUR", "JPY"], [9, 1])[0]
            amount, fee = rng.choice([-50, 100, 100, 200, 203]), rng.choice([None, 0, 3])
            for _ in range(rng.choices([1, 2, 3], [7, 2, 1])[0]):
                changed = {
                    "amount": amount + (rng.random() < 0.1),
                    "status": rng.choices(list(Status), [2, 9, 1, 1])[0],
                }
                one = event(
                    f"K{number}", source, f"i{item}", currency=currency, at=rng.randrange(3), fee=fee,
                    seq=len(events) + 1, **changed,
                )  # fmt: skip
                events.append(one)
                if rng.random() < 0.1:
                    events.append(one | {"seq": len(events) + 1, "offset": len(events) + 1})  # a redelivery
    shuffled = events.copy()
    rng.shuffle(shuffled)
    found = judged(shuffled, sides, rules)
    right = plainly(events, sides, rules)
    assert {key: (set(row["names"]), row["missing_names"]) for key, row in found.items()} == right
    assert len({frozenset(breaks) for breaks, _ in right.values()}) > 4
    for row in found.values():
        assert row["verdict"] == (Verdict.MISMATCHED if row["names"] else Verdict.MATCHED)


RULES = RuleSet(version=1, expected_sources=NAMES)


def test_many_against_one_with_fees_of_the_left():
    events = [
        event("po", 0, "c1", 10_000, fee=290, seq=1),
        event("po", 0, "c2", 5_000, fee=145, seq=2),
        event("po", 0, "r1", -2_000, seq=3),
        event("po", 2, "b1", 12_565, seq=4),
    ]
    row = judged(events, Sides(frozenset({0}), frozenset({2}), fees="left"), RULES)["po"]
    assert row["names"] == []
    sums = {name: row[name] for name in ("left_minor", "right_minor", "fees_minor", "net_minor")}
    assert sums == {"left_minor": 13_000, "right_minor": 12_565, "fees_minor": 435, "net_minor": 0}
    assert (row["left_items"], row["right_items"], row["amount_minor"]) == (3, 1, 13_000)


def test_a_key_of_which_nothing_counts_is_no_break():
    row = judged([event("k", 0, "a", 5, Status.FAILED)], Sides(frozenset({0}), frozenset({2})), RULES)["k"]
    assert row["names"] == []
    assert row["net_minor"] == 0


def test_a_sum_beyond_64_bits_is_refused():
    events = [event("k", 0, f"i{number}", 10**15, seq=number) for number in range(1, 9_200)]
    with pytest.raises(SumTooLargeError):
        judged(events, Sides(frozenset({0}), frozenset({2})), RULES)
