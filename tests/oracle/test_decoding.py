"""The wire format: what the oracle and the codec make of good bytes, spoilt bytes and any bytes at all."""

from __future__ import annotations

import io
import json
import struct

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.oracle.avro import Schema
from cluster.oracle.canonical import can_resolve
from cluster.oracle.decoding import Decoder
from cluster.oracle.records import Refused
from producers.emission import Damage, Event
from producers.wire import Encoder
from schemas.errors import DeadLetterReason
from schemas.events import AMOUNT_MINOR_MAX, DEFAULT_SOURCES, EVENT_TIME_MIN_MS, ID_BYTES_MAX, Status, schema_text
from wire.events import WriterSchema, decode_batch, validate

SCHEMA_ID = 7
NOW = 1_790_000_000_000
DAY_MS = 86_400_000
ENCODER = Encoder(SCHEMA_ID)
GOOD = Event("e1", "T1", "CORE", 12_345, "EUR", Status.SUCCESS, NOW, "DE89370400440532013000")


def text_of(schema_id):
    return schema_text() if schema_id == SCHEMA_ID else None


def decoder():
    return Decoder(text_of, DEFAULT_SOURCES)


def reason_by_oracle(value, topic="core_txns"):
    try:
        decoder().decode(topic, 0, 0, NOW, value)
    except Refused as refused:
        return refused.reason
    return None


def reason_by_codec(value, source=0):
    parsed = WriterSchema.parse(SCHEMA_ID, schema_text())
    decoded = decode_batch([value], lambda schema_id: parsed if schema_id == SCHEMA_ID else None)
    found = validate(decoded, np.array([source], dtype=np.uint8), np.array([NOW], dtype=np.int64))
    return found.rejects[0].reason if found.rejects else None


def test_a_record_comes_back_as_it_was_written():
    event = decoder().decode("core_txns", 3, 14, NOW + 9, ENCODER.encode(GOOD))
    assert (event.source, event.event_id, event.txn_id, event.amount_minor, event.currency) == (
        0,
        "e1",
        "T1",
        12_345,
        "EUR",
    )
    assert (event.status, event.event_time, event.arrival, event.partition, event.offset) == (
        Status.SUCCESS,
        NOW,
        NOW + 9,
        3,
        14,
    )
    assert event.original_txn_id is None


@pytest.mark.parametrize("judged", [reason_by_oracle, reason_by_codec], ids=["oracle", "codec"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Damage.EMPTY, DeadLetterReason.NOT_FRAMED),
        (Damage.NO_MAGIC, DeadLetterReason.NOT_FRAMED),
        (Damage.TRUNCATED, DeadLetterReason.MALFORMED),
        (Damage.TRAILING, DeadLetterReason.MALFORMED),
        (Damage.BAD_ENUM, DeadLetterReason.MALFORMED),
        (Damage.UNKNOWN_SCHEMA, DeadLetterReason.UNKNOWN_SCHEMA),
    ],
    ids=lambda value: value.value,
)
def test_spoilt_bytes_are_set_aside_with_their_reason(judged, damage, reason):
    assert judged(ENCODER.encode(GOOD, damage)) is reason


