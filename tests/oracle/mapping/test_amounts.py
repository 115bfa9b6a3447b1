"""Amounts in every notation, by hand-written values."""

from __future__ import annotations

import pytest

from cluster.oracle.mapping import amounts, configuration
from cluster.oracle.mapping.amounts import NotAnAmount
from cluster.oracle.mapping.texts import Message
from cluster.oracle.mapping.values import Number
from cluster.oracle.records import LogRecord


def read(tree, node, code="EUR"):
    fields = {
        **{key: {"const": "x"} for key in ("txn_id", "currency", "status", "event_time")},
        "amount": node,
    }
    return amounts.read(Message(LogRecord("t", 0, 0, 0, b""), tree), configuration._fields(fields).amount, code)


MAJOR = {"path": "a", "unit": "major"}
MINOR = {"path": "a", "unit": "minor"}


@pytest.mark.parametrize(
    ("text", "options", "minor"),
    [
        ("12.50", {}, 1250),
        ("12.5", {}, 1250),
        ("12.500000", {}, 1250),
        ("-12.50", {}, -1250),
        ("12.50-", {}, -1250),
        ("(12.50)", {}, -1250),
        ("\u221212.50", {}, -1250),
        ("+12.50", {}, 1250),
        ("€ 12.50", {}, 1250),
        ("EUR 12.50", {}, 1250),
        ("12.50EUR-", {}, -1250),
        ("0", {}, 0),
        (".5", {}, 50),
        ("7.", {}, 700),
        ("1,234,567.89", {"group": ","}, 123_456_789),
        ("12,34,567.89", {"group": ","}, 123_456_789),
        ("1.234.567,89", {"decimal": ",", "group": "."}, 123_456_789),
        ("1\u202f234,50\xa0€", {"decimal": ",", "group": " "}, 123_450),
        ("1\u2019234.50", {"group": "'"}, 123_450),
        ("1234567890123.45", {}, 123_456_789_012_345),
        ("12." + "0" * 37, {}, 1200),
    ],
)
def test_a_text_of_major_units(text, options, minor):
    assert read({"a": text}, {**MAJOR, **options}) == minor


@pytest.mark.parametrize(
    "text",
    [
        "1,234.50",
        "12,50",
        "1E5",
        "--5",
        "-5-",
        "(-5)",
        "()",
        "USD 5",
        "٣",
        "-",
        ".",
        "NaN",
        "9" * 41,
        "12.505",
        "12.0000000000000000000000000001",
        "5 5",
        "€€5",
    ],
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(NotAnAmount):
        read({"a": text}, MAJOR)


@pytest.mark.parametrize(
    ("text", "code", "node", "minor"),
    [
        ("1250", "EUR", MINOR, 1250),
        ("1250", "JPY", MAJOR, 1250),
        ("1250", "JPY", {**MINOR, "exponent": {"JPY": "2"}}, None),
        ("1200", "JPY", {**MINOR, "exponent": {"JPY": "2"}}, 12),
        ("12", "KWD", {**MINOR, "exponent": {"414": "2"}}, 120),
        ("1.5", "EUR", MINOR, None),
        ("1.234", "KWD", MAJOR, 1234),
        ("1.2345", "CLF", MAJOR, 12_345),
    ],
)
def test_minor_units_follow_the_currency_or_the_processor(text, code, node, minor):
    if minor is None:
        with pytest.raises(NotAnAmount):
            read({"a": text}, node, code)
    else:
        assert read({"a": text}, node, code) == minor


def test_a_number_has_a_dot_whatever_the_texts_have_and_may_have_an_exponent():
    german = {**MAJOR, "decimal": ",", "group": "."}
    assert read({"a": Number("1.234")}, german, "KWD") == 1234
    assert read({"a": "1.234"}, german, "KWD") == 1_234_000
    assert read({"a": Number("1.25E+2")}, MAJOR) == 12_500
    assert read({"a": Number("125e-1")}, MAJOR) == 1_250
    with pytest.raises(NotAnAmount):
        read({"a": Number("125e-3")}, MAJOR)


@pytest.mark.parametrize(
    ("debit", "credit", "minor"),
    [("5", None, -500), (None, "5", 500), ("0", "5", 500), ("5", "0", -500), ("0", None, 0), (None, None, None)],
)
def test_one_of_two_columns_says_the_amount(debit, credit, minor):
    assert read({"d": debit, "c": credit}, {"unit": "major", "debit": "d", "credit": "c"}) == minor


@pytest.mark.parametrize(("debit", "credit"), [("5", "5"), ("-5", None), (None, "-5")])
def test_two_columns_that_contradict_are_refused(debit, credit):
    with pytest.raises(NotAnAmount):
        read({"d": debit, "c": credit}, {"unit": "major", "debit": "d", "credit": "c"})


@pytest.mark.parametrize(("word", "minor"), [("D", -500), ("C", 500), ("X", NotAnAmount), (None, NotAnAmount)])
def test_a_word_says_whether_it_is_a_debit(word, minor):
    node = {**MAJOR, "indicator": {"path": "w", "debit": ["D", "DR"], "credit": "C"}}
    if minor is NotAnAmount:
        with pytest.raises(NotAnAmount):
            read({"a": "5", "w": word}, node)
    else:
        assert read({"a": "5", "w": word}, node) == minor
    assert read({"a": None, "w": word}, node) is None


def test_the_sign_is_kept_dropped_or_turned():
    assert [read({"a": "-5"}, {**MAJOR, "sign": sign}) for sign in ("keep", "abs", "invert")] == [-500, 500, 500]
