"""recon's own event, in Avro of any registered schema that can be read as one.

Where sources are configured, the topic decides whose record it is, and the record may call its source anything, as long
as that is not another configured source. Without a configuration the record must name the topic's source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from cluster.oracle.avro import Branch, NotAvro, Schema, read_whole
from cluster.oracle.mapping import avro_trees
from cluster.oracle.mapping.bodies import RegistryLookup, registered, unframed
from cluster.oracle.mapping.events import Event
from cluster.oracle.mapping.meanings import NoMeaning
from cluster.oracle.records import LogRecord, Refused
from schemas.errors import DeadLetterReason
from schemas.events import (
    AMOUNT_MINOR_MAX,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    Status,
    schema_text,
)
from schemas.money import CURRENCY_EXPONENTS

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


class Owner(NamedTuple):
    """Whose records a topic has. `others` are the sources that they must not name; None: they name `source` itself."""

    source: str
    others: frozenset[str] | None = None
    key: tuple[str, ...] = ("txn_id",)
    negative: bool = False


class Written(NamedTuple):
    """A record as it was written, the schema that it was written with, and our fields of it."""

    schema: Schema
    value: dict[str, Any]
    fields: dict[str, Any]

    @property
    def tree(self) -> Any:
        """The whole record, for the conditions of a source. Raises NoMeaning."""
        return avro_trees.tree(self.schema, self.schema.root, self.value)


class Canonical:
    """Reads records as recon's own events."""

    def __init__(self, lookup: RegistryLookup, *, any_source: bool = False) -> None:
        """`any_source`: the record's source may be anything, null and absent too."""
        self._lookup = lookup
        self._any_source = any_source
        self._writers: dict[int, Schema | DeadLetterReason] = {}

    def open(self, value: bytes | None) -> Written:
        """The record. Raises Refused when it cannot be decoded."""
        schema_id, body = unframed(value)
        writer = self._writer(schema_id)
        if isinstance(writer, DeadLetterReason):
            raise Refused(writer, f"schema id {schema_id}")
        try:
            written = read_whole(writer, body)
            return Written(writer, written, {name: self._field(writer, name, written) for name in FIELDS})
        except NotAvro as error:
            raise Refused(DeadLetterReason.MALFORMED, str(error)) from error

    def _field(self, writer: Schema, name: str, written: dict[str, Any]) -> Any:
        if name == "source" and self._any_source:
            value = written.get(name)
            return value.value if isinstance(value, Branch) else value
        return _resolved(writer, name, written)

    def _writer(self, schema_id: int) -> Schema | DeadLetterReason:
        """The schema under an id, or why nothing can be read with it; asked for once."""
        if schema_id not in self._writers:
            found = registered(self._lookup(schema_id))
            if found is None:
                self._writers[schema_id] = DeadLetterReason.UNKNOWN_SCHEMA
            else:
                self._writers[schema_id] = self._parse(found.text, found.references)
        return self._writers[schema_id]

    def _parse(self, text: str, references: Sequence[str]) -> Schema | DeadLetterReason:
        """The writer's schema, or INCOMPATIBLE_SCHEMA when no record of it could be read as ours."""
        try:
            schema = Schema(text, references)
        except Exception:  # noqa: BLE001 - a registry holds any text; what is not Avro cannot be read as ours
            return DeadLetterReason.INCOMPATIBLE_SCHEMA
        return schema if can_resolve(schema, any_source=self._any_source) else DeadLetterReason.INCOMPATIBLE_SCHEMA


def make(owner: Owner, record: LogRecord, written: Written) -> Event:
    """The event of a record. Raises Refused for one that is no acceptable event of its topic's source."""
    found = written.fields
    named = found["source"]
    if named != owner.source if owner.others is None else named in owner.others:
        raise Refused(DeadLetterReason.WRONG_SOURCE, str(named))
    for name in ("event_id", "txn_id", "account_id", "original_txn_id"):
        _check_id(name, found[name])
    least = -AMOUNT_MINOR_MAX if owner.negative else 0
    if not least <= found["amount_minor"] <= AMOUNT_MINOR_MAX:
        raise Refused(DeadLetterReason.BAD_AMOUNT, str(found["amount_minor"]))
    if found["currency"] not in CURRENCY_EXPONENTS:
        raise Refused(DeadLetterReason.UNKNOWN_CURRENCY, found["currency"])
    if not EVENT_TIME_MIN_MS <= found["event_time"] <= record.arrival + EVENT_TIME_LEAD_MAX_MS:
        raise Refused(DeadLetterReason.ABSURD_TIME, str(found["event_time"]))
    keys = [found[name] for name in owner.key if name in found] or [found["txn_id"]]
    key = next((key for key in keys if key), None)
    if key is None:
        raise Refused(DeadLetterReason.BAD_ID, f"{' and '.join(owner.key)} empty")
    return Event(
        event_id=found["event_id"],
        txn_id=key,
        amount_minor=found["amount_minor"],
        currency=found["currency"],
        status=Status[found["status"]],
        event_time=found["event_time"],
        account_id=found["account_id"],
        original_txn_id=found["original_txn_id"],
    )


def holds_tree(written: Written) -> Any:
    """The record as a tree. Raises Refused where a value of it means nothing."""
    try:
        return written.tree
    except NoMeaning as error:
        raise Refused(DeadLetterReason.MALFORMED, str(error)) from error


def can_resolve(schema: Schema, *, any_source: bool = False) -> bool:
    """Whether records of this schema can be read as TransactionEvents: every field without a default is there and fits.

    The rules are those of the Avro specification, "Schema Resolution", as far as our flat record needs them.
    """
    if schema.kind(schema.root) != "record" or _last(schema.root["name"]) != _last(OURS.root["name"]):
        return False
    theirs = {field["name"]: field["type"] for field in schema.root["fields"]}
    for name, wanted in FIELDS.items():
        if name == "source" and any_source:
            if name in theirs and not _may_name_a_source(schema, theirs[name]):
                return False
            continue
        if name not in theirs:
            if name not in OPTIONAL:
                return False
            continue
        fitting = [branch for branch in _branches(schema, theirs[name]) if _fits(schema, branch, wanted)]
        # Two units of time in one union: of a number that was written nobody could say which it is, once resolved.
        if not fitting or (wanted == "time" and len({_unit(schema, branch) for branch in fitting}) > 1):
            return False
    return True


def _may_name_a_source(schema: Schema, node: Any) -> bool:
    """Whether all that this type can be is an enum, a text or null."""
    return all(schema.kind(branch) in {"enum", "string", "null"} for branch in _branches(schema, node))


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