@pytest.mark.parametrize("judged", [reason_by_oracle, reason_by_codec], ids=["oracle", "codec"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "MOBILE"}, DeadLetterReason.WRONG_SOURCE),
        ({"event_id": ""}, DeadLetterReason.BAD_ID),
        ({"txn_id": ""}, DeadLetterReason.BAD_ID),
        ({"account_id": ""}, DeadLetterReason.BAD_ID),
        ({"txn_id": "é" * (ID_BYTES_MAX // 2)}, None),
        ({"txn_id": "é" * (ID_BYTES_MAX // 2) + "x"}, DeadLetterReason.BAD_ID),
        ({"event_id": "a\0b"}, DeadLetterReason.BAD_ID),
        ({"original_txn_id": ""}, None),
        ({"original_txn_id": "a\0b"}, DeadLetterReason.BAD_ID),
        ({"amount_minor": 0}, None),
        ({"amount_minor": -1}, DeadLetterReason.BAD_AMOUNT),
        ({"amount_minor": AMOUNT_MINOR_MAX}, None),
        ({"amount_minor": AMOUNT_MINOR_MAX + 1}, DeadLetterReason.BAD_AMOUNT),
        ({"currency": "XXX"}, DeadLetterReason.UNKNOWN_CURRENCY),
        ({"currency": "eur"}, DeadLetterReason.UNKNOWN_CURRENCY),
        ({"event_time": EVENT_TIME_MIN_MS}, None),
        ({"event_time": EVENT_TIME_MIN_MS - 1}, DeadLetterReason.ABSURD_TIME),
        ({"event_time": NOW + DAY_MS}, None),
        ({"event_time": NOW + DAY_MS + 1}, DeadLetterReason.ABSURD_TIME),
        ({"source": "MOBILE", "amount_minor": -1}, DeadLetterReason.WRONG_SOURCE),
        ({"currency": "", "event_time": 0}, DeadLetterReason.UNKNOWN_CURRENCY),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else str(value),
)
def test_limits_hold_to_the_last_unit(judged, changes, reason):
    fields = {name: getattr(GOOD, name) for name in GOOD.__slots__}
    assert judged(ENCODER.encode(Event(**{**fields, **changes}))) is reason


@pytest.mark.parametrize("judged", [reason_by_oracle, reason_by_codec], ids=["oracle", "codec"])
def test_a_negative_symbol_is_malformed_and_not_the_last_one(judged):
    value = ENCODER.encode(GOOD)
    at = value.index(b"\x06EUR") + 4
    assert value[at] == 2
    assert judged(value[:at] + b"\x01" + value[at + 1 :]) is DeadLetterReason.MALFORMED


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.none(), st.binary(max_size=80), st.binary(max_size=80).map(lambda body: b"\0\0\0\0\7" + body)))
def test_any_bytes_are_accepted_or_refused_and_never_raise(value):
    assert reason_by_oracle(value) is reason_by_codec(value)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_judged_alike_by_oracle_and_codec(flips):
    value = bytearray(ENCODER.encode(GOOD))
    for at, byte in flips:
        value[at % len(value)] = byte
    assert reason_by_oracle(bytes(value)) is reason_by_codec(bytes(value))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.just(b"good"), st.binary(max_size=40)), min_size=1, max_size=12))
def test_a_bad_neighbour_does_not_touch_a_good_record(values):
    batch = [ENCODER.encode(GOOD) if value == b"good" else b"\0\0\0\0\7" + value for value in values]
    parsed = WriterSchema.parse(SCHEMA_ID, schema_text())
    rows = np.zeros(len(batch), dtype=np.uint8)
    found = validate(decode_batch(batch, lambda _: parsed), rows, np.full(len(batch), NOW, dtype=np.int64))
    rejected = {reject.row: reject.reason for reject in found.rejects}
    for row, value in enumerate(batch):
        assert rejected.get(row) is reason_by_oracle(value)
    assert set(found.events["row"]) | set(rejected) == set(range(len(batch)))


# Schemas that a registry may hold beside ours.


def our_schema():
    return json.loads(schema_text())


def without(name):
    schema = our_schema()
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    return schema


def with_field(field):
    schema = our_schema()
    schema["fields"].insert(0, field)
    return schema


@pytest.mark.parametrize(
    ("schema", "readable"),
    [
        (our_schema(), True),
        (without("original_txn_id"), True),
        (with_field({"name": "channel", "type": "string"}), True),
        (without("currency"), False),
        ({"type": "string"}, False),
        ({**our_schema(), "name": "SomethingElse"}, False),
    ],
    ids=["ours", "without-optional", "one-more-field", "without-required", "no-record", "another-record"],
)
def test_a_registered_schema_is_readable_or_not(schema, readable):
    assert can_resolve(Schema(json.dumps(schema))) is readable


