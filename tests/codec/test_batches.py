"""The block decoder: whatever bytes a batch holds, every row comes back once, and as if it had been read by itself."""

from __future__ import annotations

import io
import json

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.emission import Event
from producers.wire import Encoder
from schemas.errors import DeadLetterReason, IncompatibleSchemaError, RegistryUnavailableError
from schemas.events import Status, schema_text
from wire.events import (
    DECODED_SCHEMA,
    ONE_BY_ONE_MESSAGES,
    WriterSchema,
    decode_batch,
    decode_message,
)
from wire.framing import HEADER_BYTES
from wire.framing import schema_id_of as frame_schema_id

NOW = 1_790_000_000_000
OURS = json.loads(schema_text())


def evolved(*, add=(), drop=(), order=None):
    """A registered schema that is not ours: fields added (each with a default), dropped, or in another order."""
    fields = [field for field in OURS["fields"] if field["name"] not in drop] + list(add)
    if order is not None:
        fields = [fields[index] for index in order]
    return json.dumps({**OURS, "fields": fields})


CHANNEL = {"name": "channel", "type": "string", "default": "unknown"}
SCHEMAS = {
    1: schema_text(),
    2: evolved(add=[CHANNEL]),
    3: evolved(drop=["original_txn_id"]),
    4: evolved(order=[8, 7, 6, 5, 4, 3, 2, 1, 0]),
    5: evolved(drop=["amount_minor"]),  # ours has no default for it, so nothing written with it can be read
}
INCOMPATIBLE = 5
PARSED = {schema_id: fastavro.parse_schema(json.loads(text)) for schema_id, text in SCHEMAS.items()}
WRITERS = {number: WriterSchema.parse(number, text) for number, text in SCHEMAS.items() if number != INCOMPATIBLE}


def lookup(schema_id):
    if schema_id == INCOMPATIBLE:
        raise IncompatibleSchemaError(schema_id, "it has no field amount_minor")
    return WRITERS.get(schema_id)


def encode(schema_id, **fields):
    record = {
        "event_id": "e1",
        "txn_id": "T1",
        "source": "CORE",
        "amount_minor": 100,
        "currency": "EUR",
        "status": "SUCCESS",
        "event_time": NOW,
        "account_id": "ACC",
        "original_txn_id": None,
        "channel": "web",
        **fields,
    }
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, PARSED[schema_id], record)
    return b"\0" + schema_id.to_bytes(4, "big") + buffer.getvalue()


def one_by_one(values):
    """What reading each message by itself gives: (events by row, reasons by row)."""
    events, reasons = {}, {}
    for row, value in enumerate(values):
        schema_id = frame_schema_id(value)
        if schema_id is None:
            reasons[row] = DeadLetterReason.NOT_FRAMED
        elif schema_id == INCOMPATIBLE:
            reasons[row] = DeadLetterReason.INCOMPATIBLE_SCHEMA
        elif lookup(schema_id) is None:
            reasons[row] = DeadLetterReason.UNKNOWN_SCHEMA
        else:
            try:
                events[row] = decode_message(value[HEADER_BYTES:], WRITERS[schema_id])
            except ValueError:
                reasons[row] = DeadLetterReason.MALFORMED
    return events, reasons


def assert_as_one_by_one(values):
    decoded = decode_batch(values, lookup)
    events, reasons = one_by_one(values)
    rows = decoded.events["row"].to_list()
    assert sorted([*rows, *(reject.row for reject in decoded.rejects)]) == list(range(len(values)))
    assert rows == sorted(rows)
    assert {reject.row: reject.reason for reject in decoded.rejects} == reasons
    found = {row.pop("row"): row for row in decoded.events.iter_rows(named=True)}
    assert found == {row: {name: event[name] for name in found[row]} for row, event in events.items()}
    assert dict(decoded.events.schema) == DECODED_SCHEMA
    return decoded


