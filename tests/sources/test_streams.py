"""A topic's records as events: several sources of one topic, identities, envelopes, what is set aside or skipped."""

import json

import numpy as np
import polars as pl
import pytest

from cluster.reading_versions import Lookups, reading_of
from schemas.errors import DeadLetterReason
from sources.config.reading import parse
from sources.streams import STREAMED_SCHEMA, Batch
from wire.messages import Messages

NOW = 1_790_000_000_000
FIELDS = """
            txn_id: {path: ref, upper: true}
            amount: {path: amt, unit: major}
            currency: {const: EUR}
            status: {path: st}
            event_time: {path: t, format: epoch_ms}
"""


def topic(sources, name="t"):
    """The reader of topic `name` in a configuration of these sources (text by name)."""
    text = "version: 1\nreconciliations:\n  r:\n    sources:\n"
    for source, options in sources.items():
        text += f"      {source}:\n        topic: {name}\n        format: json\n{options}"
    chosen = parse(text.encode(), "recon.yaml").default
    numbers = {source: 5 + index for index, source in enumerate(sources)}
    return reading_of(chosen, {}, numbers, Lookups({"url": "https://localhost"})).mapped[name]


def mapped(extra="", fields=FIELDS):
    return f"{extra}        fields:{fields}"


def batch(*values, keys=(), headers=(), name="t", first_offset=0):
    values = [value if value is None or isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    size = len(values)
    return Batch(
        Messages(name, values, keys or [None] * size, headers or [None] * size, [NOW] * size),
        np.full(size, 3, dtype=np.int64),
        np.arange(first_offset, first_offset + size, dtype=np.int64),
        np.full(size, NOW, dtype=np.int64),
    )


def record(ref="a1", **other):
    return {"ref": ref, "amt": "1.50", "st": "SUCCESS", "t": NOW - 5, **other}


def test_a_record_without_an_id_is_known_by_its_place():
    found = topic({"A": mapped()}).read(batch(record(), record("a2"), first_offset=40))
    assert found.events.schema == STREAMED_SCHEMA
    assert found.events["event_id"].to_list() == ["t[3]@40", "t[3]@41"]
    assert found.events["txn_id"].to_list() == ["A1", "A2"]
    assert found.events["source"].to_list() == [5, 5]
    assert found.events["amount_minor"].to_list() == [150, 150]
    assert found.rejects == []


def test_every_message_comes_back_once():
    values = [record(), None, b"{", record(st="ODD"), record(amt="1.555"), record("a9")]
    found = topic({"A": mapped()}).read(batch(*values))
    assert found.events["row"].to_list() == [0, 5]
    assert {reject.row: reject.reason for reject in found.rejects} == {
        2: DeadLetterReason.MALFORMED,
        3: DeadLetterReason.MALFORMED,
        4: DeadLetterReason.BAD_AMOUNT,
    }
    assert found.skipped == {"tombstone": 1}


def test_two_sources_of_one_topic_are_told_apart_by_where():
    sources = {
        "A": mapped("        where: {path: kind, in: [CR]}\n"),
        "B": mapped("        where: {path: kind, in: [DR]}\n"),
    }
    values = [record(kind="CR"), record(kind="DR"), record(kind="X"), b"[", record(kind="DR", st="?")]
    found = topic(sources).read(batch(*values))
    assert found.events.select("row", "source").rows() == [(0, 5), (1, 6)]
    assert [(reject.row, reject.reason) for reject in found.rejects] == [
        (3, DeadLetterReason.MALFORMED),
        (4, DeadLetterReason.MALFORMED),
    ]
    assert found.skipped == {"where": 1}


def test_a_record_that_fits_two_sources_is_set_aside():
    sources = {
        "A": mapped("        where: {path: kind, in: [CR, BOTH]}\n"),
        "B": mapped("        where: {path: tag, in: [x]}\n"),
    }
    values = [record(kind="BOTH", tag="x"), record(kind="CR", tag="y"), record(kind="CR", tag="x", st="?")]
    found = topic(sources).read(batch(*values))
    assert found.events.select("row", "source").rows() == [(1, 5)]
    assert [(reject.row, reject.reason) for reject in found.rejects] == [
        (0, DeadLetterReason.AMBIGUOUS_SOURCE),
        (2, DeadLetterReason.AMBIGUOUS_SOURCE),
    ]


@pytest.mark.parametrize(
    ("key", "event_id"),
    [
        (b'{"id": 7}', '{"id": 7}'),
        (b'{"schema": {"type": "struct"}, "payload": {"id": 7, "x": 1.50}}', '{"id":7,"x":1.50}'),
        (b'{"schema": {"type": "int32"}, "payload": 7}', "7"),
        (b"row-7", "row-7"),
        (b"\0\0\0\0\1\2", "0x000000000102"),
        (None, "t[3]@0"),
    ],
)
def test_a_row_is_known_by_its_key(key, event_id):
    value = {"op": "u", "before": None, "after": record()}
    found = topic({"A": mapped("        envelope: debezium\n")}).read(batch(value, keys=[key]))
    assert found.events["event_id"].to_list() == [event_id]


def test_deletes_and_messages_of_the_log_are_skipped():
    row = record()
    values = [
        {"op": "c", "after": row},
        {"op": "d", "before": row, "after": None},
        None,
        {"op": "r", "after": row},
        {"op": "m", "message": {}},
        {"op": "t"},
        {"no": "envelope"},
    ]
    found = topic({"A": mapped("        envelope: debezium\n")}).read(batch(*values, keys=[b"k"] * 7))
    assert found.events["row"].to_list() == [0, 3]
    assert found.skipped == {"tombstone": 1, "deleted": 1, "message": 1, "truncate": 1}
    assert [reject.row for reject in found.rejects] == [6]


def test_a_cloud_event_is_known_by_source_and_id():
    event = {"specversion": "1.0", "id": "9", "source": "/app", "type": "paid", "data": record()}
    odd = {**event, "id": "9\0"}
    headers = [[("content-type", b"application/cloudevents+json; charset=utf-8")]] * 2
    found = topic({"A": mapped("        envelope: cloudevents\n")}).read(batch(event, odd, headers=headers))
    assert found.events["event_id"].to_list() == ["/app 9"]
    assert [(reject.row, reject.reason) for reject in found.rejects] == [(1, DeadLetterReason.BAD_ID)]


def test_kafka_s_own_values_are_fields_too():
    fields = FIELDS.replace("{path: ref, upper: true}", "{path: $key}") + (
        "            event_id: {path: $headers.id}\n"
        "            attributes: {where: {path: $topic}, stamp: {path: $timestamp}, tag: {path: tag}}\n"
    )
    reader = topic({"A": mapped(fields=fields)})
    headers = [[("id", b"old"), ("id", b"new")], None]
    found = reader.read(batch(record(), record(), keys=[b"K1", b"K2"], headers=headers))
    assert found.events.select("txn_id", "event_id", "attributes").rows() == [
        ("K1", "new", json.dumps({"stamp": str(NOW), "where": "t"}, separators=(",", ":")))
    ]
    assert [(reject.row, reject.reason) for reject in found.rejects] == [(1, DeadLetterReason.BAD_ID)]


def test_attributes_are_packed_by_their_sorted_names():
    fields = FIELDS + "            attributes: {z: {path: z}, a: {path: a}, B: {path: o}}\n"
    found = topic({"A": mapped(fields=fields)}).read(
        batch(record(z='"1"', a="é", o="x\n"), record("b"), record("c", z=2))
    )
    assert found.events["attributes"].to_list() == ['{"B":"x\\n","a":"é","z":"\\"1\\""}', None, '{"z":"2"}']
    assert found.events["attributes"].dtype == pl.String


@pytest.mark.parametrize("meaning", ['values: {"": [NA]}', 'otherwise: "", values: {X: [never]}', 'default: ""'])
def test_a_meaning_of_nothing_is_empty(meaning):
    fields = FIELDS.replace("{path: ref, upper: true}", f"{{path: ref, {meaning}}}")
    reader = topic({"A": mapped(fields=fields)})
    value = record("" if meaning.startswith("default") else "NA")
    found = reader.read(batch(value))
    assert found.events.is_empty()
    assert [reject.reason for reject in found.rejects] == [DeadLetterReason.BAD_ID]


@pytest.mark.parametrize(("text", "is_event"), [(b'"x": 1, "x": 2', True), (b'"amt": 2, "amt": 3', False)])
def test_only_a_repeated_name_that_is_read_is_a_mistake(text, is_event):
    body = json.dumps(record()).encode()[:-1] + b", " + text + b"}"
    found = topic({"A": mapped()}).read(batch(body))
    assert len(found.events) == is_event
    assert len(found.rejects) == (not is_event)


def test_a_delete_is_one_whatever_it_says_was_before():
    found = topic({"A": mapped("        envelope: debezium\n")}).read(batch({"op": "d", "before": 7}, keys=[b"k"]))
    assert found.skipped == {"deleted": 1}
