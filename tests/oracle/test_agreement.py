"""The oracle and the core, two implementations of one contract, asked about any events at all."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.matching.decide import decide, drop_redeliveries, row_source_ids
from actors.matching.frames import EVENT_SCHEMA
from cluster.oracle.judge import Seen, judge
from schemas.events import DEFAULT_SOURCES, SourceSpec, Status, key_group_of
from schemas.rules import Rulebook, RuleSet, Tolerance

A0 = 1_790_000_000_000
SOURCES = (*DEFAULT_SOURCES, SourceSpec("RISK", "risk_txns", expected=False))
RULEBOOKS = [
    Rulebook([RuleSet()]),
    Rulebook([RuleSet(match_window_ms=5, time_tolerance_ms=3)]),
    Rulebook(
        [
            RuleSet(match_window_ms=10, time_tolerance_ms=2, default_tolerance=Tolerance(bps=500)),
            RuleSet(
                version=2,
                effective_from_ms=A0 + 6,
                match_window_ms=4,
                tolerances={"JPY": Tolerance(absolute_minor=1), "EUR": Tolerance(absolute_minor=1, bps=250)},
                expected_sources=("CORE", "RISK"),
            ),
        ]
    ),
    Rulebook([RuleSet(match_window_ms=8, row_sources=("GATEWAY", "RISK"), compared_attributes=("m",))]),
    Rulebook(
        [
            RuleSet(match_window_ms=10, time_tolerance_ms=86_400_000, calendars={"CORE": "Asia/Tokyo"}),
            RuleSet(
                version=2,
                effective_from_ms=A0 + 6,
                match_window_ms=8,
                time_tolerance_ms=0,
                calendars={"CORE": "America/St_Johns", "MOBILE": "-03:00", "RISK": "America/St_Johns"},
                compared_attributes=("m", "n"),
                row_sources=("MOBILE",),
            ),
        ]
    ),
]

# Few values of everything, so that ties, repeats and edges are the rule rather than the exception.
EVENT = st.tuples(
    st.sampled_from(["T1", "T2", "T3"]),
    st.integers(0, len(SOURCES) - 1),
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from([0, 99, 100, 101, 105, 10**15, -100, -105]),
    st.sampled_from(["EUR", "JPY", "USD"]),
    st.sampled_from(list(Status)),
    st.integers(0, 12) | st.sampled_from([hours * 3_600_000 for hours in (-36, -15, -11, -1, 1, 9, 10, 13, 33)]),
    st.integers(0, 16),  # arrival
    st.integers(0, 1),  # partition
    st.sampled_from([{}, {"m": "x"}, {"m": "y"}, {"m": "x", "n": "é"}, {"n": "z"}]),
)


# The same event once more at another place, as (which, arrival, partition).
REDELIVERIES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 16), st.integers(0, 1)), max_size=6)


def build(rows: list[tuple]) -> list[Seen]:
    rows = sorted(rows, key=lambda row: row[7])  # a log's offsets rise with its arrival times
    return [
        Seen(
            *(source, event_id, txn_id, amount, currency, status, A0 + time, "ACC", None),
            *(A0 + arrival, partition, offset, attributes),
        )
        for offset, (txn_id, source, event_id, amount, currency, status, time, arrival, partition, attributes) in (
            enumerate(rows)
        )
    ]


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(EVENT, min_size=1, max_size=14),
    again=REDELIVERIES,
    rulebook=st.sampled_from(RULEBOOKS),
    watermarks=st.lists(st.integers(0, 40).map(lambda after: A0 + after), min_size=4, max_size=4),
)
def test_core_and_oracle_agree_on_every_transaction(rows, again, rulebook, watermarks):
    repeats = [(*rows[which % len(rows)][:7], *place, rows[which % len(rows)][9]) for which, *place in again]
    events = build([*rows, *repeats])
    frame = pl.DataFrame(
        [
            (
                key_group_of(event.txn_id),
                number + 1,
                event.txn_id,
                event.source,
                event.event_id,
                event.amount_minor,
                event.currency,
                int(event.status),
                event.event_time,
                event.arrival,
                event.partition,
                event.offset,
                event.stored_attributes,
            )
            for number, event in enumerate(events)
        ],
        schema=EVENT_SCHEMA,
        orient="row",
    )
    distinct, _ = drop_redeliveries(frame, row_source_ids(rulebook, SOURCES))
    by_core = {row["txn_id"]: row for row in decide(distinct, rulebook, SOURCES, watermarks).iter_rows(named=True)}
    for txn_id in {event.txn_id for event in events}:
        expected = judge([event for event in events if event.txn_id == txn_id], rulebook, SOURCES, watermarks)
        found = by_core.pop(txn_id)
        assert (found["verdict"], found["final"], found["revision"], found["rules_version"]) == (
            expected.verdict,
            expected.final,
            expected.revision,
            expected.rules_version,
        )
        assert found["legs"] == expected.packed_legs
        assert (found["amount_minor"], found["spread_minor"], found["currency"]) == (
            expected.amount_minor,
            expected.spread_minor,
            expected.currency,
        )
        assert (found["first_arrival"], found["last_arrival"]) == (expected.first_arrival, expected.last_arrival)
        if expected.final:  # provisional breaks are the engine's courtesy, not part of the contract
            assert found["breaks"] == sum(kind.mask for kind in expected.breaks)
            assert found["missing"] == sum(1 << source for source in expected.missing)
            assert found["late"] == sum(1 << source for source in expected.late)
        distinct_seqs = {number + 1 for number, event in enumerate(events) if event.txn_id == txn_id}
        distinct_seqs -= {
            number + 1 for number, event in enumerate(events) if event.txn_id == txn_id and event.redelivery
        }
        assert set(found["event_seqs"]) == distinct_seqs
    assert not by_core
