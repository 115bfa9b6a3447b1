"""Avro a batch at a time: the bodies of a batch joined into one block, read by polars, with a proof of alignment.

Message by message Avro costs 5 us an event in Python; one object-container block read by polars costs 0.5 us. Joined
bodies carry no lengths, therefore a malformed record could shift all that follow it. The proof that it did not, for
rows i with message length m_i:

1. The decoder read c_i bytes for row i, one row after the other, and no more than there were: sum(c) <= sum(m).
2. L_i, the canonical encoded length of the decoded row, is the shortest encoding there is: L_i <= c_i.
3. We check L_i == m_i for every row. Then sum(L) == sum(m) >= sum(c) >= sum(L), so c_i == L_i == m_i for every i,
   and by induction row i began where message i begins.

A nested record is its fields one after the other, so a schema is read as one flat list of columns. What polars takes
and the specification does not is looked at afterwards, for the alignment says where each byte is: the branches of
unions, the range of ints, of enum symbols and of booleans, and numbers of ten bytes, whose last byte may have bits
beyond 64. Schemas with arrays, maps, fixed values, unions of more than one type beside null, or records within unions
have no such layout; they are read message by message.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from wire.avro_schema import Enum, Node, Primitive, Record, Union
from wire.avro_values import INT_MAX
from wire.varints import BYTES_MAX, write_varint

COLUMNS_MAX: Final = 200
"""The most columns of a schema that is read by the block."""

_SYNC: Final = b"recon-avro-block"  # sixteen bytes, the container's block marker
_VARINT_STEPS: Final = np.array([1 << (7 * size) for size in range(1, BYTES_MAX)], dtype=np.uint64)
# What stands for a type in the container: every number a long, because polars cuts an int to 32 bits without a word.
_CONTAINER_TYPES: Final = {
    "int": "long",
    "long": "long",
    "enum": "long",
    "boolean": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}
_SIZES: Final = {"float": 4, "double": 8}
_NUMBERS: Final = frozenset({"int", "long", "enum", "boolean"})

Sizes = int | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a record: where it is, how it is written, and which branch says that there is none."""

    path: str
    kind: str
    logical: str | None = None
    scale: int = 0
    symbols: tuple[str, ...] = ()
    null_branch: int | None = None

    @property
    def value_branch(self) -> int | None:
        """The branch of a value."""
        return None if self.null_branch is None else 1 - self.null_branch


class BlockLayout:
    """How records of one schema are read by the block. `of` gives None for a schema that cannot be."""

    def __init__(self, columns: list[Column]) -> None:
        self.columns = {column.path: column for column in columns}
        self._columns = columns
        self._names = [f"c{index}" for index in range(len(columns))]
        self._header = self._container_header()

    @classmethod
    def of(cls, node: Node) -> BlockLayout | None:
        """The layout of a record's schema."""
        if not isinstance(node, Record):
            return None
        columns: list[Column] = []
        if not _flatten(node, "", columns, (id(node),)) or not 0 < len(columns) <= COLUMNS_MAX:
            return None
        return cls(columns)

    def read(self, bodies: list[bytes]) -> pl.DataFrame | None:
        """All bodies as one frame, its columns named by their paths; None when each must be read by itself.

        Numbers, enums (as positions) and booleans (as 0 and -1) are Int64.
        """
        body = b"".join(bodies)
        block = b"".join((self._header, write_varint(len(bodies)), write_varint(len(body)), body, _SYNC))
        try:
            frame = pl.read_avro(io.BytesIO(block))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
            return None
        if len(frame) != len(bodies):
            return None
        lengths = np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies))
        if not self._is_aligned(frame, body, lengths):
            return None
        return frame.rename({name: column.path for name, column in zip(self._names, self._columns, strict=True)})

    def _is_aligned(self, frame: pl.DataFrame, body: bytes, lengths: npt.NDArray[np.int64]) -> bool:
        total: Sizes = 0
        unions: list[tuple[Column, pl.Series, Sizes]] = []
        for name, column in zip(self._names, self._columns, strict=True):
            values = frame[name]
            if column.null_branch is not None:
                unions.append((column, values, total))
                total = total + 1
            size = _sizes(values, column)
            if size is None:
                return False
            total = total + size
        if not np.array_equal(np.broadcast_to(total, lengths.shape), lengths):
            return False
        # From here on the alignment is proven, so positions are those of the bytes that were read.
        if not unions:
            return True
        data = np.frombuffer(body, dtype=np.uint8)
        starts = np.cumsum(lengths) - lengths
        return all(_branches_are_right(data, starts + before, values, column) for column, values, before in unions)

    def _container_header(self) -> bytes:
        fields = []
        for name, column in zip(self._names, self._columns, strict=True):
            kind: Any = _CONTAINER_TYPES[column.kind]
            if column.null_branch is not None:
                kind = ["null", kind] if column.null_branch == 0 else [kind, "null"]
            fields.append({"name": name, "type": kind})
        schema = json.dumps({"type": "record", "name": "Block", "fields": fields}).encode()
        entries = ((b"avro.schema", schema), (b"avro.codec", b"null"))
        meta = b"".join(write_varint(len(part)) + part for entry in entries for part in entry)
        return b"Obj\x01" + write_varint(len(entries)) + meta + write_varint(0) + _SYNC


