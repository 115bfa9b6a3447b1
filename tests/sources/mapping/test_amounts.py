"""Amounts in every notation, and that reading by the column gives what the definition gives."""

import random
from decimal import Decimal

import polars as pl
import pytest

from sources.config.models import Amount, Indicator, Value
from sources.currencies import EXPONENTS
from sources.files.options import Place
from sources.mapping.amounts import BadAmountError, exact, minor_units, read_amounts
from wire.records import NestedRecords


def at(path):
    return Value((Place(path=path),))


def read(rows, amount):
    """Minor units or the problem of each row; a row has the amount's own fields and `ccy`."""
    rows = [{"ccy": "EUR", **row} for row in rows]
    records = NestedRecords(rows, pl.Series("row", range(len(rows)), dtype=pl.Int64), lambda _: b"")
    minor, wrong = read_amounts(records, amount, pl.Series([row["ccy"] for row in rows], dtype=pl.String))
    return [wrong.get(index, value) for index, value in enumerate(minor)]


@pytest.mark.parametrize(
    ("text", "decimal", "group", "value"),
    [
        ("12.50", ".", None, "12.50"),
        ("-12.50", ".", None, "-12.50"),
        ("12.50-", ".", None, "-12.50"),
        ("(12.50)", ".", None, "-12.50"),
        ("( 12.50 )", ".", None, "-12.50"),
        ("\u221212.50", ".", None, "-12.50"),
        ("+12.50", ".", None, "12.50"),
        ("€12.50", ".", None, "12.50"),
        ("-€ 12.50", ".", None, "-12.50"),
        ("€(12.50)", ".", None, "-12.50"),
        ("(€ 12.50)", ".", None, "-12.50"),
        ("EUR (12.50)", ".", None, "-12.50"),
        ("$12.50", ".", None, "12.50"),
        ("0,50", ",", ".", "0.50"),
        ("0.50", ".", ",", "0.50"),
        ("12,50 €", ",", ".", "12.50"),
        ("EUR 12.50", ".", None, "12.50"),
        ("12.50EUR-", ".", None, "-12.50"),
        ("1,234,567.89", ".", ",", "1234567.89"),
        ("12,34,567.89", ".", ",", "1234567.89"),
        ("1.234.567,89", ",", ".", "1234567.89"),
        ("1 234,5", ",", " ", "1234.5"),
        ("1\u202f234,5", ",", " ", "1234.5"),
        ("1'234.50", ".", "'", "1234.50"),
        ("1\u2019234.50", ".", "'", "1234.50"),
        (".5", ".", None, "0.5"),
        ("7.", ".", None, "7"),
        ("0", ".", None, "0"),
    ],
)
def test_notations(text, decimal, group, value):
    assert exact(text, decimal, group, code="EUR") == Decimal(value)


@pytest.mark.parametrize(
    ("text", "decimal", "group", "why"),
    [
        ("1,234.50", ".", None, "say what it is"),
        ("12,50", ".", ",", "not grouped in thousands"),
        ("1.234", ",", None, "say what it is"),
        ("12,34", ".", ",", "not grouped"),
        ("1E5", ".", None, "scientific notation"),
        ("--5", ".", None, "two signs"),
        ("-5-", ".", None, "two signs"),
        ("(-5)", ".", None, "parentheses and a sign"),
        ("-(5)", ".", None, "parentheses and a sign"),
        ("5.-", ".", None, "may be a minus or stand for no cents"),
        ("5,\u2013", ",", None, "may be a minus or stand for no cents"),
        ("£5", ".", None, "sign '£', and the currency is EUR"),
        ("0,123", ".", ",", "begins with 0"),
        ("0.123", ",", ".", "begins with 0"),
        ("€€5", ".", None, "no amount"),
        ("USD 5", ".", None, "no amount"),
        ("\u00b25", ".", None, "no amount"),
        ("\u0663", ".", None, "no amount"),
        ("", ".", None, "no amount"),
        ("-", ".", None, "no amount"),
        (".", ".", None, "no amount"),
        ("NaN", ".", None, "no amount"),
        ("9" * 41, ".", None, "more than 40 digits"),
    ],
)
def test_what_is_no_amount_says_why(text, decimal, group, why):
    with pytest.raises(BadAmountError, match=why):
        exact(text, decimal, group, code="EUR")


@pytest.mark.parametrize(
    ("value", "code", "unit", "exponents", "minor"),
    [
        ("12.50", "EUR", "major", {}, 1250),
        ("12.500", "KWD", "major", {}, 12_500),
        ("12", "JPY", "major", {}, 12),
        ("12.00", "JPY", "major", {}, 12),
        ("150000", "ISK", "minor", {"ISK": 2}, 1500),
        ("150000", "EUR", "minor", {"ISK": 2}, 150_000),
        ("15", "KWD", "minor", {"KWD": 2}, 150),
        ("99999999999999.9900", "EUR", "major", {}, 9_999_999_999_999_999),
    ],
)
def test_minor_units(value, code, unit, exponents, minor):
    assert minor_units(Decimal(value), code, unit, exponents) == minor


