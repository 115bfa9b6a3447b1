"""Sources whose events are states of rows: the newest state of a row is the event, what came before it is history."""

import json

import polars as pl
import pytest

from actors.matching.decide import decide, drop_redeliveries
from actors.matching.frames import EVENT_SCHEMA
from schemas.events import SourceSpec, Status, key_group_of
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import Verdict, break_names

SOURCES = [SourceSpec("ROWS", "rows"), SourceSpec("BANK", "bank")]
ALL_READ = [1 << 60] * 2
WINDOW_MS = 30_000


def state(row, arrival, amount=100, status=Status.SUCCESS, event_time=1_000, source=0, **attributes):
    return {
        "source": source,
        "event_id": row,
        "arrival": arrival,
        "amount_minor": amount,
        "status": int(status),
        "event_time": event_time,
        "attributes": json.dumps(attributes) if attributes else None,
    }


def bank(arrival, **parts):
    return state(f"b{arrival}", arrival, source=1, **parts)


def frame(events):
    rows = [
        {"key_group": key_group_of("T"), "seq": seq, "txn_id": "T", "currency": "EUR", "partition": 0, "offset": seq}
        | event
        for seq, event in enumerate(events, start=1)
    ]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def judged(*events):
    book = Rulebook([RuleSet(expected_sources=("ROWS", "BANK"), row_sources=("ROWS",), match_window_ms=WINDOW_MS)])
    distinct, redeliveries = drop_redeliveries(frame(events), {0})
    result = decide(distinct, book, SOURCES, ALL_READ).row(0, named=True)
    return result, sorted(redeliveries["seq"])


def test_a_new_state_replaces_the_one_before_whatever_it_says():
    result, redeliveries = judged(state("1", 10, amount=999), state("1", 20, amount=100), bank(30))
    assert break_names(result["breaks"]) == []
    assert result["verdict"] == Verdict.MATCHED
    assert result["legs"].startswith("0:100:EUR:")
    assert sorted(result["event_seqs"]) == [1, 2, 3]
    assert redeliveries == []


def test_the_newest_state_counts_even_with_an_earlier_time_of_its_own():
    result, _ = judged(state("1", 10, amount=999, event_time=5_000), state("1", 20, event_time=1_000), bank(30))
    assert break_names(result["breaks"]) == []


def test_a_status_may_go_back():
    result, _ = judged(state("1", 10, status=Status.REVERSED), state("1", 20, status=Status.SUCCESS), bank(30))
    assert break_names(result["breaks"]) == []


def test_the_same_state_again_is_counted_and_otherwise_ignored():
    result, redeliveries = judged(state("1", 10), state("1", 20), bank(30), state("1", 40))
    assert redeliveries == [2, 4]
    assert result["revision"] == 1


def test_a_row_may_become_again_what_it_was():
    result, redeliveries = judged(
        state("1", 10, amount=100), state("1", 20, amount=5), state("1", 30, amount=100), bank(40)
    )
    assert redeliveries == []
    assert break_names(result["breaks"]) == []
    assert sorted(result["event_seqs"]) == [1, 2, 3, 4]


def test_two_rows_of_one_transaction_are_two_events():
    assert break_names(judged(state("1", 10), state("2", 20), bank(30))[0]["breaks"]) == ["DUPLICATE"]
    other = judged(state("1", 10), state("2", 20, amount=7), bank(30))[0]
    assert break_names(other["breaks"]) == ["CONFLICT", "AMOUNT"]


def test_a_state_after_the_decision_is_a_revision():
    result, _ = judged(state("1", 10), bank(20), state("1", 30, amount=7))
    assert result["revision"] == 2
    assert break_names(result["breaks"]) == ["AMOUNT"]


def test_completeness_follows_the_states_as_they_came():
    # PENDING again after the bank had spoken: at no moment before 40 were both terminal, so the decision is at 40.
    events = (
        state("1", 10, status=Status.PENDING, event_time=9_000),
        bank(20),
        state("1", 40, status=Status.SUCCESS, event_time=1_000),
        state("1", 50, status=Status.FAILED, event_time=1_000),
    )
    result, _ = judged(*events)
    assert result["revision"] == 2
    assert break_names(result["breaks"]) == ["STATUS"]


def test_a_state_after_the_window_is_late():
    result, _ = judged(state("1", 10), bank(20), state("1", 20 + WINDOW_MS, amount=7))
    assert result["late"] == 1
    assert result["revision"] == 2


@pytest.mark.parametrize("attributes", [{"m": "a"}, {}])
def test_attributes_belong_to_the_content(attributes):
    _, redeliveries = judged(state("1", 10, m="a"), state("1", 20, **attributes), bank(30))
    assert redeliveries == ([2] if attributes else [])
