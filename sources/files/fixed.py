"""Rows of fixed width: `at: [from, to]` cuts characters out of them, zero-based, the end excluded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.files.errors import RejectedRow
from sources.files.kinds import checked_by_control, data_only
from sources.files.lines import encoding_of, lines, without_ends
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from wire.records import BadPathError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sources.files.contents import Content
    from sources.files.lines import Line
    from sources.files.options import FileOptions
    from sources.files.statements import StatementKey
    from wire.records import Records

ROW_CHARACTERS_MAX: Final = 1_000_000
"""The highest position that `at` may name."""

_CUT: Final = re.compile(r"@(\d{1,7}):(\d{1,7})")


class FixedRecords:
    """Rows of text; the path `@from:to` is the cell between two positions. Blanks around a cell fill it up only."""

    closed = True

    def __init__(self, texts: pl.Series, rows: pl.Series, raw: list[bytes]) -> None:
        self._texts = texts
        self.rows = rows
        self._raw = raw

    def paths(self) -> Collection[str]:
        """None: any cut can be made."""
        return ()

    def text(self, path: str) -> pl.Series:
        """The cells between two positions, without the blanks around; null where nothing else is there."""
        match = _CUT.fullmatch(path)
        if match is None or not int(match[1]) < int(match[2]) <= ROW_CHARACTERS_MAX:
            raise BadPathError(path, "a fixed-width file has no names; right is at: [from, to], as in at: [0, 12]")
        start, end = int(match[1]), int(match[2])
        cells = self._texts.str.slice(start, end - start).str.strip_chars(" ")
        return cells.replace("", None).rename(path)

    def kind(self, path: str) -> pl.Series | None:  # noqa: ARG002
        """None: all is text."""
        return None

    def raw(self, index: int) -> bytes:
        """The row's bytes, without the line end."""
        return self._raw[index]


def open_fixed(content: Content, options: FileOptions) -> OpenedFile:
    """A fixed-width file. Raises UnusableFileError where a control row does not hold."""
    encoding = encoding_of(content, options.encoding)

    def rows(found: Findings) -> Iterator[Records]:
        held: list[Line] = []
        for line in without_ends(lines(content, encoding, options.record_bytes), options.skip_rows, options.footer):
            if line.text is None:
                found.rejects.append(RejectedRow(line.row, line.why, line.raw))
                continue
            held.append(line)
            if len(held) == BATCH_ROWS:
                yield _batch(held)
                held = []
        if held:
            yield _batch(held)

    if options.records is None:
        return OpenedFile(content, lambda found, _: rows(found))
    kinds = options.records
    checked_by_control(content.name, rows, options)

    def read(found: Findings, _: frozenset[StatementKey]) -> Iterator[Records]:
        return data_only(rows(found), kinds, found)

    return OpenedFile(content, read)


def _batch(held: list[Line]) -> FixedRecords:
    return FixedRecords(
        pl.Series("row", [line.text for line in held], dtype=pl.String),
        row_numbers([line.row for line in held]),
        [line.raw for line in held],
    )
