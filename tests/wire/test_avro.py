"""Foreign Avro: every type and logical type comes out as what it means, exactly, or the message is set aside."""

from __future__ import annotations

import io
import json
import struct
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from schemas.errors import DeadLetterReason, IncompatibleSchemaError, RegistryUnavailableError
from wire.avro_schema import Node, parse
from wire.avro_values import BadAvroError, reader_of
from wire.decoding import Decoder, FramedAvro
from wire.framing import framed
from wire.messages import Messages
from wire.records import as_text


def encoded(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value, strict_allow_default=True)
    return out.getvalue()


def read(schema: Any, value: Any, *, logical: bool = True) -> Any:
    return reader_of(parse(json.dumps(schema)), logical=logical)(encoded(schema, value))


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}
FIXED_DECIMAL = {"type": "fixed", "name": "d", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 4}
FIXED_UUID = {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}
DURATION = {"type": "fixed", "name": "t", "size": 12, "logicalType": "duration"}
ONE_UUID = uuid.UUID("8f3c1d5e-0b5a-4a3e-9d7e-0123456789ab")


@pytest.mark.parametrize(
    ("schema", "value", "right", "text"),
    [
        pytest.param(DECIMAL, Decimal("-1234.05"), Decimal("-1234.05"), "-1234.05", id="decimal"),
        pytest.param(FIXED_DECIMAL, Decimal("1.0001"), Decimal("1.0001"), "1.0001", id="decimal-fixed"),
        pytest.param("float", 0.1, Decimal("0.1"), "0.1", id="float"),
        pytest.param("float", 12.0, Decimal(12), "12", id="float-whole"),
        pytest.param("float", 0.0, Decimal(0), "0", id="float-zero"),
        pytest.param("float", 16777216.0, Decimal(16777216), "16777216", id="float-large"),
        pytest.param("float", 1e20, Decimal("1E+20"), "100000000000000000000", id="float-huge"),
        pytest.param("float", float("inf"), float("inf"), "inf", id="float-infinite"),
        pytest.param("double", 0.1, 0.1, "0.1", id="double"),
        pytest.param(
            {"type": "int", "logicalType": "date"}, date(2024, 2, 29), date(2024, 2, 29), "2024-02-29", id="date"
        ),
        pytest.param(
            {"type": "int", "logicalType": "date"}, date(1969, 12, 31), date(1969, 12, 31), "1969-12-31", id="date-old"
        ),
        pytest.param(
            {"type": "int", "logicalType": "time-millis"},
            time(23, 59, 59, 999_000),
            time(23, 59, 59, 999_000),
            "23:59:59.999000",
            id="time-millis",
        ),
        pytest.param(
            {"type": "long", "logicalType": "time-micros"}, time(0, 0, 1), time(0, 0, 1), "00:00:01", id="time-micros"
        ),
        pytest.param(
            {"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_123, 1_700_000_000_123,
            "1700000000123", id="timestamp-millis",
        ),
        pytest.param(
            {"type": "long", "logicalType": "timestamp-micros"}, 1_700_000_000_123_456, 1_700_000_000_123_456,
            "1700000000123456", id="timestamp-micros",
        ),
        pytest.param(
            {"type": "string", "logicalType": "uuid"}, str(ONE_UUID), str(ONE_UUID), str(ONE_UUID), id="uuid"
        ),
        pytest.param(FIXED_UUID, ONE_UUID.bytes, str(ONE_UUID), str(ONE_UUID), id="uuid-fixed"),
        pytest.param(
            DURATION, struct.pack("<III", 14, 3, 90_061_004), "P14M3DT90061.004S", "P14M3DT90061.004S", id="duration"
        ),
        pytest.param({"type": "string", "logicalType": "decimal"}, "1.5", "1.5", "1.5", id="logical-of-another-type"),
        pytest.param({"type": "long", "logicalType": "date"}, 19_782, 19_782, "19782", id="date-as-long"),
    ],
)  # fmt: skip
def test_a_value_is_what_its_logical_type_means(schema: Any, value: Any, right: Any, text: str) -> None:
    found = read(schema, value)
    assert (type(found), found) == (type(right), right)
    assert as_text(found) == text


def test_without_logical_types_all_is_as_it_was_written() -> None:
    assert read({"type": "int", "logicalType": "date"}, date(1970, 1, 3), logical=False) == 2
    assert read(DECIMAL, Decimal("1.05"), logical=False) == b"\x69"
    assert read("float", 0.1, logical=False) == struct.unpack("<f", struct.pack("<f", 0.1))[0]


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        pytest.param(DECIMAL, encoded("bytes", b""), id="decimal-of-no-bytes"),
        pytest.param(DECIMAL, encoded("bytes", b"\x7f" * 2000), id="decimal-too-long"),
    ],
)
def test_a_value_that_its_logical_type_cannot_hold_is_refused(schema: Any, body: bytes) -> None:
    with pytest.raises(BadAvroError):
        reader_of(parse(json.dumps(schema)))(body)


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        pytest.param({"type": "int", "logicalType": "date"}, 2**31 - 1, id="infinity-of-postgresql"),
        pytest.param({"type": "int", "logicalType": "date"}, -719_163, id="date-before-year-1"),
        pytest.param({"type": "int", "logicalType": "time-millis"}, 86_400_000, id="time-of-next-day"),
        pytest.param({"type": "long", "logicalType": "time-micros"}, -1, id="time-before-midnight"),
    ],
)
def test_a_date_or_time_that_no_calendar_has_stays_its_number(schema: Any, number: int) -> None:
    assert reader_of(parse(json.dumps(schema)))(encoded(schema["type"], number)) == number


