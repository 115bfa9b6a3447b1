"""Avro with Confluent framing, decoded a batch at a time, with a proof that no record leaked into its neighbour.

Message by message Avro costs 5 us an event in Python; one object-container block read by polars costs 0.5 us. So the
bodies of a batch are joined into a single block and decoded at once. Joined bodies carry no lengths, therefore a
malformed record could shift all that follow it. The proof that it did not, for rows i with message length m_i:

1. The decoder read c_i bytes for row i, one row after the other, and no more than there were: sum(c) <= sum(m).
2. L_i, the canonical encoded length of the decoded row, is the shortest encoding there is: L_i <= c_i.
3. We check L_i == m_i for every row. Then sum(L) == sum(m) >= sum(c) >= sum(L), so c_i == L_i == m_i for every i,
   and by induction row i began where message i begins.

When the read fails or one length differs, the batch is halved until the trouble is within a few messages, and those are
decoded one by one with fastavro; what cannot be read becomes a dead letter with its reason.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import numpy as np
import polars as pl
from fastavro.types import AvroMessage, Schema

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

HEADER_BYTES: Final = 5  # Confluent framing: magic byte 0, then the schema id as a big-endian uint32
ONE_BY_ONE_MESSAGES: Final = 64  # a failing block of this size is read message by message instead of halved again
_SECOND_BRANCH: Final = 2  # zig-zag of 1
_SYNC: Final = b"recon-avro-block"  # sixteen bytes, the container's block marker

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
_FIELDS: Final = tuple(name for name in DECODED_SCHEMA if name != "row")
_STRINGS: Final = ("event_id", "txn_id", "currency", "account_id")
_IDS: Final = ("event_id", "txn_id", "account_id")
_CURRENCIES: Final = pl.Series("currency", sorted(CURRENCY_EXPONENTS))


def _without_logical_types(node: Any) -> Any:
    """The schema with plain longs, so that a time stays the integer it is on the wire."""
    if isinstance(node, dict):
        return {key: _without_logical_types(value) for key, value in node.items() if key not in {"logicalType", "doc"}}
    if isinstance(node, list):
        return [_without_logical_types(value) for value in node]
    return node


def _as_integers(schema: Any) -> Any:
    """Enums as the ints that encode them: one byte on the wire, and no strings to intern."""
    fields = []
    for field in schema["fields"]:
        is_enum = isinstance(field["type"], dict) and field["type"]["type"] == "enum"
        fields.append({**field, "type": "int"} if is_enum else field)
    return {**schema, "fields": fields}


_OURS: Final = _without_logical_types(json.loads(schema_text()))
# Writer type, reader type: what the Avro specification lets a reader promote, as far as our fields could need it.
_PROMOTIONS: Final = frozenset({("int", "long"), ("bytes", "string"), ("string", "bytes")})
_READER: Final[Schema] = fastavro.parse_schema(_OURS)
SOURCE_SYMBOLS: Final[tuple[str, ...]] = tuple(
    next(field["type"]["symbols"] for field in _OURS["fields"] if field["name"] == "source")
)


def _shape(schema: Any) -> Any:
    """What decides the bytes of a record: field order and types, without docs, defaults and logical types."""
    return [(field["name"], json.dumps(field["type"], sort_keys=True)) for field in schema["fields"]]


def _is_readable(writer: Any, reader: Any, named: dict[str, Any]) -> bool:
    """Whether some value of `writer` can be read as `reader`, by the specification's "Schema Resolution".

    A union resolves by the branch that was written, so one that fits is enough. `named` has the writer's named types.
    """
    if isinstance(writer, list):
        return any(_is_readable(branch, reader, named) for branch in writer)
    if isinstance(reader, list):
        return any(_is_readable(writer, branch, named) for branch in reader)
    kind = writer["type"] if isinstance(writer, dict) else writer
    if kind in named:
        writer, kind = named[kind], named[kind]["type"]
    wanted = reader["type"] if isinstance(reader, dict) else reader
    if kind == wanted == "enum":
        return _own_name(writer) == _own_name(reader)
    return kind == wanted or (kind, wanted) in _PROMOTIONS


def _own_name(schema: Any) -> str:
    """A named type's name without its namespace, which resolution ignores."""
    return str(schema["name"]).rpartition(".")[2]


