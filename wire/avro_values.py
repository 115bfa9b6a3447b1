"""Avro binary data as values, one record at a time, strictly.

fastavro reads some bytes that the specification has no meaning for: it counts a negative index from the end of an enum
or union, and drops what a number has beyond 64 bits. In a ledger such a record would be a wrong payment, so this reader
refuses them. It also refuses text that is not UTF-8, booleans other than 0 and 1, an `int` beyond 32 bits, and whatever
is left over after the record. A number written with more bytes than it needs is legal and is read.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any, Final

from wire.avro_schema import Array, Enum, Fixed, Map, Node, Primitive, Record, Union
from wire.logical import (
    VARIABLE_DECIMAL_NAME,
    BadDecimalError,
    date_of_days,
    exact_decimal,
    exact_float32,
    time_of_ms,
    time_of_us,
)
from wire.varints import BadVarintError, read_varint

INT_MAX: Final = 2**31 - 1
ITEMS_MAX: Final = 1_000_000
"""The most items of one array or map in one record; items of no bytes could else be as many as memory has room for."""

DEPTH_MAX: Final = 64
"""The deepest nesting of records that contain themselves."""

Reader = Callable[[bytes, int], tuple[Any, int]]


class BadAvroError(ValueError):
    """Bytes that are not one whole record of the schema."""


def reader_of(node: Node, *, logical: bool = True) -> Callable[[bytes], Any]:
    """A function from the bytes of one whole record to its value. It raises BadAvroError.

    Records are mappings and enums their symbols. With `logical` a value is what its logical type means: decimal (and
    Debezium's VariableScaleDecimal) a Decimal, date a date, time-millis and time-micros a time, uuid its text, duration
    the text of ISO 8601 (`P1M2DT3.004S`), and a float of 32 bits the shortest decimal that reads back as that float.
    Timestamps stay numbers in their unit, for a mapping's `format: epoch_ms` or `epoch_us`, and so do dates beyond the
    year 9999 and times outside a day. A logical type on a type
    that it does not belong to means nothing, as the specification says. Without `logical`, all is as it was written.
    """
    read = _Readers(logical).reader(node)

    def whole(data: bytes) -> Any:
        try:
            value, at = read(data, 0)
        except RecursionError:
            raise BadAvroError("nested too deeply") from None
        except (BadVarintError, BadDecimalError) as error:
            raise BadAvroError(str(error)) from None
        if at != len(data):
            raise BadAvroError(f"{len(data) - at} bytes after the record")
        return value

    return whole


class _Readers:
    """Makes the reader of each node once; a record that contains itself meets its own."""

    def __init__(self, logical: bool) -> None:
        self._logical = logical
        self._made: dict[int, Reader] = {}

    def reader(self, node: Node) -> Reader:
        key = id(node)
        if key not in self._made:
            # A record that contains itself is met again before its reader is ready, so it is looked up when it is used.
            self._made[key] = lambda data, at: self._made[key](data, at)  # noqa: PLW0108
            self._made[key] = self._make(node)
        return self._made[key]

    def _make(self, node: Node) -> Reader:  # noqa: PLR0911 - one return a type
        match node:
            case Record():
                read = _record([(name, self.reader(part)) for name, part in node.fields])
                return _variable_decimal(read) if self._logical and node.name == VARIABLE_DECIMAL_NAME else read
            case Union():
                return _union([self.reader(branch) for branch in node.branches])
            case Array():
                return _array(self.reader(node.items))
            case Map():
                return _map(self.reader(node.values))
            case Enum():
                return _enum(node)
            case Fixed():
                read = _fixed(node.size)
                return _meaning(read, f"fixed{node.size}", node) if self._logical else read
            case Primitive():
                read = _PRIMITIVES[node.kind]
                return _meaning(read, node.kind, node) if self._logical else read


def _meaning(read: Reader, written: str, node: Primitive | Fixed) -> Reader:
    """The reader of what a value means, from that of how it is written."""
    if node.logical == "decimal" and (written == "bytes" or isinstance(node, Fixed)):
        return _then(read, lambda raw: exact_decimal(raw, node.scale))
    if written == "float":
        return _then(read, exact_float32)
    convert = _LOGICAL.get((written, node.logical))
    return _then(read, convert) if convert else read


def _then(read: Reader, convert: Callable[[Any], Any]) -> Reader:
    def converted(data: bytes, at: int) -> tuple[Any, int]:
        value, at = read(data, at)
        return convert(value), at

    return converted


def _duration(raw: bytes) -> str:
    months, days, ms = struct.unpack("<III", raw)
    return f"P{months}M{days}DT{ms // 1000}.{ms % 1000:03}S"


_LOGICAL: Final[dict[tuple[str, str | None], Callable[[Any], Any]]] = {
    ("int", "date"): date_of_days,
    ("int", "time-millis"): time_of_ms,
    ("long", "time-micros"): time_of_us,
    ("fixed16", "uuid"): lambda raw: str(uuid.UUID(bytes=raw)),
    ("fixed12", "duration"): _duration,
}


def _variable_decimal(read: Reader) -> Reader:
    """Debezium's record becomes the decimal that it stands for."""

    def converted(data: bytes, at: int) -> tuple[Any, int]:
        record, at = read(data, at)
        scale, value = record.get("scale"), record.get("value")
        if not isinstance(scale, int) or not isinstance(value, bytes):
            return record, at  # another record of this name
        return exact_decimal(value, scale), at

    return converted


def _null(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    byte = data[at : at + 1]
    if byte not in {b"\0", b"\1"}:
        raise BadAvroError("a boolean is neither 0 nor 1")
    return byte == b"\1", at + 1


def _int(data: bytes, at: int) -> tuple[int, int]:
    value, at = read_varint(data, at)
    if not -INT_MAX - 1 <= value <= INT_MAX:
        raise BadAvroError("an int has more than 32 bits")
    return value, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_varint(data, at)
    if not 0 <= size <= len(data) - at:
        raise BadAvroError(f"a length of {size} with {len(data) - at} bytes left")
    return data[at : at + size], at + size


def _string(data: bytes, at: int) -> tuple[str, int]:
    value, at = _bytes(data, at)
    try:
        return value.decode(), at
    except UnicodeDecodeError:
        raise BadAvroError("text is not UTF-8") from None


def _number(form: str) -> Reader:
    unpack, size = struct.Struct(form).unpack_from, struct.calcsize(form)

    def read(data: bytes, at: int) -> tuple[float, int]:
        if at + size > len(data):
            raise BadAvroError("the data ends within a number")
        return unpack(data, at)[0], at + size

    return read


_PRIMITIVES: Final[dict[str, Reader]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": read_varint,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": _string,
}


def _fixed(size: int) -> Reader:
    def read(data: bytes, at: int) -> tuple[bytes, int]:
        if at + size > len(data):
            raise BadAvroError("the data ends within a fixed value")
        return data[at : at + size], at + size

    return read


def _enum(node: Enum) -> Reader:
    symbols = node.symbols

    def read(data: bytes, at: int) -> tuple[str, int]:
        index, at = read_varint(data, at)
        if not 0 <= index < len(symbols):
            raise BadAvroError(f"symbol {index} of {len(symbols)}")
        return symbols[index], at

    return read


def _union(branches: list[Reader]) -> Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        index, at = read_varint(data, at)
        if not 0 <= index < len(branches):
            raise BadAvroError(f"branch {index} of {len(branches)}")
        return branches[index](data, at)

    return read


def _record(fields: list[tuple[str, Reader]]) -> Reader:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        values = {}
        for name, one in fields:
            values[name], at = one(data, at)
        return values, at

    return read


def _blocks(data: bytes, at: int, take: Callable[[int], int]) -> int:
    """Walk the blocks of an array or map; `take` reads one item and says where it ends."""
    total = 0
    while True:
        count, at = read_varint(data, at)
        if count == 0:
            return at
        stop = None
        if count < 0:
            count = -count
            size, at = read_varint(data, at)
            stop = at + size
        total += count
        if total > ITEMS_MAX:
            raise BadAvroError(f"more than {ITEMS_MAX} items")
        for _ in range(count):
            at = take(at)
        if stop is not None and at != stop:
            raise BadAvroError("a block is not as long as it says")


def _array(item: Reader) -> Reader:
    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []

        def take(at: int) -> int:
            value, at = item(data, at)
            items.append(value)
            return at

        return items, _blocks(data, at, take)

    return read


def _map(value_of: Reader) -> Reader:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        entries: dict[str, Any] = {}

        def take(at: int) -> int:
            name, at = _string(data, at)
            if name in entries:
                raise BadAvroError(f"the name {name[:64]!r} occurs twice in one map")
            entries[name], at = value_of(data, at)
            return at

        return entries, _blocks(data, at, take)

    return read
