"""Reads CSV, Parquet and JSON lines row by row, and says of every row what it is or why it is not taken."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.files.values import (
    STATUS_WORDS,
    BadValueError,
    Moment,
    Unreadable,
    currency_code,
    identifier,
    major_to_minor,
    status_of,
    time_ms,
    whole_minor,
)
from schemas.events import Status

# Our fields. `amount` (major units, decimal) and `amount_minor` (whole minor units) are two ways to say one thing.
FIELDS = (
    "txn_id",
    "event_id",
    "amount_minor",
    "amount",
    "currency",
    "status",
    "event_time",
    "arrival",
)
AUTO_ENCODING = "auto"  # UTF-8, or UTF-16 where the first bytes say so
UTF16_SAMPLE_BYTES = 4_096
DIGEST_CHARS = 16  # of the file's SHA-256 in generated event ids: 64 bits
PARQUET_BATCH_ROWS = 10_000
DIALECT_SAMPLE_CHARS = 65_536
CSV_FIELD_CHARS_MAX = 1 << 20  # a row longer than this is an unclosed quote, not a payment
DELIMITERS = ",;\t|"
COLUMNS_NAMED_CHARS_MAX = 500  # of the names of a file's columns in one message
# What the libraries below say of a file that they cannot go on with.
UNREADABLE = (OSError, pa.ArrowException, csv.Error, UnicodeError, LookupError)


class UnusableFileError(ValueError):
    """A file that cannot be read at all, or a mapping that does not fit it; nothing was reconciled."""


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """How columns become fields. `columns` maps our field to the file's column; what it leaves out is found by name."""

    columns: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, Status] = field(default_factory=dict)
    currency: str | None = None  # for files of one currency that do not say which
    decimal_comma: bool = False
    time_unit: str = "ms"
    encoding: str = AUTO_ENCODING  # of CSV files
    trim: bool = False  # whether blanks around ids are no part of them


class Row(NamedTuple):
    """One accepted row: an event, and the line (1 is the first, the heading of a CSV file included) it came from."""

    line: int
    txn_id: str
    event_id: str
    amount_minor: int
    currency: str
    status: Status
    event_time: int
    arrival: int


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not taken, with all that it said."""

    file: str
    line: int
    reason: str
    content: Any

    def to_json(self) -> str:
        """One line of the rejects file, which is JSON: a row with a number that JSON has not is kept as text."""
        said = {"file": self.file, "line": self.line, "reason": self.reason}
        try:
            return json.dumps({**said, "row": self.content}, ensure_ascii=False, default=str, allow_nan=False)
        except ValueError:
            return json.dumps({**said, "row": str(self.content)}, ensure_ascii=False)


RawRow = tuple[int, Mapping[str, Any] | None, str]  # line, columns, and a problem when there are none


def read_rows(path: Path, mapping: ColumnMap) -> Iterator[Row | RejectedRow]:
    """Every row of a file in its order, taken or rejected. Raises UnusableFileError before the first row."""
    columns, rows = _open(path, mapping)
    place = _digest(path)
    fields = _resolve(path, columns, mapping)
    words = {**STATUS_WORDS, **{word.upper(): status for word, status in mapping.statuses.items()}}
    read = _row_reader(fields, place, mapping, words)
    for line, content, problem in _to_the_end(path, rows):
        if content is None or problem:
            yield RejectedRow(path.name, line, problem, content)
            continue
        try:
            yield read(line, content)
        except BadValueError as error:
            yield RejectedRow(path.name, line, str(error), content)


def _to_the_end(path: Path, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The same rows. What stops the reading of a file half-way is an UnusableFileError too."""
    try:
        yield from rows
    except UNREADABLE as error:
        raise UnusableFileError(f"{path.name}: {error}") from error


