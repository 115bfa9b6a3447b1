"""Exchange rates: exact sums, and no sum where part of it would be missing."""

from decimal import Decimal

import pytest

from schemas.exchange import ExchangeRates, InvalidRatesError


def test_a_total_is_exact_and_rounded_once():
    rates = ExchangeRates.parse("EUR", "USD=0.92, KWD=3.01,JPY=0.0061")
    assert rates.rates["EUR"] == Decimal(1)
    # 10.00 EUR, 1.01 USD (0.9292), 1.005 KWD (3.02505), 7 JPY (0.0427): 13.99695
    assert rates.total([("EUR", 1_000), ("USD", 101), ("KWD", 1_005), ("JPY", 7)]) == (1_400, [])
    assert rates.total([]) == (0, [])


def test_a_missing_rate_gives_no_total_and_is_named():
    rates = ExchangeRates.parse("EUR", "USD=0.92")
    assert rates.total([("EUR", 5), ("GBP", 1), ("CHF", 2)]) == (None, ["CHF", "GBP"])
    assert rates.total([("EUR", 5), ("GBP", 0)]) == (5, [])


def test_without_a_base_nothing_is_converted():
    assert ExchangeRates.parse("", "").total([("EUR", 5)]) == (None, [])


@pytest.mark.parametrize(
    ("base", "text", "what"),
    [
        ("EUX", "", "'EUX' is no currency"),
        ("", "USD=1", "need a base currency"),
        ("EUR", "USD", "is no rate"),
        ("EUR", "USD=x", "is no rate"),
        ("EUR", "USD=-1", "is no rate"),
        ("EUR", "USD=nan", "is no rate"),
        ("EUR", "GBX=1", "'GBX' is no currency"),
        ("EUR", "USD=1,USD=2", "USD has two rates"),
        ("EUR", "EUR=2", "EUR has two rates"),
    ],
)
def test_rates_that_cannot_be_used_say_why(base, text, what):
    with pytest.raises(InvalidRatesError, match=what):
        ExchangeRates.parse(base, text)
