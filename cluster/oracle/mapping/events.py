"""The event that a mapping makes of a record, or the reason why it makes none.

When several fields are wrong, the reason is that of the first in this order: the transaction's id and what joins
events, event_id, currency, amount, status, event_time, account_id, original_txn_id, fee, attributes, and what
identifies the record where no event_id is mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cluster.oracle.mapping import amounts, identities, texts, times
from cluster.oracle.mapping.amounts import NotAnAmount
from cluster.oracle.mapping.bodies import Opened
from cluster.oracle.mapping.configuration import Amount, Fields, Source, Value
from cluster.oracle.mapping.currencies import code_of
from cluster.oracle.mapping.texts import Message, Unlisted
from cluster.oracle.mapping.times import NotATime
from cluster.oracle.records import LogRecord, Refused
from schemas.errors import DeadLetterReason
from schemas.events import (
    AMOUNT_MINOR_MAX,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    STATUS_NAMES,
    Status,
)


@dataclass(frozen=True, slots=True)
class Event:
    """What a source says of a transaction. `event_time` is in ms since 1970, amounts are minor units."""

    event_id: str
    txn_id: str
    amount_minor: int
    currency: str
    status: Status
    event_time: int
    account_id: str | None = None
    original_txn_id: str | None = None
    fee_minor: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)  # without those that are empty


def fits(source: Source, record: LogRecord, opened: Opened) -> bool:
    """Whether all conditions of a source hold of a record."""
    message = Message(record, opened.tree)
    return all((_text_or_default(message, one.value) in one.words) == one.wanted for one in source.where)


def make(source: Source, fields: Fields, key: tuple[str, ...], record: LogRecord, opened: Opened) -> Event:
    """The event of a record that fits its source. Raises Refused."""
    message = Message(record, opened.tree)
    txn_id = match_key(message, fields, key)
    event_id = _told_event_id(message, fields)
    currency = _currency(message, fields)
    amount = _amount(message, source, fields.amount, currency)
    if amount is None:
        raise Refused(DeadLetterReason.BAD_AMOUNT, "the amount is empty")
    status = _status(message, fields)
    event_time = _event_time(message, fields)
    account_id = _id(message, "account_id", fields.account_id)
    original_txn_id = _id(message, "original_txn_id", fields.original_txn_id)
    fee = None if fields.fee is None else _amount(message, source, fields.fee, currency)
    told = {name: _id(message, name, value) for name, value in fields.attributes.items()}
    return Event(
        event_id=_identity(source, record, opened) if event_id is None else event_id,
        txn_id=txn_id,
        amount_minor=amount,
        currency=currency,
        status=status,
        event_time=event_time,
        account_id=account_id,
        original_txn_id=original_txn_id,
        fee_minor=fee,
        attributes={name: text for name, text in told.items() if text is not None},
    )


def match_key(message: Message, fields: Fields, key: tuple[str, ...]) -> str:
    """What joins events: of the reconciliation's keys that the source maps, the first that is not empty."""
    mapped: dict[str, Value | None] = {
        "txn_id": fields.txn_id,
        "account_id": fields.account_id,
        "original_txn_id": fields.original_txn_id,
        **{f"attributes.{name}": value for name, value in fields.attributes.items()},
    }
    # Also where it joins nothing: a word that is in no list sets the record aside.
    _text(message, "txn_id", fields.txn_id)
    for name in [name for name in key if mapped.get(name) is not None] or ["txn_id"]:
        text = _text_or_default(message, mapped[name])
        if text is not None:
            if not text.strip(texts.BLANKS):  # it would join all records that have nothing there
                raise Refused(DeadLetterReason.BAD_ID, "key is blank")
            return _checked("key", text)
    raise Refused(DeadLetterReason.BAD_ID, f"{' and '.join(key)} empty")


def _text_or_default(message: Message, value: Value | None) -> str | None:
    """A value that only decides something: a word in no list is as good as none. A field refuses it in its own turn."""
    if value is None:
        return None
    try:
        return texts.read(message, value).text
    except Unlisted:
        return value.default


def _told_event_id(message: Message, fields: Fields) -> str | None:
    """The event's id, where the source maps one; then it must be there."""
    if fields.event_id is None:
        return None
    text = _id(message, "event_id", fields.event_id)
    if text is None:
        raise Refused(DeadLetterReason.BAD_ID, "event_id is empty")
    return text


def _identity(source: Source, record: LogRecord, opened: Opened) -> str:
    """What identifies an event beside its fields: its row, what its envelope says, or its place in the log."""
    told = identities.of_row(record, source.form) if source.identity == "row" else opened.identity
    return identities.of_place(record) if told is None else _checked("event_id", told)


def _currency(message: Message, fields: Fields) -> str:
    try:
        text = texts.read(message, fields.currency).text
    except Unlisted as error:
        raise Refused(DeadLetterReason.UNKNOWN_CURRENCY, f"currency {error}") from error
    code = code_of(text)
    if code is None:
        raise Refused(DeadLetterReason.UNKNOWN_CURRENCY, f"currency {text}")
    return code


def _amount(message: Message, source: Source, amount: Amount, currency: str) -> int | None:
    try:
        minor = amounts.read(message, amount, currency)
    except (NotAnAmount, Unlisted) as error:
        raise Refused(DeadLetterReason.BAD_AMOUNT, str(error)) from error
    least = -AMOUNT_MINOR_MAX if source.negative else 0
    if minor is not None and not least <= minor <= AMOUNT_MINOR_MAX:
        raise Refused(DeadLetterReason.BAD_AMOUNT, f"{minor} minor units")
    return minor


def _status(message: Message, fields: Fields) -> Status:
    try:
        text = texts.read(message, fields.status).text
    except Unlisted as error:
        raise Refused(DeadLetterReason.MALFORMED, f"status {error}") from error
    if text not in STATUS_NAMES:
        raise Refused(DeadLetterReason.MALFORMED, f"status {text}")
    return Status[text]


def _event_time(message: Message, fields: Fields) -> int:
    arrival = message.record.arrival
    try:
        found = texts.read(message, fields.event_time.value)
        how = replace(fields.event_time, form="iso") if found.is_day else fields.event_time
        stamp = None if found.text is None else times.milliseconds(found.text, how, arrival)
    except (NotATime, Unlisted) as error:
        raise Refused(DeadLetterReason.ABSURD_TIME, str(error)) from error
    if stamp is None or not EVENT_TIME_MIN_MS <= stamp <= arrival + EVENT_TIME_LEAD_MAX_MS:
        raise Refused(DeadLetterReason.ABSURD_TIME, f"event_time {stamp}")
    return stamp


def _text(message: Message, name: str, value: Value | None) -> str | None:
    if value is None:
        return None
    try:
        return texts.read(message, value).text
    except Unlisted as error:
        raise Refused(DeadLetterReason.BAD_ID, f"{name} {error}") from error


def _id(message: Message, name: str, value: Value | None) -> str | None:
    text = _text(message, name, value)
    return None if text is None else _checked(name, text)


def _checked(name: str, text: str) -> str:
    if not 0 < len(text.encode()) <= ID_BYTES_MAX or "\0" in text:
        raise Refused(DeadLetterReason.BAD_ID, f"{name} is not 1 to {ID_BYTES_MAX} bytes of text without NUL")
    return text
