"""Topics of configured sources: which source takes a record, what identifies it, which version reads it."""

from __future__ import annotations

import hashlib
import io
import json

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster.oracle.decoding import Decoder, UnknownSourceError, Version
from cluster.oracle.judge import Seen
from cluster.oracle.records import Refused, Skipped
from cluster.reading_versions import Lookups, reading_of
from schemas.errors import DeadLetterReason
from schemas.events import SourceSpec, Status, schema_text
from sources.config.problems import InvalidConfigError
from sources.config.reading import parse
from sources.streams import Batch
from wire.messages import Messages

NOW = 1_800_000_000_000
SKIPPED = "skipped"
FIELDS = {
    "txn_id": {"path": "id"},
    "amount": {"path": "amt", "unit": "major"},
    "currency": {"path": "ccy", "default": "EUR"},
    "status": {"path": "rc", "values": {"SUCCESS": ["00"]}, "otherwise": "FAILED", "default": "PENDING"},
    "event_time": {"path": "at", "format": "epoch_ms", "default": str(NOW)},
}
JSON = {"topic": "t", "format": "json", "fields": FIELDS}


def version_of(sources, number=1, since=0, key="txn_id"):
    body = {"version": 1, "reconciliations": {"r": {"key": key, "sources": sources}}}
    return Version(number, since, "r", json.dumps(body), {})


def decoder_of(sources, lookup=lambda _: None, key="txn_id"):
    specs = [SourceSpec(name, one["topic"]) for name, one in sources.items()]
    return Decoder(lookup, specs, [version_of(sources, key=key)])


def judged(decoder, value, topic="t", **options):
    """The event, the reason why there is none, or that it is skipped."""
    value = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    try:
        return decoder.decode(topic, 3, 14, NOW, value, **options)
    except Refused as refused:
        return refused.reason
    except Skipped:
        return SKIPPED


def judged_at(decoder, offset, value, key):
    """The same of a record at this offset."""
    try:
        return decoder.decode("t", 3, offset, NOW, value, key)
    except Refused as refused:
        return refused.reason
    except Skipped:
        return SKIPPED


RECORD = {"id": "T1", "amt": "12.50", "rc": "00", "kind": "A"}


def test_a_record_becomes_an_event_with_its_place_as_id():
    event = judged(decoder_of({"S": JSON}), RECORD)
    assert (event.source, event.event_id, event.txn_id, event.amount_minor) == (0, "t[3]@14", "T1", 1250)
    assert (event.currency, event.status, event.event_time, event.account_id) == ("EUR", Status.SUCCESS, NOW, None)
    assert (event.stored_attributes, event.arrival, event.partition, event.offset) == (None, NOW, 3, 14)


def test_attributes_are_stored_as_compact_json_with_sorted_names():
    attributes = {"b": {"path": "b"}, "a": {"path": "a"}, "none": {"path": "x"}}
    source = {**JSON, "fields": {**FIELDS, "attributes": attributes}}
    event = judged(decoder_of({"S": source}), {**RECORD, "a": 'é"', "b": 7})
    assert event.stored_attributes == '{"a":"é\\"","b":"7"}'


def test_topics_that_nobody_names_and_tombstones_are_skipped():
    decoder = decoder_of({"S": JSON})
    assert judged(decoder, RECORD, topic="other") == SKIPPED
    assert judged(decoder, None) == SKIPPED


A = {**JSON, "where": {"path": "kind", "in": ["A", "AB"]}}
B = {**JSON, "where": {"path": "kind", "in": ["B"]}}
ENVELOPED = {**A, "envelope": "debezium"}


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (RECORD, 0),
        ({**RECORD, "kind": "B"}, 1),
        ({**RECORD, "kind": "C"}, SKIPPED),
        ({**RECORD, "kind": "B", "amt": "x"}, DeadLetterReason.BAD_AMOUNT),
        (b"{", DeadLetterReason.MALFORMED),
    ],
)
def test_conditions_tell_the_sources_of_a_topic_apart(value, outcome):
    found = judged(decoder_of({"A": A, "B": B}), value)
    assert (found.source if isinstance(outcome, int) else found) == outcome


