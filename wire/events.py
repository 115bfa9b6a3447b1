"""recon's own event, from Avro with Confluent framing, decoded a batch at a time.

Records of any registered schema that can be read as a TransactionEvent are taken, by the specification's rules for
schema resolution. Where the schema allows it they are read by the block (wire.avro_blocks). When a block is refused, it
is halved until the trouble is within a few messages, and those are read one by one by the strict reader
(wire.avro_values). What cannot be read becomes a dead letter with its reason.

`source` is an enum of ours, and says who wrote the record. Where sources are configured by name (`names`), it may be
any enum or text, null or absent: the topic decides, and only a record that names another configured source is refused.

`event_time` is a plain long or timestamp-millis, in milliseconds; timestamp-micros and timestamp-nanos are cut to whole
milliseconds. Any other logical type on it is another kind of time, so the schema is incompatible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from schemas.errors import DeadLetterReason, IncompatibleSchemaError
from schemas.events import (
    AMOUNT_MINOR_MAX,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    STATUS_NAMES,
    schema_text,
)
from schemas.money import CURRENCY_EXPONENTS
from wire.avro_blocks import BlockLayout, Column
from wire.avro_schema import BadSchemaError, Enum, Node, Primitive, Record, Union, own_name, parse
from wire.avro_values import BadAvroError, reader_of
from wire.framing import HEADER_BYTES, schema_id_of
from wire.messages import Reject

ONE_BY_ONE_MESSAGES: Final = 64  # a failing block of this size is read message by message instead of halved again

# What a decoded event looks like. `row` is the index in the batch of messages; source and status are enum positions.
DECODED_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),
    "event_id": pl.String(),
    "txn_id": pl.String(),
    "source": pl.UInt8(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "status": pl.UInt8(),
    "event_time": pl.Int64(),
    "account_id": pl.String(),
    "original_txn_id": pl.String(),
}
_IDS: Final = ("event_id", "txn_id", "account_id")
_CURRENCIES: Final = pl.Series("currency", sorted(CURRENCY_EXPONENTS))

_OURS: Final = parse(schema_text())
assert isinstance(_OURS, Record)  # noqa: S101
_FIELDS: Final = dict(_OURS.fields)
_DEFAULTED: Final = frozenset(field["name"] for field in json.loads(schema_text())["fields"] if "default" in field)


def _symbols(name: str) -> tuple[str, ...]:
    node = _FIELDS[name]
    assert isinstance(node, Enum)  # noqa: S101
    return node.symbols


SOURCE_SYMBOLS: Final[tuple[str, ...]] = _symbols("source")
assert _symbols("status") == STATUS_NAMES  # noqa: S101
UNNAMED_SOURCE: Final = 255
"""Position of a source that the configuration does not name, or that the record does not."""

# Writer type, reader type: what the specification lets a reader promote, as far as our fields could need it.
_PROMOTIONS: Final = frozenset({("int", "long"), ("bytes", "string"), ("string", "bytes")})
_TIME_UNITS_IN_MS: Final = {None: 1, "timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
# Logical types that only narrow what a value may look like. Those that the specification does not name are ignored.
_MEANINGFUL: Final = frozenset(
    {"decimal", "date", "duration", "time-millis", "time-micros"}
    | {f"{kind}timestamp-{unit}" for kind in ("", "local-") for unit in ("millis", "micros", "nanos")}
)


def _is_readable(writer: Node, reader: Node) -> bool:  # noqa: PLR0911 - one return a rule
    """Whether some value of `writer` can be read as `reader`, by the specification's "Schema Resolution".

    A union resolves by the branch that was written, so one that fits is enough.
    """
    if isinstance(writer, Union):
        return any(_is_readable(branch, reader) for branch in writer.branches)
    if isinstance(reader, Union):
        return any(_is_readable(writer, branch) for branch in reader.branches)
    if isinstance(writer, Enum) and isinstance(reader, Enum):
        return own_name(writer.name) == own_name(reader.name)
    if not isinstance(writer, Primitive) or not isinstance(reader, Primitive):
        return False
    if writer.kind != reader.kind and (writer.kind, reader.kind) not in _PROMOTIONS:
        return False
    if reader.logical == "timestamp-millis":
        return writer.logical in _TIME_UNITS_IN_MS or writer.logical not in _MEANINGFUL
    return writer.logical not in _MEANINGFUL


def _time_units(writer: Node, reader: Node) -> set[int]:
    """How many of the writer's units are a millisecond, of every branch that can be read as ours; empty for no time."""
    if not isinstance(reader, Primitive) or reader.logical != "timestamp-millis":
        return set()
    branches = writer.branches if isinstance(writer, Union) else (writer,)
    return {
        _TIME_UNITS_IN_MS.get(branch.logical, 1)
        for branch in branches
        if isinstance(branch, Primitive) and _is_readable(branch, reader)
    }


