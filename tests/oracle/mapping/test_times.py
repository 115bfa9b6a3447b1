"""Times in every format, clocks put forward and back, by hand-written values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster.oracle.mapping.configuration import Time, Value
from cluster.oracle.mapping.times import NotATime, milliseconds

AT = Value(("at",))


def utc(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


ARRIVAL = utc("2026-01-02T00:00:00")


@pytest.mark.parametrize(
    ("text", "form", "zone", "moment"),
    [
        ("2026-03-01T12:00:00Z", "iso", None, "2026-03-01T12:00:00"),
        ("2026-03-01 12:00:00.1239+05:30", "iso", None, "2026-03-01T06:30:00.123"),
        ("20260301T120000Z", "iso", None, "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00", "iso", "Asia/Kolkata", "2026-03-01T06:30:00"),
        ("2026-03-01T12:00", "iso", "+05:30", "2026-03-01T06:30:00"),
        ("2026-03-01T12:00 -0330", "iso", "UTC", "2026-03-01T15:30:00"),
        ("1772366400", "epoch_s", None, "2026-03-01T12:00:00"),
        ("1772366400.5", "epoch_s", None, "2026-03-01T12:00:00.5"),
        ("1.7723664e9", "epoch_s", None, "2026-03-01T12:00:00"),
        ("1772366400123", "epoch_ms", None, "2026-03-01T12:00:00.123"),
        ("1772366400123999", "epoch_us", None, "2026-03-01T12:00:00.123"),
        ("-1", "epoch_us", None, "1969-12-31T23:59:59.999"),
        ("46082.5", "excel", "UTC", "2026-03-01T12:00:00"),
        ("46082.52083333334", "excel", "UTC", "2026-03-01T12:30:00"),
        ("2026-03-01 12:00:00", "excel", "UTC", "2026-03-01T12:00:00"),
        ("01/03/2026 12:00:00", "%d/%m/%Y %H:%M:%S", "UTC", "2026-03-01T12:00:00"),
        ("3/1/2026 12:00:00", "%m/%d/%Y %T", "UTC", "2026-03-01T12:00:00"),
        ("01032026120000", "%d%m%Y%H%M%S", "UTC", "2026-03-01T12:00:00"),
        ("01-Mar-26 12:00 PM", "%d-%b-%y %I:%M %p", "UTC", "2026-03-01T12:00:00"),
        ("01-MARCH-26 12:00 am", "%d-%B-%y %I:%M %p", "UTC", "2026-03-01T00:00:00"),
        ("Sun  1 Mar 2026 12:00 +0100", "%a %e %b %Y %R %z", None, "2026-03-01T11:00:00"),
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
    assert milliseconds(text, Time(AT, form, zone), ARRIVAL) == utc(moment)


@pytest.mark.parametrize(
    ("text", "form", "zone", "fold"),
    [
        ("2026-03-29T02:30:00", "iso", "Europe/Berlin", "earlier"),  # the clocks jump over it
        ("2026-10-25T02:30:00", "iso", "Europe/Berlin", "reject"),  # it is there twice
        ("2026-03-01T12:00:00", "iso", None, "earlier"),
        ("2026-03-01", "iso", "UTC", "earlier"),
        ("2026-02-29T12:00:00Z", "iso", None, "earlier"),
        ("01/02/2026 10:00", "iso", "UTC", "earlier"),
        ("2026-03-01T23:59:60Z", "iso", None, "earlier"),
        ("2026-03-01T12:00:00+99:00", "iso", None, "earlier"),
        ("2026-03-01T12:00:00+05:99", "iso", None, "earlier"),
        ("31/04/2026", "%d/%m/%Y", "UTC", "earlier"),
        ("1/3/2026", "%d-%m-%Y", "UTC", "earlier"),
        ("00-Mar-26 13:00 PM", "%d-%b-%y %I:%M %p", "UTC", "earlier"),
        ("01 \u017fep 2026 10:00", "%d %b %Y %H:%M", "UTC", "earlier"),  # a long s
        ("12:00", "epoch_s", None, "earlier"),
        ("0", "excel", "UTC", "earlier"),
        ("9999999", "excel", "UTC", "earlier"),
        ("", "iso", "UTC", "earlier"),
    ],
)
def test_what_is_no_time_is_refused(text, form, zone, fold):
    with pytest.raises(NotATime):
        milliseconds(text, Time(AT, form, zone, fold), ARRIVAL)


def test_an_epoch_time_beyond_64_bits_of_milliseconds_is_not_cut_to_them():
    assert milliseconds("18446745863709551", Time(AT, "epoch_s"), ARRIVAL) == 18_446_745_863_709_551_000


def test_the_later_of_two_times():
    later = Time(AT, "iso", "Europe/Berlin", "later")
    assert milliseconds("2026-10-25T02:30:00", later, ARRIVAL) == utc("2026-10-25T01:30:00")
    assert milliseconds("2026-10-25T01:30:00", later, ARRIVAL) == utc("2026-10-24T23:30:00")


def test_a_time_without_a_year_that_the_clocks_jump_over_is_not_that_of_another_year():
    without_year = Time(AT, "%m-%d %H:%M", "Europe/Berlin")
    with pytest.raises(NotATime):
        milliseconds("03-29 02:30", without_year, utc("2026-03-29T02:00:00"))
    assert milliseconds("03-29 02:30", without_year, utc("2025-03-29T02:00:00")) == utc("2025-03-29T01:30:00")


def test_the_29th_of_february_is_looked_for_in_the_years_around():
    without_year = Time(AT, "%d/%m %H:%M", "UTC")
    assert milliseconds("29/02 10:00", without_year, utc("2027-06-01T00:00:00")) == utc("2028-02-29T10:00:00")
    with pytest.raises(NotATime):
        milliseconds("29/02 10:00", without_year, utc("2026-06-01T00:00:00"))


@pytest.mark.parametrize(
    ("text", "form", "zone", "start"),
    [
        ("2026-03-01", "iso", "Europe/Berlin", "2026-02-28T23:00:00"),
        ("2026-03-01T23:30:00Z", "iso", "Europe/Berlin", "2026-03-01T23:00:00"),  # 2 March there
        ("01-Mar-2026", "%d-%b-%Y", "Asia/Kolkata", "2026-02-28T18:30:00"),
        ("46082", "excel", "UTC", "2026-03-01T00:00:00"),
        ("1772366400", "epoch_s", "Asia/Tokyo", "2026-02-28T15:00:00"),
        ("2026-04-24", "iso", "Africa/Cairo", "2026-04-23T22:00:00"),  # midnight is jumped over: the day begins at 1:00
        ("2026-11-01", "iso", "America/Havana", "2026-11-01T04:00:00"),  # midnight is there twice
    ],
)
def test_only_the_day_counts(text, form, zone, start):
    assert milliseconds(text, Time(AT, form, zone, date_only=True), ARRIVAL) == utc(start)
