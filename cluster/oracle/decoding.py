"""One record of the log, read message by message: an accepted event, or the reason why it must be set aside.

The reasons are tried in the order in which `schemas.errors.DeadLetterReason` lists them; the first that applies counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from cluster.oracle.avro import Branch, NotAvro, Schema, read_whole
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

OURS = Schema(schema_text())
OPTIONAL = {field["name"] for field in json.loads(schema_text())["fields"] if "default" in field}
# What each field of ours holds; of an enum its name.
FIELDS = {
    "event_id": "text",
    "txn_id": "text",
    "source": "Source",
    "amount_minor": "number",
    "currency": "text",
    "status": "Status",
    "event_time": "time",
    "account_id": "text",
    "original_txn_id": "text or null",
}
SYMBOLS: dict[str, Sequence[str]] = {
    field["name"]: field["type"].get("symbols", ()) for field in OURS.root["fields"] if isinstance(field["type"], dict)
}
# Logical types of a time, with their units in a millisecond; and all that change what a value is.
TIME_UNITS = {"timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
LOGICAL_TYPES = {
    *TIME_UNITS,
    *(f"local-{name}" for name in TIME_UNITS),
    "decimal",
    "date",
    "duration",
    "time-millis",
    "time-micros",
}

REFERENCES_MAX = 100  # schemas that one schema may refer to, directly or through others


class Registered(NamedTuple):
    """A schema as the registry holds it, with those it refers to: each after those that it needs itself."""

    text: str
    references: tuple[str, ...] = ()


# What the registry holds under an id, or None when it has none.
RegistryLookup = Callable[[int], Registered | str | None]


class Refused(Exception):  # noqa: N818 - a verdict on a record, not an error of ours
    """The record is no acceptable event."""

    def __init__(self, reason: DeadLetterReason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


@contextmanager
def registry_lookup(config: dict[str, Any]) -> Iterator[RegistryLookup]:
    """A lookup that asks the registry. Raises RegistryUnavailableError when it gives no answer."""
    with SchemaRegistryClient(config) as client:

        def lookup(schema_id: int) -> Registered | None:
            try:
                found = client.get_schema(schema_id)
                references: dict[tuple[str, int], str] = {}
                _collect(client, found.references or (), references)
            except SchemaRegistryError as error:
                if error.http_status_code == HTTP_NOT_FOUND:
                    return None
                raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
            except Exception as error:  # whatever the HTTP client raises when nobody answers
                raise RegistryUnavailableError(f"schema {schema_id}: {error!r}") from error
            # Registered and empty is something else than not registered.
            return Registered(found.schema_str or "", tuple(references.values()))

        yield lookup


def _collect(client: SchemaRegistryClient, wanted: Sequence[Any], found: dict[tuple[str, int], str]) -> None:
    """Add the schemas that are referred to, the deepest first."""
    for reference in wanted:
        place = (reference.subject, reference.version)
        if place in found or len(found) >= REFERENCES_MAX:
            continue
        schema = client.get_version(*place).schema
        found[place] = ""  # met again below, it is not asked for again
        _collect(client, schema.references or (), found)
        del found[place]
        found[place] = schema.schema_str or ""


class Decoder:
    """Reads records as TransactionEvents, whatever registered schema they were written with."""

    def __init__(self, lookup: RegistryLookup, sources: Sequence[SourceSpec]) -> None:
        self._lookup = lookup
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
        try:
            written = read_whole(writer, value[HEADER_BYTES:])
            return {name: _resolved(writer, name, written) for name in FIELDS}
        except NotAvro as error:
            raise Refused(DeadLetterReason.MALFORMED, str(error)) from error

    def _writer(self, schema_id: int) -> Schema | DeadLetterReason:
        """The schema under an id, or why nothing can be read with it; asked for once."""
        if schema_id not in self._writers:
            found = self._lookup(schema_id)
            if found is None:
                self._writers[schema_id] = DeadLetterReason.UNKNOWN_SCHEMA
            else:
                registered = Registered(found) if isinstance(found, str) else found
                self._writers[schema_id] = _parse(registered)
        return self._writers[schema_id]


def _parse(registered: Registered) -> Schema | DeadLetterReason:
    """The writer's schema, or INCOMPATIBLE_SCHEMA when no record of it could be read as ours."""
    try:
        schema = Schema(*registered)
    except Exception:  # noqa: BLE001 - a registry holds any text; what is not Avro cannot be read as ours
        return DeadLetterReason.INCOMPATIBLE_SCHEMA
    return schema if can_resolve(schema) else DeadLetterReason.INCOMPATIBLE_SCHEMA


