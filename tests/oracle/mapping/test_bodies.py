"""Bytes to trees: JSON, Avro, Protobuf, Debezium and CloudEvents, by hand-written values and against the engine."""

from __future__ import annotations

import base64
import io
import json
from uuid import UUID

import fastavro
import pytest
from google.protobuf import descriptor_pb2, json_format, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.oracle.avro import Schema
from cluster.oracle.mapping import avro_trees, protobuf
from cluster.oracle.mapping.bodies import Bodies, Registered, Schemas
from cluster.oracle.mapping.configuration import Source
from cluster.oracle.mapping.values import Number, text_of, value_at
from cluster.oracle.records import LogRecord, Refused, Skipped
from schemas.errors import DeadLetterReason
from wire.avro_schema import parse
from wire.avro_values import BadAvroError, reader_of
from wire.protobuf_values import ProtobufSchema
from wire.protobuf_values import reader_of as protobuf_reader_of
from wire.records import as_text, steps
from wire.records import value_at as engine_value_at


def opened(value, lookup=lambda _: None, headers=(), files=(), **source):
    bodies = Bodies(Source("S", "t", **source), Schemas(lookup), dict(files))
    return bodies.open(LogRecord("t", 0, 0, 0, value, headers=headers))


def why(value, **options):
    with pytest.raises(Refused) as refused:
        opened(value, **options)
    return refused.value.reason


# --- JSON


def test_json_keeps_digits_with_or_without_framing():
    text = b'{"a":12.50,"b":[-0,1E400],"c":"x"}'
    tree = {"a": Number("12.50"), "b": [Number("-0"), Number("1E400")], "c": "x"}
    assert opened(text, form="json").tree == tree
    assert opened(b"\0\0\0\0\x07" + text, form="json").tree == tree


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":01}',
        b'{"a":1}{',
        b"\xef\xbb\xbf{}",
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":"\x01"}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1,"\\u0061":2}',
        b'[{"x":{"b":1,"b":1}}]',
        b"\x00",
        b"[" * 100000,
    ],
)
def test_what_is_no_json_is_malformed(text):
    assert why(text, form="json") is DeadLetterReason.MALFORMED


def test_a_tombstone_is_skipped():
    with pytest.raises(Skipped):
        opened(None, form="json")


# --- Debezium


def change(op, after=None, schema=None, **envelope):
    payload = {"before": None, "after": after, "op": op, **envelope}
    return json.dumps(payload if schema is None else {"schema": schema, "payload": payload}).encode()


def decimals(name, **parameters):
    columns = [{"field": "amt", "name": name, "parameters": parameters}, {"field": "id"}]
    return {"type": "struct", "fields": [{"field": "before"}, {"field": "after", "type": "struct", "fields": columns}]}


CONNECT = "org.apache.kafka.connect.data.Decimal"
VARIABLE = "io.debezium.data.VariableScaleDecimal"


@pytest.mark.parametrize("op", ["c", "r", "u"])
def test_a_change_carries_the_row_after_it(op):
    assert opened(change(op, {"id": 1}), form="json", envelope="debezium").tree == {"id": Number("1")}
    with_schema = change(op, {"id": 1}, schema=decimals("string"))
    assert opened(with_schema, form="json", envelope="debezium").tree == {"id": Number("1")}


@pytest.mark.parametrize("op", ["d", "t", "m"])
def test_a_change_that_leaves_no_row_is_skipped(op):
    with pytest.raises(Skipped):
        opened(change(op), form="json", envelope="debezium")


@pytest.mark.parametrize(
    "value",
    [b"[]", b"{}", change("x", {}), change("c"), change("u", [1]), b'{"schema":{},"payload":null}', b'{"op":1}'],
)
def test_what_is_no_change_is_malformed(value):
    assert why(value, form="json", envelope="debezium") is DeadLetterReason.MALFORMED


