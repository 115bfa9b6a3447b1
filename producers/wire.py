"""The bytes of a record: Confluent framing around one Avro body, and the ways in which planted records are spoilt.

Framing: magic byte 0, schema id as four bytes big-endian, then the Avro binary encoding
(https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from producers.emission import Damage, Event
from schemas.events import schema_text

MAGIC = 0
HEADER_BYTES = 5
UNREGISTERED_ID = 0x7FFF_FFF1  # registries count from 1; none gets here
ENUM_INDEX_BEYOND = 0x7E  # zigzag of 63, on an enum of three symbols


class SchemaNotRegisteredError(RuntimeError):
    """The topic's subject has no schema, or not ours: `recon up` registers it."""


class Encoder:
    """Events to framed bytes under one schema id."""

    def __init__(self, schema_id: int, schema: str | None = None) -> None:
        self.schema_id = schema_id
        self._schema = fastavro.parse_schema(json.loads(schema or schema_text()))
        self._header = struct.pack(">bI", MAGIC, schema_id)

    def encode(self, event: Event, damage: Damage | None = None) -> bytes:
        """One record's value, spoilt if asked."""
        buffer = io.BytesIO()
        buffer.write(self._header)
        fastavro.schemaless_writer(buffer, self._schema, event.to_avro())
        framed = buffer.getvalue()
        return framed if damage is None else spoil(framed, damage)


def spoil(framed: bytes, damage: Damage) -> bytes:
    """A whole framed record turned into one that must be set aside."""
    match damage:
        case Damage.EMPTY:
            return b""
        case Damage.NO_MAGIC:
            return b"\x7b" + framed[1:]  # looks like the "{" of a sender that was set to JSON
        case Damage.TRUNCATED:
            return framed[:-3]
        case Damage.TRAILING:
            return framed + b"\x00\x00"
        case Damage.BAD_ENUM:
            at = _after_string(framed, _after_string(framed, HEADER_BYTES))
            return framed[:at] + bytes([ENUM_INDEX_BEYOND]) + framed[at + 1 :]
        case Damage.UNKNOWN_SCHEMA:
            return struct.pack(">bI", MAGIC, UNREGISTERED_ID) + framed[HEADER_BYTES:]


def _after_string(data: bytes, at: int) -> int:
    length, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return at + (length >> 1)


def schema_id_of(client: SchemaRegistryClient, topic: str) -> int:
    """The id under which our schema is registered for a topic. Raises SchemaNotRegisteredError."""
    subject = f"{topic}-value"
    try:
        found = client.lookup_schema(subject, Schema(schema_text(), "AVRO"), normalize_schemas=True)
    except SchemaRegistryError as error:
        raise SchemaNotRegisteredError(f"{subject}: {error}; `recon up` registers it") from error
    except Exception as error:  # whatever the HTTP client raises when nobody answers
        raise SchemaNotRegisteredError(f"the registry does not answer: {error}") from error
    if found.schema_id is None:
        raise SchemaNotRegisteredError(f"{subject}: the registry gave no id")
    return int(found.schema_id)


def encoders(registry_config: Mapping[str, Any], topics: list[str]) -> dict[str, Encoder]:
    """One encoder per topic, its id looked up in the registry."""
    with SchemaRegistryClient(dict(registry_config)) as client:
        return {topic: Encoder(schema_id_of(client, topic)) for topic in topics}