TEXT = st.text(max_size=12)
GOOD = st.builds(
    encode,
    st.sampled_from([1, 1, 1, 2, 3, 4]),
    event_id=TEXT,
    txn_id=TEXT,
    amount_minor=st.sampled_from([0, 1, 63, 64, 8191, 8192, 2**31, 2**62, -1, -(2**63), 2**63 - 1]),
    status=st.sampled_from([status.name for status in Status]),
    source=st.sampled_from(["CORE", "GATEWAY", "MOBILE"]),
    event_time=st.integers(-(2**63), 2**63 - 1),
    original_txn_id=st.none() | TEXT,
)


@st.composite
def spoilt(draw):
    """A good message with bytes changed, cut off, put in or repeated, or joined to another."""
    value = bytearray(draw(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(HEADER_BYTES, max(HEADER_BYTES, len(value) - 1)))
        match draw(st.sampled_from(["change", "cut", "insert", "join", "drop", "long"])):
            case "change":
                if at < len(value):
                    value[at] = draw(st.integers(0, 255))
            case "cut":
                del value[at:]
            case "insert":
                value[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "join":
                value += draw(GOOD)[HEADER_BYTES:]
            case "drop":
                del value[at : at + 1]
            case "long":  # a varint that takes more bytes than it needs: readable, but not canonical
                if at < len(value) and value[at] < 0x80:
                    value[at : at + 1] = bytes([value[at] | 0x80, 0])
    return bytes(value)


ANY = st.one_of(
    GOOD,
    GOOD,
    GOOD,
    spoilt(),
    st.none(),
    st.binary(max_size=40),
    st.binary(max_size=60).map(lambda body: b"\0\0\0\0\1" + body),
    GOOD.map(lambda value: b"\0\0\0\0\x63" + value[HEADER_BYTES:]),
    GOOD.map(lambda value: b"\0\0\0\0\x05" + value[HEADER_BYTES:]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY, max_size=12))
def test_any_batch_is_decoded_as_message_by_message(values):
    assert_as_one_by_one(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(spoilt(), min_size=1, max_size=4), st.integers(0, 200), st.randoms(use_true_random=False))
def test_bad_messages_among_many_good_ones_spoil_no_neighbour(bad, good, random):
    values = [encode(1, event_id=f"e{number}", txn_id=f"T{number}") for number in range(good)]
    for value in bad:
        values.insert(random.randint(0, len(values)), value)
    assert_as_one_by_one(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(GOOD, min_size=2, max_size=6), st.data())
def test_messages_cut_at_the_wrong_places_are_not_taken_for_others(values, data):
    """The joined bodies are those of good messages, so only the lengths can tell."""
    bodies = b"".join(value[HEADER_BYTES:] for value in values)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(bodies)), min_size=1, max_size=6)))
    parts = [bodies[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(bodies)], strict=True)]
    assert_as_one_by_one([b"\0\0\0\0\1" + part for part in parts])


@pytest.mark.parametrize("field", ["source", "status"])
def test_a_negative_symbol_is_malformed_and_not_the_last_one(field):
    good = encode(1, source="CORE", status="PENDING")
    at = good.index(b"\x06EUR") + (4 if field == "status" else -3)
    assert good[at] == 0
    decoded = assert_as_one_by_one([good, good[:at] + b"\x01" + good[at + 1 :], good])
    assert [(one.row, one.reason) for one in decoded.rejects] == [(1, DeadLetterReason.MALFORMED)]


@pytest.mark.parametrize("branch", [-64, -1, 2, 63])
def test_a_branch_that_the_union_does_not_have_is_malformed(branch):
    good = encode(1, original_txn_id="T0" * 40)
    at = len(good) - 80 - 2 - 1  # text of 80 bytes, its length in two, the branch in one
    assert good[at] == 2
    bad = good[:at] + bytes([(branch << 1) ^ (branch >> 63)]) + good[at + 1 :]
    decoded = assert_as_one_by_one([good, encode(1), bad, encode(1, original_txn_id=""), good])
    assert [(one.row, one.reason) for one in decoded.rejects] == [(2, DeadLetterReason.MALFORMED)]


def test_an_empty_batch_is_an_empty_frame():
    decoded = decode_batch([], lookup)
    assert decoded.events.is_empty()
    assert decoded.rejects == []
    assert dict(decoded.events.schema) == DECODED_SCHEMA


