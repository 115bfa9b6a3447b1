"""Sources whose events are states of rows, sources of whose times only the day counts, and compared attributes.

Each line of a story is one record in order of its arrival:

    seconds after the first arrival, source, row, amount, status [, clock=seconds] [, NAME=attribute]

The window is 30 s, the time tolerance 5 s unless the rules say otherwise. CORE and GATEWAY are expected; of GATEWAY and
of RISK, which is optional, the events are states of rows.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster.oracle.judge import Seen, judge
from schemas.events import SourceSpec, Status
from schemas.rules import Rulebook, RuleSet, Tolerance
from schemas.verdicts import Verdict

SOURCES = (SourceSpec("CORE", "a"), SourceSpec("GATEWAY", "b"), SourceSpec("RISK", "c", expected=False))
NAMES = [source.name for source in SOURCES]
A0 = round(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
FOREVER = 1 << 60
EXPECTED = {"expected_sources": ("CORE", "GATEWAY")}
ROWS = RuleSet(**EXPECTED, row_sources=("GATEWAY", "RISK"))


def told(story):
    events = []
    for offset, line in enumerate(filter(None, map(str.strip, story.splitlines()))):
        after, source, row, amount, status, *rest = line.split()
        options = dict(part.split("=") for part in rest)
        arrival = A0 + round(float(after) * 1000)
        clock = A0 + round(float(options.pop("clock", after)) * 1000)
        events.append(
            Seen(
                source=NAMES.index(source),
                event_id=row,
                txn_id="T",
                amount_minor=int(amount),
                currency="EUR",
                status=Status[status],
                event_time=clock,
                account_id=None,
                original_txn_id=None,
                arrival=arrival,
                partition=0,
                offset=offset,
                attributes=options,
            )
        )
    return events


def outcome(events, rules=ROWS, read_until=FOREVER):
    found = judge(events, Rulebook([rules]), SOURCES, [read_until] * 3)
    parts = [found.verdict.name, *(kind.name for kind in found.breaks)]
    parts += [f"missing={NAMES[source]}" for source in found.missing] + [
        f"late={NAMES[source]}" for source in found.late
    ]
    return " ".join([*parts, f"revision={found.revision}"] if found.verdict is not Verdict.PENDING else parts)


CASES = {
    "a new state replaces the one before it, whatever the status": (
        """
        0.0 GATEWAY r 90  SUCCESS
        0.1 GATEWAY r 100 FAILED
        0.2 GATEWAY r 100 PENDING
        0.3 GATEWAY r 100 SUCCESS
        0.4 CORE    c 100 SUCCESS
        """,
        "MATCHED revision=1",
    ),
    "the same of a source of events is a conflict": (
        """
        0.0 CORE    c 90  SUCCESS
        0.1 CORE    c 100 SUCCESS
        0.2 GATEWAY r 100 SUCCESS
        """,
        "MISMATCHED CONFLICT revision=1",
    ),
    "a state after the decision is a revision": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 90  SUCCESS
        0.2 GATEWAY r 100 SUCCESS
        """,
        "MATCHED revision=2",
    ),
    "the newest state counts although its own clock is behind": (
        """
        0.0 GATEWAY r 90  SUCCESS clock=4
        0.1 GATEWAY r 100 SUCCESS clock=1
        0.2 CORE    c 100 SUCCESS
        """,
        "MATCHED revision=1",
    ),
    "a row may become again what it once was": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS clock=0.1
        0.2 GATEWAY r 90  SUCCESS clock=0.1
        0.3 GATEWAY r 100 SUCCESS clock=0.1
        """,
        "MATCHED revision=3",
    ),
    "the state directly before it once more is a redelivery": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 90  SUCCESS clock=0.1
        0.2 GATEWAY r 100 SUCCESS clock=0.1
        0.3 GATEWAY r 100 SUCCESS clock=0.1
        0.4 GATEWAY r 100 SUCCESS clock=0.1
        """,
        "MATCHED revision=2",
    ),
    "completeness is by the states that had arrived by then": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS
        0.2 GATEWAY r 100 PENDING
        0.3 GATEWAY r 100 SUCCESS
        """,
        "MATCHED revision=3",
    ),
    "a row that went back to pending is compared as pending": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS
        0.2 GATEWAY r 100 PENDING
        """,
        "MISMATCHED STATUS revision=2",
    ),
    "a state after the close is late and a revision": (
        """
        0.0  CORE    c 100 SUCCESS
        0.1  GATEWAY r 90  SUCCESS clock=0
        30.1 GATEWAY r 100 SUCCESS clock=0
        """,
        "MATCHED late=GATEWAY revision=2",
    ),
    "a redelivery after the close is neither": (
        """
        0.0  CORE    c 100 SUCCESS
        0.1  GATEWAY r 100 SUCCESS clock=0
        30.1 GATEWAY r 100 SUCCESS clock=0
        """,
        "MATCHED revision=1",
    ),
    "two rows of one source are a duplicate": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS
        0.2 GATEWAY s 100 SUCCESS
        """,
        "MISMATCHED DUPLICATE revision=2",
    ),
    "two rows that differ are a conflict, by their newest states": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS
        0.2 GATEWAY s 100 SUCCESS
        0.3 GATEWAY s 90  SUCCESS
        """,
        "MISMATCHED CONFLICT AMOUNT revision=3",
    ),
    "a conflict between rows is gone when a new state mends it": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 90  PENDING
        0.2 GATEWAY s 100 SUCCESS
        0.3 GATEWAY r 100 PENDING clock=0.1
        """,
        "MATCHED revision=2",
    ),
    "an optional source of rows is compared, not waited for": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 RISK    x 100 FAILED
        0.2 RISK    x 100 SUCCESS
        0.3 GATEWAY r 100 SUCCESS
        """,
        "MATCHED revision=1",
    ),
    "an attribute belongs to the content of a state": (
        """
        0.0 CORE    c 100 SUCCESS
        0.1 GATEWAY r 100 SUCCESS clock=0 m=x
        0.2 GATEWAY r 100 SUCCESS clock=0 m=y
        """,
        "MATCHED revision=2",
    ),
}