@pytest.mark.parametrize(
    ("value", "code", "unit"),
    [
        ("12.505", "EUR", "major"),
        ("1.5", "JPY", "minor"),
        ("204310.0000000000000000000000001", "EUR", "major"),
        ("-204310.0000000000000000000000001", "EUR", "major"),
        ("123456789012345678901234567890.123", "EUR", "major"),
    ],
)
def test_a_part_of_a_minor_unit_is_refused(value, code, unit):
    with pytest.raises(BadAmountError, match="part of a minor unit"):
        minor_units(Decimal(value), code, unit, {})


def test_every_digit_counts_whatever_the_sign():
    text = "204310.0000000000000000000000001"
    assert exact(f"-{text}") == Decimal(f"-{text}")
    assert exact(f"({text})") == Decimal(f"-{text}")
    with pytest.raises(BadAmountError, match="more than 1000 digits before its exponent"):
        exact(f"1.{'0' * 1000}e2", is_number=True)
    assert exact(f"1.{'0' * 999}e2", is_number=True) == 100


def test_by_the_column_as_by_the_definition():
    rng = random.Random(7)
    shapes = ["{w}", "{w}.{f}", "-{w}.{f}", "({w}.{f})", "{w}.{f}-", "{w}.", ".{f}", "¤{w}", "{w},{f}", " {w}", "x{w}"]
    for unit, exponents in (("major", {}), ("minor", {}), ("minor", {"ISK": 2, "KWD": 5})):
        rows = []
        for _ in range(2_000):
            whole = str(rng.randrange(10 ** rng.randrange(1, 17)))
            fraction = str(rng.randrange(10 ** rng.randrange(1, 7))).zfill(rng.randrange(7))
            text = rng.choice(shapes).format(w=whole, f=rng.choice([fraction, "00", "50", "000000", ""]))
            rows.append({"amt": text, "ccy": rng.choice(["EUR", "JPY", "KWD", "ISK", "CLF"])})
        found = read(rows, Amount(at("amt"), unit, exponents))
        good = 0
        for row, value in zip(rows, found, strict=True):
            try:
                right = minor_units(exact(row["amt"], code=row["ccy"]), row["ccy"], unit, exponents)
            except BadAmountError as error:
                right = str(error)
            if isinstance(right, int) and abs(right) >= 1 << 62:
                assert "beyond all limits" in value
            else:
                assert value == right, row
            good += isinstance(value, int)
        assert 300 < good < 1_900
    assert EXPONENTS["CLF"] == 4


def test_a_decimal_comma_by_the_column_as_by_the_definition():
    rng = random.Random(8)
    rows = []
    for _ in range(2_000):
        whole, fraction = str(rng.randrange(10 ** rng.randrange(1, 15))), str(rng.randrange(1000))
        shape = rng.choice(["{w},{f}", "-{w},{f}", "{w}", "{w}.{f}", "{w},", ",{f}", "{w},{f}-"])
        rows.append({"amt": shape.format(w=whole, f=fraction), "ccy": rng.choice(["EUR", "JPY", "KWD"])})
    found = read(rows, Amount(at("amt"), "major", decimal=","))
    for row, value in zip(rows, found, strict=True):
        try:
            right = minor_units(exact(row["amt"], ",", code=row["ccy"]), row["ccy"], "major", {})
        except BadAmountError as error:
            right = str(error)
        assert value == right, row


def test_numbers_of_json_are_numbers_whatever_texts_look_like():
    amount = Amount(at("amt"), "major", decimal=",", group=".")
    assert read([{"amt": Decimal("12.5")}, {"amt": "12,5"}, {"amt": 7}], amount) == [1250, 1250, 700]


def test_debit_and_credit_columns():
    amount = Amount(Value(), "major", debit=at("d"), credit=at("c"))
    rows = [{"d": "5"}, {"c": "6"}, {"d": "0.00", "c": "7"}, {"d": "8", "c": "0"}, {"d": "0", "c": "0"}, {}]
    assert read(rows, amount) == [-500, 600, 700, -800, 0, None]
    assert read([{"d": "5", "c": "6"}, {"d": "-5"}], amount) == [
        "both the debit and the credit have an amount",
        "the debit is negative: its sign says the same twice, or the opposite",
    ]


def test_an_indicator_says_the_sign_and_no_other_word_is_taken():
    closed = Amount(at("amt"), "major", indicator=Indicator(at("dc"), ("D", "DR"), ("C",)))
    rows = [{"amt": "5", "dc": "D"}, {"amt": "5", "dc": "C"}, {"amt": "5", "dc": "X"}, {"amt": "5"}]
    assert read(rows, closed) == [-500, 500, "the indicator 'X' is neither debit nor credit", "the indicator is empty"]
    open_ended = Amount(at("amt"), "major", indicator=Indicator(at("dc"), ("D",)))
    assert read(rows[:3], open_ended) == [-500, 500, 500]


@pytest.mark.parametrize(("sign", "found"), [("keep", -500), ("abs", 500), ("invert", 500)])
def test_what_is_done_with_the_sign(sign, found):
    assert read([{"amt": "-5"}], Amount(at("amt"), "major", sign=sign)) == [found]
