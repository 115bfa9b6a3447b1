"""The contract of verdicts as a table, judged twice: by the oracle and by the core.

Each line of a story is one record in order of its arrival:

    seconds after the first arrival, source, amount, currency, status [, clock=seconds] [, id=event id]

`clock` is the source's own time (default: the arrival). The window is 30 s, the time tolerance 5 s, amounts must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest

from actors.matching.decide import decide, drop_redeliveries
from actors.matching.frames import EVENT_SCHEMA
from cluster.oracle.judge import Seen, judge
from schemas.events import DEFAULT_SOURCES, SourceSpec, Status, key_group_of
from schemas.rules import Rulebook, RuleSet, Tolerance
from schemas.verdicts import Verdict, break_names, source_names

A0 = 1_790_000_000_000
FOREVER = 1 << 60
SOURCES = (*DEFAULT_SOURCES, SourceSpec("RISK", "risk_txns", expected=False))
NAMES = [source.name for source in SOURCES]
STRICT = Rulebook([RuleSet()])
LENIENT = Rulebook([RuleSet(tolerances={"EUR": Tolerance(absolute_minor=10), "JPY": Tolerance(bps=100)})])


@dataclass(frozen=True)
class Case:
    name: str
    story: str
    expect: str
    read_until: float = 1e9  # watermark of every source, seconds after the first arrival
    rules: Rulebook = STRICT


CASES = [
    Case(
        "all three agree",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MATCHED revision=1",
    ),
    Case(
        "all three agree that it failed",
        """
        0.0 CORE    100 EUR FAILED
        0.1 GATEWAY 100 EUR FAILED
        0.2 MOBILE  100 EUR FAILED
        """,
        "MATCHED revision=1",
    ),
    Case(
        "complete before any watermark has moved",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MATCHED revision=1",
        read_until=0,
    ),
    Case(
        "two of three, window still open",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        """,
        "PENDING",
        read_until=29,
    ),
    Case(
        "two of three, watermark exactly at the close: an event of that very moment may still come",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        """,
        "PENDING",
        read_until=30,
    ),
    Case(
        "two of three, window closed",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        """,
        "MISMATCHED MISSING missing=MOBILE revision=1",
        read_until=30.001,
    ),
    Case(
        "only one source ever spoke",
        """
        0.0 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED MISSING missing=CORE,GATEWAY revision=1",
    ),
    Case(
        "one amount differs",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 101 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED AMOUNT revision=1",
    ),
    Case(
        "one amount differs within the currency's absolute tolerance",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 110 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MATCHED revision=1",
        rules=LENIENT,
    ),
    Case(
        "one amount differs by one cent more than tolerated",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 111 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED AMOUNT revision=1",
        rules=LENIENT,
    ),
    Case(
        "one percent of the largest leg is tolerated, rounded down",
        """
        0.0 CORE    10099 JPY SUCCESS
        0.1 GATEWAY 9999 JPY SUCCESS
        0.2 MOBILE  10000 JPY SUCCESS
        """,
        "MATCHED revision=1",
        rules=LENIENT,
    ),
    Case(
        "currencies differ: the strictest tolerance counts",
        """
        0.0 CORE    1000 JPY SUCCESS
        0.1 GATEWAY 1005 USD SUCCESS
        0.2 MOBILE  1000 JPY SUCCESS
        """,
        "MISMATCHED AMOUNT,CURRENCY revision=1",
        rules=LENIENT,
    ),
    Case(
        "one currency differs",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 USD SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED CURRENCY revision=1",
    ),
    Case(
        "one status differs",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR FAILED
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED STATUS revision=1",
    ),
    Case(
        "clocks exactly at the tolerance",
        """
        0.0 CORE    100 EUR SUCCESS clock=0
        0.1 GATEWAY 100 EUR SUCCESS clock=5
        0.2 MOBILE  100 EUR SUCCESS clock=2
        """,
        "MATCHED revision=1",
    ),
    Case(
        "clocks a millisecond beyond the tolerance",
        """
        0.0 CORE    100 EUR SUCCESS clock=0
        0.1 GATEWAY 100 EUR SUCCESS clock=5.001
        0.2 MOBILE  100 EUR SUCCESS clock=2
        """,
        "MISMATCHED TIMESTAMP revision=1",
    ),
    Case(
        "everything is wrong at once, in order of precedence",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 CORE    100 EUR SUCCESS
        0.2 CORE    105 EUR SUCCESS
        0.3 GATEWAY 200 USD FAILED clock=99
        """,
        "MISMATCHED CONFLICT,DUPLICATE,AMOUNT,CURRENCY,STATUS,TIMESTAMP,MISSING missing=MOBILE revision=1",
    ),
    Case(
        "pending leg moves on within the window",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        3.0 CORE    100 EUR SUCCESS
        """,
        "MATCHED revision=1",
        read_until=4,
    ),
    Case(
        "pending leg keeps it open",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "PENDING",
        read_until=30,
    ),
    Case(
        "pending leg at the close is compared as pending",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED STATUS revision=1",
        read_until=31,
    ),
    Case(
        "all pending at the close agree",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR PENDING
        0.2 MOBILE  100 EUR PENDING
        """,
        "MATCHED revision=1",
        read_until=31,
    ),
    Case(
        "reversed by all after the decision: three revisions more",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        1.0 CORE    100 EUR REVERSED
        1.1 GATEWAY 100 EUR REVERSED
        1.2 MOBILE  100 EUR REVERSED
        """,
        "MATCHED revision=4",
    ),
    Case(
        "reversed by one only",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        1.0 CORE    100 EUR REVERSED
        """,
        "MISMATCHED STATUS revision=2",
    ),
    Case(
        "failed after success is no legal progress",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR FAILED
        0.2 MOBILE  100 EUR FAILED
        1.0 CORE    100 EUR FAILED
        """,
        "MISMATCHED CONFLICT revision=2",
    ),
    Case(
        "back to pending is no legal progress",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        1.0 CORE    100 EUR PENDING
        """,
        "MISMATCHED CONFLICT,STATUS revision=2",
    ),
    Case(
        "legal progress with another amount is a conflict",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 101 EUR SUCCESS
        0.2 MOBILE  101 EUR SUCCESS
        1.0 CORE    101 EUR SUCCESS
        """,
        "MISMATCHED CONFLICT revision=1",
    ),
    Case(
        "the same said twice is a duplicate",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 CORE    100 EUR SUCCESS
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED DUPLICATE revision=1",
    ),
    Case(
        "a duplicate after the decision is a revision",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        0.3 CORE    100 EUR SUCCESS
        """,
        "MISMATCHED DUPLICATE revision=2",
    ),
    Case(
        "said twice with different amounts: the later one is the leg",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 CORE    150 EUR SUCCESS
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED CONFLICT,AMOUNT revision=1",
    ),
    Case(
        "the source's own clock says which one is later",
        """
        0.0 CORE    150 EUR SUCCESS clock=0.5
        0.1 CORE    100 EUR SUCCESS clock=0.2
        0.2 GATEWAY 150 EUR SUCCESS
        0.3 MOBILE  150 EUR SUCCESS
        """,
        "MISMATCHED CONFLICT revision=1",
    ),
    Case(
        "a redelivery changes nothing",
        """
        0.0 CORE    100 EUR SUCCESS id=a
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        0.3 CORE    100 EUR SUCCESS id=a clock=0
        """,
        "MATCHED revision=1",
    ),
    Case(
        "a redelivery after the window is not late either",
        """
        0.0  CORE    100 EUR SUCCESS id=a
        0.1  GATEWAY 100 EUR SUCCESS
        0.2  MOBILE  100 EUR SUCCESS
        95.0 CORE    100 EUR SUCCESS id=a clock=0
        """,
        "MATCHED revision=1",
    ),
    Case(
        "one event id with two amounts is a conflict",
        """
        0.0 CORE    1000 EUR SUCCESS id=a
        0.1 CORE    9900 EUR SUCCESS id=a clock=0
        0.2 GATEWAY 9900 EUR SUCCESS
        0.3 MOBILE  9900 EUR SUCCESS
        """,
        "MISMATCHED CONFLICT revision=1",
    ),
    Case(
        "one event id with two currencies is a conflict",
        """
        0.0 CORE    100 USD SUCCESS id=a
        0.1 CORE    100 EUR SUCCESS id=a clock=0.1
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED CONFLICT revision=1",
    ),
    Case(
        "one event id that moves on from success to reversed is an update",
        """
        0.0 CORE    100 EUR SUCCESS  id=a clock=0
        0.1 CORE    100 EUR REVERSED id=a clock=0.1
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED STATUS revision=1",
    ),
    Case(
        "one event id at two times is a duplicate",
        """
        0.0 CORE    100 EUR SUCCESS id=a clock=0
        0.1 CORE    100 EUR SUCCESS id=a clock=0.1
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED DUPLICATE revision=1",
    ),
    Case(
        "the first content again, after another under the same id, is a redelivery",
        """
        0.0 CORE    100 EUR PENDING id=a clock=0
        0.1 CORE    100 EUR SUCCESS id=a clock=0.1
        0.2 CORE    100 EUR PENDING id=a clock=0
        0.3 GATEWAY 100 EUR SUCCESS
        0.4 MOBILE  100 EUR SUCCESS
        """,
        "MATCHED revision=1",
    ),
    Case(
        "another content under an id that was decided is a revision",
        """
        0.0 CORE    100 EUR SUCCESS id=a
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        9.0 CORE    101 EUR SUCCESS id=a clock=0
        """,
        "MISMATCHED CONFLICT,AMOUNT revision=2",
    ),
    Case(
        "the same event id from another source is another event",
        """
        0.0 CORE    100 EUR SUCCESS id=a
        0.1 GATEWAY 100 EUR SUCCESS id=a
        0.2 MOBILE  100 EUR SUCCESS id=a
        """,
        "MATCHED revision=1",
    ),
    Case(
        "the last moment of the window is in time",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        30.0 MOBILE  100 EUR SUCCESS clock=0
        """,
        "MATCHED revision=1",
    ),
    Case(
        "late and in agreement",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        30.001 MOBILE  100 EUR SUCCESS clock=0
        """,
        "MATCHED late=MOBILE revision=2",
    ),
    Case(
        "late and in disagreement",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        40.0 MOBILE  105 EUR SUCCESS clock=0
        """,
        "MISMATCHED AMOUNT late=MOBILE revision=2",
    ),
    Case(
        "two late ones",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        40.0 GATEWAY 100 EUR SUCCESS clock=0
        41.0 MOBILE  100 EUR SUCCESS clock=0
        """,
        "MATCHED late=GATEWAY,MOBILE revision=3",
    ),
    Case(
        "one late, one never",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        40.0 GATEWAY 100 EUR SUCCESS clock=0
        """,
        "MISMATCHED MISSING missing=MOBILE late=GATEWAY revision=2",
    ),
    Case(
        "one late, one still awaited because its log is not read so far",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        40.0 GATEWAY 100 EUR SUCCESS clock=0
        """,
        "PENDING",
        read_until=12,
    ),
    Case(
        "an update after the window makes its source late",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        0.2  MOBILE  100 EUR PENDING clock=0
        35.0 MOBILE  100 EUR SUCCESS clock=1
        """,
        "MATCHED late=MOBILE revision=2",
    ),
    Case(
        "an optional source is compared when it speaks",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 RISK    100 EUR FAILED
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "MISMATCHED STATUS revision=1",
    ),
    Case(
        "an optional source that speaks after the decision makes a revision",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        0.3 RISK    100 EUR SUCCESS
        """,
        "MATCHED revision=2",
    ),
    Case(
        "an optional source that is pending is waited for",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 RISK    100 EUR PENDING
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        """,
        "PENDING",
        read_until=5,
    ),
]