def test_a_field_that_a_newer_writer_added_is_left_out():
    decoded = assert_as_one_by_one([encode(2, event_id="new"), encode(1, event_id="old")])
    assert decoded.events["event_id"].to_list() == ["new", "old"]


def test_an_optional_field_that_an_older_writer_did_not_have_takes_its_default():
    decoded = assert_as_one_by_one([encode(3)])
    assert decoded.events["original_txn_id"].to_list() == [None]


def test_fields_in_another_order_are_found_by_name():
    decoded = assert_as_one_by_one([encode(4, txn_id="T4", amount_minor=7)])
    assert decoded.events.select("txn_id", "amount_minor").row(0) == ("T4", 7)


def test_records_of_a_schema_that_cannot_be_read_as_ours_are_set_aside_with_the_cause():
    decoded = assert_as_one_by_one([encode(1), encode(5), encode(1)])
    [reject] = decoded.rejects
    assert reject.reason is DeadLetterReason.INCOMPATIBLE_SCHEMA
    assert "schema id 5: it has no field amount_minor" in reject.detail


def test_schemas_mixed_in_one_batch_keep_their_rows():
    values = [encode(1 + number % 4, event_id=f"e{number}") for number in range(20)]
    assert assert_as_one_by_one(values).events["event_id"].to_list() == [f"e{number}" for number in range(20)]


def test_a_message_that_is_not_canonical_is_still_read():
    """Another encoder may spend more bytes on a number; its neighbours are read all the same."""
    plain = Encoder(1).encode(Event("e", "T", "CORE", 5, "EUR", Status.SUCCESS, NOW, "A"))
    at = plain.index(b"EUR") - 2  # the byte of the amount
    assert plain[at] == 10
    wide = plain[:at] + b"\x8a\x00" + plain[at + 1 :]
    decoded = assert_as_one_by_one([plain, wide, plain])
    assert decoded.events["amount_minor"].to_list() == [5, 5, 5]


@pytest.mark.parametrize("at", [0, 1, 63, 64, 65, 500, 999], ids=str)
def test_one_bad_message_among_a_thousand_is_found_by_halving(at):
    values = [encode(1, event_id=f"e{number}") for number in range(1_000)]
    values[at] = values[at][:-1]
    decoded = assert_as_one_by_one(values)
    assert [reject.row for reject in decoded.rejects] == [at]
    assert len(values) > ONE_BY_ONE_MESSAGES


def test_a_registry_that_does_not_answer_judges_nothing():
    def silent(_):
        raise RegistryUnavailableError("no answer")

    with pytest.raises(RegistryUnavailableError):
        decode_batch([encode(1), b"rubbish"], silent)


@pytest.mark.parametrize(
    ("value", "schema_id"),
    [
        (None, None),
        (b"", None),
        (b"\0\0\0\1", None),
        (b"\1\0\0\0\1", None),
        (b"\0\0\0\1\2", 258),
        (b"\0\xff\xff\xff\xff", 2**32 - 1),
    ],
    ids=["null", "empty", "short", "no-magic", "header-only", "highest"],
)
def test_the_framing_names_the_schema(value, schema_id):
    assert frame_schema_id(value) == schema_id


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"string"', "no record"),
        ("{", "no Avro schema"),
        ("", "no Avro schema"),
        ("[" * 100_000, "no Avro schema"),
        ('{"type": "enum", "name": "E", "symbols": ["A"]}', "no record"),
        ('{"type": "record", "name": "TransactionEvent"}', "no Avro schema"),
        ('{"type": "record", "name": "TransactionEvent", "fields": []}', "no field event_id"),
        (evolved(drop=["amount_minor"]), "no field amount_minor"),
        (json.dumps({**OURS, "name": "Other"}), "called Other"),
    ],
    ids=[
        "primitive",
        "not-json",
        "empty",
        "too-deep",
        "enum",
        "fields-missing",
        "no-fields",
        "field-missing",
        "another-record",
    ],
)
def test_a_registered_schema_that_cannot_be_ours_is_refused(text, why):
    with pytest.raises(IncompatibleSchemaError, match=why):
        WriterSchema.parse(9, text)
