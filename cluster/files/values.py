"""Text of a file to the values of an event, exactly: money by decimal arithmetic, times by integers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from schemas.events import AMOUNT_MINOR_MAX, EVENT_TIME_MIN_MS, ID_BYTES_MAX, Status
from schemas.money import CURRENCY_EXPONENTS

EVENT_TIME_MAX_MS = 4_102_444_800_000  # 2100-01-01: what lies beyond is a wrong unit, not a payment
TIME_UNITS = ("s", "ms", "us")

STATUS_WORDS: dict[str, Status] = {
    **{status.name: status for status in Status},
    "OK": Status.SUCCESS,
    "COMPLETED": Status.SUCCESS,
    "SETTLED": Status.SUCCESS,
    "POSTED": Status.SUCCESS,
    "DECLINED": Status.FAILED,
    "REJECTED": Status.FAILED,
    "ERROR": Status.FAILED,
    "REFUNDED": Status.REVERSED,
    "OPEN": Status.PENDING,
}


class BadValueError(ValueError):
    """A value that cannot be taken; the message says of which field and why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that a file brought as such: milliseconds since 1970 UTC."""

    ms: int

    def __str__(self) -> str:
        """ISO 8601 where the calendar reaches so far."""
        try:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ms)).isoformat()
        except OverflowError:
            return f"{self.ms} ms since 1970"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that a file has and that cannot be read, with the cause."""

    why: str

    def __str__(self) -> str:
        """What is kept of it among the rejects."""
        return f"unreadable ({self.why})"


def identifier(field: str, value: Any, *, trim: bool = False) -> str:
    """An id: 1 to ID_BYTES_MAX bytes of text without NUL, exactly as it stands unless `trim`."""
    if type(value) is str and 0 < len(value) <= ID_BYTES_MAX and value.isascii() and value.isprintable():
        text = value.strip() if trim else value  # nearly every id there is
        if text and not text.isspace():
            return text
    text = _text(field, value)
    if trim:
        text = text.strip()
    if not text.strip():
        raise BadValueError(f"{field} is empty")
    if isinstance(value, float | bool | dict | list):
        raise BadValueError(f"{field} {text[:40]!r} is no text and no whole number")
    if len(text.encode()) > ID_BYTES_MAX:
        raise BadValueError(f"{field} is longer than {ID_BYTES_MAX} bytes")
    if "\0" in text:
        raise BadValueError(f"{field} has a NUL")
    return text


_SCIENTIFIC = re.compile(r"[0-9](\.[0-9]+)?[eE]\+?[0-9]{1,3}")


def looks_rounded(text: str) -> bool:
    """Whether an id looks like a number that a spreadsheet has rounded: 1.23E+15 stands for many ids."""
    return _SCIENTIFIC.fullmatch(text) is not None


def _text(field: str, value: Any) -> str:
    """A value as text. Raises BadValueError for one that is none."""
    if isinstance(value, Unreadable):
        raise BadValueError(f"{field} cannot be read: {value.why}")
    text = "" if value is None else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValueError(f"{field} has half a character (a lone surrogate)") from None
    return text


def currency_code(value: Any) -> str:
    """An ISO 4217 code; case does not matter."""
    if type(value) is str and value in CURRENCY_EXPONENTS:
        return value
    text = _text("currency", value).strip().upper()
    if text not in CURRENCY_EXPONENTS:
        raise BadValueError(f"currency {text[:20]!r} is no currency of ISO 4217 with a minor unit")
    return text


def whole_minor(value: Any) -> int:
    """Minor units as they stand: a whole number."""
    number = _decimal("amount_minor", value)
    if number != number.to_integral_value():
        raise BadValueError(f"amount_minor {value!s} is not whole; if it is in major units, map it as `amount`")
    return _in_range(int(number))