def can_resolve(schema: Schema) -> bool:
    """Whether records of this schema can be read as TransactionEvents: every field without a default is there and fits.

    The rules are those of the Avro specification, "Schema Resolution", as far as our flat record needs them.
    """
    if schema.kind(schema.root) != "record" or _last(schema.root["name"]) != _last(OURS.root["name"]):
        return False
    theirs = {field["name"]: field["type"] for field in schema.root["fields"]}
    for name, wanted in FIELDS.items():
        if name not in theirs:
            if name not in OPTIONAL:
                return False
            continue
        fitting = [branch for branch in _branches(schema, theirs[name]) if _fits(schema, branch, wanted)]
        # Two units of time in one union: of a number that was written nobody could say which it is, once resolved.
        if not fitting or (wanted == "time" and len({_unit(schema, branch) for branch in fitting}) > 1):
            return False
    return True


def _branches(schema: Schema, node: Any) -> list[Any]:
    resolved = schema.resolve(node)
    return resolved if isinstance(resolved, list) else [resolved]


def _fits(schema: Schema, node: Any, wanted: str) -> bool:
    """Whether a value of this type (no union) can be one of ours."""
    kind, logical = schema.kind(node), _logical(schema, node)
    match wanted:
        case "time":
            return kind in {"int", "long"} and (logical in TIME_UNITS or logical not in LOGICAL_TYPES)
        case "number":
            return kind in {"int", "long"} and logical not in LOGICAL_TYPES
        case "text":
            return kind in {"string", "bytes"} and logical not in LOGICAL_TYPES
        case "text or null":
            return kind == "null" or (kind in {"string", "bytes"} and logical not in LOGICAL_TYPES)
        case enum:
            return kind == "enum" and _last(schema.resolve(node)["name"]) == enum


def _logical(schema: Schema, node: Any) -> str | None:
    resolved = schema.resolve(node)
    found = resolved.get("logicalType") if isinstance(resolved, dict) else None
    return found if isinstance(found, str) else None


def _unit(schema: Schema, node: Any) -> int:
    """How many of its units are a millisecond."""
    return TIME_UNITS.get(_logical(schema, node) or "", 1)


def _resolved(schema: Schema, name: str, written: dict[str, Any]) -> Any:
    """One field of ours from a record as it was written."""
    if name not in written:
        return None
    node = next(field["type"] for field in schema.root["fields"] if field["name"] == name)
    value = written[name]
    if isinstance(value, Branch):
        node, value = value.node, value.value
    wanted = FIELDS[name]
    if not _fits(schema, node, wanted):
        raise NotAvro(f"{name} was written as {schema.kind(node)}")
    if wanted == "time":
        return value // _unit(schema, node)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise NotAvro(f"{name} is not UTF-8") from error
    if schema.kind(node) == "enum" and value not in SYMBOLS[name]:
        raise NotAvro(f"{name} has no symbol {value}")
    return value


def _last(name: str) -> str:
    return name.rsplit(".", maxsplit=1)[-1]


def _check_id(name: str, value: str | None) -> None:
    if value is None:
        return
    size = len(value.encode())
    # Only the reference to another transaction may be empty: nothing is keyed by it.
    if size > ID_BYTES_MAX or "\0" in value or (size == 0 and name != "original_txn_id"):
        raise Refused(DeadLetterReason.BAD_ID, name)
