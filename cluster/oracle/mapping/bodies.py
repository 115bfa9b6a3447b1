"""The tree of a record, by what its source says of it: the encoding, the envelope, the schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor

from cluster.oracle.avro import NotAvro, Schema
from cluster.oracle.mapping import avro_trees, envelopes, json_text, protobuf
from cluster.oracle.mapping.configuration import Source
from cluster.oracle.mapping.envelopes import NoEnvelope
from cluster.oracle.mapping.json_text import NotJson
from cluster.oracle.mapping.meanings import NoMeaning
from cluster.oracle.mapping.protobuf import NotProtobuf
from cluster.oracle.mapping.values import FileRow, steps
from cluster.oracle.records import LogRecord, Refused, Skipped
from schemas.errors import DeadLetterReason

HEADER_BYTES = 5
DIGEST_CHARACTERS = 16  # of a file's SHA-256, in what identifies its rows


class Registered(NamedTuple):
    """A schema as the registry holds it, with those it refers to: each after those that it needs itself.

    `names` are the names under which it refers to them, in the same order.
    """

    text: str
    references: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kind: str | None = None  # AVRO, PROTOBUF or JSON, as far as it is known


# What the registry holds under an id, or None when it has none.
RegistryLookup = Callable[[int], Registered | str | None]


def registered(found: Registered | str | None) -> Registered | None:
    """What a lookup gave, a bare text as a schema that refers to none."""
    return Registered(found) if isinstance(found, str) else found


class Opened(NamedTuple):
    """A record's tree, and what a CloudEvents envelope says identifies it."""

    tree: Any
    identity: str | None = None


@dataclass(slots=True)
class Schemas:
    """What the registry was asked, so that it is asked once. A schema that cannot be used is the reason why."""

    lookup: RegistryLookup
    _texts: dict[int, Registered | None] = field(default_factory=dict)
    _avro: dict[int, Schema | None] = field(default_factory=dict)
    _protobuf: dict[int, protobuf.Files | None] = field(default_factory=dict)

    def text(self, schema_id: int, kind: str) -> Registered:
        """The schema under an id. Raises Refused when there is none, or one of another kind."""
        if schema_id not in self._texts:
            self._texts[schema_id] = registered(self.lookup(schema_id))
        known = self._texts[schema_id]
        if known is None:
            raise Refused(DeadLetterReason.UNKNOWN_SCHEMA, f"schema id {schema_id}")
        if known.kind not in {None, kind}:
            raise Refused(DeadLetterReason.INCOMPATIBLE_SCHEMA, f"schema id {schema_id} is {known.kind}")
        return known

    def avro(self, schema_id: int) -> Schema:
        """The same as Avro. Raises Refused."""
        registered = self.text(schema_id, "AVRO")
        if schema_id not in self._avro:
            try:
                self._avro[schema_id] = Schema(registered.text, registered.references)
            except Exception:  # noqa: BLE001 - a registry holds any text, and the parser raises whatever that provokes
                self._avro[schema_id] = None
        schema = self._avro[schema_id]
        if schema is None:
            raise Refused(DeadLetterReason.INCOMPATIBLE_SCHEMA, f"schema id {schema_id}")
        return schema

    def protobuf(self, schema_id: int) -> protobuf.Files:
        """The same as Protobuf. Raises Refused."""
        registered = self.text(schema_id, "PROTOBUF")
        if schema_id not in self._protobuf:
            imports = dict(zip(registered.names, registered.references, strict=True))
            try:
                self._protobuf[schema_id] = protobuf.from_text(registered.text, imports)
            except NotProtobuf:
                self._protobuf[schema_id] = None
        files = self._protobuf[schema_id]
        if files is None:
            raise Refused(DeadLetterReason.INCOMPATIBLE_SCHEMA, f"schema id {schema_id}")
        return files