def _why_unreadable(parsed: Any) -> str:
    """Why no record of this schema can be read as ours; empty when records can."""
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        return "it is no record"
    if _own_name(parsed) != _own_name(_OURS):
        return f"its record is called {_own_name(parsed)}"
    theirs = {field["name"]: field["type"] for field in parsed["fields"]}
    for field in _OURS["fields"]:
        name = field["name"]
        if name not in theirs:
            if "default" not in field:
                return f"it has no field {name}"
        elif not _is_readable(theirs[name], field["type"], parsed["__named_schemas"]):
            return f"its field {name} has another type"
    return ""


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that events were written with. `same_shape` says that its bytes are laid out as our own schema's."""

    schema_id: int
    parsed: Schema
    same_shape: bool

    @classmethod
    def parse(cls, schema_id: int, text: str) -> WriterSchema:
        """Parse a registered schema. Raises IncompatibleSchemaError when no record of it could be read as ours."""
        try:
            raw = _without_logical_types(json.loads(text))
            parsed = fastavro.parse_schema(raw)
        except Exception as error:  # a registry holds any text, and the parser raises whatever that provokes
            raise IncompatibleSchemaError(schema_id, f"it is no Avro schema: {error!r}") from error
        why = _why_unreadable(parsed)
        if why:
            raise IncompatibleSchemaError(schema_id, why)
        return cls(schema_id, parsed, _shape(raw) == _shape(_OURS))


# Gives the writer's schema, None for an id that the registry does not know. Raises IncompatibleSchemaError for a schema
# that is registered and cannot be read as ours, and RegistryUnavailableError when it cannot tell, for then nothing may
# be called malformed.
SchemaLookup = Callable[[int], WriterSchema | None]


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that is no acceptable event: its index in the batch, why, and what a person should read."""

    row: int
    reason: DeadLetterReason
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch after decoding: accepted events (DECODED_SCHEMA, in order of row) and the rest."""

    events: pl.DataFrame
    rejects: list[Reject]


def _zigzag_varint(number: int) -> bytes:
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _container_header() -> bytes:
    schema = json.dumps(_as_integers(_OURS)).encode()
    entries = ((b"avro.schema", schema), (b"avro.codec", b"null"))
    meta = b"".join(_zigzag_varint(len(part)) + part for entry in entries for part in entry)
    return b"Obj\x01" + _zigzag_varint(len(entries)) + meta + _zigzag_varint(0) + _SYNC


_CONTAINER_HEADER: Final = _container_header()
_VARINT_STEPS: Final = np.array([1 << (7 * size) for size in range(1, 10)], dtype=np.uint64)


def _varint_sizes(values: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """Bytes of the zig-zag varint of each value; one number when all agree, which is the usual case."""
    if len(values) == 0:
        return 0
    low, high = int(values.min()), int(values.max())
    if low >= 0 and len(_zigzag_varint(low)) == len(_zigzag_varint(high)):
        return len(_zigzag_varint(high))
    encoded = (values.astype(np.int64) << 1) ^ (values >> 63)
    return np.searchsorted(_VARINT_STEPS, encoded.view(np.uint64), side="right") + 1


def _canonical_lengths(events: pl.DataFrame) -> Any:
    """Canonical encoded length of each row in bytes."""
    total: Any = 0
    for name in _STRINGS:
        sizes = events[name].str.len_bytes().to_numpy().astype(np.int64)
        total = total + sizes + _varint_sizes(sizes)
    for name in ("amount_minor", "event_time", "source", "status"):
        total = total + _varint_sizes(events[name].to_numpy().astype(np.int64, copy=False))
    original = events["original_txn_id"]
    if original.null_count() == len(original):
        return total + 1
    sizes = original.str.len_bytes().fill_null(-1).to_numpy().astype(np.int64)
    return total + 1 + np.where(sizes >= 0, sizes + _varint_sizes(np.maximum(sizes, 0)), 0)


def _decode_block(bodies: list[bytes], rows: np.ndarray[Any, np.dtype[np.uint32]]) -> pl.DataFrame | None:
    """All bodies as one block, or None when the proof of alignment fails and each must be read by itself."""
    body = b"".join(bodies)
    block = b"".join((_CONTAINER_HEADER, _zigzag_varint(len(bodies)), _zigzag_varint(len(body)), body, _SYNC))
    try:
        events = pl.read_avro(io.BytesIO(block))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return None
    if len(events) != len(bodies):
        return None
    lengths = np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies))
    if not np.array_equal(np.broadcast_to(_canonical_lengths(events), lengths.shape), lengths):
        return None
    if not _enums_in_range(events) or not _branches_in_range(events, body, lengths):
        return None
    return events.with_columns(pl.Series("row", rows), pl.col("source", "status").cast(pl.UInt8)).select(
        DECODED_SCHEMA.keys()
    )


def _enums_in_range(events: pl.DataFrame) -> bool:
    for name, symbols in (("source", SOURCE_SYMBOLS), ("status", STATUS_NAMES)):
        low, high = events[name].min(), events[name].max()
        if not (isinstance(low, int) and isinstance(high, int) and low >= 0 and high < len(symbols)):
            return False
    return True


