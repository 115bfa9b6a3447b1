"""Encodings and envelopes: each message comes back once, and every value is exact."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import struct
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    field_mask_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message

from schemas.errors import DeadLetterReason, IncompatibleSchemaError, RegistryUnavailableError
from wire.avro_schema import parse
from wire.cloudevents import identity
from wire.debezium import row_key
from wire.decoding import BareProtobuf, Decoder, FramedAvro, FramedProtobuf, JsonEncoding, UnreadableError
from wire.framing import framed, message_indexes, with_indexes
from wire.json_values import BadJsonError, quoted_names, read_json
from wire.messages import Messages
from wire.protobuf_values import BadProtobufError, ProtobufSchema
from wire.records import as_text
from wire.varints import write_varint

JSON = Decoder(JsonEncoding())


def batch(*values: bytes | None, headers: Any = ()) -> Messages:
    return Messages("t", values, headers=headers)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (b"12.50", "12.50"),
        (b"12.5000000000000000000000001", "12.5000000000000000000000001"),
        (b"9007199254740993", "9007199254740993"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"1e2", "1e2"),
        (b"0.1", "0.1"),
        (b"-0.0", "-0.0"),
        (b"-0", "-0"),
        (b"-0e1", "-0e1"),
        (b"1E400", "1E400"),
    ],
)
def test_a_json_number_keeps_its_digits(text: bytes, digits: str) -> None:
    value = read_json(b'{"amt":' + text + b"}")["amt"]
    assert as_text(value) == digits


BAD_JSON = [
    b"{",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":1}{',
    b"\xef\xbb\xbf{}",
    b'{"a":"\\ud800"}',
    b'{"a":"\xff"}',
    b'{"a":"\x01"}',
    b"{'a':1}",
    b'{"a":1,}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("text", BAD_JSON)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadJsonError):
        read_json(text)


@pytest.mark.parametrize(
    "text",
    [b'{"amt":1,"amt":2}', b'{"amt":1, "x":{"b":1,"b":2}}', b'{"amt":1,"\\u0061mt":2}', b'[{"amt" : 1 , "amt" : 1}]'],
)
def test_a_repeated_name_is_refused(text: bytes) -> None:
    with pytest.raises(BadJsonError, match="occurs twice"):
        read_json(text, () if b'"b"' in text else quoted_names(["x.amt", "list[0].amt"]))


def test_one_name_in_several_objects_is_no_repetition() -> None:
    assert read_json(b'{"amt":1,"x":{"amt":2}}', quoted_names(["amt"])) == {"amt": 1, "x": {"amt": 2}}


def test_every_message_comes_back_once() -> None:
    values = JSON.decode(batch(b'{"a":1}', b"", None, b"{", framed(7, b'{"a":2}'), b"[1]"))
    assert values.rows == [0, 4, 5]
    assert values.values == [{"a": 1}, {"a": 2}, [1]]
    assert [(reject.row, reject.reason) for reject in values.rejects] == [
        (1, DeadLetterReason.MALFORMED),
        (3, DeadLetterReason.MALFORMED),
    ]
    assert values.skipped == {"tombstone": 1}


# --- Debezium


def change(op: str, before: object = None, after: object = None, schema: object = None) -> bytes:
    payload = {"before": before, "after": after, "source": {"table": "payments"}, "op": op, "ts_ms": 1}
    return json.dumps(payload if schema is None else {"schema": schema, "payload": payload}).encode()


DEBEZIUM = Decoder(JsonEncoding(), "debezium")


def test_debezium_states_deletes_and_what_is_about_no_row() -> None:
    values = DEBEZIUM.decode(
        batch(
            change("c", None, {"id": 1}),
            change("r", None, {"id": 2}),
            change("u", {"id": 3}, {"id": 4}),
            change("d", {"id": 5}),
            change("d"),
            change("t"),
            change("m"),
            None,
        )
    )
    assert values.values == [{"id": 1}, {"id": 2}, {"id": 4}, {"id": 5}, {}]
    assert values.operations == ["c", "r", "u", "d", "d"]
    assert values.skipped == {"truncate": 1, "message": 1, "tombstone": 1}


@pytest.mark.parametrize(
    "value",
    [
        b"[]",
        b"1",
        b"{}",
        change("x"),
        change("c"),
        change("u", {"id": 1}),
        b'{"schema":{},"payload":null}',
        b'{"op":1}',
    ],
)
def test_what_is_no_debezium_envelope_is_rejected(value: bytes) -> None:
    values = DEBEZIUM.decode(batch(value))
    assert values.values == []
    assert [reject.reason for reject in values.rejects] == [DeadLetterReason.MALFORMED]


def decimal_schema(name: str, scale: str | None) -> dict[str, Any]:
    column = {"type": "bytes", "field": "amt", "name": name, "parameters": {"scale": scale} if scale else {}}
    return {"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": [column]}]}


@pytest.mark.parametrize(("digits", "scale"), [(1234, 2), (-1, 2), (0, 0), (5, -2), (10**30 + 1, 18)])
def test_debezium_decimals_are_exact(digits: int, scale: int) -> None:
    wire = base64.b64encode(digits.to_bytes(16, "big", signed=True)).decode()
    schema = decimal_schema("org.apache.kafka.connect.data.Decimal", str(scale))
    (row,) = DEBEZIUM.decode(batch(change("c", None, {"amt": wire, "id": 1}, schema))).values
    assert row == {"amt": Decimal(f"{digits}E{-scale}"), "id": 1}
    variable = decimal_schema("io.debezium.data.VariableScaleDecimal", None)
    message = change("c", None, {"amt": {"scale": scale, "value": wire}}, variable)
    (row,) = DEBEZIUM.decode(batch(message)).values
    assert row == {"amt": Decimal(f"{digits}E{-scale}")}


def test_a_debezium_decimal_that_cannot_be_read_is_a_reject() -> None:
    schema = decimal_schema("org.apache.kafka.connect.data.Decimal", None)
    values = DEBEZIUM.decode(
        batch(change("c", None, {"amt": "BNI="}, schema), change("c", None, {"amt": None}, schema))
    )
    assert [reject.row for reject in values.rejects] == [0]
    assert values.values == [{"amt": None}]


CONNECT_DECIMAL = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}
CONNECT_DATE = {"type": "int32", "name": "io.debezium.time.Date"}


def struct_of(field: str, **columns: Any) -> dict[str, Any]:
    return {"type": "struct", "field": field, "fields": [{**kind, "field": name} for name, kind in columns.items()]}


DATED = struct_of("", d=CONNECT_DATE)


def test_what_connects_schema_says_holds_in_nested_values_too() -> None:
    schema = struct_of(
        "",
        after=struct_of(
            "after",
            fees={"type": "array", "items": CONNECT_DECIMAL},
            by_kind={"type": "map", "keys": {"type": "string"}, "values": CONNECT_DECIMAL},
            by_number={"type": "map", "keys": {"type": "int32"}, "values": CONNECT_DECIMAL},
            inner=struct_of("inner", amt=CONNECT_DECIMAL, list={"type": "array", "items": DATED}),
            amt=CONNECT_DECIMAL,
            due=CONNECT_DATE,
            at={"type": "int32", "name": "org.apache.kafka.connect.data.Time"},
            micro={"type": "int64", "name": "io.debezium.time.MicroTime"},
            stamp={"type": "int64", "name": "io.debezium.time.MicroTimestamp"},
            until=CONNECT_DATE,
        ),
    )  # fmt: skip
    row = {
        "fees": ["BNI=", None],
        "by_kind": {"a": "BNI="},
        "by_number": [[1, "BNI="]],
        "inner": {"amt": "BNI=", "list": [{"d": 19_782}, None], "other": "BNI="},
        "amt": 12.340,
        "due": 19_782,
        "at": 3_723_004,
        "micro": 3_723_000_004,
        "stamp": 1_700_000_000_000_001,
        "until": 2**31 - 1,
        "new": 1,
    }
    (found,) = DEBEZIUM.decode(batch(change("c", None, row, schema))).values
    assert found == {
        "fees": [Decimal("12.34"), None],
        "by_kind": {"a": Decimal("12.34")},
        "by_number": [[1, Decimal("12.34")]],
        "inner": {"amt": Decimal("12.34"), "list": [{"d": date(2024, 2, 29)}, None], "other": "BNI="},
        "amt": "12.34",
        "due": date(2024, 2, 29),
        "at": time(1, 2, 3, 4_000),
        "micro": time(1, 2, 3, 4),
        "stamp": 1_700_000_000_000_001,
        "until": 2**31 - 1,
        "new": 1,
    }


def test_what_connect_writes_without_the_envelope_is_as_its_schema_means_it() -> None:
    schema = {"type": "struct", "fields": [{**CONNECT_DECIMAL, "field": "amt"}, {**CONNECT_DATE, "field": "due"}]}
    message = {"schema": schema, "payload": {"amt": "BNI=", "due": 19_782, "id": "BNI="}}
    plain = {"schema": "A", "payload": {"amt": "BNI="}}
    values = JSON.decode(batch(*(json.dumps(one).encode() for one in (message, plain, {**message, "x": 1}))))
    assert values.values == [
        {"schema": schema, "payload": {"amt": Decimal("12.34"), "due": date(2024, 2, 29), "id": "BNI="}},
        plain,
        {**message, "x": 1},
    ]
    bad = {"schema": schema, "payload": {"amt": "?"}}
    assert [reject.row for reject in JSON.decode(batch(json.dumps(bad).encode())).rejects] == [0]


@pytest.mark.parametrize(
    ("wire", "scale"),
    [("", "2"), ("A", "2"), ("BNI=", "x"), ("BNI=", "401"), (base64.b64encode(b"\x7f" * 2000).decode(), "2")],
    ids=["no-bytes", "no-base64", "no-scale", "scale-too-large", "too-long"],
)
def test_a_decimal_that_cannot_be_is_a_reject_and_nothing_worse(wire: str, scale: str) -> None:
    schema = decimal_schema("org.apache.kafka.connect.data.Decimal", scale)
    values = DEBEZIUM.decode(batch(change("c", None, {"amt": wire}, schema)))
    assert [reject.row for reject in values.rejects] == [0]


def keyed(payload: str) -> bytes:
    return b'{"schema": {"type": "struct"}, "payload": ' + payload.encode() + b"}"


@pytest.mark.parametrize(
    ("key", "format_", "text"),
    [
        pytest.param(None, "json", None, id="none"),
        pytest.param(keyed('{ "b" : 1.10, "a": "é\\n" , "c": [ -0, null, true, 1E2 ] }'), "json",
                     '{"b":1.10,"a":"é\\n","c":[-0,null,true,1E2]}', id="payload"),
        pytest.param(keyed("12.50"), "json", "12.50", id="payload-number"),
        pytest.param(keyed("123456789012345678901234567890"), "json", "123456789012345678901234567890", id="large"),
        pytest.param(keyed('"A 1"'), "json", "A 1", id="payload-text"),
        pytest.param(keyed("false"), "json", "false", id="payload-boolean"),
        pytest.param(keyed("null"), "json", None, id="payload-null"),
        pytest.param(keyed('"a\\u0000b"'), "json", "0x" + keyed('"a\\u0000b"').hex(), id="payload-with-nul"),
        pytest.param(b'{"id": 1}', "json", '{"id": 1}', id="json-without-schema"),
        pytest.param(b'{"payload": 1}', "json", '{"payload": 1}', id="payload-alone"),
        pytest.param(keyed("1"), "avro", keyed("1").decode(), id="another-format"),
        pytest.param(b"R 1", "json", "R 1", id="text"),
        pytest.param(b"", "json", None, id="empty"),
        pytest.param(b"\x00\x00\x00\x00\x07\x02", "avro", "0x000000000702", id="framed"),
        pytest.param(b"\xff\xfe", "json", "0xfffe", id="no-text"),
        pytest.param(b"x" * 256, "json", "x" * 256, id="longest"),
    ],
)  # fmt: skip
def test_a_key_names_its_row(key: bytes | None, format_: str, text: str | None) -> None:
    assert row_key(key, format_) == text


@pytest.mark.parametrize("key", [b"x" * 257, "é".encode() * 129, b"\xff" * 128, keyed('"' + "x" * 257 + '"')])
def test_a_long_key_is_known_by_its_digest(key: bytes) -> None:
    assert row_key(key, "json") == "sha256:" + hashlib.sha256(key).hexdigest()


# --- CloudEvents

EVENTS = Decoder(JsonEncoding(), "cloudevents")
ATTRIBUTES = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/switch"), ("ce_type", b"payment")]


def test_a_binary_event_has_its_attributes_in_headers() -> None:
    values = EVENTS.decode(batch(b'{"amt":1.10}', headers=[ATTRIBUTES]))
    assert values.values == [{"amt": "1.10"}]
    assert values.identities == [identity("/switch", "7")]


def test_a_structured_event_has_them_in_its_value() -> None:
    event = b'{"specversion":"1.0","id":"7","source":"/switch","type":"payment","data":{"amt":1.10}}'
    data = base64.b64encode(b'{"amt":1.10}')
    packed = event.replace(b'"data":{"amt":1.10}', b'"data_base64":"' + data + b'"')
    header = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    values = EVENTS.decode(batch(event, packed, event, headers=[header, header, None]))
    assert values.values == [{"amt": "1.10"}] * 3
    assert values.identities == [identity("/switch", "7")] * 3


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents",
        "application/cloudevents+json",
        "Application/CloudEvents+JSON",
        "APPLICATION/CLOUDEVENTS+JSON;CHARSET=utf-8",
        "application/cloudevents+json ; charset=UTF-8; profile=x",
    ],
)
def test_a_content_type_has_any_case_and_parameters(content_type: str) -> None:
    event = b'{"specversion":"1.0","id":"7","source":"/switch","type":"payment","data":{"amt":1.10}}'
    headers = [("content-type", content_type.encode()), ("ce_id", b"another")]
    values = EVENTS.decode(batch(event, headers=[headers]))
    assert values.values == [{"amt": "1.10"}]
    assert values.identities == [identity("/switch", "7")]


def test_the_content_type_of_a_binary_event_is_that_of_its_data() -> None:
    values = EVENTS.decode(batch(b'{"amt":1.10}', headers=[[("content-type", b"Application/JSON"), *ATTRIBUTES]]))
    assert values.values == [{"amt": "1.10"}]


def test_source_and_id_cannot_be_taken_for_another_pair() -> None:
    assert identity("a b", "c") != identity("a", "b c")


def test_what_is_no_cloud_event_is_rejected() -> None:
    structured = [("content-type", b"application/cloudevents+json")]
    values = EVENTS.decode(
        batch(
            b'{"amt":1}',
            b'{"amt":1}',
            b"[]",
            b"{}",
            b'{"amt":1}',
            b"{",
            b"x",
            headers=[
                None,
                ATTRIBUTES[1:],
                [("content-type", b"application/cloudevents-batch+json")],
                [("content-type", b"application/cloudevents+avro")],
                [("ce_specversion", b"0.3"), *ATTRIBUTES[1:]],
                structured,
                [("content-type", b"Application/CloudEvents-Batch+JSON; charset=utf-8")],
            ],
        )
    )
    assert values.values == []
    assert [reject.row for reject in values.rejects] == [0, 1, 2, 3, 4, 5, 6]


# --- Protobuf


def descriptors() -> bytes:
    """switch.proto: two messages, one nested, with an import, in the binary form that protoc writes."""
    field = descriptor_pb2.FieldDescriptorProto
    shared = descriptor_pb2.FileDescriptorProto(name="money.proto", package="bank", syntax="proto3")
    money = shared.message_type.add(name="Money")
    money.field.add(name="units", number=1, type=field.TYPE_INT64, label=1)
    money.field.add(name="currency", number=2, type=field.TYPE_STRING, label=1)
    main = descriptor_pb2.FileDescriptorProto(name="switch.proto", package="bank", syntax="proto3")
    main.dependency.append("money.proto")
    main.message_type.add(name="Other")
    payment = main.message_type.add(name="Payment")
    payment.field.add(name="rrn", number=1, type=field.TYPE_STRING, label=1)
    payment.field.add(name="money", number=2, type=field.TYPE_MESSAGE, type_name=".bank.Money", label=1)
    payment.field.add(name="rate", number=3, type=field.TYPE_FLOAT, label=1)
    payment.field.add(name="status", number=4, type=field.TYPE_ENUM, type_name=".bank.Payment.Status", label=1)
    payment.field.add(name="note", number=5, type=field.TYPE_STRING, label=1, proto3_optional=True, oneof_index=0)
    payment.oneof_decl.add(name="_note")
    payment.field.add(name="legs", number=6, type=field.TYPE_MESSAGE, type_name=".bank.Payment.Leg", label=3)
    status = payment.enum_type.add(name="Status")
    status.value.add(name="UNKNOWN", number=0)
    status.value.add(name="DONE", number=1)
    leg = payment.nested_type.add(name="Leg")
    leg.field.add(name="fee", number=1, type=field.TYPE_UINT64, label=1)
    return descriptor_pb2.FileDescriptorSet(file=[shared, main]).SerializeToString()


def payment(**values: Any) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors())
    for file in files.file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("bank.Payment"))
    body: bytes = kind(**values).SerializeToString()
    return body


SCHEMA = ProtobufSchema(descriptors())
PAYMENT = {
    "rrn": "R1",
    "money": {"units": 2**60 + 1, "currency": "INR"},
    "rate": 0.1,
    "status": 1,
    "legs": [{"fee": 7}],
}
VALUES = {
    "rrn": "R1",
    "money": {"units": 2**60 + 1, "currency": "INR"},
    "rate": Decimal("0.1"),
    "status": "DONE",
    "note": None,
    "legs": [{"fee": 7}],
}


def lookup(schema_id: int) -> ProtobufSchema | None:
    if schema_id == 8:
        raise IncompatibleSchemaError(8, "it is no Protobuf schema")
    if schema_id == 9:
        raise RegistryUnavailableError("away")
    return SCHEMA if schema_id == 7 else None


def test_protobuf_without_framing_is_read_by_a_descriptor() -> None:
    decoder = Decoder(BareProtobuf(SCHEMA, "Payment"))
    values = decoder.decode(batch(payment(**PAYMENT), b"\x0a\xff", payment(status=5, note="")))
    assert values.values[0] == VALUES
    assert values.values[1]["status"] == "5"  # type: ignore[index]
    assert values.values[1]["note"] == ""  # type: ignore[index]
    assert values.values[1]["money"] is None  # type: ignore[index]
    assert [reject.row for reject in values.rejects] == [1]
    with pytest.raises(BadProtobufError, match="Other, Payment"):
        BareProtobuf(SCHEMA, "Pay")


def test_framed_protobuf_names_its_message_by_indexes() -> None:
    decoder = Decoder(FramedProtobuf(lookup))
    body = payment(**PAYMENT)
    leg = with_indexes((1, 0), b"\x08\x07")
    values = decoder.decode(
        batch(
            framed(7, with_indexes((1,), body)),
            framed(7, leg),
            framed(7, with_indexes((0,), b"")),
            framed(7, with_indexes((4,), body)),
            framed(7, with_indexes((1, 3), body)),
            framed(6, with_indexes((1,), body)),
            framed(8, with_indexes((1,), body)),
            framed(7, write_varint(-3)),
            body,
        )
    )
    assert values.rows == [0, 1, 2]
    assert values.values == [VALUES, {"fee": 7}, {}]
    assert [(reject.row, str(reject.reason)) for reject in values.rejects] == [
        (3, "malformed"),
        (4, "malformed"),
        (5, "unknown_schema"),
        (6, "incompatible_schema"),
        (7, "malformed"),
        (8, "not_framed"),
    ]
    with pytest.raises(RegistryUnavailableError):
        decoder.decode(batch(framed(9, b"\0")))


def test_message_indexes_are_those_of_the_framing() -> None:
    assert message_indexes(b"\x00rest") == ((0,), 1)
    assert message_indexes(with_indexes((2, 1), b"rest")) == ((2, 1), 3)
    for bad in (b"", b"\x01", b"\x02\x01", b"\x80" * 11, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"):
        with pytest.raises(ValueError, match=r"number|index"):
            message_indexes(bad)


def known_types() -> ProtobufSchema:
    """A message of the well-known types and of a float."""
    field = descriptor_pb2.FieldDescriptorProto
    main = descriptor_pb2.FileDescriptorProto(name="known.proto", syntax="proto3")
    files = [timestamp_pb2.DESCRIPTOR, struct_pb2.DESCRIPTOR, field_mask_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]
    main.dependency.extend(file.name for file in files)
    known = main.message_type.add(name="Known")
    names = ["Timestamp", "Struct", "Value", "FieldMask", "FloatValue"]
    for number, name in enumerate(names, 1):
        kind = f".google.protobuf.{name}"
        known.field.add(name=name.lower(), number=number, type=field.TYPE_MESSAGE, type_name=kind, label=1)
    known.field.add(name="rate", number=6, type=field.TYPE_FLOAT, label=1)
    imports = []
    for file in files:
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        imports.append(proto)
    return ProtobufSchema(descriptor_pb2.FileDescriptorSet(file=[*imports, main]).SerializeToString())


def length_framed(number: int, message: Message) -> bytes:
    body = message.SerializeToString()
    return bytes([number << 3 | 2, len(body)]) + body


STRUCT = json_format.ParseDict({"c": "x", "b": 2, "a": [1, None, {"b": True}]}, struct_pb2.Struct())


@pytest.mark.parametrize(
    ("body", "name", "value", "text"),
    [
        pytest.param(
            length_framed(1, timestamp_pb2.Timestamp(seconds=1, nanos=123_456_789)),
            "timestamp",
            "1970-01-01T00:00:01.123456789Z",
            "1970-01-01T00:00:01.123456789Z",
            id="time",
        ),
        pytest.param(
            length_framed(2, STRUCT),
            "struct",
            {"a": [1.0, None, {"b": True}], "b": 2.0, "c": "x"},
            '{"a":[1,null,{"b":true}],"b":2,"c":"x"}',
            id="struct",
        ),
        pytest.param(
            length_framed(3, struct_pb2.Value(number_value=math.inf)), "value", math.inf, "inf", id="infinity"
        ),
        pytest.param(length_framed(3, struct_pb2.Value(number_value=0.1)), "value", 0.1, "0.1", id="number"),
        pytest.param(length_framed(3, struct_pb2.Value()), "value", None, None, id="value-of-no-kind"),
        pytest.param(
            length_framed(4, field_mask_pb2.FieldMask(paths=["a_b", "aB"])), "fieldmask", "a_b,aB", "a_b,aB", id="mask"
        ),
        pytest.param(
            length_framed(5, wrappers_pb2.FloatValue(value=0.1)), "floatvalue", Decimal("0.1"), "0.1", id="wrapped"
        ),
        pytest.param(b"", "rate", Decimal(0), "0", id="zero"),
        pytest.param(b"\x35" + struct.pack("<f", -0.0), "rate", Decimal("-0"), "-0", id="minus-zero"),
        pytest.param(b"\x35" + struct.pack("<f", 2.5), "rate", Decimal("2.5"), "2.5", id="float"),
        pytest.param(b"\x35" + struct.pack("<f", 1e10), "rate", Decimal(10**10), "10000000000", id="large"),
    ],
)
def test_well_known_types_are_what_they_mean(body: bytes, name: str, value: object, text: str | None) -> None:
    (found,) = Decoder(BareProtobuf(known_types(), "Known")).decode(batch(body)).values
    assert found[name] == value  # type: ignore[index]
    assert as_text(found[name]) == text  # type: ignore[index]


@pytest.mark.parametrize("time", [{"seconds": 2**62}, {"seconds": 1, "nanos": -5}], ids=["seconds", "nanos"])
def test_a_protobuf_time_that_no_calendar_has_is_malformed_with_and_without_framing(time: dict[str, int]) -> None:
    body = length_framed(1, timestamp_pb2.Timestamp(**time))
    bare = Decoder(BareProtobuf(known_types(), "Known")).decode(batch(body, b""))
    with_framing = Decoder(FramedProtobuf({7: known_types()}.get)).decode(
        batch(framed(7, b"\0" + body), framed(7, b"\0"))
    )
    for values in (bare, with_framing):
        assert [(reject.row, reject.reason) for reject in values.rejects] == [(0, DeadLetterReason.MALFORMED)]
        assert values.rows == [1]


def test_random_bytes_are_values_or_rejects_and_nothing_else() -> None:
    chance = random.Random(5)
    whole = [payment(**PAYMENT), json.dumps({"op": "c", "after": {"a": [1.5, "x"]}}).encode(), b"\x02\x05\x04R1\x02-0"]
    avro = parse(
        '{"type": "record", "name": "A", "fields": [{"name": "d", "type": {"type": "bytes", '
        '"logicalType": "decimal", "precision": 9, "scale": 2}}, {"name": "s", "type": ["null", "string"]},'
        '{"name": "f", "type": {"type": "array", "items": "float"}}]}'
    )
    decoders = [
        JSON,
        DEBEZIUM,
        EVENTS,
        Decoder(BareProtobuf(SCHEMA, "Payment")),
        Decoder(FramedProtobuf({7: SCHEMA}.get)),
        Decoder(FramedAvro({7: avro}.get)),
    ]
    for _ in range(2_000):
        value = bytearray(chance.choice(whole))
        for _ in range(chance.randint(0, 3)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        messages = batch(
            bytes(value), framed(7, with_indexes((1,), bytes(value))), bytes(value[: chance.randrange(20)])
        )
        for decoder in decoders:
            found = decoder.decode(messages)
            assert len(found.rows) + len(found.rejects) + found.skipped.total() == 3


def test_an_encoding_says_why() -> None:
    with pytest.raises(UnreadableError) as error:
        JsonEncoding().read(b"{")
    assert error.value.reason is DeadLetterReason.MALFORMED
