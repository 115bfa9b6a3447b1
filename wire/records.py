"""What a field mapping reads: a batch of decoded records, whatever encoding they came in.

A path names one value of a record. It is dotted (`data.rrn`), `[n]` picks from a list (`legs[0].amount`), and a step
may begin with `@` (an attribute of an XML element). Names that begin with `$` are not the record's but Kafka's: `$key`,
`$topic`, `$timestamp`, `$headers.NAME`.

Values are read as text with the digits that the record has. No number passes through a float here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping as MappingType
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import polars as pl

from schemas.errors import ReconError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

PATH_CHARACTERS_MAX = 500
"""The longest path, in characters."""

LIST_INDEX_MAX = 1_000_000
"""The highest index that `[n]` may name."""

DECIMAL_EXPONENT_MAX = 400
"""The largest exponent, in powers of ten and either direction, of a number that is written out as plain digits."""

NESTED_TEXT_DEPTH_MAX = 64
"""How many levels a nested value may have when it is shown as JSON."""

Step = str | int
"""One step of a path: a name, or an index in a list."""


class BadPathError(ReconError):
    """A path that cannot be read, with what would be right."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"path {path!r}: {why}")


class Digits(str):
    """A number as its record wrote it. A type of its own, so that `1` and `"1"` can be told apart."""

    __slots__ = ()


class MomentText(str):
    """A time that was no text in its record, as ISO text with all its digits."""

    __slots__ = ()


class Records(Protocol):
    """A batch of decoded records."""

    @property
    def rows(self) -> pl.Series:
        """Int64: the record's number in its file (from 1), or its index in the batch (from 0). One a record."""

    @property
    def closed(self) -> bool:
        """Whether `paths` names all that there can be, so that another path is a mistake in the configuration."""

    def paths(self) -> Collection[str]:
        """The paths that are known: a file's headings, a schema's fields, or those seen in this batch."""

    def text(self, path: str) -> pl.Series:
        """String, null where the record has no such value. Raises BadPathError for a path that cannot be read."""

    def kind(self, path: str) -> pl.Series | None:
        """String, what each value was before it became text (`number`, `text`, `boolean`, ...); None: all are text."""

    def raw(self, index: int) -> bytes:
        """The record at this index of the batch as it came, for dead letters and previews."""


_STEP = re.compile(r"(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]")


