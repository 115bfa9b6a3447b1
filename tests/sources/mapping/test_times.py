"""Times in every format, clocks put forward and back; reading by the column gives what the definition gives."""

import random
from datetime import UTC, datetime

import polars as pl
import pytest

from sources.config.models import Time, Value
from sources.config.times import check_zone
from sources.files.options import Place
from sources.mapping.times import BadTimeError, milliseconds, read_times
from wire.records import NestedRecords

AT = Value((Place(path="at"),))
ARRIVAL = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000)


def utc(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def read(texts, time):
    rows = [{"at": text} for text in texts]
    records = NestedRecords(rows, pl.Series("row", range(len(rows)), dtype=pl.Int64), lambda _: b"")
    stamps, wrong = read_times(records, time, pl.Series([ARRIVAL] * len(rows), dtype=pl.Int64))
    return [wrong.get(index, value) for index, value in enumerate(stamps)]


@pytest.mark.parametrize(
    ("text", "form", "zone", "moment"),
    [
        ("2026-03-01T12:00:00Z", "iso", None, "2026-03-01T12:00:00"),
        ("2026-03-01 12:00:00.1239+05:30", "iso", None, "2026-03-01T06:30:00.123"),
        ("20260301T120000Z", "iso", None, "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00", "iso", "Asia/Kolkata", "2026-03-01T06:30:00"),
        ("2026-03-01T12:00", "iso", "+05:30", "2026-03-01T06:30:00"),
        ("1772366400", "epoch_s", None, "2026-03-01T12:00:00"),
        ("1772366400.5", "epoch_s", None, "2026-03-01T12:00:00.5"),
        ("1772366400123", "epoch_ms", None, "2026-03-01T12:00:00.123"),
        ("1772366400123999", "epoch_us", None, "2026-03-01T12:00:00.123"),
        ("46082.5", "excel", "UTC", "2026-03-01T12:00:00"),
        ("46082.52083333334", "excel", "UTC", "2026-03-01T12:30:00"),
        ("2026-03-01 12:00:00", "excel", "UTC", "2026-03-01T12:00:00"),
        ("01/03/2026 12:00:00", "%d/%m/%Y %H:%M:%S", "UTC", "2026-03-01T12:00:00"),
        ("3/1/2026 12:00:00", "%m/%d/%Y %H:%M:%S", "UTC", "2026-03-01T12:00:00"),
        ("01032026120000", "%d%m%Y%H%M%S", "UTC", "2026-03-01T12:00:00"),
        ("01-Mar-26 12:00 PM", "%d-%b-%y %I:%M %p", "UTC", "2026-03-01T12:00:00"),
        ("01-MAR-26 12:00 am", "%d-%b-%y %I:%M %p", "UTC", "2026-03-01T00:00:00"),
        ("2026060 1200", "%Y%j %H%M", "UTC", "2026-03-01T12:00:00"),
        ("1203 0800", "%m%d %H%M", "UTC", "2025-12-03T08:00:00"),  # a year: the nearest to the arrival
        ("0103 0800", "%m%d %H%M", "UTC", "2026-01-03T08:00:00"),
        ("01/03/70 00:00", "%d/%m/%y %H:%M", "UTC", "1970-03-01T00:00:00"),
        ("01/03/68 00:00", "%d/%m/%y %H:%M", "UTC", "2068-03-01T00:00:00"),
        # Clocks are put back at 3:00 on 25 October 2026: 2:30 is twice.
        ("2026-10-25T02:30:00", "iso", "Europe/Berlin", "2026-10-25T00:30:00"),
    ],
)
def test_formats(text, form, zone, moment):
    time = Time(AT, form, zone)
    assert milliseconds(text, time, ARRIVAL) == utc(moment)
    assert read([text], time) == [utc(moment)]


@pytest.mark.parametrize(
    ("text", "form", "zone", "fold", "why"),
    [
        ("2026-03-29T02:30:00", "iso", "Europe/Berlin", "earlier", "does not exist in Europe/Berlin"),
        ("2026-10-25T02:30:00", "iso", "Europe/Berlin", "reject", "was twice in Europe/Berlin"),
        ("2026-03-01T12:00:00", "iso", None, "earlier", "has no zone"),
        ("2026-03-01", "iso", "UTC", "earlier", "has no time of day"),
        ("2026-03-01T12:00:00+25:00", "iso", None, "earlier", "no offset of a zone"),
        ("2026-03-01T12:00:00+05:75", "iso", None, "earlier", "no offset of a zone"),
        ("2026-03-01 12:00 -9900", "%Y-%m-%d %H:%M %z", None, "earlier", "no offset of a zone"),
        ("2026-02-29T12:00:00Z", "iso", None, "earlier", "is no time"),
        ("01/02/2026 10:00", "iso", "UTC", "earlier", "2026-02-01 by %d/%m/%Y or 2026-01-02 by %m/%d/%Y"),
        ("2026-03-01T23:59:60Z", "iso", None, "earlier", "is no time"),
        ("31/04/2026", "%d/%m/%Y", "UTC", "earlier", "is no time"),
        ("1/3/2026", "%d-%m-%Y", "UTC", "earlier", "is not of the form"),
        ("00-Mar-26 13:00 PM", "%d-%b-%y %I:%M %p", "UTC", "earlier", "hour 13 of twelve"),
        ("12:00", "epoch_s", None, "earlier", "is no number"),
        ("9" * 23, "epoch_s", None, "earlier", ""),
        ("0", "excel", "UTC", "earlier", "no day of a workbook"),
    ],
)
def test_what_is_no_time_says_why(text, form, zone, fold, why):
    time = Time(AT, form, zone, fold)
    if not why:  # beyond all years, but an exact number: the limits on event times refuse it
        assert isinstance(milliseconds(text, time, ARRIVAL), int)
        return
    with pytest.raises(BadTimeError) as error:
        milliseconds(text, time, ARRIVAL)
    assert why in str(error.value)
    assert read([text], time) == [str(error.value)]


@pytest.mark.parametrize("form", ["epoch_s", "epoch_ms", "epoch_us"])
@pytest.mark.parametrize("digits", [15, 16, 17, 18, 20, 24])
def test_a_number_is_never_another_time(form, digits):
    text = "9" * digits
    right = milliseconds(text, Time(AT, form), ARRIVAL)
    (found,) = read([text], Time(AT, form))
    assert found == right or (abs(right) >= 1 << 62 and "beyond all limits" in found)


@pytest.mark.parametrize("zone", ["localtime", "Factory"])
def test_a_zone_that_is_this_machines_or_none_is_refused(zone):
    assert check_zone(zone) is not None


def test_a_day_that_a_zone_never_had_is_refused():
    time = Time(AT, "iso", "Pacific/Apia", date_only=True)
    with pytest.raises(BadTimeError, match="2011-12-30 does not exist in Pacific/Apia"):
        milliseconds("2011-12-30", time, ARRIVAL)
    assert milliseconds("2011-12-31", time, ARRIVAL) == utc("2011-12-30T10:00:00")
    # Midnight was jumped over: the day begins at one o'clock.
    sao_paulo = Time(AT, "iso", "America/Sao_Paulo", date_only=True)
    assert milliseconds("2018-11-04", sao_paulo, ARRIVAL) == utc("2018-11-04T03:00:00")


def test_the_later_of_two_times():
    time = Time(AT, "iso", "Europe/Berlin", "later")
    assert read(["2026-10-25T02:30:00", "2026-10-25T01:30:00"], time) == [
        utc("2026-10-25T01:30:00"),
        utc("2026-10-24T23:30:00"),
    ]


@pytest.mark.parametrize(
    ("text", "form", "zone", "start"),
    [
        ("2026-03-01", "iso", "Europe/Berlin", "2026-02-28T23:00:00"),
        ("2026-03-01T23:30:00Z", "iso", "Europe/Berlin", "2026-03-01T23:00:00"),  # 2 March there
        ("01-Mar-2026", "%d-%b-%Y", "Asia/Kolkata", "2026-02-28T18:30:00"),
        ("46082", "excel", "UTC", "2026-03-01T00:00:00"),
        ("1772366400", "epoch_s", "Asia/Tokyo", "2026-02-28T15:00:00"),
    ],
)
def test_only_the_day_counts(text, form, zone, start):
    assert read([text], Time(AT, form, zone, date_only=True)) == [utc(start)]


def test_by_the_column_as_by_the_definition():
    rng = random.Random(11)
    forms = [
        ("iso", None, "%Y-%m-%dT%H:%M:%S.%fZ"),
        ("iso", "Europe/Berlin", "%Y-%m-%d %H:%M:%S"),
        ("iso", "America/St_Johns", "%Y-%m-%dT%H:%M:%S"),
        ("%d.%m.%Y %H:%M:%S", "Europe/Berlin", "%d.%m.%Y %H:%M:%S"),
        ("%Y%m%d%H%M%S%f", "Asia/Kolkata", "%Y%m%d%H%M%S%f"),
        ("%d/%m/%y %H:%M", "UTC", "%d/%m/%y %H:%M"),
    ]
    for form, zone, written in forms:
        for fold in ("earlier", "later", "reject"):
            time = Time(AT, form, zone, fold)
            # Every quarter of an hour of some days on which clocks change, and moments of all years.
            texts = [
                datetime.fromtimestamp(utc(day) / 1000 + quarter * 900, UTC).strftime(written)
                for day in ("2026-03-29T00:00", "2026-10-25T00:00", "2026-03-08T00:00", "2026-11-01T00:00")
                for quarter in range(24)
            ]
            texts += [
                datetime.fromtimestamp(rng.randrange(-(10**9), 4 * 10**9) + rng.random(), UTC).strftime(written)
                for _ in range(200)
            ]
            texts += [text.replace("0", "9", 1) for text in texts[:60]]
            for text, found in zip(texts, read(texts, time), strict=True):
                try:
                    right = milliseconds(text, time, ARRIVAL)
                except BadTimeError as error:
                    right = str(error)
                assert found == right, (text, form, zone, fold)


def test_a_time_without_a_year_that_the_clocks_jumped_over_is_of_no_other_year():
    time = Time(AT, "%m-%d %H:%M", "Europe/Berlin")
    with pytest.raises(BadTimeError, match="put forward"):
        milliseconds("03-29 02:30", time, utc("2026-03-29T12:00:00"))
    assert milliseconds("03-29 03:30", time, utc("2026-03-29T12:00:00")) == utc("2026-03-29T01:30:00")
    assert milliseconds("02-29 12:00", Time(AT, "%m-%d %H:%M", "UTC"), utc("2023-06-01T00:00:00")) == utc(
        "2024-02-29T12:00:00"
    )


def test_a_letter_that_only_looks_like_one_of_a_month_is_no_month():
    assert "is no time" in read(["01 \u017fep 2026"], Time(AT, "%d %b %Y", "UTC"))[0]
