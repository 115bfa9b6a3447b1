"""What a configuration says of a file source: nothing that a reader needs to know is guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from wire.records import Records

Format = Literal[
    "csv",
    "tsv",
    "fixed",
    "xlsx",
    "json",
    "jsonl",
    "parquet",
    "camt.053",
    "camt.052",
    "camt.054",
    "mt940",
    "mt942",
    "bai2",
]
Level = Literal["entry", "details"]
Packing = Literal["auto", "none", "gz", "zip", "zst"]

STATEMENT_FORMATS: Final = frozenset({"camt.053", "camt.052", "camt.054", "mt940", "mt942", "bai2"})
"""Formats that bring amount, currency, status and event_time by themselves, under these very paths."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in a row: characters `at[0]` to `at[1]` (end excluded), a column by number, or a heading."""

    at: tuple[int, int] | None = None
    column: int | None = None
    path: str | None = None

    @property
    def as_path(self) -> str:
        """The path under which the records of a file give this value."""
        if self.at is not None:
            return cut_path(*self.at)
        return f"#{self.column}" if self.column is not None else str(self.path)


def cut_path(start: int, end: int) -> str:
    """The path of the characters `start` to `end` (excluded) of a fixed-width row.

    >>> cut_path(0, 12)
    '@0:12'
    """
    return f"@{start}:{end}"


@dataclass(frozen=True, slots=True)
class Control:
    """The rows that count the others: which kinds they are, and where they say how many and how much."""

    type: tuple[str, ...]
    count: Place | None = None
    sum: Place | None = None


@dataclass(frozen=True, slots=True)
class RecordKinds:
    """Rows that have kinds: where the kind stands, which kinds are data, and which one counts them."""

    type: Place
    data: tuple[str, ...]
    control: Control | None = None


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How one file source is read. The names are the keys of `recon.yaml`.

    Args:
        format: what the file is.
        encoding: a name that Python knows (`utf-8`, `cp1252`, `utf-16`, `cp037`, ...); a byte order mark is taken off.
        delimiter: one character between cells.
        skip_rows: rows before the heading, or before the data where there is no heading.
        footer: rows at the end that are no data.
        heading: whether the first row names the columns; else they are `#0`, `#1`, ...
        records: kinds of rows.
        level: for camt, whether a record is an entry (`Ntry`) or a transaction of it (`TxDtls`).
        sheet: of a workbook, by name or number (from 0).
        array: in a JSON document, the dotted path to the array of records; empty: the document is the array.
        record_bytes: the length of a row in a file without line ends, as mainframes write them.
        packing: `auto` goes by the first bytes, which say beyond doubt what is packed.
        amounts: of a batch, the amount of each row that a control row sums up, None where it has none.
        decimal, group: how a control row's own numbers are written.
        paths: the paths that the mapping reads; None: all. A cell in error elsewhere does not matter.
    """

    format: Format
    encoding: str = "utf-8"
    delimiter: str | None = None
    skip_rows: int = 0
    footer: int = 0
    heading: bool = True
    records: RecordKinds | None = None
    level: Level = "entry"
    sheet: str | int = 0
    array: str = ""
    record_bytes: int | None = None
    packing: Packing = "auto"
    amounts: Callable[[Records], Sequence[Decimal | None]] | None = field(default=None, compare=False, repr=False)
    decimal: str = "."
    group: str | None = None
    paths: frozenset[str] | None = field(default=None)