def _branches_in_range(events: pl.DataFrame, body: bytes, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> bool:
    """Whether every original_txn_id that is not null was written as branch 1: polars takes any branch but 0 for it.

    Only for rows whose alignment is proven: the field is the last, so where its branch stands follows from its length.
    """
    original = events["original_txn_id"]
    present = original.is_not_null().to_numpy()
    if not present.any():
        return True
    sizes = original.drop_nulls().str.len_bytes().to_numpy().astype(np.int64)
    at = np.cumsum(lengths)[present] - sizes - _varint_sizes(sizes) - 1
    return bool((np.frombuffer(body, dtype=np.uint8)[at] == _SECOND_BRANCH).all())


def decode_message(body: bytes, writer: WriterSchema) -> dict[str, Any]:
    """One body (framing removed) as a mapping of field to value, enums as positions.

    Raises ValueError when the bytes are not one whole record, or hold a value that ours has no place for.
    """
    stream = io.BytesIO(body)
    try:
        record: AvroMessage = fastavro.schemaless_reader(stream, writer.parsed, _READER)
    except Exception as error:  # fastavro raises whatever the bytes provoke
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if stream.tell() != len(body):
        raise ValueError(f"{len(body) - stream.tell()} bytes after the record")
    if not isinstance(record, dict):
        raise ValueError("not a record")
    for name in _STRINGS + ("original_txn_id",):  # noqa: RUF005
        value = record[name]
        if value is not None and not _is_utf8(value):
            raise ValueError(f"{name} is not text")
    if writer.same_shape and not _is_as_written(record, body):
        raise ValueError("an enum symbol or a branch that there is not")
    return {
        **record,
        "source": SOURCE_SYMBOLS.index(record["source"]),
        "status": STATUS_NAMES.index(record["status"]),
    }


def _is_as_written(record: AvroMessage, body: bytes) -> bool:
    """Whether bytes of canonical length are those of the record: fastavro counts a negative index from the end."""
    again = io.BytesIO()
    fastavro.schemaless_writer(again, _READER, record)
    return len(again.getvalue()) != len(body) or again.getvalue() == body


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decode_one_by_one(
    bodies: list[bytes], rows: Sequence[int], writer: WriterSchema
) -> tuple[pl.DataFrame, list[Reject]]:
    records: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for row, body in zip(rows, bodies, strict=True):
        try:
            records.append({"row": row, **decode_message(body, writer)})
        except ValueError as error:
            rejects.append(Reject(row, DeadLetterReason.MALFORMED, str(error)[:500]))
    return pl.DataFrame(records, schema=DECODED_SCHEMA), rejects


def frame_schema_id(value: bytes | None) -> int | None:
    """The schema id in the framing, or None when the message is not framed."""
    if value is None or len(value) < HEADER_BYTES or value[0] != 0:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big")


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
    if writer.same_shape:
        block = _decode_block(bodies, np.asarray(rows, dtype=np.uint32))
        if block is not None:
            return [block]
    if len(bodies) <= ONE_BY_ONE_MESSAGES or not writer.same_shape:
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
    if first is not None and frame_schema_id(first) is not None:
        prefix = first[:HEADER_BYTES]
        if all([value is not None and value.startswith(prefix) for value in values]):  # noqa: C419 (a list is faster)
            return {frame_schema_id(first): range(len(values))}
    groups: dict[int | None, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(frame_schema_id(value), []).append(row)
    return dict(groups)


# A record that decodes may still be no acceptable event. The order is the precedence of the reason it is given.
def validate(
    decoded: Decoded,
    owners: np.ndarray[Any, np.dtype[np.uint8]],
    arrivals: np.ndarray[Any, np.dtype[np.int64]],
) -> Decoded:
    """Set aside events that break a limit or come from a source that does not own the topic.

    `owners` gives per row the position in SOURCE_SYMBOLS of the topic's source, `arrivals` the broker's stamp in ms.
    """
    events = decoded.events
    if events.is_empty():
        return decoded
    rows = events["row"].to_numpy()
    checks = events.select(
        wrong_source=pl.col("source") != pl.Series(owners[rows]),
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
        rejects.append(Reject(event["row"], reason, _explain(reason, event)))
    return Decoded(events.filter(~bad), rejects)


def _explain(reason: DeadLetterReason, event: dict[str, Any]) -> str:
    """What a person should read beside the reason; values that are judged are shown, account ids are not."""
    match reason:
        case DeadLetterReason.WRONG_SOURCE:
            return f"source {SOURCE_SYMBOLS[event['source']]} does not own the topic; event_id {event['event_id']!r}"
        case DeadLetterReason.BAD_AMOUNT:
            return f"amount_minor {event['amount_minor']} is not within 0 to {AMOUNT_MINOR_MAX}"
        case DeadLetterReason.UNKNOWN_CURRENCY:
            return f"currency {event['currency'][:32]!r} is no currency of ISO 4217 with a minor unit"
        case DeadLetterReason.ABSURD_TIME:
            return f"event_time {event['event_time']} ms is before 2000 or more than a day ahead of its arrival"
        case _:
            return f"event_id, txn_id and account_id are 1 to {ID_BYTES_MAX} bytes of text without NUL"