@pytest.mark.parametrize(("story", "expect"), CASES.values(), ids=CASES.keys())
def test_rows(story, expect):
    assert outcome(told(story)) == expect


def test_states_that_are_redeliveries_are_marked_and_no_others():
    events = told(
        """
        0.0 GATEWAY r 100 SUCCESS clock=0
        0.1 GATEWAY s 100 SUCCESS clock=0
        0.2 GATEWAY r 100 SUCCESS clock=0
        0.3 GATEWAY r 90  SUCCESS clock=0
        0.4 GATEWAY r 100 SUCCESS clock=0
        0.5 GATEWAY r 100 SUCCESS clock=0
        """
    )
    outcome(events)
    assert [event.redelivery for event in events] == [False, False, True, False, False, True]


def test_a_source_of_rows_in_any_version_of_the_rules_is_one_in_all():
    story = told("0.0 GATEWAY r 90 SUCCESS\n0.1 GATEWAY r 100 SUCCESS\n0.2 CORE c 100 SUCCESS")
    later = RuleSet(version=2, effective_from_ms=A0 + 1_000_000, row_sources=("GATEWAY",), **EXPECTED)
    found = judge(story, Rulebook([RuleSet(**EXPECTED), later]), SOURCES, [FOREVER] * 3)
    assert (found.verdict, found.rules_version) == (Verdict.MATCHED, 1)


# --- days

HOUR = 3_600.0


def days(tolerance_days, **zones):
    return RuleSet(**EXPECTED, time_tolerance_ms=tolerance_days * 86_400_000, calendars=zones)


