"""Reads CSV, Parquet and JSON lines row by row, and says of every row what it is or why it is not taken."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.files.values import (
    STATUS_WORDS,
    BadValueError,
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
PARQUET_BATCH_ROWS = 10_000
DIALECT_SAMPLE_CHARS = 65_536
CSV_FIELD_CHARS_MAX = 1 << 20  # a row longer than this is an unclosed quote, not a payment
DELIMITERS = ",;\t|"


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


@dataclass(frozen=True, slots=True)
class Row:
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
        """One line of the rejects file."""
        return json.dumps(
            {"file": self.file, "line": self.line, "reason": self.reason, "row": self.content},
            ensure_ascii=False,
            default=str,
        )


RawRow = tuple[int, Mapping[str, Any] | None, str]  # line, columns, and a problem when there are none


def read_rows(path: Path, source: str, mapping: ColumnMap) -> Iterator[Row | RejectedRow]:
    """Every row of a file in its order, taken or rejected. Raises UnusableFileError before the first row."""
    columns, rows = _open(path)
    fields = _resolve(path, columns, mapping)
    words = {**STATUS_WORDS, **{word.upper(): status for word, status in mapping.statuses.items()}}
    for line, content, problem in rows:
        if content is None or problem:
            yield RejectedRow(path.name, line, problem, content)
            continue
        try:
            yield _row(line, content, fields, source, mapping, words)
        except BadValueError as error:
            yield RejectedRow(path.name, line, str(error), content)


def _row(
    line: int,
    content: Mapping[str, Any],
    fields: Mapping[str, str],
    source: str,
    mapping: ColumnMap,
    words: Mapping[str, Status],
) -> Row:
    def get(name: str) -> Any:
        return content.get(fields[name]) if name in fields else None

    currency = currency_code(get("currency") if "currency" in fields else mapping.currency)
    if "amount_minor" in fields:
        amount = whole_minor(get("amount_minor"))
    else:
        amount = major_to_minor(get("amount"), currency, decimal_comma=mapping.decimal_comma)
    event_time = time_ms("event_time", get("event_time"), mapping.time_unit)
    return Row(
        line=line,
        txn_id=identifier("txn_id", get("txn_id")),
        event_id=identifier("event_id", get("event_id")) if "event_id" in fields else f"{source}-line-{line}",
        amount_minor=amount,
        currency=currency,
        status=status_of(get("status"), words) if "status" in fields else Status.SUCCESS,
        event_time=event_time,
        arrival=time_ms("arrival", get("arrival"), mapping.time_unit) if "arrival" in fields else event_time,
    )


def _resolve(path: Path, columns: list[str], mapping: ColumnMap) -> dict[str, str]:
    """Which column holds which field. Raises UnusableFileError when one is wanted that the file does not have."""
    by_name = {column.strip().lower(): column for column in columns}
    fields = {}
    for name in FIELDS:
        wanted = mapping.columns.get(name, name)
        if wanted.lower() in by_name:
            fields[name] = by_name[wanted.lower()]
        elif name in mapping.columns:
            raise UnusableFileError(
                f"{path.name}: no column {wanted!r} (mapped to {name}); it has {', '.join(columns)}"
            )
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
            f"{path.name}: no column for {', '.join(missing)}; it has {', '.join(columns)}; "
            "say which is which with --map FIELD=COLUMN"
        )
    return fields


def _open(path: Path) -> tuple[list[str], Iterator[RawRow]]:
    readers: dict[str, Callable[[Path], tuple[list[str], Iterator[RawRow]]]] = {
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
    try:
        return reader(path)
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise UnusableFileError(f"{path.name}: {error}") from error


def _open_csv(path: Path) -> tuple[list[str], Iterator[RawRow]]:
    csv.field_size_limit(CSV_FIELD_CHARS_MAX)
    # Bytes that are no UTF-8 become surrogates, which no id may hold: such a row is rejected, not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as sample:
        start = sample.read(DIALECT_SAMPLE_CHARS)
    if not start.strip():
        raise UnusableFileError(f"{path.name} is empty")
    heading = start.splitlines()[0]
    delimiter = max(DELIMITERS, key=heading.count)
    columns = next(csv.reader([heading], delimiter=delimiter))
    return columns, _csv_rows(path, columns, delimiter)


def _csv_rows(path: Path, columns: list[str], delimiter: str) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        next(reader)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # An open quote swallows what follows, to the next quote or the end of the file: say how far.
                yield line, None, f"not CSV: {error} (lines {line} to {reader.line_num})"
                continue
            if not cells:
                continue  # an empty line is no row
            content = dict(zip(columns, cells, strict=False))
            if len(cells) != len(columns):
                content |= {f"column {at + 1}": cell for at, cell in enumerate(cells) if at >= len(columns)}
                yield line, _printable(content), f"{len(cells)} cells where the heading has {len(columns)}"
            elif any("\udc80" <= char <= "\udcff" for cell in cells for char in cell if not cell.isascii()):
                yield line, _printable(content), "not UTF-8"
            else:
                yield line, content, ""


def _printable(content: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name, value in content.items()
    }


def _open_parquet(path: Path) -> tuple[list[str], Iterator[RawRow]]:
    file = pq.ParquetFile(path)
    return list(file.schema_arrow.names), _parquet_rows(file)


def _parquet_rows(file: pq.ParquetFile) -> Iterator[RawRow]:
    line = 0
    for batch in file.iter_batches(PARQUET_BATCH_ROWS):
        for content in batch.to_pylist():
            line += 1
            yield line, content, ""


def _open_jsonl(path: Path) -> tuple[list[str], Iterator[RawRow]]:
    """The columns are those of the first object: what a later line lacks, it is rejected for."""
    for _, content, _ in _jsonl_rows(path):
        if content is not None:
            return list(content), _jsonl_rows(path)
    raise UnusableFileError(f"{path.name} has no JSON object")


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                # Numbers with a point become decimals at once, so that no amount ever passes through a float.
                content = json.loads(line, parse_float=Decimal)
            except (ValueError, RecursionError) as error:
                yield number, None, f"not JSON: {error}"
                continue
            if isinstance(content, dict):
                yield number, content, ""
            else:
                yield number, None, "not a JSON object"