@pytest.mark.parametrize(
    ("amt", "schema", "number"),
    [
        ("AfQ=", decimals(CONNECT, scale="2"), "5.00"),
        ("/w==", decimals(CONNECT, scale="2"), "-0.01"),
        ("AfQ=", decimals(CONNECT, scale="0"), "500"),
        ({"scale": 1, "value": "AfQ="}, decimals(VARIABLE), "50.0"),
        (5745, decimals(CONNECT, scale="2"), "5745"),  # decimal.format=NUMERIC
        ("AfQ=", decimals("string"), "AfQ="),
    ],
)
def test_decimals_of_connect(amt, schema, number):
    tree = opened(change("c", {"amt": amt}, schema=schema), form="json", envelope="debezium").tree
    assert text_of(tree["amt"]) == number


@pytest.mark.parametrize(
    ("amt", "schema"),
    [
        ("?", decimals(CONNECT, scale="2")),
        ("AfQ=", decimals(CONNECT)),
        ("AfQ=", decimals(CONNECT, scale="401")),
        ("AfQ=", decimals(VARIABLE)),
    ],
)
def test_broken_decimals_of_connect_are_malformed(amt, schema):
    reason = why(change("c", {"amt": amt}, schema=schema), form="json", envelope="debezium")
    assert reason is DeadLetterReason.MALFORMED


def test_a_message_of_connect_without_an_envelope_is_as_its_schema_means_it():
    columns = [
        {"field": "amt", "name": CONNECT, "parameters": {"scale": "2"}},
        {"field": "day", "name": "io.debezium.time.Date"},
        {"field": "list", "type": "array", "items": {"name": "io.debezium.time.MicroTime"}},
        {"field": "inner", "type": "struct", "fields": [{"field": "d", "name": "org.apache.kafka.connect.data.Date"}]},
        {"field": "pairs", "type": "map", "keys": {}, "values": {"name": "org.apache.kafka.connect.data.Time"}},
    ]
    payload = {"amt": "AfQ=", "day": 20_513, "list": [1, -1], "inner": {"d": 1.5}, "pairs": [[1, 1000]], "other": 7}
    message = {"schema": {"type": "struct", "fields": columns}, "payload": payload}
    tree = opened(json.dumps(message).encode(), form="json").tree
    texts = {path: text_of(value_at(tree, f"payload.{path}")) for path in payload}
    assert texts == {
        "amt": "5.00",
        "day": "2026-03-01",
        "list": '["00:00:00.000001",-1]',
        "inner": '{"d":1.5}',
        "other": "7",
        "pairs": '[[1,"00:00:01"]]',
    }
    message["payload"]["amt"] = "?"
    assert why(json.dumps(message).encode(), form="json") is DeadLetterReason.MALFORMED
    assert opened(json.dumps({**message, "more": 1}).encode(), form="json").tree["payload"]["amt"] == "?"


# --- CloudEvents

EVENT = {"specversion": "1.0", "id": "7", "source": "/bank", "type": "paid"}
KIND = ("content-type", b"application/cloudevents+json; charset=UTF-8")
HEADERS = [(f"ce_{name}", text.encode()) for name, text in EVENT.items()]


def event(headers=(KIND,), **parts):
    return {"value": json.dumps({**EVENT, **parts}).encode(), "headers": headers}


@pytest.mark.parametrize(
    "record",
    [
        event(data={"a": 1}),
        event(data_base64=base64.b64encode(b'{"a":1}').decode()),
        event(headers=(), data={"a": 1}),
        {"value": b'{"a":1}', "headers": HEADERS},
    ],
    ids=["structured", "base64", "without-content-type", "binary"],
)
def test_cloud_events(record):
    found = opened(**record, form="json", envelope="cloudevents")
    assert (found.tree, found.identity) == ({"a": Number("1")}, "/bank 7")


@pytest.mark.parametrize(
    "record",
    [
        event(data=1, data_base64="AA=="),
        event(data_base64=5745),
        event(data_base64="?"),
        event(id=""),
        event(specversion="0.3"),
        event(headers=[("content-type", b"application/cloudevents-batch+json")]),
        event(headers=[("content-type", b"application/cloudevents+avro")]),
        {"value": b'{"a":1}', "headers": HEADERS[:3]},
        {"value": b"{", "headers": HEADERS},
        {"value": b"[1]", "headers": ()},
        {"value": b"{}", "headers": [("ce_id", b"\xff")]},
    ],
)
def test_what_is_no_cloud_event_is_malformed(record):
    assert why(**record, form="json", envelope="cloudevents") is DeadLetterReason.MALFORMED


