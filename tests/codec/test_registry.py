"""The schema cache over a registry client: what it remembers, and that it never takes silence for "no such schema"."""

# The registry's client is slow to import, and only the real registry needs it here.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import secrets
from contextlib import closing
from types import SimpleNamespace

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from actors.adapters import registry
from actors.adapters.registry import UNKNOWN_TTL_S, SchemaCache
from cluster.oracle.decoding import Decoder, registry_lookup
from cluster.oracle.records import Refused
from producers.emission import Event
from producers.wire import Encoder
from schemas.errors import DeadLetterReason, IncompatibleSchemaError, RegistryUnavailableError
from schemas.events import DEFAULT_SOURCES, Status, schema_text
from wire.events import decode_batch

NOW = 1_790_000_000_000
OURS = json.loads(schema_text())
STATUS = next(one["type"] for one in OURS["fields"] if one["name"] == "status")


class Registry:
    """Answers by schema id: a schema's text, or an error to raise."""

    def __init__(self):
        self.answers: dict[int, object] = {}
        self.asked: list[int] = []
        self.closed = False

    def close(self):
        self.closed = True

    def get_schema(self, schema_id):
        self.asked.append(schema_id)
        answer = self.answers[schema_id]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, SimpleNamespace):
            return answer
        return SimpleNamespace(schema_type="AVRO", schema_str=answer, references=None)

    def get_version(self, subject, version):
        return SimpleNamespace(schema=self.get_schema((subject, version)))


@pytest.fixture
def server(monkeypatch):
    made = Registry()
    monkeypatch.setattr(registry, "SchemaRegistryClient", lambda _: made)
    return made


def test_a_known_schema_is_asked_for_once(server):
    server.answers[1] = schema_text()
    cache = SchemaCache({})
    assert cache(1) is cache(1)
    assert server.asked == [1]


def test_an_unknown_schema_is_believed_for_a_while_and_then_asked_for_again(server):
    now = [0.0]
    server.answers[1] = SchemaRegistryError(404, 40403, "not found")
    cache = SchemaCache({}, lambda: now[0])
    assert cache(1) is None
    assert cache(1) is None
    assert server.asked == [1]
    now[0] = UNKNOWN_TTL_S + 1
    server.answers[1] = schema_text()
    assert cache(1) is not None


@pytest.mark.parametrize(
    "error",
    [SchemaRegistryError(401, 401, "who"), SchemaRegistryError(500, 50001, "ill"), OSError("unreachable")],
    ids=["unauthorised", "server-error", "unreachable"],
)
def test_any_other_trouble_says_nothing_of_the_record(server, error):
    server.answers[1] = error
    cache = SchemaCache({})
    with pytest.raises(RegistryUnavailableError):
        cache(1)
    server.answers[1] = schema_text()
    assert cache(1) is not None


@pytest.mark.parametrize("text", ['"string"', "", "{", None], ids=["primitive", "empty", "broken", "nothing"])
def test_a_schema_that_could_never_be_ours_is_remembered(server, text):
    server.answers[1] = text
    cache = SchemaCache({})
    for _ in range(2):
        with pytest.raises(IncompatibleSchemaError):
            cache(1)
    assert server.asked == [1]


def refers(text, *subjects):
    """A registered schema that refers to others."""
    references = [SimpleNamespace(name=name, subject=name, version=1) for name in subjects]
    return SimpleNamespace(schema_type="AVRO", schema_str=json.dumps(text), references=references)


def with_type(name, kind):
    fields = [{**one, "type": kind} if one["name"] == name else one for one in OURS["fields"]]
    return {**OURS, "fields": fields}


def test_schemas_that_are_referred_to_are_asked_for_too_and_once(server):
    note = {"type": "record", "name": "Note", "fields": [{"name": "about", "type": "recon.Status"}]}
    server.answers |= {
        1: refers(with_type("status", "recon.Status"), "note", "status"),
        ("note", 1): refers(note, "status"),
        ("status", 1): json.dumps({**STATUS, "namespace": "recon"}),
    }
    cache = SchemaCache({})
    value = Encoder(1).encode(Event("e", "T", "CORE", 5, "EUR", Status.SUCCESS, NOW, "A"))
    decoded = decode_batch([value], cache)
    assert decoded.events["status"].to_list() == [Status.SUCCESS]
    assert server.asked == [1, ("note", 1), ("status", 1)]


