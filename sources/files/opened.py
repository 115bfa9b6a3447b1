"""The one interface behind which every format stands: batches of records, the rows set aside, what was skipped."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import polars as pl

if TYPE_CHECKING:
    from sources.files.contents import Content
    from sources.files.errors import RejectedRow
    from sources.files.statements import Statement, StatementKey
    from wire.records import Records

BATCH_ROWS: Final = 10_000
"""How many rows a batch has at most: what bounds memory."""


@dataclass(slots=True)
class Findings:
    """What one pass over a file found beside its records."""

    rejects: list[RejectedRow] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


Pass = Callable[[Findings, frozenset["StatementKey"]], Iterator["Records"]]


class OpenedFile:
    """A file that holds together as a whole; what can be wrong with the whole of it was looked at before.

    `batches` gives its records in order, in bounded memory, and may be called again. `rejects` are the rows that were
    not taken and `skipped` counts by reason those that are no records (kinds of rows that are no data, entries for
    information); both grow while `batches` is read, and begin anew with it. A reader of a very large file may empty
    `rejects` between two batches. `notes` are what a person should know of the file as a whole.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, content: Content, read: Pass, statements: Collection[Statement] = ()) -> None:
        self.name = content.name
        self.digest = content.digest
        self.size = content.size
        self.statements = tuple(statements)
        self._content = content
        self._read = read
        self._found = Findings()

    @property
    def rejects(self) -> list[RejectedRow]:
        """Rows that were not taken, up to where `batches` has come."""
        return self._found.rejects

    @property
    def skipped(self) -> Counter[str]:
        """How many rows were passed over on purpose, by reason."""
        return self._found.skipped

    def batches(self, without: Collection[StatementKey] = ()) -> Iterator[Records]:
        """The records, but for those of the statements named in `without` (which are known already)."""
        self._found = Findings()
        return self._read(self._found, frozenset(without))

    def place(self, row: int) -> str:
        """Where a row is, for people."""
        return f"{self.name}, row {row}"

    def __enter__(self) -> Self:
        """Closes the file at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.close()

    def close(self) -> None:
        """Gives back what holds the unpacked file. Streams that the caller gave are closed too."""
        with contextlib.suppress(OSError):
            self._content.stream.close()


class SelectedRecords:
    """Some records of a batch."""

    def __init__(self, records: Records, indexes: pl.Series) -> None:
        self._records = records
        self._indexes = indexes

    @property
    def rows(self) -> pl.Series:
        """The numbers of the rows that are left."""
        return self._records.rows.gather(self._indexes)

    @property
    def closed(self) -> bool:
        """As in the batch."""
        return self._records.closed

    def paths(self) -> Collection[str]:
        """As in the batch."""
        return self._records.paths()

    def text(self, path: str) -> pl.Series:
        """The values of the rows that are left."""
        return self._records.text(path).gather(self._indexes)

    def kind(self, path: str) -> pl.Series | None:
        """The kinds of the rows that are left."""
        kinds = self._records.kind(path)
        return None if kinds is None else kinds.gather(self._indexes)

    def raw(self, index: int) -> bytes:
        """The bytes of a row that is left."""
        return self._records.raw(int(self._indexes[index]))


class RenumberedRecords:
    """A batch whose rows are counted on from those of the files before it."""

    def __init__(self, records: Records, by: int) -> None:
        self._records = records
        self._by = by
        self.closed = records.closed
        self.paths = records.paths
        self.text = records.text
        self.kind = records.kind
        self.raw = records.raw

    @property
    def rows(self) -> pl.Series:
        """The rows' numbers in the archive."""
        return self._records.rows + self._by


def row_numbers(numbers: Collection[int]) -> pl.Series:
    """Row numbers as records have them."""
    return pl.Series("row", list(numbers), dtype=pl.Int64)