def _may_name_a_source(writer: Node) -> bool:
    """Whether a field of this type may stand for the source where the topic decides: an enum, a text, null."""
    if isinstance(writer, Union):
        return all(_may_name_a_source(branch) for branch in writer.branches)
    return isinstance(writer, Enum) or (isinstance(writer, Primitive) and writer.kind in {"string", "null"})


def _why_unreadable(writer: Node, *, any_source: bool) -> str:  # noqa: PLR0911 - one return a rule
    """Why no record of this schema can be read as ours; empty when records can."""
    assert isinstance(_OURS, Record)  # noqa: S101
    if not isinstance(writer, Record):
        return "it is no record"
    if own_name(writer.name) != own_name(_OURS.name):
        return f"its record is called {own_name(writer.name)}"
    theirs = dict(writer.fields)
    for name, node in _OURS.fields:
        if name == "source" and any_source:
            if name in theirs and not _may_name_a_source(theirs[name]):
                return "its field source has another type"
        elif name not in theirs:
            if name not in _DEFAULTED:
                return f"it has no field {name}"
        elif not _is_readable(theirs[name], node):
            return f"its field {name} has another type"
        elif len(_time_units(theirs[name], node)) > 1:
            return f"its field {name} has two units of time"
    return ""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that events were written with: how to read one body, and a block of them where that is possible."""

    schema_id: int
    read: Callable[[bytes], dict[str, Any]]
    layout: BlockLayout | None
    names: tuple[str, ...] | None = None

    @classmethod
    def parse(
        cls, schema_id: int, text: str, references: Sequence[str] = (), names: tuple[str, ...] | None = None
    ) -> WriterSchema:
        """Parse a registered schema and those it refers to, each after those it refers to itself.

        `names` are the configured sources, None where they are those of our own schema; an event's source is the
        position in them. Raises IncompatibleSchemaError when no record of it could be read as ours.
        """
        try:
            node = parse(text, references)
        except BadSchemaError as error:
            raise IncompatibleSchemaError(schema_id, f"it is no Avro schema: {error}") from error
        why = _why_unreadable(node, any_source=names is not None)
        if why:
            raise IncompatibleSchemaError(schema_id, why)
        assert isinstance(node, Record)  # noqa: S101
        return cls(schema_id, _event_reader(node, names), BlockLayout.of(node), names)


def _event_reader(writer: Record, names: tuple[str, ...] | None) -> Callable[[bytes], dict[str, Any]]:
    """A function from a body to the event's fields, enums as positions. It raises ValueError."""
    read = reader_of(writer, logical=False)
    theirs = dict(writer.fields)
    fields = [
        (name, _resolver(name, theirs[name], node) if name != "source" or names is None else _position_among(names))
        for name, node in _FIELDS.items()
        if name in theirs
    ]
    missing = {name: UNNAMED_SOURCE if name == "source" else None for name in _FIELDS if name not in theirs}

    def event(body: bytes) -> dict[str, Any]:
        record = read(body)
        return {**missing, **{name: resolve(record[name]) for name, resolve in fields}}

    return event


