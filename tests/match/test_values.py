"""Money and times from files are exact or refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.files.values import (
    STATUS_WORDS,
    BadValueError,
    currency_code,
    identifier,
    major_to_minor,
    status_of,
    time_ms,
    whole_minor,
)
from schemas.events import AMOUNT_MINOR_MAX, Status
from schemas.money import CURRENCY_EXPONENTS

NOON_MS = 1_795_521_600_000  # 2026-11-24T12:00:00Z


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.30", "EUR", 1230),
        ("0.10", "EUR", 10),
        ("0.29", "EUR", 29),  # 0.29 * 100 is 28.999999999999996 as a float
        ("1.005", "KWD", 1005),
        ("12.3", "KWD", 12300),
        ("12", "JPY", 12),
        ("12.000", "JPY", 12),
        (" 7 ", "EUR", 700),
        ("9999999999999.99", "EUR", 999_999_999_999_999),
        (Decimal("1.23"), "EUR", 123),
        (5, "EUR", 500),
    ],
)
def test_major_units_become_minor_units_exactly(text, currency, minor):
    assert major_to_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("value", "currency", "why"),
    [
        ("12.345", "EUR", "more decimals"),
        ("12.5", "JPY", "more decimals"),
        ("12,30", "EUR", "not a number"),
        ("1,234.50", "EUR", "not a number"),
        ("", "EUR", "empty"),
        (None, "EUR", "empty"),
        ("NaN", "EUR", "plain digits"),
        ("Infinity", "EUR", "plain digits"),
        ("1e999999999", "EUR", "plain digits"),
        ("1e2", "EUR", "plain digits"),
        ("1_000", "EUR", "plain digits"),
        (Decimal("1e999999999"), "EUR", "out of range"),
        ("-1", "EUR", "not within"),
        ("10000000000000.01", "EUR", "not within"),
        (12.3, "EUR", "floating-point"),
    ],
)
def test_what_is_not_exact_money_is_refused(value, currency, why):
    with pytest.raises(BadValueError, match=why):
        major_to_minor(value, currency)


def test_a_decimal_comma_is_read_when_asked_for():
    assert major_to_minor("12,30", "EUR", decimal_comma=True) == 1230
    assert major_to_minor("1.234,50", "EUR", decimal_comma=True) == 123450


@pytest.mark.parametrize("value", ["1.500", "12.30", "1.2345,00", "1,500.00"])
def test_a_dot_beside_a_decimal_comma_is_not_guessed_at(value):
    with pytest.raises(BadValueError, match="has a dot"):
        major_to_minor(value, "EUR", decimal_comma=True)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from(sorted(CURRENCY_EXPONENTS)))
def test_every_amount_survives_being_written_in_major_units(minor, currency):
    text = str(Decimal(minor).scaleb(-CURRENCY_EXPONENTS[currency]))
    assert major_to_minor(text, currency) == minor


def test_minor_units_must_be_whole_and_the_message_says_what_to_do():
    assert whole_minor("1230") == 1230
    with pytest.raises(BadValueError, match="map it as `amount`"):
        whole_minor("12.30")


@pytest.mark.parametrize(
    ("value", "unit", "ms"),
    [
        ("2026-11-24T12:00:00Z", "ms", NOON_MS),
        ("2026-11-24T14:00:00+02:00", "ms", NOON_MS),
        ("2026-11-24 12:00:00", "ms", NOON_MS),
        ("2026-11-24T12:00:00.123456Z", "ms", NOON_MS + 123),
        ("2026-11-24", "ms", NOON_MS - 12 * 3_600_000),
        (str(NOON_MS), "ms", NOON_MS),
        (NOON_MS // 1000, "s", NOON_MS),
        (NOON_MS * 1000 + 999, "us", NOON_MS),
        (datetime(2026, 11, 24, 12, tzinfo=UTC), "ms", NOON_MS),
        (datetime(2026, 11, 24, 12), "ms", NOON_MS),  # noqa: DTZ001 - Parquet has such times too
        (datetime(2026, 11, 24, 7, tzinfo=timezone(timedelta(hours=-5))), "ms", NOON_MS),
        (date(2026, 11, 24), "ms", NOON_MS - 12 * 3_600_000),
    ],
)
def test_times_become_milliseconds(value, unit, ms):
    assert time_ms("event_time", value, unit) == ms


@pytest.mark.parametrize("value", ["", None, "yesterday", "12:00", str(NOON_MS // 1000), "1999-12-31T23:59:59Z"])
def test_times_that_make_no_sense_are_refused(value):
    with pytest.raises(BadValueError):
        time_ms("event_time", value)


def test_statuses_are_words_and_can_be_taught():
    assert status_of("success", STATUS_WORDS) is Status.SUCCESS
    assert status_of(" Declined ", STATUS_WORDS) is Status.FAILED
    assert status_of("cleared", {"CLEARED": Status.SUCCESS}) is Status.SUCCESS
    with pytest.raises(BadValueError, match="--status CLEARED=SUCCESS"):
        status_of("cleared", STATUS_WORDS)


def test_an_amount_with_more_digits_than_a_decimal_context_has_is_no_rounder():
    with pytest.raises(BadValueError, match="more decimals"):
        major_to_minor("1.00" + "0" * 40 + "1", "EUR")
    assert major_to_minor("1.00" + "0" * 40, "EUR") == 100
    with pytest.raises(BadValueError, match="more than 100 characters"):
        major_to_minor("1." + "0" * 99, "EUR")


@pytest.mark.parametrize("value", ["", "   ", None, "a\0b", "é" * 129])
def test_ids_that_cannot_be_keys_are_refused(value):
    with pytest.raises(BadValueError):
        identifier("txn_id", value)


def test_currencies_are_iso_codes_in_any_case():
    assert currency_code(" eur ") == "EUR"
    with pytest.raises(BadValueError, match="ISO 4217"):
        currency_code("BTC")