@functools.lru_cache(maxsize=4096)
def steps(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises BadPathError.

    >>> steps("data.legs[0].amount")
    ('data', 'legs', 0, 'amount')
    """
    if not path or len(path) > PATH_CHARACTERS_MAX:
        raise BadPathError(path[:80], f"a path has 1 to {PATH_CHARACTERS_MAX} characters")
    found: list[Step] = []
    at = 0
    while at < len(path):
        if path[at] == "." and found:
            at += 1
            if at == len(path) or path[at] in ".[":
                raise BadPathError(path, f"a name is missing after the dot at character {at}")
        elif found and path[at] != "[":
            raise BadPathError(path, f"a dot is missing before character {at + 1}")
        match = _STEP.match(path, at)
        if match is None:
            raise BadPathError(path, f"cannot be read at character {at + 1}; right are a.b, a.b[0].c")
        if (index := match["index"]) is not None:
            if not found:
                raise BadPathError(path, "a path begins with a name")
            if len(index) > len(str(LIST_INDEX_MAX)) or int(index) > LIST_INDEX_MAX:
                raise BadPathError(path, f"an index is at most {LIST_INDEX_MAX}")
            found.append(int(index))
        else:
            found.append(match["name"])
        at = match.end()
    return tuple(found)


def value_at(record: object, path: tuple[Step, ...]) -> object:
    """The value at a path, None where the record has none."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(record, list | tuple) or step >= len(record):
                return None
            record = record[step]
        elif isinstance(record, MappingType):
            record = record.get(step)
        else:
            return None
        if record is None:
            return None
    return record


def as_text(value: object) -> str | None:
    """A value as exact text, None for none. Numbers keep their digits; a nested value becomes JSON."""
    if value is None or type(value) is str:
        return value
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    for kind, write in _WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    return json_text(value)


def json_text(value: object) -> str:
    """A value as compact JSON: numbers with the digits they have, members in their order, text unescaped.

    What JSON has no number for (an infinity, NaN), dates and times are text. More than NESTED_TEXT_DEPTH_MAX levels are
    shown as "...".
    """
    return "".join(_json(value, 0))


def kind_of(value: object) -> str:
    """What a value was before it became text."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "text"


def decimal_text(value: Decimal) -> str:
    """A decimal written out, without an exponent where that stays short."""
    if not value.is_finite() or abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
        return str(value)
    return format(value, "f")


def bytes_text(value: bytes) -> str | None:
    """Bytes as text where they are UTF-8; else None: such bytes are no text, and a guess would be wrong."""
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return None


def _float_text(value: float) -> str:
    # A float's shortest text that reads back as itself: what a producer that has only floats meant.
    text = repr(value)
    if "e" not in text and "n" not in text:
        return text.removesuffix(".0")
    return text if "n" in text else decimal_text(Decimal(text))


_WRITERS: dict[type, Callable[..., str | None]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    str: str,
    Decimal: decimal_text,
    float: _float_text,
    bytes: bytes_text,
    datetime: lambda value: value.isoformat(),
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    timedelta: str,
}

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "boolean"),
    (Digits, "number"),
    (MomentText, "datetime"),
    ((int, float), "number"),
    (Decimal, "decimal"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time"),
    (bytes, "bytes"),
    (MappingType, "object"),
    ((list, tuple), "list"),
)

_KIND_OF_TYPE: dict[type, str] = {str: "text", type(None): "null", Digits: "number", int: "number", bool: "boolean"}


def _json(value: object, depth: int) -> Iterator[str]:
    if depth > NESTED_TEXT_DEPTH_MAX:
        yield '"..."'
    elif isinstance(value, MappingType):
        before = "{"
        for name, part in value.items():
            yield f"{before}{_quoted(str(name))}:"
            yield from _json(part, depth + 1)
            before = ","
        yield "}" if before == "," else "{}"
    elif isinstance(value, list | tuple):
        before = "["
        for part in value:
            yield before
            yield from _json(part, depth + 1)
            before = ","
        yield "]" if before == "," else "[]"
    else:
        text = as_text(value)
        bare = isinstance(value, bool) or (kind_of(value) in _NUMBERS and text is not None and _JSON_NUMBER.match(text))
        yield "null" if text is None else text if bare else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_NUMBERS = frozenset({"number", "decimal"})
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")


class TextRecords:
    """Records that are rows of text columns: what a delimited or fixed-width file gives.

    Args:
        frame: String columns; their names are the paths. `column: N` of a mapping is the path `#N`, from 0.
        rows: Int64, each row's number in its file, from 1.
        raw: gives a row's bytes as the file has them.
        kinds: String series for the columns whose values were not all text.
    """

    closed = True

    def __init__(
        self,
        frame: pl.DataFrame,
        rows: pl.Series,
        raw: Callable[[int], bytes],
        kinds: MappingType[str, pl.Series] | None = None,
    ) -> None:
        self.frame = frame
        self.rows = rows
        self._raw = raw
        self._kinds = kinds or {}

    def paths(self) -> Collection[str]:
        """The headings, in the file's order."""
        return self.frame.columns

    def text(self, path: str) -> pl.Series:
        """A column by its heading, or by `#N`."""
        return self.frame.get_column(self._name(path))

    def kind(self, path: str) -> pl.Series | None:
        """The kinds of a column's values, where they were not all text."""
        return self._kinds.get(self._name(path))

    def raw(self, index: int) -> bytes:
        """The row's bytes."""
        return self._raw(index)

    def _name(self, path: str) -> str:
        if path in self.frame.columns:
            return path
        if path.startswith("#") and path[1:].isdigit() and int(path[1:]) < self.frame.width:
            return self.frame.columns[int(path[1:])]
        raise BadPathError(path, f"no such column; there are {', '.join(self.frame.columns[:20])}")


class ColumnRecords:
    """Records whose values are columns already, by their paths: what a block of Avro gives.

    Args:
        columns: by path, a function that gives the values as text, and what each value was (`number`, `text`, ...).
        rows: Int64, each record's number.
        raw: gives a record's bytes as they came.
        around: values beside the records by full path: `$key`, `$topic`, `$timestamp`, `$headers.NAME`.
    """

    closed = False

    def __init__(
        self,
        columns: MappingType[str, tuple[Callable[[], pl.Series], str]],
        rows: pl.Series,
        raw: Callable[[int], bytes],
        around: MappingType[str, pl.Series] | None = None,
    ) -> None:
        self.rows = rows
        self._columns = columns
        self._raw = raw
        self._around = around or {}

    def paths(self) -> Collection[str]:
        """The paths of all columns."""
        return self._columns.keys()

    def text(self, path: str) -> pl.Series:
        """A column as text; nulls where there is none of this path, for records of another schema may have it."""
        if path.startswith("$"):
            return beside(self._around, path, len(self.rows))
        steps(path)
        if path not in self._columns:
            return pl.Series(path, [None] * len(self.rows), dtype=pl.String)
        return self._columns[path][0]().alias(path)

    def kind(self, path: str) -> pl.Series | None:
        """What a column's values were; null where there is none."""
        if path.startswith("$"):
            return None
        texts = self.text(path)
        kind = self._columns[path][1] if path in self._columns else "null"
        return pl.select(pl.when(texts.is_not_null()).then(pl.lit(kind)).otherwise(pl.lit("null"))).to_series()

    def raw(self, index: int) -> bytes:
        """The record's bytes."""
        return self._raw(index)


def beside(around: MappingType[str, pl.Series], path: str, size: int) -> pl.Series:
    """Kafka's own value of each record at a path such as `$key`, nulls where nobody gave it. Raises BadPathError."""
    if path in around:
        return around[path].cast(pl.String)
    if path.startswith("$headers.") or path in {"$key", "$topic", "$timestamp"}:
        return pl.Series(path, [None] * size, dtype=pl.String)
    raise BadPathError(path, "right are $key, $topic, $timestamp and $headers.NAME")


class NestedRecords:
    """Records that are nested values: what JSON, Avro, Protobuf and XML give.

    Args:
        values: one a record; mappings, lists and scalars. None where a record has no body.
        rows: Int64, each record's number.
        raw: gives a record's bytes as they came.
        known: the paths of the schema, where there is one; then other paths are mistakes.
        around: values beside the records by full path: `$key`, `$topic`, `$timestamp`, `$headers.NAME`.
    """

    def __init__(
        self,
        values: Sequence[object],
        rows: pl.Series,
        raw: Callable[[int], bytes],
        known: Collection[str] | None = None,
        around: MappingType[str, pl.Series] | None = None,
    ) -> None:
        self.values = values
        self.rows = rows
        self.closed = known is not None
        self._raw = raw
        self._known = known
        self._around = around or {}
        self._at: dict[tuple[Step, ...], Sequence[object]] = {(): values}

    def paths(self) -> Collection[str]:
        """The schema's paths, else those that occur in this batch, in the order of their first occurrence."""
        if self._known is not None:
            return self._known
        seen: dict[str, None] = {}
        for value in self.values:
            _collect(value, "", seen, 0)
        return list(seen)

    def text(self, path: str) -> pl.Series:
        """The values at a path as text."""
        if path.startswith("$"):
            return beside(self._around, path, len(self.values))
        found = self._values_at(steps(path))
        return pl.Series(path, [one if type(one) is str else as_text(one) for one in found], dtype=pl.String)

    def kind(self, path: str) -> pl.Series | None:
        """What the values at a path were."""
        if path.startswith("$"):
            return None
        found = self._values_at(steps(path))
        return pl.Series(path, [_KIND_OF_TYPE.get(type(one)) or kind_of(one) for one in found], dtype=pl.String)

    def _values_at(self, way: tuple[Step, ...]) -> Sequence[object]:
        """The values at a path, None where a record has none. What several paths begin with is looked up once."""
        found = self._at.get(way)
        if found is None:
            last = way[-1:]
            step = way[-1]
            found = [
                above.get(step) if type(above) is dict else value_at(above, last) for above in self._values_at(way[:-1])
            ]
            self._at[way] = found
        return found

    def raw(self, index: int) -> bytes:
        """The record's bytes."""
        return self._raw(index)


def _collect(value: object, prefix: str, seen: dict[str, None], depth: int) -> None:
    if depth > NESTED_TEXT_DEPTH_MAX:
        return
    if isinstance(value, MappingType):
        for name, part in value.items():
            _collect(part, f"{prefix}.{name}" if prefix else str(name), seen, depth + 1)
    elif isinstance(value, list | tuple) and prefix:
        for index, part in enumerate(value):
            _collect(part, f"{prefix}[{index}]", seen, depth + 1)
    elif prefix:
        seen.setdefault(prefix)