def _row_reader(
    fields: Mapping[str, str], place: str, mapping: ColumnMap, words: Mapping[str, Status]
) -> Callable[[int, Mapping[str, Any]], Row]:
    """A function from a line and its columns to a row, made once a file. It raises BadValueError."""
    column = {name: fields.get(name, "") for name in FIELDS}
    has = {name: name in fields for name in FIELDS}
    has_id, has_minor, has_currency = has["event_id"], has["amount_minor"], has["currency"]
    has_status, has_arrival = has["status"], has["arrival"]
    trim, unit, decimal_comma, currency_of_file = (
        mapping.trim,
        mapping.time_unit,
        mapping.decimal_comma,
        mapping.currency,
    )
    txn_column, time_column = column["txn_id"], column["event_time"]
    amount_column = column["amount_minor" if has_minor else "amount"]

    def read(line: int, content: Mapping[str, Any]) -> Row:
        get = content.get
        currency = currency_code(get(column["currency"]) if has_currency else currency_of_file)
        amount = (
            whole_minor(get(amount_column))
            if has_minor
            else major_to_minor(get(amount_column), currency, decimal_comma=decimal_comma)
        )
        event_time = time_ms("event_time", get(time_column), unit)
        return Row(
            line,
            identifier("txn_id", get(txn_column), trim=trim),
            # Without an id of its own a row is identified by its place: the file, by its content, and the line.
            identifier("event_id", get(column["event_id"]), trim=trim) if has_id else f"{place}:{line}",
            amount,
            currency,
            status_of(get(column["status"]), words) if has_status else Status.SUCCESS,
            event_time,
            time_ms("arrival", get(column["arrival"]), unit) if has_arrival else event_time,
        )

    return read


def _resolve(path: Path, columns: list[str], mapping: ColumnMap) -> dict[str, str]:
    """Which column holds which field. Raises UnusableFileError when one is wanted that the file does not have."""
    by_name = {column.strip().lower(): column for column in columns}
    twice = [name for name, count in Counter(column.strip().lower() for column in columns).items() if count > 1]
    if twice:
        raise UnusableFileError(f"{path.name}: more than one column is called {', '.join(map(repr, twice))}")
    fields = {}
    for name in FIELDS:
        wanted = mapping.columns.get(name, name).strip()
        if wanted.lower() in by_name:
            fields[name] = by_name[wanted.lower()]
        elif name in mapping.columns:
            raise UnusableFileError(f"{path.name}: no column {wanted!r} (mapped to {name}); it has {_named(columns)}")
    if {"amount", "amount_minor"} <= set(mapping.columns):
        raise UnusableFileError("map amount (major units) or amount_minor, not both")
    if {"amount", "amount_minor"} <= set(fields):
        del fields["amount_minor" if "amount" in mapping.columns else "amount"]
    missing = [name for name in ("txn_id", "event_time") if name not in fields]
    if not {"amount", "amount_minor"} & set(fields):
        missing.append("amount_minor or amount")
    if "currency" not in fields and mapping.currency is None:
        missing.append("currency (or --currency)")
    if missing:
        raise UnusableFileError(
            f"{path.name}: no column for {', '.join(missing)}; it has {_named(columns)}; "
            "say which is which with --map FIELD=COLUMN"
        )
    return fields


def _named(columns: list[str]) -> str:
    """The names of columns for a message, which has an end."""
    names = ", ".join(columns)
    return names if len(names) <= COLUMNS_NAMED_CHARS_MAX else f"{names[:COLUMNS_NAMED_CHARS_MAX]}…"


def row_count(path: Path) -> int | None:
    """About how many rows a file has, for a bar; None where it cannot be told."""
    if not path.is_file():
        return None
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return int(pq.ParquetFile(path).metadata.num_rows)
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, pa.ArrowException):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_CHARS]