# --- Avro

AVRO = {
    "type": "record",
    "name": "Payment",
    "namespace": "bank",
    "fields": [
        {"name": "id", "type": ["null", "string"]},
        {"name": "amt", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
        {
            "name": "fee",
            "type": {"type": "fixed", "name": "Fee", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 3},
        },
        {"name": "rc", "type": {"type": "enum", "name": "Code", "symbols": ["OK", "BAD"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "on", "type": {"type": "int", "logicalType": "date"}},
        {"name": "ms", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "us", "type": ["null", {"type": "long", "logicalType": "time-micros"}]},
        {"name": "uuid", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
        {"name": "for", "type": {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}},
        {"name": "f", "type": "float"},
        {"name": "d", "type": "double"},
        {"name": "flag", "type": "boolean"},
        {"name": "raw", "type": "bytes"},
        {"name": "tags", "type": {"type": "map", "values": ["long", "string"]}},
        {
            "name": "legs",
            "type": {
                "type": "array",
                "items": {"type": "record", "name": "Leg", "fields": [{"name": "n", "type": "int"}]},
            },
        },
        {"name": "next", "type": ["null", "Payment"]},
    ],
}
TEXT = json.dumps(AVRO)
PLAIN_AVRO = json.loads(TEXT.replace('"logicalType"', '"was"'))  # so that fastavro takes the numbers themselves


def number_of_bytes(number, size=None):
    return number.to_bytes(size or (number.bit_length() // 8 + 1), "big", signed=True)


AVRO_RECORD = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(max_size=5),
        "amt": st.integers(-(10**12), 10**12).map(number_of_bytes) | st.just(b""),
        "fee": st.integers(-(10**15), 10**15).map(lambda number: number_of_bytes(number, 8)),
        "rc": st.sampled_from(["OK", "BAD"]),
        "at": st.integers(-(2**63), 2**63 - 1),
        "on": st.integers(-(2**31), 2**31 - 1) | st.integers(-100_000, 100_000),
        "ms": st.integers(-5, 86_400_005) | st.integers(-(2**31), 2**31 - 1),
        "us": st.none() | st.integers(-5, 86_400_000_005) | st.integers(-(2**63), 2**63 - 1),
        "uuid": st.binary(min_size=16, max_size=16),
        "for": st.binary(min_size=12, max_size=12),
        "f": st.floats(width=32),
        "d": st.floats(),
        "flag": st.booleans(),
        "raw": st.binary(max_size=4),
        "tags": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.text(max_size=3)),
        "legs": st.lists(st.fixed_dictionaries({"n": st.integers(-9, 9)}), max_size=3),
        "next": st.none(),
    }
)
AVRO_PATHS = [*(field["name"] for field in AVRO["fields"] if field["name"] not in {"tags", "legs", "next"})]
AVRO_PATHS += ["tags.a", "tags.b", "legs[0].n", "legs[2]", "next.id"]


def avro_body(record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(PLAIN_AVRO), record)
    return out.getvalue()


@settings(max_examples=100, deadline=None)
@given(record=AVRO_RECORD, inner=AVRO_RECORD, cut=st.integers(0, 200))
def test_avro_is_read_as_the_engine_reads_it(record, inner, cut):
    body = avro_body({**record, "next": inner})
    schema, read = Schema(TEXT), reader_of(parse(TEXT))
    try:
        value = read(body)
    except BadAvroError:  # a decimal without a byte
        assert why(body, schema="p", files={"p": TEXT.encode()}) is DeadLetterReason.MALFORMED
        return
    tree = avro_trees.read(schema, body)
    for path in AVRO_PATHS:
        assert text_of(value_at(tree, path)) == as_text(engine_value_at(value, steps(path)))
    if cut < len(body):
        framed = b"\0\0\0\0\x09" + body[:cut]
        assert why(framed, lookup=lambda _: TEXT) is DeadLetterReason.MALFORMED


def test_avro_of_any_shape():
    record = {
        "id": "x",
        "amt": number_of_bytes(1250),
        "fee": number_of_bytes(-5, 8),
        "rc": "BAD",
        "at": 7,
        "f": 0.1,
        "on": 20_513,
        "ms": 1,
        "us": None,
        "uuid": bytes(16),
        "for": b"\1\0\0\0\2\0\0\0\xbc\x0b\0\0",
        "d": 0.1,
        "flag": True,
        "raw": b"\xff",
        "tags": {"a": 1, "b": "t"},
        "legs": [{"n": 3}],
        "next": None,
    }
    tree = opened(b"\0\0\0\0\x09" + avro_body(record), lookup={9: TEXT}.get).tree
    texts = {path: text_of(value_at(tree, path)) for path in AVRO_PATHS}
    assert texts == {
        "id": "x",
        "amt": "12.50",
        "fee": "-0.005",
        "rc": "BAD",
        "at": "7",
        "f": "0.1",
        "d": "0.1",
        "flag": "true",
        "on": "2026-03-01",
        "ms": "00:00:00.001000",
        "us": None,
        "uuid": str(UUID(int=0)),
        "for": "P1M2DT3.004S",
        "raw": None,
        "tags.a": "1",
        "tags.b": "t",
        "legs[0].n": "3",
        "legs[2]": None,
        "next.id": None,
    }
    assert opened(avro_body(record), schema="p.avsc", files={"p.avsc": TEXT.encode()}).tree == tree


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\0\0\0", DeadLetterReason.NOT_FRAMED),
        (b"\1\0\0\0\x09x", DeadLetterReason.NOT_FRAMED),
        (b"\0\0\0\0\x08x", DeadLetterReason.UNKNOWN_SCHEMA),
        (b"\0\0\0\0\x07x", DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (b"\0\0\0\0\x09x", DeadLetterReason.MALFORMED),
    ],
)
@pytest.mark.parametrize("form", ["avro", "protobuf"])
def test_why_a_framed_record_cannot_be_read(form, value, reason):
    known = {7: "no schema", 9: TEXT if form == "avro" else PROTO}
    assert why(value, lookup=known.get, form=form) is reason


# --- Protobuf

PROTO = """
syntax = "proto3";
package bank;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
message Other { string only = 1; }
message Payment {
  enum Code { NONE = 0; OK = 1; }
  message Leg { sint64 n = 1; message Deep { bool yes = 1; } }
  string id = 1;
  int64 amt = 2;
  float f = 3;
  double d = 4;
  Code rc = 5;
  optional int32 maybe = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.StringValue note = 8;
  google.protobuf.Struct any = 9;
  repeated Leg legs = 10;
  map<string, int32> tags = 11;
  bytes raw = 12;
  oneof choice { string a = 13; int32 b = 14; }
  bool flag = 15;
}
"""
FILES = protobuf.from_text(PROTO, {})
KIND_OF_PAYMENT = FILES.named("Payment")
PAYMENT_PATHS = [
    "id",
    "amt",
    "f",
    "d",
    "rc",
    "maybe",
    "at",
    "note",
    "any.x",
    "any.y.z",
    "any.l[0]",
    "legs[0].n",
    "legs[5]",
]
PAYMENT_PATHS += ["tags.k", "raw", "a", "b", "flag"]
PAYMENT = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3),
        "amt": st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "d": st.floats(allow_nan=False, allow_infinity=False),
        "rc": st.sampled_from([0, 1, 17, -1]),
        "maybe": st.integers(-5, 5),
        "at": st.sampled_from(["2026-03-01T12:00:00Z", "1999-01-01T00:00:00.123456789Z"]),
        "note": st.text(max_size=3),
        "any": st.fixed_dictionaries(
            {},
            optional={
                "x": st.floats(-1e18, 1e18) | st.integers(-9, 9) | st.text(max_size=2) | st.booleans() | st.none(),
                "y": st.fixed_dictionaries({"z": st.integers(0, 3)}),
                "l": st.lists(st.text(max_size=2), min_size=1),
            },
        ),
        "legs": st.lists(st.fixed_dictionaries({"n": st.integers(-9, 9)}), max_size=2),
        "tags": st.dictionaries(st.sampled_from(["k", ""]), st.integers(0, 9)),
        "raw": st.sampled_from(["", "/w==", "eA=="]),
        "a": st.text(max_size=2),
        "flag": st.booleans(),
    },
)


