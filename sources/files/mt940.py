"""SWIFT MT940 (statements) and MT942 (reports within the day), as banks send them.

The grammar is SWIFT's for fields 20, 25, 28C, 60, 61, 62, 86 and 90, read strictly where money and dates are concerned,
and leniently where banks differ without doubt: longer references, details of any length, lines of a bank's own around
messages. The library mt-940 was tried: it passes over lines that it does not know, joins several statements into one
list and takes an amount without checking what follows; a balance that must hold needs the opposite.

A record is one :61: with the :86: that follows it. Its paths are `reference`, `bank_reference`, `type`, `value_date`,
`entry_date`, `details`, `funds_code`, `mark`, `text` and below it the parts of :86: (`text.EREF`, `text.20`),
`account`, `statement`; and `amount` (signed), `currency`, `status`, `event_time`, which a mapping need not name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.lines import encoding_of, lines
from sources.files.narrative import narrative
from sources.files.opened import Findings, OpenedFile
from sources.files.statements import (
    ContentDigest,
    Statement,
    StatementKey,
    distinct,
    in_batches,
    must_add_up,
    must_follow,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

MESSAGE_LINES_MAX: Final = 1_000_000
"""The most lines of one message (one page of a statement): what bounds memory."""

CENTURY_SPLIT: Final = 80
"""Two-digit years from here on are of the 1900s, as SWIFT has it."""

_TAG: Final = re.compile(r":(\d{2}[A-Z]?|NS):")
_END: Final = re.compile(r"-\}?(\{5:.*)?")
# The standard wants a digit before the comma; some banks write ",50".
_NUMBER: Final = r"(?:\d{1,24}(?:,\d{0,14})?|,\d{1,14})"
_BALANCE: Final = re.compile(rf"(?P<mark>[CD])(?P<day>\d{{6}})(?P<currency>[A-Z]{{3}})(?P<amount>{_NUMBER})")
_ENTRY: Final = re.compile(
    r"(?P<value>\d{6})(?P<entry>\d{4}| {4})?(?P<mark>R[CD]|E[CD]|[CD])(?P<funds>[A-Z])?"
    rf"(?P<amount>{_NUMBER})(?P<type>[A-Z][A-Z0-9 ]{{3}})(?P<rest>.*)"
)
_SUM: Final = re.compile(r"(?P<count>\d{1,5})(?P<currency>[A-Z]{3})(?P<amount>\d{1,15}(?:,\d{0,14})?)")
_CURRENCY: Final = re.compile(r"([A-Z]{3})[CD ]?\d{1,15}(?:,\d{0,14})?")
_SIGNS: Final = {"C": 1, "D": -1, "RC": -1, "RD": 1, "EC": 1, "ED": -1}
_STATUSES: Final = {
    "C": "SUCCESS",
    "D": "SUCCESS",
    "RC": "REVERSED",
    "RD": "REVERSED",
    "EC": "PENDING",
    "ED": "PENDING",
}
# Fields that say by which message something was sent, not what.
_OF_THE_MESSAGE: Final = frozenset({"20", "21", "13", "13D"})


@dataclass(slots=True)
class _Field:
    tag: str
    row: int
    lines: list[str]
    raw: list[bytes]


@dataclass(slots=True)
class _Message:
    row: int
    fields: list[_Field] = field(default_factory=list)

    def first(self, *tags: str) -> _Field | None:
        """The first field with one of these tags."""
        return next((one for one in self.fields if one.tag in tags), None)


@dataclass(frozen=True, slots=True)
class _Balance:
    currency: str
    amount: Decimal
    day: date


def open_mt940(content: Content, options: FileOptions) -> OpenedFile:
    """A file of MT940 or MT942 messages. Raises UnusableFileError where balances or sums do not hold."""
    statements = [_Reader(content, options).statement(message) for message in _messages(content, options)]
    if not statements:
        raise UnusableFileError(content.name, "", "has no message", "fields as :20:, :25:, :28C:, :60F:, :61:, :62F:")
    first = distinct(content.name, statements)
    must_follow(content.name, statements)

    def entries(found: Findings, without: frozenset[StatementKey]) -> Iterator[tuple[object, int, bytes]]:
        reader = _Reader(content, options)
        for index, message in enumerate(_messages(content, options)):
            wanted = first[index] and statements[index].key not in without
            for entry, details in _entries(message):
                if not wanted:
                    found.skipped["entry of a statement that is known already"] += 1
                    continue
                raw = b"\r\n".join(entry.raw + (details.raw if details else []))
                record = reader.record(statements[index], entry, details)
                if isinstance(record, str):
                    found.rejects.append(RejectedRow(entry.row, record, raw))
                    continue
                yield record, entry.row, raw

    return OpenedFile(content, lambda found, without: in_batches(entries(found, without)), statements)


def _messages(content: Content, options: FileOptions) -> Iterator[_Message]:  # noqa: PLR0912
    """The messages of a file: from one :20: to what ends it."""
    message: _Message | None = None
    open_field: _Field | None = None
    count = 0
    for line in lines(content, encoding_of(content, options.encoding)):
        if line.text is None:
            raise UnusableFileError(content.name, f"row {line.row}", line.why, "the encoding that the bank writes")
        text = line.text
        if text.startswith("{"):
            if message is not None:
                yield message
            message = open_field = None
            # Some put the first field on the line that opens the block.
            text = text.rpartition("{4:")[2].strip() if "{4:" in text else ""
            if not text:
                continue
        tag = _TAG.match(text)
        if tag is not None:
            if tag[1] == "20" and message is not None:
                yield message
                message = None
            if message is None:
                message, count = _Message(line.row), 0
            open_field = _Field(tag[1], line.row, [text[tag.end() :]], [line.raw])
            message.fields.append(open_field)
        elif _END.fullmatch(text.rstrip()):
            if message is not None:
                yield message
            message = open_field = None
        elif open_field is not None:
            open_field.lines.append(text)
            open_field.raw.append(line.raw)
        # What stands before a message (a bank's own header lines) is no part of it.
        count += 1
        if count > MESSAGE_LINES_MAX:
            raise UnusableFileError(
                content.name, f"row {line.row}", f"more than {MESSAGE_LINES_MAX} lines in one message"
            )
    if message is not None:
        yield message


def _entries(message: _Message) -> Iterator[tuple[_Field, _Field | None]]:
    """Each :61: with the :86: right after it; one after a balance speaks of the statement."""
    for index, one in enumerate(message.fields):
        if one.tag == "61":
            after = message.fields[index + 1] if index + 1 < len(message.fields) else None
            yield one, after if after is not None and after.tag == "86" else None


class _Reader:
    """Reads the fields of messages; what is wrong with money or dates sets the file aside."""

    def __init__(self, content: Content, options: FileOptions) -> None:
        self._file = content.name
        self._interim = options.format == "mt942"

    def statement(self, message: _Message) -> Statement:
        """Who a message is, after its balances and sums were held against its entries."""
        number_field = message.first("28C", "28")
        account_field = message.first("25", "25P")
        for tag, found in (("25", account_field), ("28C", number_field)):
            if found is None:
                raise UnusableFileError(self._file, f"row {message.row}", f"the message has no :{tag}:")
        assert account_field is not None  # noqa: S101
        assert number_field is not None  # noqa: S101
        account, number = account_field.lines[0].strip(), number_field.lines[0].strip()
        name = f"statement {number} of account {account}"
        opening, closing = self._balance(message, "60F", "60M", "60"), self._balance(message, "62F", "62M", "62")
        total = Decimal(0)
        sums: dict[str, list[Any]] = {"C": [Decimal(0), 0], "D": [Decimal(0), 0]}
        entries = 0
        values: list[date | None] = []
        for entry, _ in _entries(message):
            match = self._entry(entry)
            amount = _amount(match["amount"])
            if not match["mark"].startswith("E"):
                total += _SIGNS[match["mark"]] * amount
            side = sums["C" if _SIGNS[match["mark"]] > 0 else "D"]
            side[0] += amount
            side[1] += 1
            entries += 1
            values.append(_value_day(match["value"]))
        days = [day for day in values if day is not None]
        currency = opening.currency if opening else closing.currency if closing else self._floor(message)
        if self._interim:
            if opening is not None:
                raise UnusableFileError(self._file, name, "has a balance :60F:", "format: mt940")
        elif opening is None or closing is None:
            missing = ":60F:" if opening is None else ":62F:"
            right = "format: mt942" if opening is None and message.first("34F") else "an opening and a closing balance"
            raise UnusableFileError(self._file, name, f"has no {missing}, so its entries cannot be checked", right)
        if opening is not None and closing is not None:
            if opening.currency != closing.currency:
                raise UnusableFileError(
                    self._file, name, f"opens in {opening.currency} and closes in {closing.currency}"
                )
            must_add_up(self._file, name, opening.amount, total, closing.amount, opening.currency)
        self._control(message, sums, name)
        if not currency and entries:
            raise UnusableFileError(self._file, name, "does not say its currency", ":34F: or :60F:")
        page = number if "/" in number else f"{number}/1"
        report_day = message.first("13D", "13")
        closed_on = (
            closing.day.isoformat()
            if closing
            else self._day(report_day.lines[0][:6], report_day.row).isoformat()
            if report_day
            else max(days).isoformat()
            if days
            else ""
        )
        digest = ContentDigest()
        for one in message.fields:
            if one.tag not in _OF_THE_MESSAGE:
                digest.add([one.tag, *(line.rstrip() for line in one.lines)])
        id_field = message.first("20")
        return Statement(
            key=StatementKey(account, _plain_number(page), closed_on),
            id=id_field.lines[0].strip() if id_field else "",
            digest=digest.hex(),
            currency=currency,
            opening=opening.amount if opening else None,
            closing=closing.amount if closing else None,
            first_day=opening.day.isoformat() if opening else min(days).isoformat() if days else closed_on,
            last_day=closed_on,
            entries=entries,
        )

    def record(self, statement: Statement, entry: _Field, details: _Field | None) -> dict[str, Any] | str:
        """One entry as nested values, or why it cannot be read."""
        match = self._entry(entry)
        value_day = _value_day(match["value"])
        entry_day: date | None = None
        if match["entry"] and match["entry"].strip():
            # In banks' calendars a month has 30 days: interest counts from the 30th of February, which no calendar has.
            near = value_day or _value_day(f"{match['value'][:4]}01")
            entry_day = _nearest(match["entry"], near) if near is not None else None
            if entry_day is None:
                return f"entry date {match['entry']} is no day of the calendar"
        booked = entry_day or value_day
        if booked is None:
            return f"value date {match['value']} is no day of the calendar, and there is no entry date"
        own, _, bank = match["rest"].partition("//")
        extra = " ".join(line.strip() for line in entry.lines[1:] if line.strip())
        if entry.lines[1:] and not bank and extra.startswith("//"):
            # The bank's reference did not fit on the line.
            bank, extra = extra.removeprefix("//"), ""
        signed = _SIGNS[match["mark"]] * _amount(match["amount"])
        currency = statement.currency
        return {
            "amount": format(signed, "f"),
            "currency": currency,
            "status": _STATUSES[match["mark"]],
            "event_time": booked.isoformat(),
            "reference": reference(own),
            "bank_reference": reference(bank),
            "type": match["type"].strip(),
            "mark": match["mark"],
            "funds_code": match["funds"],
            "value_date": value_day.isoformat() if value_day else None,
            "entry_date": entry_day.isoformat() if entry_day else None,
            "details": extra or None,
            "text": narrative(details.lines) if details else None,
            "account": statement.key.account,
            "statement": statement.key.number,
            "statement_id": statement.id or None,
        }

    def _entry(self, entry: _Field) -> re.Match[str]:
        match = _ENTRY.fullmatch(entry.lines[0])
        if match is None and len(entry.lines) > 1:
            # Some wrap the line before the amount.
            match = _ENTRY.fullmatch(entry.lines[0] + entry.lines[1])
            if match is not None:
                entry.lines[:2] = [entry.lines[0] + entry.lines[1]]
        if match is None:
            raise UnusableFileError(
                self._file,
                f"row {entry.row}",
                f":61:{entry.lines[0][:60]} cannot be read, so no balance can be checked",
                "value date, entry date, mark (C, D, RC, RD), amount with a comma, type, reference",
            )
        return match

    def _balance(self, message: _Message, *tags: str) -> _Balance | None:
        found = message.first(*tags)
        if found is None:
            return None
        match = _BALANCE.fullmatch(found.lines[0].strip())
        if match is None:
            raise UnusableFileError(
                self._file, f"row {found.row}", f":{found.tag}:{found.lines[0][:40]} is no balance", "C240131EUR1234,56"
            )
        sign = 1 if match["mark"] == "C" else -1
        return _Balance(match["currency"], sign * _amount(match["amount"]), self._day(match["day"], found.row))

    def _control(self, message: _Message, sums: dict[str, list[Any]], name: str) -> None:
        """:90C: and :90D: count the entries and sum them up."""
        for tag, side in (("90C", "C"), ("90D", "D")):
            found = message.first(tag)
            if found is None:
                continue
            match = _SUM.fullmatch(found.lines[0].strip())
            if match is None:
                raise UnusableFileError(self._file, f"row {found.row}", f":{tag}:{found.lines[0][:40]} is no sum")
            amount, count = sums[side]
            if int(match["count"]) != count or _amount(match["amount"]) != amount:
                raise UnusableFileError(
                    self._file,
                    name,
                    f":{tag}: says {match['count']} of {_amount(match['amount'])}, there are {count} of {amount}",
                )

    def _floor(self, message: _Message) -> str:
        found = message.first("34F")
        match = _CURRENCY.fullmatch(found.lines[0].strip()) if found else None
        if match is None:
            for tag in ("90C", "90D"):
                found = message.first(tag)
                said = _SUM.fullmatch(found.lines[0].strip()) if found else None
                if said:
                    return said["currency"]
        return match[1] if match else ""

    def _day(self, text: str, row: int) -> date:
        day = _value_day(text)
        if day is None:
            raise UnusableFileError(self._file, f"row {row}", f"{text[:6]!r} is no day of the calendar", "YYMMDD")
        return day


def _value_day(text: str) -> date | None:
    """A date as YYMMDD, None where the calendar has no such day."""
    try:
        year = int(text[:2])
        return date(year + (1900 if year >= CENTURY_SPLIT else 2000), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None


def _amount(text: str) -> Decimal:
    return Decimal(text.replace(",", ".").removesuffix("."))


def _plain_number(number: str) -> str:
    """`00012/001` as `12/1`: the same number, however it is filled up."""
    return "/".join(part.strip().lstrip("0") or "0" for part in number.split("/", 1))


def _nearest(text: str, value_day: date) -> date | None:
    """An entry date (MMDD) in the year that puts it nearest to the value date."""
    candidates: list[date] = []
    for year in (value_day.year - 1, value_day.year, value_day.year + 1):
        try:
            candidates.append(date(year, int(text[:2]), int(text[2:])))
        except ValueError:
            continue
    return min(candidates, key=lambda day: (abs(day - value_day), day), default=None) if candidates else None
