"""One record of the log, read message by message: an accepted event, or the reason why it must be set aside.

The reasons are tried in the order in which `schemas.errors.DeadLetterReason` lists them; the first that applies counts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.types import Schema

from cluster.oracle.judge import Seen
from schemas.errors import DeadLetterReason, RegistryUnavailableError
from schemas.events import (
    AMOUNT_MINOR_MAX,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    SourceSpec,
    Status,
    schema_text,
)
from schemas.money import CURRENCY_EXPONENTS

HEADER_BYTES = 5
HTTP_NOT_FOUND = 404

# What the registry holds under an id: the schema's text, or None when it has none.
RegistryLookup = Callable[[int], str | None]


class Refused(Exception):  # noqa: N818 - a verdict on a record, not an error of ours
    """The record is no acceptable event."""

    def __init__(self, reason: DeadLetterReason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


@contextmanager
def registry_lookup(config: dict[str, Any]) -> Iterator[RegistryLookup]:
    """A lookup that asks the registry. Raises RegistryUnavailableError when it gives no answer."""
    with SchemaRegistryClient(config) as client:

        def lookup(schema_id: int) -> str | None:
            try:
                text: str | None = client.get_schema(schema_id).schema_str
            except SchemaRegistryError as error:
                if error.http_status_code == HTTP_NOT_FOUND:
                    return None
                raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
            except Exception as error:  # whatever the HTTP client raises when nobody answers
                raise RegistryUnavailableError(f"schema {schema_id}: {error!r}") from error
            return text or ""  # registered, and empty

        yield lookup


def plain(node: Any) -> Any:
    """A schema without logical types, so that a time stays the integer that was written."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != "logicalType"}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node


class Decoder:
    """Reads records as TransactionEvents, whatever registered schema they were written with."""

    def __init__(self, lookup: RegistryLookup, sources: Sequence[SourceSpec]) -> None:
        self._lookup = lookup
        self._reader: Schema = fastavro.parse_schema(plain(json.loads(schema_text())))
        self._writers: dict[int, Schema | DeadLetterReason] = {}
        self._owner = {source.topic: (index, source.name) for index, source in enumerate(sources)}

    def decode(self, topic: str, partition: int, offset: int, arrival: int, value: bytes | None) -> Seen:
        """The accepted event. Raises Refused with the reason otherwise."""
        record = self._record(value)
        source_id, source_name = self._owner[topic]
        if record["source"] != source_name:
            raise Refused(DeadLetterReason.WRONG_SOURCE, record["source"])
        for name in ("event_id", "txn_id", "account_id", "original_txn_id"):
            _check_id(name, record[name])
        if not 0 <= record["amount_minor"] <= AMOUNT_MINOR_MAX:
            raise Refused(DeadLetterReason.BAD_AMOUNT, str(record["amount_minor"]))
        if record["currency"] not in CURRENCY_EXPONENTS:
            raise Refused(DeadLetterReason.UNKNOWN_CURRENCY, record["currency"])
        if not EVENT_TIME_MIN_MS <= record["event_time"] <= arrival + EVENT_TIME_LEAD_MAX_MS:
            raise Refused(DeadLetterReason.ABSURD_TIME, str(record["event_time"]))
        return Seen(
            source=source_id,
            event_id=record["event_id"],
            txn_id=record["txn_id"],
            amount_minor=record["amount_minor"],
            currency=record["currency"],
            status=Status[record["status"]],
            event_time=record["event_time"],
            account_id=record["account_id"],
            original_txn_id=record["original_txn_id"],
            arrival=arrival,
            partition=partition,
            offset=offset,
        )

    def _record(self, value: bytes | None) -> dict[str, Any]:
        if value is None or len(value) < HEADER_BYTES or value[0] != 0:
            raise Refused(DeadLetterReason.NOT_FRAMED)
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        writer = self._writer(schema_id)
        if isinstance(writer, DeadLetterReason):
            raise Refused(writer, f"schema id {schema_id}")
        body = io.BytesIO(value)
        body.seek(HEADER_BYTES)
        try:
            record = fastavro.schemaless_reader(body, writer, self._reader)
        except Exception as error:
            # fastavro raises whatever the bytes provoke: EOFError, IndexError, UnicodeDecodeError, MemoryError, ...
            raise Refused(DeadLetterReason.MALFORMED, repr(error)) from error
        if body.tell() != len(value):
            raise Refused(DeadLetterReason.MALFORMED, f"{len(value) - body.tell()} bytes beyond the record")
        if not isinstance(record, dict):
            raise Refused(DeadLetterReason.INCOMPATIBLE_SCHEMA)
        if layout(writer) == layout(self._reader):
            again = io.BytesIO()
            fastavro.schemaless_writer(again, self._reader, record)
            written, canonical = value[HEADER_BYTES:], again.getvalue()
            # Same length and other bytes: fastavro took a negative index of an enum or union from the end.
            if len(written) == len(canonical) and written != canonical:
                raise Refused(DeadLetterReason.MALFORMED, "no such symbol or branch")
        return record

    def _writer(self, schema_id: int) -> Schema | DeadLetterReason:
        """The schema under an id, or why nothing can be read with it; asked for once."""
        if schema_id not in self._writers:
            text = self._lookup(schema_id)
            if text is None:
                self._writers[schema_id] = DeadLetterReason.UNKNOWN_SCHEMA
            else:
                self._writers[schema_id] = self._parse(text)
        return self._writers[schema_id]

    def _parse(self, text: str) -> Schema | DeadLetterReason:
        """The writer's schema, or INCOMPATIBLE_SCHEMA when no record of it could be read as ours."""
        try:
            parsed = fastavro.parse_schema(plain(json.loads(text)))
        except Exception:  # noqa: BLE001 - a registry holds any text; what is not Avro cannot be read as ours
            return DeadLetterReason.INCOMPATIBLE_SCHEMA
        return parsed if can_resolve(parsed) else DeadLetterReason.INCOMPATIBLE_SCHEMA