def _position_among(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """From what a record calls its source to the position of that configured source."""
    positions = {name: index for index, name in enumerate(names)}
    return lambda value: positions.get(value, UNNAMED_SOURCE)


def _resolver(name: str, writer: Node, reader: Node) -> Callable[[Any], Any]:
    """From a value as it was written to a value of ours. It raises BadAvroError for a branch that ours cannot hold."""
    if isinstance(reader, Enum):
        positions = {symbol: index for index, symbol in enumerate(reader.symbols)}

        def position(value: Any) -> int:
            if value not in positions:
                raise BadAvroError(f"{name} {str(value)[:32]!r} is none of {', '.join(positions)}")
            return positions[value]

        return position
    branches = writer.branches if isinstance(writer, Union) else (writer,)
    nullable = isinstance(reader, Union)
    plain = reader.branches[1] if isinstance(reader, Union) else reader
    assert isinstance(plain, Primitive)  # noqa: S101
    kinds = [branch for branch in branches if _is_readable(branch, plain)]
    if plain.kind == "string":
        return _text_resolver(name, kinds, nullable=nullable)
    (unit,) = _time_units(writer, plain) or {1}

    def number(value: Any) -> int:
        if type(value) is not int:
            raise BadAvroError(f"{name} is no number")
        return value // unit

    return number


def _text_resolver(name: str, kinds: Sequence[Node], *, nullable: bool) -> Callable[[Any], Any]:
    readable: tuple[type, ...] = tuple(
        {"string": str, "bytes": bytes}[kind.kind] for kind in kinds if isinstance(kind, Primitive)
    )

    def text(value: Any) -> str | None:
        if value is None and nullable:
            return None
        if not isinstance(value, readable):
            raise BadAvroError(f"{name} is no text")
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            raise BadAvroError(f"{name} is not UTF-8") from None

    return text


# Gives the writer's schema, None for an id that the registry does not know. Raises IncompatibleSchemaError for a schema
# that is registered and cannot be read as ours, and RegistryUnavailableError when it cannot tell, for then nothing may
# be called malformed.
SchemaLookup = Callable[[int], WriterSchema | None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch after decoding: accepted events (DECODED_SCHEMA, in order of row) and the rest."""

    events: pl.DataFrame
    rejects: list[Reject]


def _decode_block(
    bodies: list[bytes], rows: np.ndarray[Any, np.dtype[np.uint32]], writer: WriterSchema
) -> pl.DataFrame | None:
    """All bodies as one block, or None when each must be read by itself."""
    layout = writer.layout
    frame = None if layout is None else layout.read(bodies)
    if frame is None or layout is None:
        return None
    try:
        return (
            frame.select(
                pl.Series("row", rows),
                *(
                    _event_column(name, layout.columns.get(name), writer.names)
                    for name in DECODED_SCHEMA
                    if name != "row"
                ),
            )
            if _has_all(frame, layout, writer.names)
            else None
        )
    except pl.exceptions.PolarsError:  # bytes that are no text, a symbol that ours does not have
        return None


def _has_all(frame: pl.DataFrame, layout: BlockLayout, names: tuple[str, ...] | None) -> bool:
    """Whether no field of ours that must have a value is null."""
    return all(
        name not in layout.columns
        or isinstance(node, Union)
        or (name == "source" and names is not None)
        or not frame[name].null_count()
        for name, node in _FIELDS.items()
    )


def _source_column(column: Column | None, names: tuple[str, ...]) -> pl.Expr:
    """The positions of the configured sources that a block's records name."""
    if column is None:
        return pl.lit(UNNAMED_SOURCE, pl.UInt8).alias("source")
    called: list[Any] = list(names)
    if column.kind == "enum":
        called = [column.symbols.index(name) if name in column.symbols else -1 for name in names]
    known = {value: index for index, value in enumerate(called) if value != -1}
    return pl.col("source").replace_strict(known, default=UNNAMED_SOURCE, return_dtype=pl.UInt8)


def _event_column(name: str, column: Column | None, names: tuple[str, ...] | None) -> pl.Expr:
    """A column of the block as one of the event's."""
    if name == "source" and names is not None:
        return _source_column(column, names)
    if column is None:
        return pl.lit(None, DECODED_SCHEMA[name]).alias(name)
    value = pl.col(name)
    ours = _FIELDS[name]
    if isinstance(ours, Enum):
        if column.symbols != ours.symbols:
            positions = {
                index: ours.symbols.index(one) for index, one in enumerate(column.symbols) if one in ours.symbols
            }
            value = value.replace_strict(positions)
        return value.cast(DECODED_SCHEMA[name])
    if column.kind == "bytes":
        return value.cast(pl.String)
    unit = _TIME_UNITS_IN_MS.get(column.logical, 1) if name == "event_time" else 1
    return value if unit == 1 else (value // unit).alias(name)


def decode_message(body: bytes, writer: WriterSchema) -> dict[str, Any]:
    """One body (framing removed) as a mapping of field to value, enums as positions.

    Raises ValueError when the bytes are not one whole record, or hold a value that ours has no place for.
    """
    return writer.read(body)


def _decode_one_by_one(
    bodies: list[bytes], rows: Sequence[int], writer: WriterSchema
) -> tuple[pl.DataFrame, list[Reject]]:
    records: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for row, body in zip(rows, bodies, strict=True):
        try:
            records.append({"row": row, **writer.read(body)})
        except ValueError as error:
            rejects.append(Reject(row, DeadLetterReason.MALFORMED, str(error)[:500]))
    return pl.DataFrame(records, schema=DECODED_SCHEMA), rejects


def decode_batch(values: Sequence[bytes | None], lookup: SchemaLookup) -> Decoded:
    """Decode framed messages. Every index of `values` comes back exactly once, as an event or as a reject.

    Raises RegistryUnavailableError from `lookup`; nothing is judged then.
    """
    if not values:
        return Decoded(pl.DataFrame(schema=DECODED_SCHEMA), [])
    rejects: list[Reject] = []
    frames: list[pl.DataFrame] = []
    for schema_id, rows in _by_schema(values).items():
        if schema_id is None:
            rejects.extend(Reject(row, DeadLetterReason.NOT_FRAMED, "no Confluent framing") for row in rows)
            continue
        try:
            writer = lookup(schema_id)
        except IncompatibleSchemaError as error:
            rejects.extend(Reject(row, DeadLetterReason.INCOMPATIBLE_SCHEMA, str(error)[:500]) for row in rows)
            continue
        if writer is None:
            rejects.extend(Reject(row, DeadLetterReason.UNKNOWN_SCHEMA, f"schema id {schema_id}") for row in rows)
            continue
        bodies = [value[HEADER_BYTES:] for value in map(values.__getitem__, rows) if value is not None]
        frames.extend(_decode_bodies(bodies, rows, writer, rejects))
    events = pl.concat(frames) if frames else pl.DataFrame(schema=DECODED_SCHEMA)
    return Decoded(events.sort("row") if len(frames) > 1 else events, rejects)


def _decode_bodies(
    bodies: list[bytes], rows: Sequence[int], writer: WriterSchema, rejects: list[Reject]
) -> list[pl.DataFrame]:
    """Decode by blocks, halving a block that fails until it is small enough to be read message by message."""
    if writer.layout is not None:
        block = _decode_block(bodies, np.asarray(rows, dtype=np.uint32), writer)
        if block is not None:
            return [block]
    if len(bodies) <= ONE_BY_ONE_MESSAGES or writer.layout is None:
        frame, malformed = _decode_one_by_one(bodies, rows, writer)
        rejects.extend(malformed)
        return [frame]
    half = len(bodies) // 2
    return [
        *_decode_bodies(bodies[:half], rows[:half], writer, rejects),
        *_decode_bodies(bodies[half:], rows[half:], writer, rejects),
    ]


def _by_schema(values: Sequence[bytes | None]) -> dict[int | None, Sequence[int]]:
    """Rows of each schema id; the usual batch has one, which is seen without looking at each in turn."""
    first = values[0]
    if first is not None and schema_id_of(first) is not None:
        prefix = first[:HEADER_BYTES]
        if all([value is not None and value.startswith(prefix) for value in values]):  # noqa: C419 (a list is faster)
            return {schema_id_of(first): range(len(values))}
    groups: dict[int | None, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(schema_id_of(value), []).append(row)
    return dict(groups)


# A record that decodes may still be no acceptable event. The order is the precedence of the reason it is given.
def validate(
    decoded: Decoded,
    owners: np.ndarray[Any, np.dtype[np.uint8]],
    arrivals: np.ndarray[Any, np.dtype[np.int64]],
    names: tuple[str, ...] | None = None,
) -> Decoded:
    """Set aside events that break a limit or come from a source that does not own the topic.

    `owners` gives per row the position of the topic's source in `names`, the configured sources (None: SOURCE_SYMBOLS),
    `arrivals` the broker's stamp in ms.
    """
    events = decoded.events
    if events.is_empty():
        return decoded
    rows = events["row"].to_numpy()
    checks = events.select(
        wrong_source=(pl.col("source") != pl.Series(owners[rows])) & (pl.col("source") != UNNAMED_SOURCE),
        bad_id=pl.any_horizontal(
            *((pl.col(name).str.len_bytes() == 0) | (pl.col(name).str.len_bytes() > ID_BYTES_MAX) for name in _IDS),
            *(pl.col(name).str.contains("\0", literal=True) for name in _IDS),
            (pl.col("original_txn_id").str.len_bytes() > ID_BYTES_MAX).fill_null(value=False),
            pl.col("original_txn_id").str.contains("\0", literal=True).fill_null(value=False),
        ),
        bad_amount=~pl.col("amount_minor").is_between(0, AMOUNT_MINOR_MAX),
        unknown_currency=~pl.col("currency").is_in(_CURRENCIES.implode()),
        absurd_time=~pl.col("event_time").is_between(
            EVENT_TIME_MIN_MS, pl.Series(arrivals[rows]) + EVENT_TIME_LEAD_MAX_MS
        ),
    )
    bad = checks.select(pl.any_horizontal(pl.all())).to_series()
    if not bad.any():
        return decoded
    rejects = list(decoded.rejects)
    for index in bad.arg_true():
        failed = checks.row(index, named=True)
        reason = next(DeadLetterReason(name) for name in checks.columns if failed[name])
        event = events.row(index, named=True)
        rejects.append(Reject(event["row"], reason, _explain(reason, event, names or SOURCE_SYMBOLS)))
    return Decoded(events.filter(~bad), rejects)


def _explain(reason: DeadLetterReason, event: dict[str, Any], names: Sequence[str]) -> str:
    """What a person should read beside the reason; values that are judged are shown, account ids are not."""
    match reason:
        case DeadLetterReason.WRONG_SOURCE:
            return f"source {names[event['source']]} does not own the topic; event_id {event['event_id']!r}"
        case DeadLetterReason.BAD_AMOUNT:
            return f"amount_minor {event['amount_minor']} is not within 0 to {AMOUNT_MINOR_MAX}"
        case DeadLetterReason.UNKNOWN_CURRENCY:
            return f"currency {event['currency'][:32]!r} is no currency of ISO 4217 with a minor unit"
        case DeadLetterReason.ABSURD_TIME:
            return f"event_time {event['event_time']} ms is before 2000 or more than a day ahead of its arrival"
        case _:
            return f"event_id, txn_id and account_id are 1 to {ID_BYTES_MAX} bytes of text without NUL"
