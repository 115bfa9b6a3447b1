"""Parquet: columns as exact text. Decimals, whole numbers and times of any unit keep every digit they have."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sources.files.errors import UnusableFileError
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from wire.records import BadPathError, Digits, MomentText, as_text, kind_of, steps, value_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

COLUMNS_MAX: Final = 10_000
"""The most columns, those within groups included."""

_PER_SECOND: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_EPOCH: Final = date(1970, 1, 1)


class ColumnRecords:
    """A batch of columns; a column becomes text when it is asked for."""

    closed = True

    def __init__(
        self,
        batch: pa.RecordBatch,
        rows: pl.Series,
        known: Collection[str],
        read_already: dict[str, list[Any]] | None = None,
    ) -> None:
        self._batch = batch
        self.rows = rows
        self._known = known
        self._names = {name: at for at, name in enumerate(batch.schema.names)}
        self._values = dict(read_already or {})

    def paths(self) -> Collection[str]:
        """The columns, and what is within those that are groups."""
        return self._known

    def text(self, path: str) -> pl.Series:
        """The values at a path as text."""
        return pl.Series(path, [as_text(value) for value in self._at(path)], dtype=pl.String)

    def kind(self, path: str) -> pl.Series | None:
        """What the values at a path were."""
        return pl.Series(path, [kind_of(value) for value in self._at(path)], dtype=pl.String)

    def raw(self, index: int) -> bytes:
        """The row as JSON: a columnar file has no bytes of a row."""
        row = {name: _shown(self._column(name)[index]) for name in self._names}
        return json.dumps(row, ensure_ascii=False).encode()

    def _column(self, name: str) -> list[Any]:
        if name not in self._values:
            self._values[name] = values(self._batch.column(self._names[name]))
        return self._values[name]

    def _at(self, path: str) -> list[Any]:
        if path in self._names:
            return self._column(path)
        if path.startswith("#") and path[1:].isdigit() and int(path[1:]) < len(self._names):
            return self._column(self._batch.schema.names[int(path[1:])])
        # A column may have a dot in its name: the longest that begins the path is it.
        parts = path.split(".")
        for count in range(len(parts) - 1, 0, -1):
            name = ".".join(parts[:count])
            if name in self._names:
                way = steps(".".join(parts[count:]))
                return [value_at(value, way) for value in self._column(name)]
        way = steps(path)
        if isinstance(way[0], str) and way[0] in self._names:
            return [value_at(value, way[1:]) for value in self._column(way[0])]
        raise BadPathError(path, f"no such column; there are {', '.join(list(self._known)[:20])}")


def open_parquet(content: Content, _options: FileOptions) -> OpenedFile:
    """A Parquet file. Raises UnusableFileError where any part of it cannot be read."""
    if content.size < 12 or content.tail(4) not in {b"PAR1", b"PARE"}:
        raise UnusableFileError(
            content.name, f"byte {content.size}", "does not end with PAR1", "the file may be cut short"
        )
    if content.tail(4) == b"PARE":
        raise UnusableFileError(content.name, "", "is encrypted", "a file without encryption")
    try:
        file = _file(content)
        names = file.schema_arrow.names
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UnusableFileError(content.name, "", f"has two columns {twice!r}")
        if file.metadata.num_columns > COLUMNS_MAX:
            raise UnusableFileError(content.name, "", f"has more than {COLUMNS_MAX} columns")
        leaves = [file.schema.column(at) for at in range(file.metadata.num_columns)]
        far = [leaf.path for leaf in leaves if leaf.physical_type == "INT96" and leaf.path in names]
        known = [path for column in file.schema_arrow for path in _paths(column, "")]
        rows = 0
        for batch in file.iter_batches(BATCH_ROWS):
            batch.validate(full=True)  # texts that are no UTF-8 too: Arrow would hand them on
            rows += batch.num_rows
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError, IndexError) as error:
        raise UnusableFileError(content.name, "", f"is damaged ({str(error)[:200]})") from error
    if rows != file.metadata.num_rows:
        raise UnusableFileError(content.name, "", f"says {file.metadata.num_rows} rows and has {rows}")

    def read(_: Findings, __: object) -> Iterator[ColumnRecords]:
        at = 1
        coarse = _file(content, "us").iter_batches(BATCH_ROWS) if far else None
        for batch in _file(content).iter_batches(BATCH_ROWS):
            read_already = {} if coarse is None else _far_times(batch, next(coarse), far)
            yield ColumnRecords(batch, row_numbers(range(at, at + batch.num_rows)), known, read_already)
            at += batch.num_rows

    return OpenedFile(content, read)


def _file(content: Content, int96: str | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(pa.PythonFile(content.stream, mode="r"), coerce_int96_timestamp_unit=int96)


def _far_times(batch: pa.RecordBatch, coarse: pa.RecordBatch, names: Collection[str]) -> dict[str, list[Any]]:
    """INT96 reaches further than nanoseconds from 1970 in 64 bits, which wrap around in silence.

    A time beyond 1677 to 2262 (9999-12-31 is a favourite) is taken from the reading in microseconds.
    """
    found: dict[str, list[Any]] = {}
    for name in names:
        fine = batch.column(name).cast(pa.int64()).to_pylist()
        rough = coarse.column(name).cast(pa.int64()).to_pylist()
        found[name] = [
            None if one is None else MomentText(_moment(one, 9) if one // 1000 == other else _moment(other, 6))
            for one, other in zip(fine, rough, strict=True)
        ]
    return found


def _paths(column: pa.Field, prefix: str) -> Iterator[str]:
    path = f"{prefix}.{column.name}" if prefix else column.name
    if pa.types.is_struct(column.type):
        for at in range(column.type.num_fields):
            yield from _paths(column.type.field(at), path)
    else:
        yield path


def values(column: pa.Array) -> list[Any]:  # noqa: PLR0911 - one case a type
    """A column as Python values that are exact: texts, whole numbers, decimals, and times as ISO texts."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        if getattr(kind, "extension_name", "") == "arrow.uuid":
            return [None if one is None else str(UUID(bytes=one)) for one in column.storage.to_pylist()]
        return values(column.storage)
    if pa.types.is_dictionary(kind):
        return values(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        zone = "Z" if kind.tz is not None else ""
        return [
            None if one is None else MomentText(_moment(one, _PER_SECOND[kind.unit]) + zone)
            for one in column.cast(pa.int64()).to_pylist()
        ]
    if pa.types.is_time(kind):
        whole = pa.int32() if pa.types.is_time32(kind) else pa.int64()
        return [None if one is None else _clock(one, _PER_SECOND[kind.unit]) for one in column.cast(whole).to_pylist()]
    if pa.types.is_floating(kind):
        # The shortest text that reads back as the same number of this width.
        texts = column.cast(pa.string()).to_pylist()
        return [None if one is None else _plain(one) for one in texts]
    if pa.types.is_struct(kind):
        fields = [values(child) for child in column.flatten()]
        names = [kind.field(at).name for at in range(kind.num_fields)]
        return [
            dict(zip(names, parts, strict=True)) if valid else None
            for valid, *parts in zip(column.is_valid().to_pylist(), *fields, strict=True)
        ]
    if pa.types.is_map(kind):
        return [None if one is None else _mapping(one) for one in _lists(column)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column)
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return [None if one is None else str(one) for one in column.cast(pa.int64()).to_pylist()]
    found: list[Any] = column.to_pylist()
    return found


def _lists(column: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    offsets = column.offsets.to_pylist()
    start = offsets[0] if offsets else 0
    if pa.types.is_map(column.type):
        keys = values(column.keys[start:])
        items = values(column.items[start:])
        parts: list[Any] = list(zip(keys, items, strict=True))
    else:
        parts = values(column.values[start:])
    return [
        parts[offsets[at] - start : offsets[at + 1] - start] if valid else None
        for at, valid in enumerate(column.is_valid().to_pylist())
    ]


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {str(as_text(key)): value for key, value in pairs}


def _moment(value: int, digits: int) -> str:
    """A count of units since 1970 as ISO text, with all its digits."""
    seconds, part = divmod(value, 10**digits)
    days, rest = divmod(seconds, 86_400)
    try:
        day = (_EPOCH + timedelta(days=days)).isoformat()
    except OverflowError:
        return str(value)
    fraction = f"{part:0{digits}d}".rstrip("0") if digits else ""
    return f"{day}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{'.' if fraction else ''}{fraction}"


def _clock(value: int, digits: int) -> str:
    seconds, part = divmod(value, 10**digits)
    fraction = f"{part:0{digits}d}".rstrip("0") if digits else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{'.' if fraction else ''}{fraction}"


def _plain(text: str) -> Digits:
    if "e" not in text.lower() and "n" not in text:
        return Digits(text)
    return Digits(as_text(float(text)) or text)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    if isinstance(value, bytes):
        text = as_text(value)
        return text if text is not None else value.hex()
    return value if value is None or isinstance(value, bool) else as_text(value)
