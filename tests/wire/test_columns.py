"""Avro by the column gives what the strict reader gives, record by record, whatever the values."""

import io
import json
import random
from decimal import Decimal

import fastavro
import polars as pl
import pytest

from schemas.errors import DeadLetterReason
from wire.avro_schema import parse
from wire.decoding import Decoder, FramedAvro
from wire.framing import framed
from wire.messages import Messages
from wire.records import ColumnRecords, NestedRecords

SCHEMA = {
    "type": "record",
    "name": "E",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "n", "type": ["null", "long"]},
        {"name": "small", "type": "int"},
        {"name": "ok", "type": ["boolean", "null"]},
        {
            "name": "in",
            "type": {
                "type": "record",
                "name": "I",
                "fields": [
                    {"name": "amt", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3}},
                    {"name": "st", "type": {"type": "enum", "name": "S", "symbols": ["B", "A", "C"]}},
                    {"name": "opt", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9}]},
                ],
            },
        },
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "f", "type": "float"},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)
WANTED = ["id", "n", "small", "ok", "in.amt", "in.st", "in.opt", "absent", "id.deeper"]
KINDS = ["n", "ok", "in.amt", "in.st", "absent"]


def record(rng):
    return {
        "id": rng.choice(["", "x", "é\n", "0" * 40]),
        "n": rng.choice([None, 0, -1, 2**62 - 1, -(2**62) + 1, rng.randrange(-(10**9), 10**9)]),
        "small": rng.randrange(-(2**31), 2**31),
        "ok": rng.choice([None, True, False]),
        "in": {
            "amt": Decimal(rng.choice([0, 1, -1, 999, -1000, 10**20, rng.randrange(-(10**12), 10**12)])).scaleb(-3),
            "st": rng.choice("ABC"),
            "opt": rng.choice([None, Decimal(5), Decimal(-12345)]),
        },
        "day": 20_000,
        "f": 0.5,
    }


def encoded(value, schema_id=1):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, PARSED, value)
    return framed(schema_id, body.getvalue())


def both(values, wanted=WANTED):
    """Decoded by columns, and record by record."""
    node = parse(json.dumps(SCHEMA))
    messages = Messages("t", values)
    return (
        Decoder(FramedAvro(lambda _: node)).decode(messages, frozenset(wanted)),
        Decoder(FramedAvro(lambda _: node)).decode(messages),
    )


def texts(values, count):
    """By path, the texts and kinds of all rows; None for rows that were not read."""
    found = {path: [None] * count for path in [*WANTED, *(f"kind of {name}" for name in KINDS)]}
    parts = [
        (rows, ColumnRecords(columns, pl.Series(rows, dtype=pl.Int64), lambda _: b""))
        for rows, columns in values.blocks
    ]
    parts.append((values.rows, NestedRecords(values.values, pl.Series(values.rows, dtype=pl.Int64), lambda _: b"")))
    for rows, records in parts:
        for path in WANTED:
            for row, text in zip(rows, records.text(path), strict=True):
                found[path][row] = text
        for path in KINDS:
            for row, kind in zip(rows, records.kind(path), strict=True):
                found[f"kind of {path}"][row] = kind
    return found


@pytest.mark.parametrize("seed", range(5))
def test_columns_say_what_the_strict_reader_says(seed):
    rng = random.Random(seed)
    values = [encoded(record(rng)) for _ in range(300)]
    by_columns, one_by_one = both(values)
    assert by_columns.blocks
    assert by_columns.rows == []
    assert texts(by_columns, 300) == texts(one_by_one, 300)


def test_what_is_no_record_is_rejected_and_the_others_are_read():
    rng = random.Random(7)
    values = [encoded(record(rng)) for _ in range(400)]
    values[123] = values[123][:-1]
    values[250] = None
    values[251] = b"\1rubbish"
    empty = encoded({**record(rng), "in": {"amt": Decimal(0), "st": "A", "opt": None}})
    values[300] = empty.replace(b"\2\0\2\0", b"\0\2\0", 1)  # a decimal of no bytes
    by_columns, one_by_one = both(values)
    assert texts(by_columns, 400) == texts(one_by_one, 400)
    assert sorted((one.row, one.reason) for one in by_columns.rejects) == sorted(
        (one.row, one.reason) for one in one_by_one.rejects
    )
    assert {one.reason for one in by_columns.rejects if one.row != 251} == {DeadLetterReason.MALFORMED}
    assert by_columns.skipped == one_by_one.skipped == {"tombstone": 1}


@pytest.mark.parametrize("path", ["in", "day", "f"])
def test_what_has_no_column_is_read_record_by_record(path):
    values = [encoded(record(random.Random(1))) for _ in range(3)]
    by_columns, one_by_one = both(values, [*WANTED, path])
    assert by_columns.blocks == []
    assert by_columns.values == one_by_one.values
