"""What bank statements have in common: who they are, balances that add up, and values with parts.

A statement is known by its account, its number and the day it closes: banks count anew each year, some always say 1.
The same one again, wherever it comes from, is nothing; other content under the same number is refused unless it is
said to correct what was there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.files.errors import UnusableFileError
from sources.files.opened import BATCH_ROWS, row_numbers
from wire.records import NestedRecords, Step, as_text, steps

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT: Final = "#"
"""The member of a value with parts (attributes of an element, parts of a text) that holds the value itself."""

NO_REFERENCE: Final = frozenset({"NONREF", "NOTPROVIDED", "NOT PROVIDED"})
"""What the standards write where there is no reference (SWIFT field 61, SEPA's end-to-end id): read as absent."""


@dataclass(frozen=True, slots=True, order=True)
class StatementKey:
    """Which statement of which account: what may exist once."""

    account: str
    number: str
    closed_on: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, or one page of it.

    Args:
        key: which it is.
        id: the bank's own id of it (camt `Id`, MT940 `:20:`, BAI2's file id); differs when it is sent again.
        digest: SHA-256 of what it says, hexadecimal; without when and by which message it was sent.
        currency: of the account; empty where entries have several.
        opening, closing: booked balances in major units, None where the format or the bank has none.
        first_day, last_day: the period that it covers, ISO dates; empty where it does not say.
        entries: how many it has, those for information included.
    """

    key: StatementKey
    id: str
    digest: str
    currency: str
    opening: Decimal | None
    closing: Decimal | None
    first_day: str
    last_day: str
    entries: int

    def __str__(self) -> str:
        """For messages."""
        return f"statement {self.key.number} of account {self.key.account}"


def must_add_up(file: str, name: str, opening: Decimal, entries: Decimal, closing: Decimal, currency: str) -> None:
    """Opening plus entries is closing. Raises UnusableFileError."""
    if opening + entries != closing:
        raise UnusableFileError(
            file,
            name,
            f"opening {opening} plus entries {entries} is {opening + entries} {currency}, closing says {closing}",
        )


def must_follow(file: str, statements: Sequence[Statement]) -> None:
    """Pages of one statement follow each other: numbers by one, balances without a gap. Raises UnusableFileError."""
    for before, after in pairwise(statements):
        number, _, page = before.key.number.rpartition("/")
        same, _, next_page = after.key.number.rpartition("/")
        if before.key.account != after.key.account or number != same or not (page.isdigit() and next_page.isdigit()):
            continue
        if int(next_page) > int(page) + 1:
            raise UnusableFileError(file, str(after), f"page {int(page) + 1} of the statement is missing")
        follows = int(next_page) == int(page) + 1 and before.closing is not None and after.opening is not None
        if follows and before.closing != after.opening:
            raise UnusableFileError(
                file,
                str(after),
                f"begins with {after.opening} {after.currency}, the page before it ends with {before.closing}",
                "every page, in order",
            )


class ContentDigest:
    """The digest of what a statement says, fed with its parts as plain values."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, part: object) -> None:
        """Adds a part: mappings, lists and texts."""
        text = json.dumps(part, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        self._hash.update(text.encode() + b"\n")

    def hex(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Judged:
    """Which statements of a file are known already, and which replace others under their number."""

    repeated: frozenset[StatementKey]
    corrected: frozenset[StatementKey]


def judge(
    file: str, statements: Iterable[Statement], known: Mapping[StatementKey, str], *, corrects: bool = False
) -> Judged:
    """Holds a file's statements against those known (key to digest). Raises UnusableFileError.

    Args:
        file: its name, for messages.
        statements: of the file.
        known: the digests of the statements read before.
        corrects: whether the file is meant to correct what was read before.
    """
    repeated: set[StatementKey] = set()
    corrected: set[StatementKey] = set()
    for statement in statements:
        digest = known.get(statement.key)
        if digest == statement.digest:
            repeated.add(statement.key)
        elif digest is not None:
            if not corrects:
                raise UnusableFileError(
                    file,
                    str(statement),
                    "was read before with other content",
                    "--corrects, if it is meant to replace it",
                )
            corrected.add(statement.key)
    return Judged(frozenset(repeated), frozenset(corrected))


@dataclass(frozen=True, slots=True)
class Changes:
    """What a corrected statement changes: the entries that are gone and those that are new, as often as they occur."""

    gone: tuple[str, ...]
    new: tuple[str, ...]


def changes(before: Iterable[str], after: Iterable[str]) -> Changes:
    """Compares two versions of a statement, entry by entry, whatever their order."""
    old, fresh = Counter(before), Counter(after)
    return Changes(tuple((old - fresh).elements()), tuple((fresh - old).elements()))


def distinct(file: str, statements: Sequence[Statement]) -> list[bool]:
    """Whether each statement of a file is the first of its kind; a repeat is nothing. Raises UnusableFileError."""
    seen: dict[StatementKey, str] = {}
    first: list[bool] = []
    for statement in statements:
        digest = seen.setdefault(statement.key, statement.digest)
        if digest != statement.digest:
            raise UnusableFileError(file, str(statement), "occurs twice in this file with different content")
        first.append(len(seen) > sum(first))
    return first


class StatementRecords(NestedRecords):
    """Entries of statements. A name that several elements share gives them all; below it, one must be told.

    `RmtInf.Ustrd` of three lines is their text with blanks between; `Ustrd[1]` is the second. `NtryDtls.TxDtls.Refs`
    of a batch is none: which one is meant is not guessed.
    """

    def __init__(self, values: Sequence[object], rows: pl.Series, raw: Callable[[int], bytes]) -> None:
        super().__init__(values, rows, raw)

    def text(self, path: str) -> pl.Series:
        """The values at a path as text."""
        if path.startswith("$"):
            return super().text(path)
        way = steps(path)
        return pl.Series(path, [_text(_at(value, way)) for value in self.values], dtype=pl.String)

    def kind(self, path: str) -> pl.Series | None:  # noqa: ARG002
        """None: all is text."""
        return None


def in_batches(entries: Iterable[tuple[object, int, bytes]]) -> Iterator[StatementRecords]:
    """Entries, each with its row in the file and its bytes, as records of at most BATCH_ROWS."""
    left = iter(entries)
    while batch := list(islice(left, BATCH_ROWS)):
        values, rows, raws = zip(*batch, strict=True)
        yield StatementRecords(values, row_numbers(list(rows)), raws.__getitem__)


def reference(text: str | None) -> str | None:
    """A reference, or None where the standards write that there is none."""
    if text is None or not (plain := text.strip()) or plain.upper() in NO_REFERENCE:
        return None
    return plain


def _at(value: object, way: tuple[Step, ...]) -> object:
    for step in way:
        if isinstance(step, int):
            if isinstance(value, list):
                value = value[step] if step < len(value) else None
            elif step:
                return None
        else:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return None
    return value


def _text(value: object) -> str | None:
    if isinstance(value, Mapping):
        return as_text(value[TEXT]) if TEXT in value else as_text(value)
    if isinstance(value, list):
        texts = [_text(part) for part in value]
        if any(isinstance(part, Mapping) and TEXT not in part for part in value):
            return as_text(value)
        return " ".join(text for text in texts if text)
    return as_text(value)
