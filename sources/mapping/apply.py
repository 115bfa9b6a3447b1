"""A source's mapping, applied to a batch of records: events, what is set aside and why, and what is passed over.

Every record of a batch comes back exactly once: as an event, as a reject or as skipped. Nothing is guessed: a field
that must have a value and has none sets its record aside.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
import polars as pl

from schemas.errors import DeadLetterReason
from schemas.events import (
    AMOUNT_MINOR_MAX,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    STATUS_NAMES,
)
from sources.currencies import CODE_OF_DIGITS, EXPONENTS
from sources.mapping import texts
from sources.mapping.amounts import read_amounts
from sources.mapping.texts import shown
from sources.mapping.times import moment_text, read_times

if TYPE_CHECKING:
    from sources.config.models import Condition, ReconciliationConfig, SourceConfig, Value
    from wire.records import Records

# What a mapped event looks like. `index` is its place in the batch, `row` its number in the file or batch.
MAPPED_SCHEMA: Final[dict[str, pl.DataType]] = {
    "index": pl.UInt32(),
    "row": pl.Int64(),
    "event_id": pl.String(),  # null: the event is known by its place
    "txn_id": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "status": pl.UInt8(),
    "event_time": pl.Int64(),
    "account_id": pl.String(),
    "original_txn_id": pl.String(),
    "fee_minor": pl.Int64(),
    "item_id": pl.String(),  # the transaction's own id, whatever joins it to others
}

_ATTRIBUTE: Final = "attributes."

NO_ID: Final = f"is not 1 to {ID_BYTES_MAX} bytes of text without NUL"

NOT_OURS: Final = "where"
"""Why a record is skipped that the source's conditions leave out."""


@dataclass(frozen=True, slots=True)
class FieldReject:
    """A record set aside: the first field that could not be read, what it has, and why."""

    index: int
    row: int
    field: str
    reason: DeadLetterReason
    detail: str


@dataclass(slots=True)
class Mapped:
    """A batch after mapping. `events` has MAPPED_SCHEMA and a String column `attributes.NAME` for each attribute."""

    events: pl.DataFrame
    rejects: list[FieldReject]
    skipped: Counter[str] = field(default_factory=Counter)


