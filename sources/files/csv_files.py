"""csv and tsv: rows of cells (RFC 4180), each row with its bytes; a quote that is not closed is one reject.

Cells may hold line breaks within quotes. A row with another number of cells than the heading is a reject, but for empty
cells at its end. Where rows have kinds, those that are no data may have any number.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.kinds import checked_by_control, data_only
from sources.files.lines import Encoding, Line, encoding_of, lines
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from wire.records import TextRecords

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

COLUMNS_MAX: Final = 10_000
"""The most cells of a row."""

ROW_LINES_MAX: Final = 1_000
"""The most lines that one row may take, by line breaks within quotes; beyond it a quote was left open."""

_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: the line where it begins, its bytes, and its cells; or `why` it has none."""

    row: int
    raw: bytes
    cells: list[str]
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the rows look like: names of the columns, whether the first row is the heading, and if all are as wide."""

    names: list[str]
    heading_row: int
    even: bool


def open_csv(content: Content, options: FileOptions) -> OpenedFile:
    """A file of cells. Raises UnusableFileError."""
    delimiter = options.delimiter or _DELIMITERS[options.format]
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UnusableFileError(content.name, "", f"delimiter {delimiter!r} is not one character", "delimiter: ';'")
    encoding = encoding_of(content, options.encoding)
    shape = _survey(content, encoding, delimiter, options)

    def rows(found: Findings) -> Iterator[TextRecords]:
        held: list[_Row] = []
        given = False
        for row in _kept(
            _rows(content, encoding, delimiter), max(options.skip_rows, shape.heading_row), options.footer
        ):
            why = row.why or _width_problem(row, shape)
            if why:
                found.rejects.append(RejectedRow(row.row, why, row.raw))
                continue
            held.append(row)
            if len(held) == BATCH_ROWS:
                yield _batch(held, shape.names)
                held, given = [], True
        if held or not given:  # without rows too, a mapping must fit the heading
            yield _batch(held, shape.names)

    if (kinds := options.records) is None:
        return OpenedFile(content, lambda found, _: rows(found))
    checked_by_control(content.name, rows, options)
    return OpenedFile(content, lambda found, _: data_only(rows(found), kinds, found))


def _survey(content: Content, encoding: Encoding, delimiter: str, options: FileOptions) -> _Shape:
    """The names of the columns, from the heading or by number."""
    width = 0
    ragged = options.records is not None
    for row in _kept(_rows(content, encoding, delimiter), options.skip_rows, 0):
        if options.heading:
            if row.why:
                raise UnusableFileError(content.name, f"row {row.row}", f"the heading cannot be read: {row.why}")
            return _Shape(_names(content, row, options), row.row, even=not ragged)
        width = max(width, len(row.cells))
        if not ragged and width:
            break
    if options.heading:
        raise UnusableFileError(
            content.name, "", "has no row that could be its heading", "heading: false if it has none"
        )
    if width > COLUMNS_MAX:
        raise UnusableFileError(content.name, "", f"has more than {COLUMNS_MAX} columns")
    return _Shape([f"#{at}" for at in range(width)], 0, even=not ragged)


def _names(content: Content, row: _Row, options: FileOptions) -> list[str]:
    if len(row.cells) > COLUMNS_MAX:
        raise UnusableFileError(content.name, f"row {row.row}", f"has more than {COLUMNS_MAX} columns")
    names: list[str] = []
    seen: set[str] = set()
    for at, cell in enumerate(row.cells):
        name = cell.strip()
        if name in seen:
            if options.paths is None or name in options.paths:
                raise UnusableFileError(content.name, f"row {row.row}", f"two columns are headed {name!r}", "column: N")
            name = ""
        names.append(name or f"#{at}")
        seen.add(names[-1])
    return names


def _width_problem(row: _Row, shape: _Shape) -> str:
    surplus = len(row.cells) - len(shape.names)
    if surplus > 0 and any(row.cells[len(shape.names) :]):
        return f"{len(row.cells)} cells where there are {len(shape.names)} columns"
    if surplus < 0 and shape.even:
        return f"{len(row.cells)} cells where there are {len(shape.names)} columns"
    return ""


def _batch(held: list[_Row], names: list[str]) -> TextRecords:
    columns = {
        name: pl.Series([row.cells[at] or None if at < len(row.cells) else None for row in held], dtype=pl.String)
        for at, name in enumerate(names)
    }
    return TextRecords(pl.DataFrame(columns), row_numbers([row.row for row in held]), lambda index: held[index].raw)


def _kept(found: Iterator[_Row], start: int, footer: int) -> Iterator[_Row]:
    held: deque[_Row] = deque()
    for row in found:
        if row.row <= start:
            continue
        held.append(row)
        if len(held) > footer:
            yield held.popleft()


def _rows(content: Content, encoding: Encoding, delimiter: str) -> Iterator[_Row]:
    """Every row, and for what is none a row that says why."""
    source = lines(content, encoding)
    waiting: deque[Line] = deque()

    def following() -> Line | None:
        return waiting.popleft() if waiting else next(source, None)

    while (line := following()) is not None:
        if line.text is None:
            yield _Row(line.row, line.raw, [], line.why)
            continue
        if '"' not in line.text:
            yield _Row(line.row, line.raw, line.text.split(delimiter))
            continue
        taken = [line]
        quotes = line.text.count('"')
        while True:
            # Within quotes until their number is even: only then is it worth reading again.
            cells = _cells(taken, delimiter) if len(taken) == 1 or not quotes % 2 else _OPEN
            if isinstance(cells, list):
                yield _Row(line.row, _raw(taken, encoding), cells)
                break
            more = following() if cells == _OPEN and len(taken) < ROW_LINES_MAX else None
            if more is None or more.text is None:
                # What an open quote would swallow are rows of their own: only the first line is set aside.
                if more is not None:
                    waiting.appendleft(more)
                waiting.extendleft(reversed(taken[1:]))
                yield _Row(line.row, line.raw, [], f"not CSV: {cells}")
                break
            taken.append(more)
            quotes += more.text.count('"')


_OPEN: Final = "a quote is not closed"


def _cells(taken: list[Line], delimiter: str) -> list[str] | str:
    """The cells of a row of one or several lines, or what is wrong with it."""
    text = taken[0].text or ""
    for before, line in pairwise(taken):
        # Lines without anything in them are passed over where rows are; within quotes they are text.
        text += "\n" * (line.row - before.row) + (line.text or "")
    try:
        found = list(csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return _OPEN if "unexpected end" in str(error) else str(error)
    return found[0] if len(found) == 1 else "a line break outside quotes"


def _raw(taken: list[Line], encoding: Encoding) -> bytes:
    return encoding.end.join(line.raw for line in taken)
