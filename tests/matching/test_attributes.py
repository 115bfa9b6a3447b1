"""Compared attributes, sources of whose times only the day counts, and amounts below zero."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from actors.matching.decide import decide
from actors.matching.frames import EVENT_SCHEMA
from schemas.events import SourceSpec, Status, key_group_of
from schemas.rules import Rulebook, RuleSet, Tolerance
from schemas.verdicts import Break, break_mask, break_names

DAY_MS = 86_400_000
ALL_READ = [1 << 60] * 3


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def judged(events, calendars=(None, None, None), compared=(), tolerance_ms=5_000, **rules):
    """Results by transaction. An event is (source, event_time, amount, status, attributes)."""
    sources = [SourceSpec(name, name.lower()) for name in "ABC"]
    rules |= {"calendars": {name: zone for name, zone in zip("ABC", calendars, strict=True) if zone}}
    rules |= {"compared_attributes": compared}
    rows = []
    for seq, (source, event_time, amount, status, attributes) in enumerate(events, start=1):
        row = dict.fromkeys(EVENT_SCHEMA) | {
            "key_group": key_group_of("T"),
            "seq": seq,
            "txn_id": "T",
            "source": source,
            "event_id": f"e{seq}",
            "amount_minor": amount,
            "currency": "EUR",
            "status": int(status),
            "event_time": event_time,
            "arrival": at("2026-03-10T12:00:00"),
            "partition": source,
            "offset": seq,
        }
        rows.append(row | {"attributes": json.dumps(attributes) if attributes else None})
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA)
    expected = tuple("ABC"[: len({event[0] for event in events})])
    book = Rulebook([RuleSet(1, 0, time_tolerance_ms=tolerance_ms, expected_sources=expected, **rules)])
    result = decide(frame, book, sources, ALL_READ, named=True).row(0, named=True)
    return break_names(result["breaks"]), result


def leg(source, time="2026-03-10T12:00:00", amount=100, status=Status.SUCCESS, **attributes):
    return source, at(time), amount, status, attributes


def test_the_bit_of_an_attribute_is_kept_and_it_stands_before_missing():
    assert Break.MISSING.mask == 64
    assert Break.ATTRIBUTE.mask == 128
    assert break_names(break_mask(["MISSING", "ATTRIBUTE", "AMOUNT"])) == ["AMOUNT", "ATTRIBUTE", "MISSING"]


def test_attributes_that_differ_are_a_break_with_their_names():
    events = [leg(0, merchant="M1", terminal="X"), leg(1, merchant="M2", terminal="X")]
    breaks, result = judged(events, compared=("merchant", "terminal"))
    assert breaks == ["ATTRIBUTE"]
    assert result["differing"] == ["merchant"]


def test_an_attribute_that_one_source_does_not_tell_is_not_compared():
    breaks, result = judged([leg(0, merchant="M1"), leg(1), leg(2, merchant="M1")], compared=("merchant",))
    assert breaks == []
    assert result["differing"] == []


def test_the_latest_event_of_a_source_says_its_attribute():
    events = [
        leg(0, "2026-03-10T12:00:00", status=Status.PENDING, merchant="old"),
        leg(0, "2026-03-10T12:00:01", merchant="M1"),
        leg(1, "2026-03-10T12:00:00", merchant="M1"),
    ]
    assert judged(events, compared=("merchant",))[0] == []


def test_one_event_id_with_another_attribute_is_another_event():
    first, second = leg(0, merchant="M1"), leg(0, merchant="M2")
    assert judged([first, second, leg(1, merchant="M2")], compared=("merchant",))[0] == ["DUPLICATE"]


def test_a_booking_date_agrees_with_every_moment_of_its_day_in_its_zone():
    # The day begins in Berlin at 23:00 UTC of the day before.
    day = leg(1, "2026-03-09T23:00:00")
    for moment in ("2026-03-09T23:00:00", "2026-03-10T12:00:00", "2026-03-10T22:59:59.999"):
        assert judged([leg(0, moment), day], (None, "Europe/Berlin", None), tolerance_ms=0)[0] == []
    for moment in ("2026-03-09T22:59:59.999", "2026-03-10T23:00:00"):
        assert judged([leg(0, moment), day], (None, "Europe/Berlin", None), tolerance_ms=0)[0] == ["TIMESTAMP"]


def test_a_tolerance_of_days_counts_calendar_days():
    day = leg(1, "2026-03-12T18:30:00")  # 13 March in Kolkata
    found = [
        judged([leg(0, moment), day], (None, zone, None), tolerance_ms=3 * DAY_MS)[0]
        for zone in ("Asia/Kolkata", "+05:30")
        for moment in ("2026-03-09T18:30:00", "2026-03-09T18:29:59")
    ]
    assert found == [[], ["TIMESTAMP"]] * 2


def test_two_moments_on_both_sides_of_midnight_stay_moments():
    events = [leg(0, "2026-03-10T23:59:58"), leg(1, "2026-03-11T00:00:01"), leg(2, "2026-03-10T00:00:00")]
    assert judged(events, (None, None, "UTC"), tolerance_ms=5_000)[0] == ["TIMESTAMP"]
    assert judged(events[:2], (None, None, "UTC"), tolerance_ms=5_000)[0] == []
    assert judged(events, (None, None, "UTC"), tolerance_ms=DAY_MS)[0] == []


@pytest.mark.parametrize(("low", "tolerance", "breaks"), [(-1010, 10, []), (-1011, 10, ["AMOUNT"])])
def test_negative_amounts_are_compared_by_their_size(low, tolerance, breaks):
    found, result = judged(
        [leg(0, amount=-1000), leg(1, amount=low)], default_tolerance=Tolerance(absolute_minor=tolerance)
    )
    assert found == breaks
    assert result["amount_minor"] == -1000
    assert result["currency"] == "EUR"
    assert result["spread_minor"] == -1000 - low


def test_a_percentage_of_a_negative_amount_is_of_its_size():
    events = [leg(0, amount=-10_000), leg(1, amount=-10_100)]
    assert judged(events, default_tolerance=Tolerance(bps=100))[0] == []
    assert judged(events, default_tolerance=Tolerance(bps=98))[0] == ["AMOUNT"]