class SourceMapping:
    """The mapping of one source of a reconciliation. Raises ValueError for a source of canonical records."""

    def __init__(self, source: SourceConfig, key: tuple[str, ...] = ("txn_id",)) -> None:
        if source.fields is None:
            raise ValueError(f"source {source.name} has canonical records, which need no mapping")
        self.source = source
        self._fields = source.fields
        self._key = key

    @classmethod
    def of(cls, reconciliation: ReconciliationConfig, name: str) -> SourceMapping:
        """The mapping of a reconciliation's source."""
        return cls(reconciliation.sources[name], reconciliation.key)

    def apply(self, records: Records, arrivals_ms: pl.Series) -> Mapped:
        """Events of a batch. Raises BadPathError where a schema or heading lacks a path that the mapping reads.

        `arrivals_ms` is Int64, when each record arrived, in milliseconds since 1970.
        """
        rows = records.rows
        kept = _kept(records, self.source.where)
        skipped: Counter[str] = Counter()
        if not kept.all():
            skipped[NOT_OURS] = int((~kept).sum())
        found = _Fields(len(rows))
        fields = self._fields
        currency = self._currency(records, found)
        columns = {
            "currency": currency,
            "status": self._status(records, found),
            "amount_minor": self._amount(records, currency, found),
            "event_time": self._time(records, arrivals_ms, found),
            "event_id": self._text(records, "event_id", fields.event_id, found, required=fields.event_id is not None),
            "account_id": self._text(records, "account_id", fields.account_id, found),
            "original_txn_id": self._text(records, "original_txn_id", fields.original_txn_id, found),
            "fee_minor": self._fee(records, currency, found),
        }
        attributes = {
            f"{_ATTRIBUTE}{name}": self._text(records, f"{_ATTRIBUTE}{name}", value, found)
            for name, value in fields.attributes.items()
        }
        own = self._text(records, "txn_id", fields.txn_id, found)
        columns["item_id"] = own
        columns["txn_id"] = self._match_key({**attributes, **columns, "txn_id": own}, found)
        events = pl.DataFrame({"index": pl.int_range(len(rows), dtype=pl.UInt32, eager=True), "row": rows, **columns})
        events = events.select(pl.col(name).cast(dtype) for name, dtype in MAPPED_SCHEMA.items()).with_columns(
            **attributes
        )
        bad = kept & found.bad()
        rejects = [found.reject(index, int(rows[index])) for index in bad.arg_true()]
        good = kept & ~bad
        return Mapped(events if good.all() else events.filter(good), rejects, skipped)

    def _match_key(self, columns: dict[str, pl.Series], found: _Fields) -> pl.Series:
        """What joins events: the first of the reconciliation's keys that is not empty."""
        chosen = [columns[name] for name in self._key if name in columns]
        if not chosen:
            chosen = [columns["txn_id"]]
        first = chosen[0]
        for other in chosen[1:]:
            first = first.zip_with(first.is_not_null(), other)
        name = "txn_id" if self._key == ("txn_id",) else "key"
        empty = "is empty" if name == "txn_id" else f"{' and '.join(self._key)} are empty"
        for index in first.is_null().arg_true():
            found.wrong(name, index, DeadLetterReason.BAD_ID, empty)
        _check_id(name, first, found)
        # Blanks would join all records that have nothing else there.
        for index in (first.str.contains(rf"^[{texts.BLANKS}]+$")).fill_null(value=False).arg_true():
            found.wrong(name, index, DeadLetterReason.BAD_ID, "has nothing but blanks; say trim: true")
        return first

    def _text(
        self, records: Records, name: str, value: Value | None, found: _Fields, *, required: bool = False
    ) -> pl.Series:
        if value is None:
            return texts.constant(None, found.size, pl.String())
        read = texts.read(records, value)
        found.note_unlisted(name, read, DeadLetterReason.BAD_ID)
        if required:
            for index in read.text.is_null().arg_true():
                found.wrong(name, index, DeadLetterReason.BAD_ID, "is empty")
        if name != "txn_id":
            _check_id(name, read.text, found)
        return read.text

    def _currency(self, records: Records, found: _Fields) -> pl.Series:
        read = texts.read(records, self._fields.currency)
        found.note_unlisted("currency", read, DeadLetterReason.UNKNOWN_CURRENCY)
        codes = read.text
        known = codes.is_in(list(EXPONENTS)).fill_null(value=False)
        if not known.all():
            # As a number, 036 is 36.
            padded = pl.DataFrame({"code": codes}).select(
                pl.when(pl.col("code").str.contains("^[0-9]{1,2}$")).then(pl.col("code").str.zfill(3)).otherwise("code")
            )["code"]
            digits = padded.replace(list(CODE_OF_DIGITS), list(CODE_OF_DIGITS.values()))
            known = digits.is_in(list(EXPONENTS)).fill_null(value=False)
            for index in (~known).arg_true():
                what = "is empty" if codes[index] is None else f"{shown(codes[index])} is no currency of ISO 4217"
                found.wrong("currency", index, DeadLetterReason.UNKNOWN_CURRENCY, what)
            codes = digits.zip_with(known, texts.constant(None, found.size, pl.String()))
        return codes

    def _status(self, records: Records, found: _Fields) -> pl.Series:
        read = texts.read(records, self._fields.status)
        found.note_unlisted("status", read, DeadLetterReason.MALFORMED)
        status = read.text.replace_strict(
            list(STATUS_NAMES), list(range(len(STATUS_NAMES))), default=None, return_dtype=pl.UInt8
        )
        for index in status.is_null().arg_true():
            word = read.text[index]
            what = "is empty" if word is None else f"{shown(word)} is none of {', '.join(STATUS_NAMES)}"
            found.wrong("status", index, DeadLetterReason.MALFORMED, what)
        return status

    def _amount(self, records: Records, currency: pl.Series, found: _Fields) -> pl.Series:
        minor, wrong = read_amounts(records, self._fields.amount, currency)
        for index, why in wrong.items():
            found.wrong("amount", index, DeadLetterReason.BAD_AMOUNT, why)
        for index in minor.is_null().arg_true():
            if index not in wrong and currency[index] is not None:
                found.wrong("amount", index, DeadLetterReason.BAD_AMOUNT, "is empty")
        self._within("amount", minor, found)
        return minor

    def _fee(self, records: Records, currency: pl.Series, found: _Fields) -> pl.Series:
        if self._fields.fee is None:
            return texts.constant(None, found.size, pl.Int64())
        minor, wrong = read_amounts(records, self._fields.fee, currency)
        for index, why in wrong.items():
            found.wrong("fee", index, DeadLetterReason.BAD_AMOUNT, why)
        self._within("fee", minor, found)
        return minor

    def _within(self, name: str, minor: pl.Series, found: _Fields) -> None:
        least = -AMOUNT_MINOR_MAX if self.source.negative else 0
        beyond = ((minor < least) | (minor > AMOUNT_MINOR_MAX)).fill_null(value=False)
        for index in beyond.arg_true():
            what = f"{minor[index]} minor units are not within {least} to {AMOUNT_MINOR_MAX}"
            if least == 0 and minor[index] < 0:
                what += "; negative amounts need negative: true, or sign: abs"
            found.wrong(name, index, DeadLetterReason.BAD_AMOUNT, what)

    def _time(self, records: Records, arrivals_ms: pl.Series, found: _Fields) -> pl.Series:
        stamps, wrong = read_times(records, self._fields.event_time, arrivals_ms)
        for index, why in wrong.items():
            found.wrong("event_time", index, DeadLetterReason.ABSURD_TIME, why)
        for index in stamps.is_null().arg_true():
            if index not in wrong:
                found.wrong("event_time", index, DeadLetterReason.ABSURD_TIME, "is empty")
        beyond = (stamps < EVENT_TIME_MIN_MS) | (stamps > arrivals_ms + EVENT_TIME_LEAD_MAX_MS)
        for index in beyond.fill_null(value=False).arg_true():
            what = f"{moment_text(stamps[index])} is before 2000 or more than a day ahead of its arrival"
            found.wrong("event_time", index, DeadLetterReason.ABSURD_TIME, what)
        return stamps