def payment(**fields):
    return json_format.ParseDict(fields, message_factory.GetMessageClass(KIND_OF_PAYMENT)()).SerializeToString()


@settings(max_examples=100, deadline=None)
@given(fields=PAYMENT, damage=st.binary(max_size=3))
def test_protobuf_is_read_as_the_engine_reads_it(fields, damage):
    engine = ProtobufSchema(DESCRIPTORS).message_named("bank.Payment")
    body = payment(**fields) + damage
    try:
        value = protobuf_reader_of(engine)(body)
    except ValueError:
        assert why(body, form="protobuf", schema="p.bin", files={"p.bin": DESCRIPTORS}, message="Payment")
        return
    tree = protobuf.read(KIND_OF_PAYMENT, body)
    for path in PAYMENT_PATHS:
        by_engine = as_text(engine_value_at(value, steps(path)))
        if path == "f" and by_engine is not None:  # the engine writes a whole number of 32 bits as 5.0, one of 64 as 5
            by_engine = by_engine.removesuffix(".0")
        assert text_of(value_at(tree, path)) == by_engine, path


def descriptor_set():
    """The compiled form of PROTO, as `protoc --include_imports` writes it."""
    found = descriptor_pb2.FileDescriptorSet()
    main = KIND_OF_PAYMENT.file
    for file in [*main.dependencies, main]:
        file.CopyToProto(found.file.add())
    return found.SerializeToString()