def layout(schema: Any) -> list[tuple[str, Any]]:
    """What decides the bytes of a record: its fields' names and types."""
    return [(field["name"], field["type"]) for field in schema["fields"]]


def can_resolve(writer: Any) -> bool:
    """Whether records of `writer` can be read as TransactionEvents: every field without a default is there, same kind.

    The rules are those of the Avro specification, "Schema Resolution", as far as our flat record needs them.
    """
    ours = plain(json.loads(schema_text()))
    if (
        not isinstance(writer, dict)
        or writer.get("type") != "record"
        or writer.get("name", "").split(".")[-1] != (ours["name"])
    ):
        return False
    enums = enum_names(writer)
    theirs = {field["name"]: field["type"] for field in writer["fields"]}
    for field in ours["fields"]:
        if field["name"] not in theirs:
            if "default" not in field:
                return False
        elif not _promotable(theirs[field["name"]], field["type"], enums):
            return False
    return True


def enum_names(node: Any) -> set[str]:
    """Names under which enums are defined anywhere in a schema; a field may refer to one by its name alone."""
    if isinstance(node, list):
        return set().union(*map(enum_names, node))
    if not isinstance(node, dict):
        return set()
    own = {node["name"]} if node.get("type") == "enum" else set()
    return own.union(*(enum_names(node.get(part)) for part in ("type", "fields", "items", "values")))


def _promotable(writer: Any, reader: Any, enums: set[str]) -> bool:
    if isinstance(writer, list):  # a union resolves by the branch that was written
        return any(_promotable(branch, reader, enums) for branch in writer)
    if isinstance(reader, list):
        return any(_promotable(writer, branch, enums) for branch in reader)
    wanted = reader["type"] if isinstance(reader, dict) else reader
    kind = writer["type"] if isinstance(writer, dict) else writer
    if wanted == "enum":
        name = writer["name"] if kind == "enum" else kind if kind in enums else ""
        return bool(name.split(".")[-1] == reader["name"].split(".")[-1])
    return kind == wanted or (kind, wanted) in {("int", "long"), ("bytes", "string"), ("string", "bytes")}


def _check_id(name: str, value: str | None) -> None:
    if value is None:
        return
    size = len(value.encode())
    # Only the reference to another transaction may be empty: nothing is keyed by it.
    if size > ID_BYTES_MAX or "\0" in value or (size == 0 and name != "original_txn_id"):
        raise Refused(DeadLetterReason.BAD_ID, name)
