"""One decoder a source: encoding and envelope together, a batch of messages to nested values.

An encoding reads one body; a batch goes through `Decoder.decode`. Whatever a message holds, it comes back exactly once:
as a value, as a reject, or as skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from schemas.errors import DeadLetterReason, IncompatibleSchemaError
from wire import avro_values, debezium, protobuf_values
from wire.avro_blocks import BlockLayout
from wire.avro_columns import ColumnTexts, columns_of, has_columns
from wire.avro_schema import Node
from wire.avro_values import BadAvroError
from wire.cloudevents import NotCloudEventError, open_event
from wire.framing import HEADER_BYTES, BadIndexesError, message_indexes, schema_id_of
from wire.json_values import BadJsonError, read_json, without_framing
from wire.messages import Messages, Values
from wire.protobuf_values import BadProtobufError, ProtobufSchema
from wire.varints import BadVarintError

ONE_BY_ONE_MESSAGES: Final = 64
"""A refused block of so many messages is read message by message instead of halved again."""

ENVELOPES: Final = ("none", "debezium", "cloudevents")


class UnreadableError(ValueError):
    """A body that cannot be read, with the reason that its dead letter gets."""

    def __init__(self, detail: str, reason: DeadLetterReason = DeadLetterReason.MALFORMED) -> None:
        self.detail = detail
        self.reason = reason
        super().__init__(detail)


class Encoding(Protocol):
    """How a source writes its bodies."""

    def read(self, body: bytes) -> Any:
        """The nested values of one body. Raises UnreadableError, and RegistryUnavailableError when it cannot tell."""


@dataclass(frozen=True, slots=True)
class JsonEncoding:
    """JSON, plain or with a registry's framing. `names` are those of `wire.json_values.quoted_names`."""

    names: tuple[bytes, ...] = ()

    def read(self, body: bytes) -> Any:
        """The value of the text."""
        try:
            return read_json(without_framing(body), self.names)
        except BadJsonError as error:
            raise UnreadableError(str(error)) from error


class BareProtobuf:
    """Protobuf messages of one type, without framing."""

    def __init__(self, schema: ProtobufSchema, message: str) -> None:
        self._read = protobuf_values.reader_of(schema.message_named(message))

    def read(self, body: bytes) -> Any:
        """The message's values."""
        try:
            return self._read(body)
        except BadProtobufError as error:
            raise UnreadableError(str(error)) from error


class FramedProtobuf:
    """Protobuf with a registry's framing: schema id, then the way to the message type.

    `lookup` gives a registered schema, None for an id that is not registered; it raises IncompatibleSchemaError for one
    that is no Protobuf, and RegistryUnavailableError.
    """

    def __init__(self, lookup: Callable[[int], ProtobufSchema | None]) -> None:
        self._lookup = lookup
        self._schemas: dict[int, ProtobufSchema] = {}
        self._readers: dict[tuple[int, tuple[int, ...]], Callable[[bytes], dict[str, Any]]] = {}

    def read(self, body: bytes) -> Any:
        """The message's values."""
        schema_id = _framed_schema_id(body)
        schema = self._schemas.get(schema_id)
        if schema is None:
            schema = self._schemas[schema_id] = _registered(self._lookup, schema_id)
        try:
            indexes, at = message_indexes(body[HEADER_BYTES:])
            read = self._readers.get((schema_id, indexes)) or self._reader(schema, schema_id, indexes)
            return read(body[HEADER_BYTES + at :])
        except (BadVarintError, BadIndexesError, BadProtobufError) as error:
            raise UnreadableError(str(error)) from error

    def _reader(
        self, schema: ProtobufSchema, schema_id: int, indexes: tuple[int, ...]
    ) -> Callable[[bytes], dict[str, Any]]:
        read = protobuf_values.reader_of(schema.message_at(indexes))
        self._readers[schema_id, indexes] = read
        return read


class FramedAvro:
    """Avro of any schema, with a registry's framing.

    `lookup` gives a registered schema's tree, None for an id that is not registered; it raises IncompatibleSchemaError
    for one that is no Avro schema, and RegistryUnavailableError.
    """

    def __init__(self, lookup: Callable[[int], Node | None]) -> None:
        self._lookup = lookup
        self._readers: dict[int, Callable[[bytes], Any]] = {}
        self._layouts: dict[int, BlockLayout | None] = {}

    def blocks(self, messages: Messages, wanted: Collection[str]) -> Iterator[tuple[list[int], ColumnTexts]]:
        """Rows whose values come as columns, schema by schema; all other rows are to be read one by one.

        Raises RegistryUnavailableError.
        """
        by_schema: dict[int, list[int]] = {}
        for row, body in enumerate(messages.values):
            schema_id = schema_id_of(body)
            if schema_id is not None:
                by_schema.setdefault(schema_id, []).append(row)
        for schema_id, rows in by_schema.items():
            layout = self._layout(schema_id)
            if layout is not None and has_columns(layout, wanted):
                yield from _blocks(rows, messages.values, layout, wanted)

    def _layout(self, schema_id: int) -> BlockLayout | None:
        if schema_id not in self._layouts:
            try:
                node = _registered(self._lookup, schema_id)
            except UnreadableError:
                return None  # asked again: what is not registered today may be tomorrow
            self._layouts[schema_id] = BlockLayout.of(node)
        return self._layouts[schema_id]

    def read(self, body: bytes) -> Any:
        """The record's values, by `wire.avro_values.reader_of`."""
        schema_id = _framed_schema_id(body)
        read = self._readers.get(schema_id)
        if read is None:
            node: Node = _registered(self._lookup, schema_id)
            read = self._readers[schema_id] = avro_values.reader_of(node)
        try:
            return read(body[HEADER_BYTES:])
        except BadAvroError as error:
            raise UnreadableError(str(error)) from error


