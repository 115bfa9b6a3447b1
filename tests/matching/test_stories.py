"""Stories of a transaction as a table, told to the whole engine: what it shows while time goes by, and in the end.

A line is one of

    seconds source amount currency status [clock=seconds] [id=event id] [txn=id]     an event, in order of delivery
    read SOURCE,... to seconds                        these sources were read up to so many seconds after A0
    wait                                              two seconds go by on the matcher's clock
    restart                                           the matcher dies and another takes over
    = words                                           what the ledger shows: verdict, breaks, missing, late, revision

The window is 30 s, the time tolerance 5 s and amounts must agree, unless the case brings its own rules. How a verdict
follows from events alone is told in tests/oracle/test_verdicts.py; here is what the engine makes of it over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from schemas.rules import RuleSet, Tolerance
from tests.actors.workbench import A0, NAMES, Workbench, event, in_words
from tests.oracle.test_verdicts import CASES as VERDICTS
from tests.oracle.test_verdicts import Case, tell


@dataclass(frozen=True)
class Story:
    name: str
    told: str
    rules: tuple[RuleSet, ...] = (RuleSet(),)
    history: tuple[str, ...] = ()  # what revisions replaced, oldest first


STORIES = [
    Story(
        "agreement is shown at once",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        = nothing
        0.2 MOBILE  100 EUR SUCCESS
        = MATCHED revision=1
        """,
    ),
    Story(
        "a leg is missing only once its own source was read beyond the window",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        read CORE,GATEWAY to 900
        wait
        = nothing
        read MOBILE to 30
        wait
        = PENDING
        read MOBILE to 30.001
        wait
        = MISMATCHED MISSING missing=MOBILE revision=1
        """,
    ),
    Story(
        "a source that lags by an hour never invents a missing leg",
        """
        0.0 CORE    100 EUR SUCCESS clock=0
        0.1 GATEWAY 100 EUR SUCCESS clock=0
        read CORE,GATEWAY to 3600
        wait
        wait
        wait
        = PENDING
        0.2 MOBILE  100 EUR SUCCESS clock=0
        = MATCHED revision=1
        """,
    ),
    Story(
        "a source that is silent is missing, for its watermark goes on with the clock",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        read CORE,GATEWAY,MOBILE to 31
        wait
        = MISMATCHED MISSING missing=MOBILE revision=1
        """,
    ),
    Story(
        "two silent sources are both missing, but only when both were read",
        """
        0.0 CORE    100 EUR SUCCESS
        read CORE,MOBILE to 31
        wait
        = nothing
        read GATEWAY to 31
        wait
        = MISMATCHED MISSING missing=GATEWAY,MOBILE revision=1
        """,
    ),
    Story(
        "an optional source is not waited for",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        = MATCHED revision=1
        read CORE,GATEWAY,MOBILE,RISK to 31
        wait
        = MATCHED revision=1
        """,
    ),
    Story(
        "what disagrees is shown as a provisional break before the third leg is there",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 105 EUR FAILED
        wait
        = PENDING AMOUNT,STATUS
        0.2 MOBILE  100 EUR SUCCESS
        = MISMATCHED AMOUNT,STATUS revision=1
        """,
    ),
    Story(
        "a provisional break that an update clears is shown no longer",
        """
        0.0 CORE    100 EUR PENDING clock=0
        9.0 GATEWAY 100 EUR SUCCESS clock=9
        wait
        = PENDING TIMESTAMP
        9.5 CORE    100 EUR SUCCESS clock=9
        wait
        = PENDING
        9.9 MOBILE  100 EUR SUCCESS clock=9
        = MATCHED revision=1
        """,
    ),
    Story(
        "a pending leg is no provisional disagreement, for it is expected to move on",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        wait
        wait
        = PENDING
        9.0 CORE    100 EUR SUCCESS clock=1
        = MATCHED revision=1
        """,
    ),
    Story(
        "a leg that is pending at the close is compared as pending",
        """
        0.0 CORE    100 EUR PENDING
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        read GATEWAY,MOBILE to 31
        wait
        = nothing
        read CORE to 31
        wait
        = MISMATCHED STATUS revision=1
        """,
    ),
    Story(
        "a late leg heals the transaction by itself, and what was said before is kept",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        read CORE,GATEWAY,MOBILE to 31
        wait
        = MISMATCHED MISSING missing=MOBILE revision=1
        42.0 MOBILE  100 EUR SUCCESS clock=0
        wait
        = MATCHED late=MOBILE revision=2
        """,
        history=("MISMATCHED MISSING missing=MOBILE revision=1",),
    ),
    Story(
        "a late leg that disagrees replaces one break by another",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        read CORE,GATEWAY,MOBILE to 31
        wait
        42.0 MOBILE  170 EUR SUCCESS clock=0
        wait
        = MISMATCHED AMOUNT late=MOBILE revision=2
        """,
        history=("MISMATCHED MISSING missing=MOBILE revision=1",),
    ),
    Story(
        "late by arrival, but read before anybody could say so: one decision that counts both",
        """
        0.0  CORE    100 EUR SUCCESS clock=0
        0.1  GATEWAY 100 EUR SUCCESS clock=0
        42.0 MOBILE  100 EUR SUCCESS clock=0
        = MATCHED late=MOBILE revision=2
        """,
    ),
    Story(
        "a reversal in all three is three revisions, each with its predecessor kept",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        5.0 CORE    100 EUR REVERSED clock=1
        wait
        = MISMATCHED STATUS revision=2
        5.1 GATEWAY 100 EUR REVERSED clock=1
        wait
        = MISMATCHED STATUS revision=3
        5.2 MOBILE  100 EUR REVERSED clock=1
        wait
        = MATCHED revision=4
        """,
        history=("MATCHED revision=1", "MISMATCHED STATUS revision=2", "MISMATCHED STATUS revision=3"),
    ),
    Story(
        "a redelivery after the decision changes nothing and leaves no history",
        """
        0.0 CORE    100 EUR SUCCESS id=a
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        0.3 CORE    100 EUR SUCCESS id=a clock=0
        wait
        = MATCHED revision=1
        """,
    ),
    Story(
        "a duplicate after the decision is a revision",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        0.3 CORE    100 EUR SUCCESS
        wait
        = MISMATCHED DUPLICATE revision=2
        """,
        history=("MATCHED revision=1",),
    ),
    Story(
        "a conflict after the decision is a revision",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        0.3 CORE    130 EUR SUCCESS
        wait
        = MISMATCHED CONFLICT,AMOUNT revision=2
        """,
        history=("MATCHED revision=1",),
    ),
    Story(
        "all three repeated with new ids after the decision are three duplicates",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        0.3 CORE    100 EUR SUCCESS
        0.4 GATEWAY 100 EUR SUCCESS
        0.5 MOBILE  100 EUR SUCCESS
        wait
        = MISMATCHED DUPLICATE revision=4
        """,
    ),
    Story(
        "decided stays decided when a leg goes back to pending",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        0.2 MOBILE  100 EUR SUCCESS
        wait
        0.3 CORE    100 EUR PENDING
        wait
        = MISMATCHED CONFLICT,STATUS revision=2
        """,
        history=("MATCHED revision=1",),
    ),
    Story(
        "a restart between two legs changes nothing",
        """
        0.0 CORE    100 EUR SUCCESS
        wait
        restart
        0.1 GATEWAY 100 EUR SUCCESS
        restart
        0.2 MOBILE  100 EUR SUCCESS
        = MATCHED revision=1
        """,
    ),
    Story(
        "a restart after a provisional break was shown",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 105 EUR SUCCESS
        wait
        = PENDING AMOUNT
        restart
        = PENDING AMOUNT
        0.2 MOBILE  105 EUR SUCCESS
        = MISMATCHED AMOUNT revision=1
        """,
    ),
    Story(
        "a restart does not make a source read further than it was",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 GATEWAY 100 EUR SUCCESS
        read CORE,GATEWAY to 31
        wait
        restart
        wait
        = nothing
        read CORE,GATEWAY,MOBILE to 31
        wait
        = MISMATCHED MISSING missing=MOBILE revision=1
        """,
    ),
    Story(
        "a restart between the decision and a late leg",
        """
        0.0 CORE    100 EUR SUCCESS clock=0
        0.1 GATEWAY 100 EUR SUCCESS clock=0
        read CORE,GATEWAY,MOBILE to 31
        wait
        restart
        42.0 MOBILE 100 EUR SUCCESS clock=0
        wait
        = MATCHED late=MOBILE revision=2
        """,
        history=("MISMATCHED MISSING missing=MOBILE revision=1",),
    ),
    Story(
        "the rules at the first arrival count, not those at the decision",
        """
        9.9  CORE    100 EUR SUCCESS clock=10
        10.1 GATEWAY 103 EUR SUCCESS clock=10
        10.2 MOBILE  100 EUR SUCCESS clock=10
        = MISMATCHED AMOUNT revision=1
        """,
        rules=(
            RuleSet(),
            RuleSet(version=2, effective_from_ms=A0 + 10_000, default_tolerance=Tolerance(absolute_minor=5)),
        ),
    ),
    Story(
        "a first arrival at the very moment of a new version is judged by it",
        """
        10.0 CORE    100 EUR SUCCESS clock=10
        10.1 GATEWAY 103 EUR SUCCESS clock=10
        10.2 MOBILE  100 EUR SUCCESS clock=10
        = MATCHED revision=1
        """,
        rules=(
            RuleSet(),
            RuleSet(version=2, effective_from_ms=A0 + 10_000, default_tolerance=Tolerance(absolute_minor=5)),
        ),
    ),
    Story(
        "a new version may wait for fewer sources",
        """
        10.0 CORE    100 EUR SUCCESS clock=10
        10.1 GATEWAY 100 EUR SUCCESS clock=10
        = MATCHED revision=1
        10.2 MOBILE  100 EUR SUCCESS clock=10
        wait
        = MATCHED revision=2
        """,
        rules=(
            RuleSet(),
            RuleSet(version=2, effective_from_ms=A0 + 10_000, expected_sources=("CORE", "GATEWAY")),
        ),
    ),
    Story(
        "mixed currencies are held to the strictest tolerance among them",
        """
        0.0 CORE    1000 JPY SUCCESS
        0.1 GATEWAY 1004 EUR SUCCESS
        0.2 MOBILE  1000 JPY SUCCESS
        = MISMATCHED AMOUNT,CURRENCY revision=1
        """,
        rules=(RuleSet(tolerances={"EUR": Tolerance(absolute_minor=3), "JPY": Tolerance(absolute_minor=50, bps=200)}),),
    ),
    Story(
        "of an absolute and a relative tolerance the larger counts",
        """
        0.0 CORE    100000 EUR SUCCESS
        0.1 GATEWAY 101000 EUR SUCCESS
        0.2 MOBILE  100000 EUR SUCCESS
        = MATCHED revision=1
        """,
        rules=(RuleSet(tolerances={"EUR": Tolerance(absolute_minor=5, bps=100)}),),
    ),
    Story(
        "a source outside the rules that is pending keeps the transaction open until it moves on",
        """
        0.0 CORE    100 EUR SUCCESS
        0.1 RISK    100 EUR PENDING
        0.2 GATEWAY 100 EUR SUCCESS
        0.3 MOBILE  100 EUR SUCCESS
        = nothing
        0.4 RISK    100 EUR SUCCESS
        = MATCHED revision=1
        """,
    ),
]