class _Fields:
    """What is wrong with the records of a batch. Of each record the first word counts, in the order of FIELDS."""

    _ORDER: Final = ("key", "txn_id", "event_id", "currency", "amount", "status", "event_time")

    def __init__(self, size: int) -> None:
        self.size = size
        self._wrong: dict[int, list[tuple[str, DeadLetterReason, str]]] = {}

    def wrong(self, name: str, index: int, reason: DeadLetterReason, what: str) -> None:
        self._wrong.setdefault(int(index), []).append((name, reason, what))

    def note_unlisted(self, name: str, read: texts.Texts, reason: DeadLetterReason) -> None:
        for index, what in read.unlisted_problems():
            self.wrong(name, index, reason, what)

    def bad(self) -> pl.Series:
        """Boolean, which records are set aside."""
        marks = texts.constant(value=False, size=self.size, dtype=pl.Boolean())
        return marks.scatter(list(self._wrong), [True] * len(self._wrong)) if self._wrong else marks

    def reject(self, index: int, row: int) -> FieldReject:
        def rank(one: tuple[str, DeadLetterReason, str]) -> int:
            return self._ORDER.index(one[0]) if one[0] in self._ORDER else len(self._ORDER)

        name, reason, what = min(self._wrong[index], key=rank)
        return FieldReject(index, row, name, reason, f"{name}: {what}")


def packed_attributes(events: pl.DataFrame) -> pl.Series:
    """The attributes of mapped events as the log keeps them: compact JSON with sorted names, null where there are none.

    `events` is `Mapped.events`; the result is a String series named `attributes`.
    """
    names = sorted(name for name in events.columns if name.startswith(_ATTRIBUTE))
    short = [name.removeprefix(_ATTRIBUTE) for name in names]
    packed: list[str | None] = [None] * len(events)
    for index, values in enumerate(events.select(names).iter_rows()) if names else ():
        told = {name: value for name, value in zip(short, values, strict=True) if value is not None}
        if told:
            packed[index] = orjson.dumps(told).decode()
    return pl.Series("attributes", packed, dtype=pl.String)


def _kept(records: Records, where: tuple[Condition, ...]) -> pl.Series:
    """Boolean: which records are the source's."""
    kept = texts.constant(value=True, size=len(records.rows), dtype=pl.Boolean())
    for condition in where:
        among = texts.read(records, condition.value).text.is_in(list(condition.words)).fill_null(value=False)
        kept = kept & (among if condition.wanted else ~among)
    return kept


def _check_id(name: str, ids: pl.Series, found: _Fields) -> None:
    for index in cannot_be_ids(ids).arg_true():
        found.wrong(name, index, DeadLetterReason.BAD_ID, NO_ID)


def cannot_be_ids(ids: pl.Series) -> pl.Series:
    """Boolean: which texts are too long to be stored as ids, or hold a NUL."""
    return ((ids.str.len_bytes() > ID_BYTES_MAX) | ids.str.contains("\0", literal=True)).fill_null(value=False)