@pytest.mark.parametrize(
    "other",
    [refers({"type": "string"}, "status"), json.dumps({"type": "enum", "name": "Else", "symbols": ["A"]}), "{"],
    ids=["circle", "another-name", "no-schema"],
)
def test_references_that_do_not_help_make_the_schema_incompatible(server, other):
    server.answers |= {1: refers(with_type("status", "recon.Status"), "status"), ("status", 1): other}
    with pytest.raises(IncompatibleSchemaError):
        SchemaCache({})(1)


def test_a_reference_that_cannot_be_had_now_says_nothing_of_the_record(server):
    server.answers |= {1: refers(with_type("status", "recon.Status"), "status"), ("status", 1): OSError("unreachable")}
    with pytest.raises(RegistryUnavailableError):
        SchemaCache({})(1)


def test_closing_the_cache_closes_the_client(server):
    server.answers[1] = schema_text()
    cache = SchemaCache({})
    cache(1)
    assert not server.closed
    cache.close()
    assert server.closed


# -- the real registry -------------------------------------------------------------------------------------------------


def registered(endpoints, schema, kind="AVRO"):
    """Put a schema under a subject of its own; gives its id."""
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    with SchemaRegistryClient(endpoints.registry.client_config("admin")) as client:
        return client.register_schema(f"elsewhere_{secrets.token_hex(6)}-value", Schema(json.dumps(schema), kind))


FOREIGN = {
    "another-record": {"type": "record", "name": "Refund", "fields": [{"name": "amount", "type": "long"}]},
    "amount-as-text": {
        **OURS,
        "fields": [{**one, "type": "string"} if one["name"] == "amount_minor" else one for one in OURS["fields"]],
    },
    "no-record": {"type": "enum", "name": "Colour", "symbols": ["RED"]},
}


@pytest.mark.stack
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_schema_in_the_real_registry_is_incompatible_for_engine_and_oracle(stack, name):
    schema_id = registered(stack, FOREIGN[name])
    value = b"\0" + schema_id.to_bytes(4, "big") + b"\2\2\2\2\2\2"
    assert reasons_on(stack, value) == [DeadLetterReason.INCOMPATIBLE_SCHEMA] * 2


@pytest.mark.stack
def test_a_schema_of_another_language_in_the_real_registry_is_incompatible(stack):
    schema_id = registered(stack, {"type": "object", "properties": {"txn_id": {"type": "string"}}}, "JSON")
    value = b"\0" + schema_id.to_bytes(4, "big") + b"{}"
    assert reasons_on(stack, value) == [DeadLetterReason.INCOMPATIBLE_SCHEMA] * 2


@pytest.mark.stack
@pytest.mark.parametrize("schema_id", [0, 2**31 - 1, 2**31, 2**32 - 1], ids=["zero", "int32", "above", "highest"])
def test_an_id_that_the_real_registry_never_gave_is_unknown(stack, schema_id):
    value = b"\0" + schema_id.to_bytes(4, "big") + b"\2\2\2\2\2\2"
    assert reasons_on(stack, value) == [DeadLetterReason.UNKNOWN_SCHEMA] * 2


@pytest.mark.stack
def test_a_schema_with_references_in_the_real_registry_is_read_by_engine_and_oracle(stack):
    from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

    with SchemaRegistryClient(stack.registry.client_config("admin")) as client:
        name = f"elsewhere_{secrets.token_hex(6)}"
        client.register_schema(f"{name}-status", Schema(json.dumps({**STATUS, "namespace": "recon"}), "AVRO"))
        reference = SchemaReference("recon.Status", f"{name}-status", 1)
        whole = Schema(json.dumps(with_type("status", "recon.Status")), "AVRO", [reference])
        schema_id = client.register_schema(f"{name}-value", whole)
    value = Encoder(schema_id).encode(Event("e", "T", "CORE", 5, "EUR", Status.REVERSED, NOW, "A"))
    with closing(SchemaCache(stack.registry.client_config("pipeline"))) as lookup:
        assert decode_batch([value], lookup).events["status"].to_list() == [Status.REVERSED]
    with registry_lookup(stack.registry.client_config("reader")) as lookup:
        assert Decoder(lookup, DEFAULT_SOURCES).decode("core_txns", 0, 0, NOW, value).status is Status.REVERSED


def reasons_on(endpoints, value):
    """Why the engine and the oracle set a record aside, each with a lookup of its own on the real registry."""
    with closing(SchemaCache(endpoints.registry.client_config("pipeline"))) as lookup:
        [reject] = decode_batch([value], lookup).rejects
    with registry_lookup(endpoints.registry.client_config("reader")) as lookup:
        decoder = Decoder(lookup, DEFAULT_SOURCES)
        with pytest.raises(Refused) as refused:
            decoder.decode("core_txns", 0, 0, NOW, value)
    return [reject.reason, refused.value.reason]