def retyped(name, kind):
    schema = our_schema()
    for field in schema["fields"]:
        if field["name"] == name:
            field["type"] = kind
            field.pop("default", None)
    return schema


def enum_by_name():
    """The enum is defined in one field and named in the next."""
    schema = retyped("status", "Status")
    status = next(field["type"] for field in our_schema()["fields"] if field["name"] == "status")
    schema["fields"].insert(0, {"name": "status_before", "type": ["null", {"type": "array", "items": status}]})
    return schema


def without_logical_types(node):
    """The same bytes without fastavro's conversions."""
    if isinstance(node, dict):
        return {key: without_logical_types(value) for key, value in node.items() if key != "logicalType"}
    return [without_logical_types(value) for value in node] if isinstance(node, list) else node


def example(schema):
    """A record of this schema that says what GOOD does, as far as the schema can."""
    record = {"status_before": None, "channel": "app", **GOOD.to_avro()}
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    for name, kind in kinds.items():
        if kind == "bytes":
            record[name] = record[name].encode()
        if kind == "string" and record[name] is None:
            record[name] = ""
    return record


SHADE = {"type": "enum", "name": "Shade", "symbols": ["RED"]}
LOCAL_TIME = {"type": "long", "logicalType": "local-timestamp-millis"}
TWO_UNITS = [{"type": "long", "logicalType": "timestamp-millis"}, {"type": "int", "logicalType": "timestamp-micros"}]
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
JAVA_STRING = {"type": "string", "avro.java.string": "String"}
COMPATIBLE = None


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (our_schema(), COMPATIBLE),
        (without("original_txn_id"), COMPATIBLE),
        (with_field({"name": "channel", "type": "string"}), COMPATIBLE),
        (retyped("txn_id", "bytes"), COMPATIBLE),
        (retyped("txn_id", JAVA_STRING), COMPATIBLE),
        (retyped("txn_id", ["null", "string"]), COMPATIBLE),
        (retyped("amount_minor", "int"), COMPATIBLE),
        (retyped("original_txn_id", "string"), COMPATIBLE),
        (retyped("event_time", {"type": "long", "logicalType": "timestamp-micros"}), COMPATIBLE),
        (retyped("event_time", {"type": "long", "logicalType": "timestamp-nanos"}), COMPATIBLE),
        (retyped("event_time", ["null", {"type": "long", "logicalType": "timestamp-micros"}]), COMPATIBLE),
        (retyped("event_time", {"type": "long", "logicalType": "no-such-type"}), COMPATIBLE),
        (retyped("event_time", LOCAL_TIME), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("event_time", {"type": "long", "logicalType": "time-micros"}), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("event_time", {"type": "int", "logicalType": "date"}), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("event_time", TWO_UNITS), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("amount_minor", DECIMAL), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (
            retyped("amount_minor", {"type": "long", "logicalType": "timestamp-millis"}),
            DeadLetterReason.INCOMPATIBLE_SCHEMA,
        ),
        (retyped("txn_id", {"type": "string", "logicalType": "uuid"}), COMPATIBLE),
        (retyped("txn_id", DECIMAL), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (enum_by_name(), COMPATIBLE),
        ({**our_schema(), "namespace": "other.bank"}, COMPATIBLE),
        (without("currency"), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        ({**our_schema(), "name": "SomethingElse"}, DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("amount_minor", "string"), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("amount_minor", "double"), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("source", "string"), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("source", SHADE), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("txn_id", ["null", "long"]), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (retyped("txn_id", []), DeadLetterReason.INCOMPATIBLE_SCHEMA),
        ([our_schema()], DeadLetterReason.INCOMPATIBLE_SCHEMA),
        ({"type": "string"}, DeadLetterReason.INCOMPATIBLE_SCHEMA),
        ({"type": "record", "name": "TransactionEvent", "fields": 3}, DeadLetterReason.INCOMPATIBLE_SCHEMA),
        ({"type": "record", "name": "TransactionEvent"}, DeadLetterReason.INCOMPATIBLE_SCHEMA),
    ],
    ids=[
        "ours",
        "without-optional",
        "one-more-field",
        "bytes-for-text",
        "java-text",
        "text-or-null",
        "int-for-long",
        "text-for-optional",
        "micros",
        "nanos",
        "micros-or-null",
        "unknown-logical-type",
        "local-time",
        "time-of-day",
        "date",
        "two-units",
        "decimal-amount",
        "time-for-amount",
        "uuid",
        "decimal-for-text",
        "enum-by-name",
        "other-namespace",
        "without-required",
        "another-record",
        "text-for-long",
        "double-for-long",
        "text-for-enum",
        "another-enum",
        "no-branch-fits",
        "no-branch",
        "union",
        "primitive",
        "broken-fields",
        "no-fields",
    ],
)
def test_engine_and_oracle_say_the_same_of_records_of_any_schema(schema, reason):
    text = json.dumps(schema)
    unit = UNITS.get(time_type(schema), 1)
    changes = {"event_time": NOW * unit + 7} if unit > 1 else {}
    value = struct.pack(">bI", 0, 9) + body_of(schema, reason, **changes)

    def parsed(schema_id):
        return WriterSchema.parse(schema_id, text)

    def by_oracle(value):
        try:
            Decoder(lambda _: text, DEFAULT_SOURCES).decode("core_txns", 0, 0, NOW, value)
        except Refused as refused:
            return refused.reason
        return None

    def by_engine(value):
        decoded = decode_batch([value], parsed)
        found = validate(decoded, np.zeros(1, dtype=np.uint8), np.full(1, NOW, dtype=np.int64))
        return found.rejects[0].reason if found.rejects else None

    assert by_oracle(value) is reason
    assert by_engine(value) is reason
    for cut in range(5, len(value)):  # what is not whole is malformed under a schema that fits, and only there
        assert by_oracle(value[:cut]) is by_engine(value[:cut]) is not None


UNITS = {"timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}


def time_type(schema):
    """The logical type of event_time, wherever it stands."""
    for field in schema["fields"] if isinstance(schema, dict) and isinstance(schema.get("fields"), list) else ():
        if field["name"] == "event_time":
            kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
            return next(
                (kind["logicalType"] for kind in kinds if isinstance(kind, dict) and "logicalType" in kind), None
            )
    return None


def body_of(schema, reason, **changes):
    """The bytes of an example, or any bytes when there is none that Avro could write."""
    if reason is not DeadLetterReason.INCOMPATIBLE_SCHEMA:
        buffer = io.BytesIO()
        plain = fastavro.parse_schema(without_logical_types(schema))
        fastavro.schemaless_writer(buffer, plain, {**example(schema), **changes})
        return buffer.getvalue()
    return b"\2" * 12


def test_a_newer_producer_is_understood():
    newer = with_field({"name": "channel", "type": "string"})
    record = {"channel": "app", **GOOD.to_avro()}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(newer), record)
    value = struct.pack(">bI", 0, 9) + buffer.getvalue()
    event = Decoder(lambda _: json.dumps(newer), DEFAULT_SOURCES).decode("core_txns", 0, 0, NOW, value)
    assert (event.txn_id, event.amount_minor, event.event_time) == ("T1", 12_345, NOW)


def test_a_record_of_another_schema_is_incompatible():
    other = {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}]}
    with pytest.raises(Refused) as refused:
        Decoder(lambda _: json.dumps(other), DEFAULT_SOURCES).decode("core_txns", 0, 0, NOW, b"\0\0\0\0\x09\x02")
    assert refused.value.reason is DeadLetterReason.INCOMPATIBLE_SCHEMA
