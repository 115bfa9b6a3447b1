"""Parquet: every digit of decimals, whole numbers and times."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.files.errors import UnusableFileError
from tests.sources.files.samples import column, opened, rows


def parquet(table: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.decimal128(38, 10), Decimal("0.0000000001"), "0.0000000001"),
        (pa.decimal128(18, 2), Decimal("-1234.50"), "-1234.50"),
        (pa.decimal256(60, 3), Decimal(10**50), f"{10**50}.000"),
        (pa.int64(), 2**62 + 1, str(2**62 + 1)),
        (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
        (pa.float64(), 0.1, "0.1"),
        (pa.float64(), 1e22, "10000000000000000000000"),
        (pa.float32(), 1.1, "1.1"),
        (pa.bool_(), True, "true"),
        (pa.binary(), b"id-1", "id-1"),
        (pa.binary(), b"\xff\xfe", None),
        (pa.binary(4), b"ABCD", "ABCD"),
        (pa.string(), "é", "é"),
        (pa.date32(), datetime(2024, 3, 1).date(), "2024-03-01"),  # noqa: DTZ001
    ],
)
def test_values_are_exact(kind: pa.DataType, value: object, text: str | None):
    file = opened(parquet(pa.table({"v": pa.array([value, None], kind)})), "parquet")
    assert column(file, "v") == [text, None]


@pytest.mark.parametrize(
    ("unit", "count", "text"),
    [
        ("ms", 1_700_000_000_120, "2023-11-14T22:13:20.12"),
        ("us", 1_700_000_000_123_456, "2023-11-14T22:13:20.123456"),
        ("ns", 1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789"),
        ("ns", -1, "1969-12-31T23:59:59.999999999"),
        ("us", 253_402_300_799_000_000, "9999-12-31T23:59:59"),
    ],
)
def test_times_keep_every_digit(unit: str, count: int, text: str):
    plain = pa.array([count], pa.timestamp(unit))
    zoned = pa.array([count], pa.timestamp(unit, "Europe/Berlin"))
    file = opened(parquet(pa.table({"local": plain, "instant": zoned})), "parquet")
    assert column(file, "local") == [text]
    assert column(file, "instant") == [f"{text}Z"]
    assert next(iter(file.batches())).kind("local").to_list() == ["datetime"]


def test_int96_reaches_further_than_nanoseconds_do():
    far = datetime(9999, 12, 31, tzinfo=UTC).replace(tzinfo=None)
    near = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))
    content = parquet(pa.table({"t": near}), use_deprecated_int96_timestamps=True)
    assert column(opened(content, "parquet"), "t") == ["2023-11-14T22:13:20.123456789"]
    content = parquet(pa.table({"t": pa.array([far], pa.timestamp("us"))}), use_deprecated_int96_timestamps=True)
    assert column(opened(content, "parquet"), "t") == ["9999-12-31T00:00:00"]


def test_groups_lists_and_maps():
    table = pa.table(
        {
            "data": pa.array([{"rrn": "1", "legs": [{"t": 1}, {"t": 2}]}, None]),
            "tags": pa.array([[("a", Decimal("1.5"))], []], pa.map_(pa.string(), pa.decimal128(5, 2))),
            "dotted.name": pa.array(["x", "y"]),
            "word": pa.array(["u", "v"]).dictionary_encode(),
        }
    )
    file = opened(parquet(table), "parquet")
    assert column(file, "data.rrn") == ["1", None]
    assert column(file, "data.legs[1].t") == ["2", None]
    assert column(file, "tags.a") == ["1.50", None]
    assert column(file, "dotted.name") == ["x", "y"]
    assert column(file, "word") == ["u", "v"]
    batch = next(iter(file.batches()))
    assert batch.closed
    assert list(batch.paths()) == ["data.rrn", "data.legs", "tags", "dotted.name", "word"]
    assert json.loads(batch.raw(0))["data"] == {"rrn": "1", "legs": [{"t": "1"}, {"t": "2"}]}


def test_rows_are_numbered_over_row_groups():
    table = pa.table({"n": pa.array(range(25_000))})
    file = opened(parquet(table, row_group_size=7_000), "parquet")
    assert rows(file) == list(range(1, 25_001))
    assert column(file, "n")[-1] == "24999"


def test_a_damaged_file_is_refused_before_a_record():
    content = bytearray(
        parquet(pa.table({"n": pa.array(["x" * 50] * 1_000)}), compression="none", use_dictionary=False)
    )
    with pytest.raises(UnusableFileError, match="does not end with PAR1"):
        opened(bytes(content[:-10]), "parquet")
    content[4:60] = bytes(56)
    with pytest.raises(UnusableFileError, match="is damaged"):
        opened(bytes(content), "parquet")