@pytest.mark.parametrize("amount", ["1", "x"])
def test_a_record_that_fits_two_sources_is_ambiguous_even_where_it_is_no_event(amount):
    both = {**JSON, "where": {"path": "also", "in": ["x"]}}
    decoder = decoder_of({"A": A, "B": both})
    assert judged(decoder, {**RECORD, "also": "x", "amt": amount}) is DeadLetterReason.AMBIGUOUS_SOURCE
    assert judged(decoder, {**RECORD, "also": "y"}).source == 0


def test_what_one_source_cannot_decode_another_may_take():
    change = {"op": "c", "after": RECORD}
    decoder = decoder_of({"PLAIN": B, "CHANGES": ENVELOPED})
    assert judged(decoder, change, key=b"7").source == 1
    assert judged(decoder, {**RECORD, "kind": "B"}).source == 0
    # The first cannot take it, the second cannot decode it.
    assert judged(decoder, RECORD) is DeadLetterReason.MALFORMED
    # A deleted row is no event, and no mistake either.
    assert judged(decoder, {"op": "d", "before": RECORD}) == SKIPPED


@pytest.mark.parametrize(
    ("key", "event_id"),
    [
        (None, "t[3]@14"),
        (b"7", "7"),
        (b'{"id":7}', '{"id":7}'),
        (b'{"schema":{},"payload":{"id": 7.0,"b":"\xc3\xa9"}}', '{"id":7.0,"b":"é"}'),
        (b'{"schema":{},"payload":"x"}', "x"),
        (b'{"schema":{},"payload":true}', "true"),
        (b'{"schema":null,"payload":null}', "t[3]@14"),
        (b"\xff\x01", "0xff01"),
        (b"a\0b", "0x610062"),
        (b"x" * 256, "x" * 256),
        (b"x" * 257, f"sha256:{hashlib.sha256(b'x' * 257).hexdigest()}"),
    ],
)
def test_a_row_is_known_by_its_key(key, event_id):
    source = {**JSON, "envelope": "debezium"}
    assert judged(decoder_of({"S": source}), {"op": "u", "after": RECORD}, key=key).event_id == event_id


def test_a_mapped_event_id_comes_before_the_row():
    source = {**JSON, "identity": "row", "fields": {**FIELDS, "event_id": {"path": "msg"}}}
    decoder = decoder_of({"S": source})
    assert judged(decoder, {**RECORD, "msg": "m"}, key=b"k").event_id == "m"
    assert judged(decoder, RECORD, key=b"k") is DeadLetterReason.BAD_ID


def test_a_cloud_event_is_known_by_its_source_and_id():
    headers = [("ce_id", b"7"), ("ce_source", b"/b c"), ("ce_type", b"t"), ("ce_specversion", b"1.0")]
    decoder = decoder_of({"S": {**JSON, "envelope": "cloudevents"}})
    assert judged(decoder, RECORD, headers=headers).event_id == "/b%20c 7"
    long = [("ce_id", b"7" * 257), *headers[1:]]
    assert judged(decoder, RECORD, headers=long) is DeadLetterReason.BAD_ID


def test_a_record_is_read_by_the_version_in_force_at_its_arrival():
    minor = {**JSON, "fields": {**FIELDS, "amount": {"path": "amt", "unit": "minor"}}}
    new = {"N": {**JSON, "topic": "u"}}
    versions = [
        version_of(new, number=3, since=NOW + 200),
        version_of({"S": JSON}, number=1, since=0),
        version_of({"S": minor}, number=2, since=NOW + 100),
    ]
    decoder = Decoder(lambda _: None, [SourceSpec("S", "t"), SourceSpec("N", "u")], versions)
    value = json.dumps({**RECORD, "amt": "1250"}).encode()

    def amount(topic, after):
        try:
            return decoder.decode(topic, 0, 0, NOW + after, value).amount_minor
        except Skipped:
            return SKIPPED

    assert [amount("t", after) for after in (0, 99, 100, 199, 200)] == [125_000, 125_000, 1_250, 1_250, SKIPPED]
    assert [amount("u", after) for after in (199, 200)] == [SKIPPED, 125_000]
    assert decoder.topics == ["t", "u"]