DESCRIPTORS = descriptor_set()
GOOD = {
    "id": "x",
    "amt": 5,
    "f": 0.1,
    "rc": 1,
    "at": "2026-03-01T12:00:00Z",
    "note": "n",
    "legs": [{"n": -3}],
    "tags": {"k": 2},
}
TOLD = {
    "id": "x",
    "amt": "5",
    "f": "0.1",
    "d": "0",
    "rc": "OK",
    "maybe": None,
    "at": "2026-03-01T12:00:00Z",
    "note": "n",
    "any.x": None,
    "any.y.z": None,
    "any.l[0]": None,
    "legs[0].n": "-3",
    "legs[5]": None,
    "tags.k": "2",
    "raw": "",
    "a": None,
    "b": None,
    "flag": "false",
}


@pytest.mark.parametrize(
    "options",
    [
        {"value": payment(**GOOD), "schema": "p.bin", "files": {"p.bin": DESCRIPTORS}, "message": "Payment"},
        {
            "value": payment(**GOOD),
            "schema": "p.proto",
            "files": {"p.proto": DESCRIPTORS},
            "message": "bank.Payment",
        },
        {"value": b"\0\0\0\0\x09\x02\x02" + payment(**GOOD), "lookup": {9: PROTO}.get},
    ],
    ids=["by-its-name", "by-its-full-name", "framed"],
)
def test_protobuf(options):
    tree = opened(**options, form="protobuf").tree
    assert {path: text_of(value_at(tree, path)) for path in PAYMENT_PATHS} == TOLD


def test_a_framing_leads_to_nested_messages_and_imports():
    assert [FILES.at(way).full_name for way in ([0], [1], [1, 0], [1, 0, 0])] == [
        *("bank.Other", "bank.Payment", "bank.Payment.Leg", "bank.Payment.Leg.Deep"),
    ]
    importing = Registered(
        'syntax = "proto3"; import "b/other.proto"; message M { bank.Other o = 1; }', (PROTO,), ("b/other.proto",)
    )
    tree = opened(b"\0\0\0\0\x09\0\x0a\x03\x0a\x01x", lookup=lambda _: importing, form="protobuf").tree
    assert tree == {"o": {"only": "x"}}


@pytest.mark.parametrize("rest", [b"", b"\x02\x04", b"\x01", b"\x82\x01", b"\0\x0a\xff", b"\x02\x02\x0a\x01\xff"])
def test_broken_protobuf_is_malformed(rest):
    assert why(b"\0\0\0\0\x09" + rest, lookup={9: PROTO}.get, form="protobuf") is DeadLetterReason.MALFORMED


def test_a_time_beyond_all_years_is_malformed():
    body = b"\x3a\x0b\x08" + b"\xff" * 8 + b"\x7f\x00"
    assert why(body, form="protobuf", schema="p.bin", files={"p.bin": DESCRIPTORS}, message="Payment")