def test_the_last_dates_and_times_are_dates_and_times() -> None:
    assert read({"type": "int", "logicalType": "date"}, date.max) == date.max
    assert read({"type": "int", "logicalType": "date"}, date.min) == date.min
    assert read({"type": "long", "logicalType": "time-micros"}, time.max) == time.max


VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
}


def test_debeziums_variable_scale_decimal_is_a_decimal() -> None:
    row = {"type": "record", "name": "Value", "namespace": "bank", "fields": [
        {"name": "amt", "type": ["null", VARIABLE]},
        {"name": "fee", "type": {"type": "array", "items": "io.debezium.data.VariableScaleDecimal"}},
    ]}  # fmt: skip
    digits = (10**30 + 1).to_bytes(16, "big", signed=True)
    value = {"amt": {"scale": 18, "value": digits}, "fee": [{"scale": -2, "value": b"\x05"}]}
    found = read(row, value)
    assert found == {"amt": Decimal("1000000000000.000000000000000001"), "fee": [Decimal("5E+2")]}
    assert as_text(found["fee"][0]) == "500"
    with pytest.raises(BadAvroError, match="scale 401"):
        read(VARIABLE, {"scale": 401, "value": b"\x01"})
    other = {**VARIABLE, "fields": [{"name": "note", "type": "string"}]}
    assert read(other, {"note": "x"}) == {"note": "x"}


PAYMENT = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "rrn", "type": "string"},
        {"name": "amt", "type": DECIMAL},
        {"name": "legs", "type": {"type": "array", "items": {"type": "map", "values": "long"}}},
        {"name": "note", "type": ["null", "string"]},
    ],
}
VALUE = {"rrn": "R1", "amt": Decimal("10.05"), "legs": [{"a": 1}, {}], "note": None}


def lookup(schema_id: int) -> Node | None:
    if schema_id == 8:
        raise IncompatibleSchemaError(8, "it is no Avro schema")
    if schema_id == 9:
        raise RegistryUnavailableError("away")
    return {7: parse(json.dumps(PAYMENT)), 6: parse('"long"')}.get(schema_id)


def test_framed_avro_is_read_by_its_registered_schema() -> None:
    decoder = Decoder(FramedAvro(lookup))
    body = encoded(PAYMENT, VALUE)
    values = decoder.decode(
        Messages(
            "t",
            [
                framed(7, body),
                None,
                framed(6, b"\x54"),
                framed(5, body),
                framed(8, body),
                framed(7, body[:-1]),
                framed(7, body + b"\0"),
                body,
                b"",
                framed(7, body),
            ],
        )
    )
    assert values.rows == [0, 2, 9]
    assert values.values == [VALUE, 42, VALUE]
    assert values.skipped == {"tombstone": 1}
    assert [(reject.row, reject.reason) for reject in values.rejects] == [
        (3, DeadLetterReason.UNKNOWN_SCHEMA),
        (4, DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (5, DeadLetterReason.MALFORMED),
        (6, DeadLetterReason.MALFORMED),
        (7, DeadLetterReason.NOT_FRAMED),
        (8, DeadLetterReason.NOT_FRAMED),
    ]
    with pytest.raises(RegistryUnavailableError):
        decoder.decode(Messages("t", [framed(9, body)]))


def test_framed_avro_takes_debeziums_envelope() -> None:
    envelope = {"type": "record", "name": "Envelope", "fields": [
        {"name": "before", "type": ["null", PAYMENT]},
        {"name": "after", "type": ["null", "Payment"]},
        {"name": "op", "type": "string"},
    ]}  # fmt: skip
    node = parse(json.dumps(envelope))
    values = Decoder(FramedAvro({7: node}.get), "debezium").decode(
        Messages("t", [framed(7, encoded(envelope, {"before": None, "after": VALUE, "op": "c"}))])
    )
    assert values.values == [VALUE]
    assert values.operations == ["c"]


def test_a_timestamp_is_no_datetime() -> None:
    schema = {"type": "long", "logicalType": "local-timestamp-millis"}
    assert read(schema, datetime(1970, 1, 1, 0, 0, 1)) == 1000  # noqa: DTZ001 - a local time has no zone
