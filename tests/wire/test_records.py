"""Records: paths, exact text and kinds."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from wire.records import BadPathError, Digits, NestedRecords, TextRecords, as_text, steps


def nested(*values: object) -> NestedRecords:
    return NestedRecords(values, pl.Series(range(len(values)), dtype=pl.Int64), lambda index: b"raw %d" % index)


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("a", ("a",)),
        ("data.legs[0].amount", ("data", "legs", 0, "amount")),
        ("a[1][2]", ("a", 1, 2)),
        ("Amt.@Ccy", ("Amt", "@Ccy")),
        ("with space.x-y", ("with space", "x-y")),
    ],
)
def test_a_path_has_steps(path: str, way: tuple[object, ...]) -> None:
    assert steps(path) == way


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[x]", "a[-1]", "a]b", "a[0]b", "a" * 501, "a.[0]", "a[99999999]"],
)
def test_a_path_that_cannot_be_read_is_an_error(path: str) -> None:
    with pytest.raises(BadPathError):
        steps(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ("a", "a"),
        (Digits("1.10"), "1.10"),
        (12, "12"),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E+999999"), "1E+999999"),
        (1.5, "1.5"),
        (3.0, "3"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        (b"B1", "B1"),
        (b"\xff", None),
        ([1, "a", Decimal("2.50")], '[1,"a",2.50]'),
        (
            {"a": [Digits("-0"), Digits("1.10"), "1.10", 0.0, 3.0, 1e22, -0.0]},
            '{"a":[-0,1.10,"1.10",0,3,10000000000000000000000,-0]}',
        ),
        ([float("inf"), float("nan"), Decimal("NaN"), Decimal("1E+500")], '["inf","nan","NaN",1E+500]'),
        ([True, None, 'é"\n', b"B", b"\xff", date(2024, 2, 29)], '[true,null,"é\\"\\n","B",null,"2024-02-29"]'),
        ({"a": {}, "b": [], "c": [[]], "d": [{}]}, '{"a":{},"b":[],"c":[[]],"d":[{}]}'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_values_become_exact_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


def test_nested_values_are_read_by_path() -> None:
    records = nested({"a": {"b": [{"c": Digits("1.10")}]}}, {"a": {"b": []}}, {"a": "text"}, None)
    assert records.text("a.b[0].c").to_list() == ["1.10", None, None, None]
    assert records.kind("a.b[0].c").to_list() == ["number", "null", "null", "null"]  # type: ignore[union-attr]
    assert list(records.paths()) == ["a.b[0].c", "a"]
    assert not records.closed
    assert records.raw(1) == b"raw 1"


def test_what_kafka_says_is_read_beside_the_record() -> None:
    rows = pl.Series([0, 1], dtype=pl.Int64)
    records = NestedRecords([{}, {}], rows, lambda _: b"", around={"$key": pl.Series(["k1", None], dtype=pl.String)})
    assert records.text("$key").to_list() == ["k1", None]
    assert records.text("$headers.trace").to_list() == [None, None]
    with pytest.raises(BadPathError):
        records.text("$offsets")


def test_columns_are_read_by_heading_or_number() -> None:
    frame = pl.DataFrame({"Id": ["A", "B "], "a.b": ["1", None]})
    records = TextRecords(frame, pl.Series([2, 3], dtype=pl.Int64), lambda index: b"row %d" % index)
    assert records.text("a.b").to_list() == ["1", None]
    assert records.text("#0").to_list() == ["A", "B "]
    assert records.closed
    with pytest.raises(BadPathError, match=r"Id, a\.b"):
        records.text("id")