def _flatten(record: Record, prefix: str, columns: list[Column], above: tuple[int, ...]) -> bool:
    """Append the record's columns; False when it has a part without a fixed place."""
    for name, node in record.fields:
        path = f"{prefix}{name}"
        if isinstance(node, Record):
            if id(node) in above or not _flatten(node, f"{path}.", columns, (*above, id(node))):
                return False
            continue
        column = _column(path, node)
        if column is None or len(columns) > COLUMNS_MAX:
            return False
        columns.append(column)
    return True


def _column(path: str, node: Node) -> Column | None:
    null_branch = None
    if isinstance(node, Union):
        nulls = [index for index, branch in enumerate(node.branches) if _is_null(branch)]
        if len(node.branches) != 2 or len(nulls) != 1:
            return None
        null_branch = nulls[0]
        node = node.branches[1 - null_branch]
    if isinstance(node, Enum):
        return Column(path, "enum", symbols=node.symbols, null_branch=null_branch)
    if isinstance(node, Primitive) and node.kind != "null":
        return Column(path, node.kind, node.logical, node.scale, null_branch=null_branch)
    return None


def _is_null(node: Node) -> bool:
    return isinstance(node, Primitive) and node.kind == "null"


def _sizes(values: pl.Series, column: Column) -> Sizes | None:
    """Bytes of each canonical value without its union's branch, 0 for null; None for what no writer may write."""
    absent = values.is_null().to_numpy() if values.null_count() else None
    if absent is not None and absent.all():
        return 0
    sizes: Sizes | None
    if column.kind in _SIZES:
        sizes = _SIZES[column.kind]
    elif column.kind in _NUMBERS:
        sizes = _number_sizes(values, column)
    else:
        lengths = values.str.len_bytes() if column.kind == "string" else values.bin.size()
        plain = lengths.fill_null(0).to_numpy().astype(np.int64)
        sizes = plain + varint_sizes(plain)
    if sizes is None or absent is None:
        return sizes
    return np.where(absent, 0, sizes)


def _number_sizes(values: pl.Series, column: Column) -> Sizes | None:
    low, high = values.min(), values.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    least, most = _RANGES.get(column.kind, (-(2**62) + 1, 2**62 - 1))  # beyond it a number has ten bytes
    if column.kind == "enum":
        most = len(column.symbols) - 1
    if low < least or high > most:
        return None
    return varint_sizes(values.fill_null(0).to_numpy().astype(np.int64, copy=False))


_RANGES: Final = {"int": (-INT_MAX - 1, INT_MAX), "enum": (0, 0), "boolean": (-1, 0)}


def varint_sizes(values: npt.NDArray[np.int64]) -> Sizes:
    """Bytes of the zig-zag varint of each value; one number when all agree, which is the usual case."""
    if len(values) == 0:
        return 0
    low, high = int(values.min()), int(values.max())
    if low >= 0 and len(write_varint(low)) == len(write_varint(high)):
        return len(write_varint(high))
    encoded = (values << 1) ^ (values >> 63)
    return np.searchsorted(_VARINT_STEPS, encoded.view(np.uint64), side="right") + 1


def _branches_are_right(
    data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], values: pl.Series, column: Column
) -> bool:
    """Whether each branch was written as the one number it may be: polars takes any but one of them for the other."""
    null, value = (2 * (branch or 0) for branch in (column.null_branch, column.value_branch))
    written = data[np.broadcast_to(at, (len(values),))]
    if not values.null_count():
        return bool((written == value).all())
    return bool((written == np.where(values.is_null().to_numpy(), null, value)).all())