@pytest.mark.parametrize(
    ("core", "gateway", "rules", "expect"),
    [
        # The first record arrives at 12:00 UTC on 1 March 2026; clocks are hours after that.
        (0, 11.9, days(0, CORE="UTC"), "MATCHED"),
        (0, 12, days(0, CORE="UTC"), "MISMATCHED TIMESTAMP"),
        (0, 12, days(1, CORE="UTC"), "MATCHED"),
        (-12, -12.1, days(0, CORE="UTC"), "MISMATCHED TIMESTAMP"),
        (0, 12, days(0, GATEWAY="UTC"), "MISMATCHED TIMESTAMP"),
        # The moment's date is that of the day's own zone: 15:00 UTC is the next day in Tokyo.
        (0, 2.9, days(0, CORE="Asia/Tokyo"), "MATCHED"),
        (0, 3, days(0, CORE="Asia/Tokyo"), "MISMATCHED TIMESTAMP"),
        (0, 3, days(0, CORE="+09:00"), "MISMATCHED TIMESTAMP"),
        (0, 3, days(0, CORE="-09:00"), "MATCHED"),
        # Two days have each the date of their own zone.
        (3, 3, days(0, CORE="Asia/Tokyo", GATEWAY="UTC"), "MISMATCHED TIMESTAMP"),
        (3, 3, days(1, CORE="Asia/Tokyo", GATEWAY="UTC"), "MATCHED"),
        (0, 35.9, days(1, CORE="UTC", GATEWAY="UTC"), "MATCHED"),
        # Without a calendar milliseconds count.
        (0, 24, days(1), "MATCHED"),
        (0, 24.1, days(1), "MISMATCHED TIMESTAMP"),
    ],
)
def test_days(core, gateway, rules, expect):
    story = f"0 CORE c 100 SUCCESS clock={core * HOUR}\n0.1 GATEWAY r 100 SUCCESS clock={gateway * HOUR}"
    assert outcome(told(story), rules) == f"{expect} revision=1"


# --- attributes


@pytest.mark.parametrize(
    ("core", "gateway", "compared", "expect"),
    [
        ("m=x", "m=x", ("m",), "MATCHED"),
        ("m=x", "m=y", ("m",), "MISMATCHED ATTRIBUTE"),
        ("m=x", "m=y", (), "MATCHED"),
        ("m=x", "", ("m",), "MATCHED"),  # what is not told is not compared
        ("m=x n=1", "m=x n=2", ("m",), "MATCHED"),
        ("m=x n=1", "m=x n=2", ("m", "n"), "MISMATCHED ATTRIBUTE"),
        ("m=x", "n=x", ("m", "n"), "MATCHED"),
    ],
)
def test_attributes(core, gateway, compared, expect):
    rules = RuleSet(**EXPECTED, compared_attributes=compared)
    story = f"0 CORE c 100 SUCCESS {core}\n0.1 GATEWAY r 100 SUCCESS {gateway}"
    assert outcome(told(story), rules) == f"{expect} revision=1"


def test_breaks_are_in_order_of_precedence():
    rules = RuleSet(**{**EXPECTED, "expected_sources": ("CORE", "GATEWAY", "RISK")}, compared_attributes=("m",))
    story = "0 CORE c 100 SUCCESS m=x\n0.1 GATEWAY r 90 SUCCESS clock=9 m=y"
    assert outcome(told(story), rules) == "MISMATCHED AMOUNT TIMESTAMP ATTRIBUTE MISSING missing=RISK revision=1"


def test_negative_amounts_are_tolerated_by_the_size_of_the_largest():
    rules = RuleSet(**EXPECTED, default_tolerance=Tolerance(bps=500))
    assert outcome(told("0 CORE c -100 SUCCESS\n0.1 GATEWAY r -95 SUCCESS"), rules) == "MATCHED revision=1"
    assert outcome(told("0 CORE c -100 SUCCESS\n0.1 GATEWAY r -94 SUCCESS"), rules) == "MISMATCHED AMOUNT revision=1"