def tell(story: str) -> list[Seen]:
    events = []
    for number, line in enumerate(filter(None, map(str.strip, story.splitlines()))):
        after, source, amount, currency, status, *options = line.split()
        more = dict(option.split("=") for option in options)
        arrival = A0 + round(float(after) * 1000)
        events.append(
            Seen(
                source=NAMES.index(source),
                event_id=more.get("id", f"event-{number}"),
                txn_id="T1",
                amount_minor=int(amount),
                currency=currency,
                status=Status[status],
                event_time=A0 + round(float(more["clock"]) * 1000) if "clock" in more else arrival,
                account_id="ACC",
                original_txn_id=None,
                arrival=arrival,
                partition=0,
                offset=number,
            )
        )
    return events


def as_frame(events: list[Seen]) -> pl.DataFrame:
    rows = [
        {
            "key_group": key_group_of(event.txn_id),
            "seq": number + 1,
            "txn_id": event.txn_id,
            "source": event.source,
            "event_id": event.event_id,
            "amount_minor": event.amount_minor,
            "currency": event.currency,
            "status": int(event.status),
            "event_time": event.event_time,
            "arrival": event.arrival,
            "partition": event.partition,
            "offset": event.offset,
        }
        for number, event in enumerate(events)
    ]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def in_words(verdict: int, breaks: int, missing: int, late: int, revision: int) -> str:
    words = [Verdict(verdict).name]
    if verdict != Verdict.PENDING:
        words += [",".join(break_names(breaks))] if breaks else []
        words += [f"missing={','.join(source_names(missing, NAMES))}"] if missing else []
        words += [f"late={','.join(source_names(late, NAMES))}"] if late else []
        words += [f"revision={revision}"]
    return " ".join(words)