def _open(path: Path, mapping: ColumnMap) -> tuple[list[str], Iterator[RawRow]]:
    readers: dict[str, Callable[[Path, ColumnMap], tuple[list[str], Iterator[RawRow]]]] = {
        ".csv": _open_csv,
        ".tsv": _open_csv,
        ".txt": _open_csv,
        ".parquet": _open_parquet,
        ".pq": _open_parquet,
        ".jsonl": _open_jsonl,
        ".ndjson": _open_jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnusableFileError(f"{path.name}: {path.suffix or 'no suffix'} is not one of {', '.join(readers)}")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise UnusableFileError(f"{path.name} is no file that can be read more than once, as a pipe is none")
    try:
        return reader(path, mapping)
    except UNREADABLE as error:
        raise UnusableFileError(f"{path.name}: {error}") from error


def _open_csv(path: Path, mapping: ColumnMap) -> tuple[list[str], Iterator[RawRow]]:
    csv.field_size_limit(CSV_FIELD_CHARS_MAX)
    encoding = _encoding_of(path, mapping.encoding)
    with _text_of(path, encoding) as sample:
        start = sample.read(DIALECT_SAMPLE_CHARS)
    if not start.strip():
        raise UnusableFileError(f"{path.name} is empty")
    hint = re.match(r"sep=(.)\r?\n", start, re.IGNORECASE)  # how some spreadsheets name the delimiter
    delimiter = hint[1] if hint else _delimiter_of(start)
    rows = csv.reader(io.StringIO(start[hint.end() if hint else 0 :], newline=""), delimiter=delimiter)
    columns = next((cells for cells in rows if any(cell.strip() for cell in cells)), [])
    if not columns:
        raise UnusableFileError(f"{path.name} has no heading")
    while columns and not columns[-1].strip():
        columns.pop()  # a delimiter after the last heading
    named = [column if column.strip() else f"column {at + 1}" for at, column in enumerate(columns)]
    return named, _csv_rows(path, named, delimiter, encoding, skip_hint=hint is not None)


def _encoding_of(path: Path, wanted: str) -> str:
    """The encoding to read with. Raises LookupError for one that Python does not know."""
    if wanted != AUTO_ENCODING:
        return "utf-8-sig" if codecs.lookup(wanted).name == "utf-8" else wanted  # with or without a mark
    with path.open("rb") as file:
        start = file.read(UTF16_SAMPLE_BYTES)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: in UTF-16 the other half of every ASCII character is a zero, and text has no zeros.
    pairs = len(start) // 2
    if pairs and start[1::2].count(0) > pairs * 0.7 and not start[0::2].count(0):
        return "utf-16-le"
    if pairs and start[0::2].count(0) > pairs * 0.7 and not start[1::2].count(0):
        return "utf-16-be"
    return "utf-8-sig"


def _text_of(path: Path, encoding: str) -> io.TextIOWrapper:
    # Bytes that are not of the encoding become surrogates, which no id may hold: such a row is rejected, not the file.
    return path.open(encoding=encoding, errors="surrogateescape", newline="")


def _delimiter_of(start: str) -> str:
    """The delimiter that the heading has most often, outside of quotes."""
    counts: Counter[str] = Counter()
    in_quotes = False
    for char in start.lstrip("\r\n"):
        if char == '"':
            in_quotes = not in_quotes
        elif not in_quotes and char in "\r\n":
            break
        elif not in_quotes:
            counts[char] += 1
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def _csv_rows(path: Path, columns: list[str], delimiter: str, encoding: str, *, skip_hint: bool) -> Iterator[RawRow]:
    with _text_of(path, encoding) as lines:
        if skip_hint:
            next(lines)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        before = int(skip_hint)
        has_heading = False
        while True:
            line = before + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # An open quote swallows what follows, to the next quote or the end of the file: say how far.
                yield line, None, f"not CSV: {error} (lines {line} to {before + reader.line_num})"
                continue
            if not any(map(str.strip, cells)):
                continue  # an empty line is no row, and neither are delimiters alone
            if not has_heading:
                has_heading = True
                continue
            while len(cells) > len(columns) and not cells[-1].strip():
                cells.pop()  # a delimiter after the last cell
            content = dict(zip(columns, cells, strict=False))
            if len(cells) != len(columns):
                content |= {f"column {at + 1}": cell for at, cell in enumerate(cells) if at >= len(columns)}
                yield line, _printable(content), f"{len(cells)} cells where the heading has {len(columns)}"
            elif not all(map(str.isascii, cells)) and any(map(_has_undecoded, cells)):
                named = "UTF-8" if encoding == "utf-8-sig" else encoding
                yield line, _printable(content), f"not {named}; for another encoding say --encoding, as in cp1252"
            else:
                yield line, content, ""


def _has_undecoded(cell: str) -> bool:
    """Whether a byte of it was not of the file's encoding."""
    return any("\udc80" <= char <= "\udcff" for char in cell)


def _printable(content: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name, value in content.items()
    }


def _open_parquet(path: Path, _mapping: ColumnMap) -> tuple[list[str], Iterator[RawRow]]:
    # INT96 has no range of its own; in microseconds it holds every year that a payment can have.
    file = pq.ParquetFile(path, coerce_int96_timestamp_unit="us")
    return list(file.schema_arrow.names), _parquet_rows(file)


def _parquet_rows(file: pq.ParquetFile) -> Iterator[RawRow]:
    names = file.schema_arrow.names
    line = 0
    for batch in file.iter_batches(PARQUET_BATCH_ROWS):
        for values in zip(*map(_plain_values, batch.columns), strict=True):
            line += 1
            yield line, dict(zip(names, values, strict=True)), ""


# Parts of a millisecond that a unit of time has, and milliseconds in a unit.
_UNIT_MS = {"s": (1, 1_000), "ms": (1, 1), "us": (1_000, 1), "ns": (1_000_000, 1)}


def _plain_values(array: Any) -> Sequence[Any]:
    """A column's values. One that Python cannot hold is no error here: it matters only where it is wanted."""
    kind = array.type
    try:
        if pa.types.is_dictionary(kind):
            return _plain_values(array.dictionary_decode())
        if pa.types.is_timestamp(kind):
            parts, factor = _UNIT_MS[kind.unit]
            whole = array.cast(pa.int64()).to_pylist()
            return [None if value is None else Moment(value // parts * factor) for value in whole]
        if pa.types.is_date(kind):
            days = array.cast(pa.date32()).cast(pa.int32()).to_pylist()
            return [None if value is None else Moment(value * 86_400_000) for value in days]
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            return [None if value is None else _text_or_not(value) for value in array.to_pylist()]
        values: Sequence[Any] = array.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, KeyError, LookupError, UnicodeError) as error:
        return list(itertools.repeat(Unreadable(f"{type(error).__name__}: {error}"[:200]), len(array)))
    return values


def _text_or_not(value: bytes) -> str | Unreadable:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Unreadable(f"bytes that are no UTF-8 text: {value[:16].hex(' ')}")


def _open_jsonl(path: Path, _mapping: ColumnMap) -> tuple[list[str], Iterator[RawRow]]:
    """The columns are those of all objects: a row that lacks one that others have is rejected for it."""
    columns: dict[str, None] = {}
    for _, content, _ in _jsonl_rows(path):
        if content is not None:
            columns.update(dict.fromkeys(content))
    if not columns:
        raise UnusableFileError(f"{path.name} has no JSON object")
    return list(columns), _jsonl_rows(path)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(f"the name {twice[0][:40]!r} occurs twice in one object")
    return content


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not text.strip():
                continue
            try:
                # Numbers with a point become decimals at once, so that no amount ever passes through a float.
                content = json.loads(
                    text, parse_float=Decimal, object_pairs_hook=_unique_names, parse_constant=_no_number
                )
            except (ValueError, RecursionError, ArithmeticError) as error:  # a decimal beyond all decimals
                yield number, None, f"not JSON: {error}"
                continue
            if isinstance(content, dict):
                yield number, content, ""
            else:
                yield number, None, "not a JSON object"