def major_to_minor(value: Any, currency: str, *, decimal_comma: bool = False) -> int:
    """Major units to minor units, exactly: "12.30" EUR is 1230, "12.3" KWD is 12300, "12.5" JPY is refused.

    Never through a float: a float cannot hold 0.10.
    """
    if decimal_comma and isinstance(value, str):
        value = _with_point(value.strip())
    exponent = CURRENCY_EXPONENTS[currency]
    if type(value) is str and (usual := _USUAL.fullmatch(value)) is not None:  # nearly every amount there is
        whole, part = usual[1], usual[2] or ""
        if len(part) <= exponent:
            return _in_range(int(whole + part + "0" * (exponent - len(part))))
    number = _decimal("amount", value).scaleb(exponent, _EXACT)
    if number != number.to_integral_value():
        raise BadValueError(f"amount {value!s} has more decimals than {currency} has ({CURRENCY_EXPONENTS[currency]})")
    return _in_range(int(number))


_USUAL = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,4}))?")
AMOUNT_CHARACTERS_MAX = 100  # of an amount as text
_EXACT = Context(prec=2 * AMOUNT_CHARACTERS_MAX)
_GROUPED = re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+")
_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def _with_point(text: str) -> str:
    """A decimal comma as a point. A dot alone may be either kind of mark, and a guess could be off 1000-fold."""
    if "." in text:
        if not _GROUPED.fullmatch(text):
            raise BadValueError(f"amount {text[:40]!r} has a dot; with --decimal-comma write 1234,50 or 1.234,50")
        text = text.replace(".", "")
    return text.replace(",", ".")


def _decimal(field: str, value: Any) -> Decimal:
    if isinstance(value, float):
        raise BadValueError(f"{field} is a floating-point number, which cannot hold money exactly")
    text = _text(field, value).strip()
    if not text:
        raise BadValueError(f"{field} is empty")
    if len(text) > AMOUNT_CHARACTERS_MAX:
        raise BadValueError(f"{field} has more than {AMOUNT_CHARACTERS_MAX} characters")
    # Decimals that a file brought as such may print with an exponent; text is digits and a point, or no amount.
    if not isinstance(value, Decimal) and not _PLAIN.fullmatch(text):
        raise BadValueError(f"{field} {text[:40]!r} is not a number in plain digits")
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise BadValueError(f"{field} {text[:40]!r} is out of range")
    return number


def _in_range(amount_minor: int) -> int:
    if not 0 <= amount_minor <= AMOUNT_MINOR_MAX:
        raise BadValueError(f"amount of {amount_minor} minor units is not within 0 to {AMOUNT_MINOR_MAX}")
    return amount_minor


def status_of(value: Any, words: Mapping[str, Status]) -> Status:
    """A status by its word; case does not matter."""
    if type(value) is str and value in words:
        return words[value]
    text = _text("status", value).strip().upper()
    try:
        return words[text]
    except KeyError:
        raise BadValueError(f"status {text[:40]!r} is not known; name it with --status {text[:40]}=SUCCESS") from None


_WHOLE = re.compile(r"-?[0-9]{1,30}")


def time_ms(field: str, value: Any, unit: str = "ms") -> int:
    """A time as ms since 1970 UTC, from ISO 8601 text (UTC unless it says), a whole number in `unit`, or a datetime."""
    if isinstance(value, datetime):
        return _plausible(field, _from_datetime(value))
    if isinstance(value, date):
        return _plausible(field, _from_datetime(datetime(value.year, value.month, value.day, tzinfo=UTC)))
    if isinstance(value, Moment):
        return _plausible(field, value.ms)
    text = _text(field, value).strip()
    if not text:
        raise BadValueError(f"{field} is empty")
    if isinstance(value, float | bool):
        raise BadValueError(f"{field} {text[:40]!r} is no whole number")
    if _WHOLE.fullmatch(text):
        number = int(text)
        return _plausible(field, {"s": number * 1_000, "ms": number, "us": number // 1_000}[unit])
    try:
        return _plausible(field, _from_datetime(datetime.fromisoformat(text)))
    except (ValueError, OverflowError) as error:
        if isinstance(error, BadValueError):
            raise
        raise BadValueError(f"{field} {text[:40]!r} is neither ISO 8601 nor a whole number") from None


def _from_datetime(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _plausible(field: str, moment_ms: int) -> int:
    if not EVENT_TIME_MIN_MS <= moment_ms <= EVENT_TIME_MAX_MS:
        raise BadValueError(f"{field} {moment_ms} ms is not within the years 2000 to 2099; see --time-unit")
    return moment_ms