def by_oracle(case: Case) -> str:
    watermarks = [A0 + round(case.read_until * 1000)] * len(SOURCES)
    found = judge(tell(case.story), case.rules, SOURCES, watermarks)
    return in_words(
        found.verdict,
        sum(kind.mask for kind in found.breaks),
        sum(1 << source for source in found.missing),
        sum(1 << source for source in found.late),
        found.revision,
    )


def by_core(case: Case) -> str:
    watermarks = [A0 + round(case.read_until * 1000)] * len(SOURCES)
    distinct, _ = drop_redeliveries(as_frame(tell(case.story)))
    row = decide(distinct, case.rules, SOURCES, watermarks).row(0, named=True)
    return in_words(row["verdict"], row["breaks"], row["missing"], row["late"], row["revision"])


@pytest.mark.parametrize("judged", [by_oracle, by_core], ids=["oracle", "core"])
@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_a_story_ends_as_the_contract_says(case, judged):
    assert judged(case) == case.expect


def test_every_break_kind_occurs_in_the_table():
    text = " ".join(case.expect for case in CASES)
    for kind in ("CONFLICT", "DUPLICATE", "AMOUNT", "CURRENCY", "STATUS", "TIMESTAMP", "MISSING", "late="):
        assert kind in text


def test_the_rules_in_force_at_the_first_arrival_judge_the_whole_transaction():
    story = """
        0.0 CORE    100 EUR SUCCESS
        2.0 GATEWAY 103 EUR SUCCESS
        2.1 MOBILE  100 EUR SUCCESS
    """
    lenient = RuleSet(version=2, effective_from_ms=A0 + 1000, default_tolerance=Tolerance(absolute_minor=5))
    later = Case("rules change after the first arrival", story, "", rules=Rulebook([RuleSet(), lenient]))
    assert by_oracle(later) == by_core(later) == "MISMATCHED AMOUNT revision=1"
    at_once = RuleSet(version=2, effective_from_ms=A0, default_tolerance=Tolerance(absolute_minor=5))
    before = Case("rules change with the first arrival", story, "", rules=Rulebook([RuleSet(), at_once]))
    assert by_oracle(before) == by_core(before) == "MATCHED revision=1"