def _blocks(
    rows: list[int], values: Sequence[bytes | None], layout: BlockLayout, wanted: Collection[str]
) -> Iterator[tuple[list[int], ColumnTexts]]:
    """Rows of one schema by the block; a block that is refused is halved until the trouble is within a few rows."""
    bodies = [body[HEADER_BYTES:] for body in map(values.__getitem__, rows) if body is not None]
    columns = columns_of(bodies, layout, wanted)
    if columns is not None:
        yield rows, columns
    elif len(rows) > ONE_BY_ONE_MESSAGES:
        half = len(rows) // 2
        yield from _blocks(rows[:half], values, layout, wanted)
        yield from _blocks(rows[half:], values, layout, wanted)


class BareAvro:
    """Avro records of one schema, without framing."""

    def __init__(self, schema: Node) -> None:
        self._read = avro_values.reader_of(schema)

    def read(self, body: bytes) -> Any:
        """The record's values."""
        try:
            return self._read(body)
        except BadAvroError as error:
            raise UnreadableError(str(error)) from error


def _framed_schema_id(body: bytes) -> int:
    schema_id = schema_id_of(body)
    if schema_id is None:
        raise UnreadableError("no Confluent framing", DeadLetterReason.NOT_FRAMED)
    return schema_id


def _registered(lookup: Callable[[int], Any], schema_id: int) -> Any:
    """A registered schema. Raises UnreadableError where there is none that fits, and RegistryUnavailableError."""
    try:
        schema = lookup(schema_id)
    except IncompatibleSchemaError as error:
        raise UnreadableError(str(error), DeadLetterReason.INCOMPATIBLE_SCHEMA) from error
    if schema is None:
        raise UnreadableError(f"schema id {schema_id}", DeadLetterReason.UNKNOWN_SCHEMA)
    return schema


class Decoder:
    """Messages of one source to nested values."""

    def __init__(self, encoding: Encoding, envelope: str = "none") -> None:
        if envelope not in ENVELOPES:
            raise ValueError(f"envelope {envelope!r}; there are {', '.join(ENVELOPES)}")
        self._read = encoding.read
        self._blocks = encoding.blocks if isinstance(encoding, FramedAvro) and envelope == "none" else None
        self._take = {"none": self._plain, "debezium": self._debezium, "cloudevents": self._cloudevents}[envelope]

    def decode(self, messages: Messages, wanted: Collection[str] | None = None) -> Values:
        """Every message once: as a value, in columns, as a reject or as skipped.

        `wanted` are the paths that are read; without it nothing comes in columns. Raises RegistryUnavailableError;
        nothing is judged then.
        """
        found = Values()
        take = self._take
        done: set[int] = set()
        if wanted is not None and self._blocks is not None:
            for rows, columns in self._blocks(messages, wanted):
                found.blocks.append((rows, columns))
                done.update(rows)
            if len(done) == len(messages.values):
                return found
        for row, body in enumerate(messages.values):
            if row in done:
                continue
            if body is None:
                # A tombstone says that a key's records may be forgotten; it is no event.
                found.skipped["tombstone"] += 1
                continue
            try:
                take(messages, row, body, found)
            except UnreadableError as error:
                found.reject(row, error.detail, error.reason)
            except (debezium.NotDebeziumError, NotCloudEventError) as error:
                found.reject(row, str(error))
        return found

    def _plain(self, _messages: Messages, row: int, body: bytes, found: Values) -> None:
        found.values.append(debezium.as_meant(self._read(body)))
        found.rows.append(row)

    def _debezium(self, _messages: Messages, row: int, body: bytes, found: Values) -> None:
        operation, state, _envelope = debezium.open_envelope(self._read(body))
        if state is None:
            found.skipped[debezium.WITHOUT_ROW[operation]] += 1
            return
        found.values.append(state)
        found.operations.append(operation)
        found.rows.append(row)

    def _cloudevents(self, messages: Messages, row: int, _body: bytes, found: Values) -> None:
        identity, data, _attributes = open_event(messages, row, self._read)
        found.values.append(data)
        found.identities.append(identity)
        found.rows.append(row)