def play(story: Story) -> Workbench:
    bench = Workbench(rule_sets=story.rules)
    bench.start()
    try:
        for number, line in enumerate(filter(None, map(str.strip, story.told.splitlines()))):
            words = line.split()
            match words:
                case ["=", *expected]:
                    bench.wait_written()
                    assert bench.in_words() == " ".join(expected), f"at line {number + 1}: {line}"
                case ["read", names, "to", seconds]:
                    bench.read_up_to(float(seconds), *names.split(","))
                case ["wait"]:
                    bench.settle()
                case ["restart"]:
                    bench.crash()
                    bench.push()
                case [after, source, amount, currency, status, *options]:
                    more = dict(option.split("=") for option in options)
                    bench.tell(
                        event(
                            more.get("txn", "T1"),
                            source,
                            at=float(after),
                            amount=int(amount),
                            currency=currency,
                            status=status,
                            clock=float(more["clock"]) if "clock" in more else None,
                            event_id=more.get("id", f"event-{number}"),
                        )
                    )
    finally:
        bench.close()
    assert not bench.faults
    return bench


@pytest.mark.parametrize("story", STORIES, ids=[story.name.replace(" ", "-") for story in STORIES])
def test_the_engine_tells_the_story_as_the_contract_does(story):
    bench = play(story)
    if story.history:
        assert tuple(in_words(row) for row in bench.database.history) == story.history


def _told_by_engine(case: Case) -> str:
    bench = Workbench(rule_sets=case.rules.rule_sets)
    bench.start()
    try:
        for one in tell(case.story):
            bench.tell(one)
        bench.read_up_to(min(case.read_until, 1e8))
        bench.settle()
        return bench.in_words()
    finally:
        bench.close()
        assert not bench.faults


@pytest.mark.parametrize("case", VERDICTS, ids=[case.name.replace(" ", "-") for case in VERDICTS])
def test_the_engine_ends_every_story_of_the_contract_alike(case):
    told = _told_by_engine(case)
    assert told == case.expect or (case.expect == "PENDING" and told.split()[0] in {"PENDING", "nothing"})


def test_sources_of_the_table_are_those_of_the_contract():
    assert NAMES == ["CORE", "GATEWAY", "MOBILE", "RISK"]