def test_before_the_first_version_the_built_in_sources_are_read():
    specs = [SourceSpec("CORE", "core_txns"), SourceSpec("S", "t")]
    decoder = Decoder(lambda _: schema_text(), specs, [version_of({"S": JSON}, since=NOW)])
    assert decoder.decode("core_txns", 0, 0, NOW - 1, canonical(source="CORE")).source == 0
    with pytest.raises(Skipped):
        decoder.decode("core_txns", 0, 0, NOW, canonical(source="CORE"))
    with pytest.raises(Skipped):
        decoder.decode("t", 0, 0, NOW - 1, b"{}")


def test_a_source_without_a_number_in_the_ledger_is_an_error():
    with pytest.raises(UnknownSourceError, match="names source S"):
        Decoder(lambda _: None, [], [version_of({"S": JSON})])


def test_a_key_that_is_an_unlisted_word_is_refused_in_its_field_s_turn():
    attributes = {"m": {"path": "m", "values": {"X": "x"}, "otherwise": "reject"}}
    source = {**JSON, "fields": {**FIELDS, "attributes": attributes}}
    decoder = decoder_of({"S": source}, key=["attributes.m", "txn_id"])
    assert judged(decoder, {**RECORD, "m": "x"}).txn_id == "X"
    assert judged(decoder, RECORD).txn_id == "T1"
    assert judged(decoder, {**RECORD, "m": "y"}) is DeadLetterReason.BAD_ID
    assert judged(decoder, {**RECORD, "m": "y", "amt": "x"}) is DeadLetterReason.BAD_AMOUNT


# --- recon's own events under a configuration

CANONICAL = {
    "event_id": "e",
    "txn_id": "T1",
    "source": "CORE",
    "amount_minor": 5,
    "currency": "EUR",
    "status": "SUCCESS",
    "event_time": NOW,
    "account_id": "A",
    "original_txn_id": None,
}


def schema_with(source):
    schema = json.loads(schema_text())
    fields = [{**one, "type": source} if one["name"] == "source" else one for one in schema["fields"]]
    return {**schema, "fields": [one for one in fields if one["type"] is not None]}


def canonical(schema=None, **fields):
    schema = json.loads(schema_text()) if schema is None else schema
    plain = json.loads(json.dumps(schema).replace('"logicalType"', '"was"'))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(plain), {**CANONICAL, **fields})
    return b"\0\0\0\0\x01" + out.getvalue()


OWN = {"LEDGER": {"topic": "own"}, "OTHER": {"topic": "others"}}
SHADE = {"type": "enum", "name": "Shade", "symbols": ["LEDGER", "OTHER", "ELSE"]}


@pytest.mark.parametrize(
    ("kind", "source", "outcome"),
    [
        (SHADE, "LEDGER", 0),
        (SHADE, "ELSE", 0),
        (SHADE, "OTHER", DeadLetterReason.WRONG_SOURCE),
        ("string", "anything", 0),
        ("string", "OTHER", DeadLetterReason.WRONG_SOURCE),
        (["null", "string"], None, 0),
        (["null", SHADE], "OTHER", DeadLetterReason.WRONG_SOURCE),
        (None, None, 0),
        ("long", 1, DeadLetterReason.INCOMPATIBLE_SCHEMA),
        (["null", "long"], None, DeadLetterReason.INCOMPATIBLE_SCHEMA),
    ],
)
def test_a_canonical_record_may_call_its_source_anything_but_another_configured_one(kind, source, outcome):
    schema = schema_with(kind)
    fields = {"source": source} if kind is not None else {}
    found = judged(decoder_of(OWN, lookup=lambda _: json.dumps(schema)), canonical(schema, **fields), topic="own")
    assert (found.source if isinstance(outcome, int) else found) == outcome


def test_a_canonical_source_refuses_what_is_not_framed():
    decoder = decoder_of(OWN, lookup=lambda _: schema_text())
    assert judged(decoder, None, topic="own") is DeadLetterReason.NOT_FRAMED
    assert judged(decoder, b"\0\0", topic="own") is DeadLetterReason.NOT_FRAMED


def test_canonical_records_follow_the_key_the_conditions_and_the_sign_of_their_source():
    sources = {"A": {"topic": "own", "negative": True, "where": {"path": "account_id", "in": "A"}}}
    decoder = decoder_of(sources, lookup=lambda _: schema_text(), key=["original_txn_id", "txn_id"])
    event = judged(decoder, canonical(amount_minor=-5, original_txn_id="T0"), topic="own")
    assert (event.txn_id, event.amount_minor) == ("T0", -5)
    assert judged(decoder, canonical(original_txn_id=None), topic="own").txn_id == "T1"
    assert judged(decoder, canonical(account_id="B"), topic="own") == SKIPPED