def unframed(value: bytes | None) -> tuple[int, bytes]:
    """Schema id and body of a record with a registry's framing. Raises Refused."""
    if value is None or len(value) < HEADER_BYTES or value[0] != 0:
        raise Refused(DeadLetterReason.NOT_FRAMED)
    return int.from_bytes(value[1:HEADER_BYTES], "big"), value[HEADER_BYTES:]


class Bodies:
    """Opens the records of one source. `files` is what `schema:` may name: of Protobuf a compiled set of files."""

    def __init__(self, source: Source, schemas: Schemas, files: Mapping[str, bytes]) -> None:
        """Raises what the parsers raise for a file that is no schema: such a configuration is not activated."""
        self._source = source
        self._schemas = schemas
        self._names = names_read(source)
        self._bare_avro: Schema | None = None
        self._bare_protobuf: Descriptor | None = None
        if source.schema is not None and source.form == "avro":
            self._bare_avro = Schema(files[source.schema].decode())
        if source.schema is not None and source.form == "protobuf":
            self._bare_protobuf = protobuf.compiled(files[source.schema]).named(source.message)

    def open(self, record: LogRecord) -> Opened:
        """The record's tree. Raises Refused when it cannot be decoded, Skipped when it is about no event."""
        if self._source.is_file:
            return _file_row(record.value)
        if record.value is None:
            raise Skipped("tombstone")
        try:
            match self._source.envelope:
                case "debezium":
                    return Opened(envelopes.row_of_change(self._read(record.value)))
                case "cloudevents":
                    identity, tree = envelopes.cloud_event(record, self._read)
                    return Opened(tree, identity)
                case _:
                    return Opened(envelopes.as_meant(self._read(record.value)))
        except (NoEnvelope, NotJson, NotAvro, NotProtobuf, NoMeaning) as error:
            raise Refused(DeadLetterReason.MALFORMED, str(error)) from error

    def _read(self, body: bytes) -> Any:
        match self._source.form:
            case "json":
                return json_text.read(json_text.without_framing(body), self._names)
            case "avro":
                if self._bare_avro is not None:
                    return avro_trees.read(self._bare_avro, body)
                schema_id, rest = unframed(body)
                return avro_trees.read(self._schemas.avro(schema_id), rest)
            case _:
                if self._bare_protobuf is not None:
                    return protobuf.read(self._bare_protobuf, body)
                schema_id, rest = unframed(body)
                files = self._schemas.protobuf(schema_id)
                indexes, message = protobuf.message_indexes(rest)
                return protobuf.read(files.at(indexes), message)


def names_read(source: Source) -> frozenset[str]:
    """The names of objects that a source's paths go through."""
    fields = source.fields
    if fields is None:
        return frozenset()
    amounts = [one for one in (fields.amount, fields.fee) if one is not None]
    ids = (fields.txn_id, fields.currency, fields.status, fields.event_id, fields.account_id, fields.original_txn_id)
    values = [
        *ids,
        fields.event_time.value,
        *fields.attributes.values(),
        *(one.value for one in source.where),
        *(part for one in amounts for part in (one.value, one.debit, one.credit)),
        *(one.indicator.value for one in amounts if one.indicator is not None),
    ]
    paths = [path for one in values if one is not None for path in (*one.places, *one.join) if not path.startswith("$")]
    return frozenset(step for path in paths for step in steps(path) or () if isinstance(step, str))


def _file_row(value: bytes | None) -> Opened:
    """A row that `recon ingest` has written. Raises Refused for a row that was none, Skipped for an end marker."""
    try:
        content = json.loads(value or b"")
        identity = f"{str(content['digest'])[:DIGEST_CHARACTERS]}:{int(content['row'])}"
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(DeadLetterReason.MALFORMED, "no message of recon ingest") from error
    if "end" in content:
        raise Skipped("the end of a file")
    values = content.get("values")
    if "reject" in content or not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
        raise Refused(DeadLetterReason.MALFORMED, str(content.get("reject", "no message of recon ingest")))
    return Opened(FileRow(values, content.get("kinds") or {}), identity)
