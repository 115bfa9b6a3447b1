"""Rows that have kinds: headings, data, trailers that count the data. Where a count does not hold, no row is taken.

A control row speaks of the data rows since the control row before it, or of all of them so far; it holds if either
fits. A sum holds for the amounts with their signs or, as a hash total, without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.files.errors import UnusableFileError
from sources.files.opened import Findings, SelectedRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sources.files.options import Control, FileOptions, RecordKinds
    from wire.records import Records

KINDS_COUNTED_MAX: Final = 100
"""How many different kinds of rows are told apart in the count of what was skipped."""

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


def data_only(batches: Iterator[Records], kinds: RecordKinds, found: Findings) -> Iterator[Records]:
    """The data rows; the others are counted by their kind."""
    for batch in batches:
        types = _types(batch, kinds)
        wanted = types.is_in(list(kinds.data))
        for kind, count in types.filter(~wanted).value_counts().iter_rows():
            name = f"record kind {kind!r}"
            found.skipped[name if name in found.skipped or len(found.skipped) < KINDS_COUNTED_MAX else "other"] += count
        indexes = wanted.arg_true()
        if len(indexes):
            yield SelectedRecords(batch, indexes)


def checked_by_control(file: str, rows: Callable[[Findings], Iterator[Records]], options: FileOptions) -> None:
    """Reads the file once and holds its control rows against its data rows. Raises UnusableFileError."""
    kinds = options.records
    if kinds is None or kinds.control is None:
        return
    control = kinds.control
    tally = _Tally(file, options, control)
    found = Findings()
    for batch in rows(found):
        types = _types(batch, kinds)
        is_control = types.is_in(list(control.type))
        is_data = types.is_in(list(kinds.data)) & ~is_control
        amounts = _amounts(batch, options) if control.sum is not None else None
        start = 0
        for at in is_control.arg_true().to_list():
            tally.add(is_data, amounts, batch, start, at)
            tally.hold(batch, at)
            start = at + 1
        tally.add(is_data, amounts, batch, start, len(is_data))
    tally.end(found)


def number(text: str | None, decimal: str = ".", group: str | None = None) -> Decimal | None:
    """An amount as it is written, exact: sign before or behind, parentheses, leading zeros. None if it is none."""
    if text is None:
        return None
    plain = text.strip().replace("\u00a0", "").replace("\u2212", "-").replace(" ", "")
    if group:
        plain = plain.replace(group, "")
    if decimal != ".":
        plain = plain.replace(".", "x").replace(decimal, ".")
    negative = False
    if plain.startswith("(") and plain.endswith(")"):
        plain, negative = plain[1:-1], True
    if plain.endswith(("-", "+")):
        negative, plain = negative or plain.endswith("-"), plain[:-1]
    elif plain.startswith(("-", "+")):
        negative, plain = negative or plain.startswith("-"), plain[1:]
    if not _NUMBER.fullmatch(plain):
        return None
    try:
        value = Decimal(plain)
    except InvalidOperation:
        return None
    return -value if negative else value


def _types(batch: Records, kinds: RecordKinds) -> pl.Series:
    return batch.text(kinds.type.as_path).str.strip_chars().fill_null("")


def _amounts(batch: Records, options: FileOptions) -> list[str | None]:
    if options.amount is None:
        raise UnusableFileError("recon.yaml", "records.control.sum", "sums up an amount that no field names")
    return batch.text(options.amount.as_path).to_list()


@dataclass(slots=True)
class _Sums:
    count: int = 0
    signed: Decimal = Decimal(0)
    absolute: Decimal = Decimal(0)


@dataclass(slots=True)
class _Tally:
    file: str
    options: FileOptions
    control: Control
    section: _Sums = field(default_factory=_Sums)
    whole: _Sums = field(default_factory=_Sums)
    controls: int = 0
    unread: int | None = None  # the first data row whose amount is no number
    last_data: int = 0

    def add(self, is_data: pl.Series, amounts: list[str | None] | None, batch: Records, start: int, end: int) -> None:
        """Counts the data rows from `start` to `end` of a batch."""
        for at in is_data.slice(start, end - start).arg_true().to_list():
            index = start + at
            amount = Decimal(0)
            if amounts is not None:
                read = number(amounts[index], self.options.decimal, self.options.group)
                if read is None:
                    self.unread = self.unread or int(batch.rows[index])
                else:
                    amount = read
            for sums in (self.section, self.whole):
                sums.count += 1
                sums.signed += amount
                sums.absolute += abs(amount)
            self.last_data = int(batch.rows[index])

    def hold(self, batch: Records, index: int) -> None:
        """Holds one control row against what was counted."""
        place = f"row {batch.rows[index]}"
        if self.control.count is not None:
            text = batch.text(self.control.count.as_path)[index]
            said = self._said(text, place, "count")
            if said not in {self.section.count, self.whole.count}:
                raise UnusableFileError(
                    self.file, place, f"the control record counts {said} rows, there are {self.section.count}"
                )
        if self.control.sum is not None:
            text = batch.text(self.control.sum.as_path)[index]
            said = self._said(text, place, "sum")
            if self.unread is not None:
                raise UnusableFileError(
                    self.file, f"row {self.unread}", f"its amount is no number, so the sum {said} cannot hold"
                )
            if said not in {self.section.signed, self.section.absolute, self.whole.signed, self.whole.absolute}:
                raise UnusableFileError(
                    self.file, place, f"the control record sums up to {said}, the rows to {self.section.signed}"
                )
        self.controls += 1
        self.section = _Sums()

    def _said(self, text: str | None, place: str, what: str) -> Decimal:
        said = number(text, self.options.decimal, self.options.group)
        if said is None:
            raise UnusableFileError(self.file, place, f"the control record's {what} {text!r} is no number")
        return said

    def end(self, found: Findings) -> None:
        """After the last row: a file whose trailer is missing was cut short."""
        wanted = " or ".join(self.control.type)
        if not self.controls:
            where = f" ({found.rejects[0].reason} in row {found.rejects[0].row})" if found.rejects else ""
            raise UnusableFileError(
                self.file, "", f"has no control record {wanted}{where}", "the file may be cut short"
            )
        if self.section.count:
            raise UnusableFileError(
                self.file, f"row {self.last_data}", f"no control record {wanted} follows", "the file may be cut short"
            )
