"""Rows that have kinds: headings, data, trailers that count the data. Where a count does not hold, no row is taken.

A control row speaks of the data rows since the control row before it, or of all of them so far; it holds if either
fits. A sum holds for the amounts with their signs (a debit is negative) or, as a hash total, without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.currencies import EXPONENTS
from sources.files.errors import UnusableFileError
from sources.files.opened import Findings, SelectedRecords
from sources.mapping.amounts import BadAmountError, exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sources.files.options import Control, FileOptions, RecordKinds
    from wire.records import Records

KINDS_COUNTED_MAX: Final = 100
"""How many different kinds of rows are told apart in the count of what was skipped."""


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
        amounts = options.amounts(batch) if control.sum is not None and options.amounts is not None else None
        start = 0
        for at in is_control.arg_true().to_list():
            tally.add(is_data, amounts, batch, start, at)
            tally.hold(batch, at, found)
            start = at + 1
        tally.add(is_data, amounts, batch, start, len(is_data))
    tally.end(found)


def _types(batch: Records, kinds: RecordKinds) -> pl.Series:
    return batch.text(kinds.type.as_path).str.strip_chars().fill_null("")


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

    def add(
        self, is_data: pl.Series, amounts: Sequence[Decimal | None] | None, batch: Records, start: int, end: int
    ) -> None:
        """Counts the data rows from `start` to `end` of a batch."""
        for at in is_data.slice(start, end - start).arg_true().to_list():
            index = start + at
            amount = Decimal(0)
            if amounts is not None:
                read = amounts[index]
                if read is None:
                    self.unread = self.unread or int(batch.rows[index])
                else:
                    amount = read
            for sums in (self.section, self.whole):
                sums.count += 1
                sums.signed += amount
                sums.absolute += abs(amount)
            self.last_data = int(batch.rows[index])

    def hold(self, batch: Records, index: int, found: Findings) -> None:
        """Holds one control row against what was counted."""
        place = f"row {batch.rows[index]}"
        if self.control.count is not None:
            text = batch.text(self.control.count.as_path)[index]
            said = self._said(text, place, "count")
            if said not in {self.section.count, self.whole.count}:
                unreadable = f", and {len(found.rejects)} that cannot be read" if found.rejects else ""
                counted = f"{self.section.count}{unreadable}"
                raise UnusableFileError(self.file, place, f"the control record counts {said} rows, there are {counted}")
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
        code = next((code for code in ((text or "")[:3], (text or "")[-3:]) if code in EXPONENTS), "")
        try:
            return exact(text or "", self.options.decimal, self.options.group, code=code)
        except BadAmountError as error:
            raise UnusableFileError(self.file, place, f"the control record's {what}: {error}") from error

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