# --- the same as the engine

WORDS = st.sampled_from(["A", "B", "AB", "C", ""])
ROW = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["T1", "T2", "", 7, None]),
        "amt": st.sampled_from(["1", "x", 2.5, -1, None]),
        "kind": WORDS,
        "also": WORDS,
        "m": st.sampled_from(["é", "", 'q"', 1.0]),
    },
)
VALUE = st.one_of(
    ROW,
    st.builds(lambda op, row: {"op": op, "after": row}, st.sampled_from(["c", "u", "d", "t", "x"]), ROW),
    st.builds(
        lambda row, number: {"specversion": "1.0", "source": "/a b", "type": "t", "id": number, "data": row},
        ROW,
        st.sampled_from(["1", "x" * 257, "a\0b"]),
    ),
).map(lambda tree: json.dumps(tree, ensure_ascii=False).encode()) | st.sampled_from([None, b"{", b"[]", b"7"])
KEY = st.sampled_from(
    [
        None,
        b"k",
        b"\xff",
        b"a\x00",
        b"x" * 300,
        b'{"schema":1,"payload":{"i":1.50}}',
        b'{"schema":1,"payload":null}',
        b'{"schema":1,"payload":"\\u0000"}',
        b'{"schema":1,"payload":[1, "b"]}',
        b'{"a":1}',
        b'{"payload":2}',
        b"[1]",
    ]
)
SOURCE = st.builds(
    lambda envelope, where, identity, message: {
        **JSON,
        "envelope": envelope,
        "where": where,
        **({"identity": identity} if identity else {}),
        "fields": {**FIELDS, "attributes": {"m": {"path": "m"}, "k": {"path": "$key"}}, **message},
    },
    st.sampled_from(["none", "debezium", "cloudevents"]),
    st.lists(
        st.builds(
            lambda path, words: {"path": path, "in": sorted(words)},
            st.sampled_from(["kind", "also"]),
            st.sets(st.sampled_from(["A", "B", "AB"]), min_size=1),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([None, "row", "place"]),
    st.sampled_from([{}, {"event_id": {"path": "m"}}]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    sources=st.lists(SOURCE, min_size=1, max_size=3),
    messages=st.lists(st.tuples(VALUE, KEY), min_size=10, max_size=20),
    key=st.sampled_from(["txn_id", ["attributes.m", "txn_id"]]),
)
def test_engine_and_oracle_give_a_topic_the_same_events(sources, messages, key):
    named = {f"S{number}": source for number, source in enumerate(sources)}
    version = version_of(named, key=key)
    try:
        config = parse(version.body, "recon.yaml").reconciliations["r"]
    except InvalidConfigError:  # sources that no condition tells apart, or a condition twice
        assume(False)
    numbers = {name: number for number, name in enumerate(named)}
    reader = reading_of(config, {}, numbers, Lookups({"url": "http://127.0.0.1:1"})).mapped["t"]
    size = len(messages)
    places = np.arange(size, dtype=np.int64)
    batch = Batch(
        Messages("t", [value for value, _ in messages], [key for _, key in messages], [()] * size, [NOW] * size),
        np.full(size, 3, dtype=np.int64),
        places,
        np.full(size, NOW, dtype=np.int64),
    )
    found = reader.read(batch)
    engine = {row["row"]: row for row in found.events.iter_rows(named=True)}
    engine |= {reject.row: reject.reason for reject in found.rejects}
    decoder = Decoder(lambda _: None, [SourceSpec(name, "t") for name in named], [version])
    for row, (value, kafka_key) in enumerate(messages):
        event = judged_at(decoder, row, value, kafka_key)
        if not isinstance(event, Seen):
            assert engine.get(row, SKIPPED) == event, value
        else:
            assert engine[row] == {
                "row": row,
                "source": event.source,
                "event_id": event.event_id,
                "txn_id": event.txn_id,
                "amount_minor": event.amount_minor,
                "currency": event.currency,
                "status": int(event.status),
                "event_time": event.event_time,
                "account_id": event.account_id,
                "original_txn_id": event.original_txn_id,
                "attributes": event.stored_attributes,
            }, value
