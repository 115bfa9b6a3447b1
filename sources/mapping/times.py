"""Times as sources write them, to milliseconds since 1970 in UTC. A text without a zone is read in the source's zone.

`milliseconds` is the definition, one text at a time. `read_times` does the usual forms by the column and asks it for
the rest, so both give the same.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from sources.config.times import MONTHS, WORD_FORMATS, pattern_of
from sources.mapping import texts
from sources.mapping.texts import shown

if TYPE_CHECKING:
    from sources.config.models import Time
    from wire.records import Records

EPOCH_DIGITS_MAX: Final = 24
"""The longest epoch time, in characters."""

OFFSET_HOURS_MAX: Final = 14
"""The largest offset of a zone from UTC, in hours and either direction."""

SHORT_YEARS_FROM: Final = 69
"""A year of two digits from here on is of the last century, as POSIX has it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXCEL_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - a workbook's days have no zone
_PER_MS: Final = {"epoch_s": Decimal("0.001"), "epoch_ms": Decimal(1), "epoch_us": Decimal(1000)}
_EXCEL_DAYS_MAX: Final = 2_958_466  # the first day after year 9999
_MOMENT_KINDS: Final = ("date", "datetime")
_DAY_MS: Final = 86_400_000
_ISO: Final = re.compile(
    r"(?P<year>[0-9]{4})-?(?P<month>[0-9]{2})-?(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,12}))?)?)?"
    r" ?(?P<offset>Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


class BadTimeError(ValueError):
    """A text that is no time in the configured format, with the reason as people should read it."""


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """A zone by its name of the IANA database, or by its offset as +05:30."""
    if name[0] in "+-":
        return _offset(name)
    return ZoneInfo(name)


def _offset(text: str) -> tzinfo:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > OFFSET_HOURS_MAX or minutes > 59:
        raise BadTimeError(f"{shown(text)} is no offset of a zone; right are -14:59 to +14:59")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(span if text[0] == "+" else -span)


def milliseconds(text: str, time: Time, arrival_ms: int) -> int:
    """The time that a text says, in milliseconds since 1970 in UTC. Raises BadTimeError.

    Args:
        text: as the record has it.
        time: how it is read. With `date_only` the start of the day in its zone.
        arrival_ms: when the record arrived, for a format without a year.
    """
    try:
        return _milliseconds(text.strip(), time, arrival_ms)
    except (OverflowError, InvalidOperation) as error:
        raise BadTimeError(f"{shown(text)} is beyond the years 1 to 9999") from error
    except BadTimeError:
        raise
    except ValueError as error:  # a letter that only looks like one of a month's name
        raise BadTimeError(f"{shown(text)} is no time: {error}") from error


def _milliseconds(text: str, time: Time, arrival_ms: int) -> int:
    if time.format in _PER_MS:
        stamp = _epoch(text, time.format)
        return _day_of(stamp, time) if time.date_only else stamp
    if time.format == "excel":
        moment = _excel(text)
        if moment is None:
            return _iso(text, time)
        return _placed(moment, None, time)
    if time.format == "iso":
        return _iso(text, time)
    return _patterned(text, time, arrival_ms)


def _epoch(text: str, form: str) -> int:
    if len(text) > EPOCH_DIGITS_MAX or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE]\+?[0-9]{1,2})?", text):
        raise BadTimeError(f"{shown(text)} is no number, as {form} needs")
    return int((Decimal(text) / _PER_MS[form]).to_integral_value(rounding="ROUND_FLOOR"))


def _excel(text: str) -> datetime | None:
    """A workbook's number of days; None for a text that is no number."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return None
    days = Decimal(text)
    if not 1 <= days < _EXCEL_DAYS_MAX:
        raise BadTimeError(f"{shown(text)} is no day of a workbook")
    if days < 61:
        # A workbook counts a 29th of February 1900, which there was not.
        days += 1
    # Workbooks keep days as floating point: a whole second comes as 0.99999 of it.
    return _EXCEL_EPOCH + timedelta(milliseconds=int((days * _DAY_MS).to_integral_value()))


def _iso(text: str, time: Time) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise BadTimeError(_why_not_iso(text))
    if match["hour"] is None and not time.date_only:
        raise BadTimeError(f"{shown(text)} has no time of day; say date_only: true if only the day counts")
    return _placed(*_moment(match.groupdict(), text), time)


def _why_not_iso(text: str) -> str:
    """What is wrong, with both readings of a date that could be two days."""
    match = re.match(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4})", text)
    if match is None:
        return f"{shown(text)} is no time of ISO 8601, as 2026-03-01T12:00:00Z"
    first, mark, second = int(match[1]), match[2], int(match[3])
    readings = [
        f"{match[4]}-{month:02}-{day:02} by %{form}"
        for day, month, form in (
            (first, second, f"d{mark}%m{mark}%Y"),
            (second, first, f"m{mark}%d{mark}%Y"),
        )
        if 1 <= month <= 12 and 1 <= day <= 31
    ]
    return f"{shown(text)} is no time of ISO 8601; it may be {' or '.join(readings) or 'no date at all'}: say format:"


def _patterned(text: str, time: Time, arrival_ms: int) -> int:
    pattern = pattern_of(time.format)
    match = re.fullmatch(pattern.regex.removeprefix("^").removesuffix("$"), text)
    if match is None:
        raise BadTimeError(f"{shown(text)} is not of the form {time.format}")
    parts = match.groupdict()
    if pattern.has_year:
        return _placed(*_moment(parts, text), time)
    return _nearest(parts, text, time, arrival_ms)


def _nearest(parts: dict[str, str | None], text: str, time: Time, arrival_ms: int) -> int:
    """The time in the year that puts it nearest to the arrival. The 29th of February is looked for where it is."""
    year = (_EPOCH + timedelta(milliseconds=arrival_ms)).year
    found: list[tuple[int, tuple[datetime, tzinfo | None]]] = []
    problem: BadTimeError | None = None
    for near in (year - 1, year, year + 1):
        try:
            moment = _moment({**parts, "year": str(near)}, text)
        except BadTimeError as error:
            problem = error
        else:
            found.append((abs(_roughly(*moment, time) - arrival_ms), moment))
    if not found:
        raise problem or BadTimeError(f"{shown(text)} is no time")
    # The calendar alone chooses: a time that the clocks jumped over does not become that of another year.
    return _placed(*min(found, key=lambda one: one[0])[1], time)


def _roughly(moment: datetime, zone: tzinfo | None, time: Time) -> int:
    """A time as it would be without changes of the clock, near enough to choose its year."""
    if zone is None and time.zone is not None:
        zone = zone_of(time.zone)
    return _stamp(moment.replace(tzinfo=zone or UTC))


def _moment(parts: dict[str, str | None], text: str) -> tuple[datetime, tzinfo | None]:
    """Date and time as written, and the zone that was written with them."""
    number = {name: int(value) for name, value in parts.items() if value and value.strip().isdigit()}
    year = number.get("year")
    if year is None:
        short = number["short_year"]
        year = short + (1900 if short >= SHORT_YEARS_FROM else 2000)
    name = parts.get("month_name")
    month = MONTHS.index(name[:3].lower()) + 1 if name else number.get("month", 1)
    hour = number.get("hour", 0)
    if "hour_of_twelve" in number:
        twelve = number["hour_of_twelve"]
        if not 1 <= twelve <= 12:
            raise BadTimeError(f"{shown(text)} is no time: hour {twelve} of twelve")
        hour = twelve % 12 + (12 if str(parts["half"]).lower() == "pm" else 0)
    fraction = (parts.get("fraction") or "").ljust(3, "0")[:3]
    second = number.get("second", 0)
    try:
        day = _day_number(year, number["day_of_year"]) if "day_of_year" in number else date(year, month, number["day"])
        moment = datetime(day.year, day.month, day.day, hour, number.get("minute", 0), second, int(fraction) * 1000)  # noqa: DTZ001 - the zone is put to it by _placed
    except ValueError as error:
        raise BadTimeError(f"{shown(text)} is no time: {error}") from error
    offset = parts.get("offset")
    return moment, None if offset is None else _offset(offset)


def _day_number(year: int, number: int) -> date:
    """A day by its number in the year, from 1. Raises ValueError."""
    day = date(year, 1, 1) + timedelta(days=number - 1)
    if day.year != year:
        raise ValueError(f"year {year} has no day {number}")
    return day


def _placed(moment: datetime, zone: tzinfo | None, time: Time) -> int:
    """A time as written, in the zone written with it or the source's."""
    if zone is not None:
        stamp = _stamp(moment.replace(tzinfo=zone))
        return _day_of(stamp, time) if time.date_only else stamp
    if time.zone is None:
        raise BadTimeError(f"{moment.isoformat()} has no zone; say zone: for the source's")
    if time.date_only:
        return _start_of_day(moment, zone_of(time.zone))
    return _stamp(_local(moment, zone_of(time.zone), time.fold))


def _local(moment: datetime, zone: tzinfo, fold: str) -> datetime:
    """A local time in its zone. Raises BadTimeError for one that clocks jumped over, or one that was twice."""
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise BadTimeError(f"{moment.isoformat()} does not exist in {zone}: the clocks were put forward")
    if fold == "reject":
        raise BadTimeError(f"{moment.isoformat()} was twice in {zone}: the clocks were put back")
    return second if fold == "later" else first


def _start_of_day(moment: datetime, zone: tzinfo) -> int:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight.replace(tzinfo=zone)
    # Where midnight was jumped over, the day begins when the clocks go on: the offset before the jump says when.
    if start.astimezone(UTC).astimezone(zone).date() != midnight.date():
        raise BadTimeError(
            f"{midnight.date().isoformat()} does not exist in {zone}: the clocks were put forward by a day"
        )
    return _stamp(start)


def _day_of(stamp: int, time: Time) -> int:
    """The start of the day in which a moment falls, in the source's zone."""
    zone = zone_of(time.zone or "UTC")
    local = (_EPOCH + timedelta(milliseconds=stamp)).astimezone(zone)
    return _start_of_day(local.replace(tzinfo=None), zone)


def _stamp(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment_text(stamp_ms: int) -> str:
    """A time in milliseconds since 1970 as ISO text, or as the number where no calendar has it."""
    try:
        return (_EPOCH + timedelta(milliseconds=stamp_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{stamp_ms} ms since 1970"


def read_times(records: Records, time: Time, arrivals_ms: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """Milliseconds since 1970 (Int64, null where there is none) and, by index, why a text is no time.

    `arrivals_ms` is Int64, when each record arrived. Raises BadPathError.
    """
    found = texts.read(records, time.value)
    wrong = dict(found.unlisted_problems())
    kinds = found.kind() if time.format not in WORD_FORMATS else None
    plain = found.text
    if kinds is not None and (moments := kinds.is_in(_MOMENT_KINDS).fill_null(value=False)).any():
        # What was a date in the record is written as ISO has it, which a pattern as %Y-%d-%m would read as another day.
        plain = texts.constant(None, len(plain)).zip_with(moments, plain)
    fast = _fast(plain, time)
    slow: dict[int, int] = {}
    rest = (fast.is_null() & found.text.is_not_null()).arg_true().to_list()
    kinds = found.kind() if rest and kinds is None else kinds
    known: dict[tuple[str, int, bool], int | str] = {}  # a batch's dates are few, and its arrivals often one
    for index in rest:
        key = found.text[index], arrivals_ms[index], kinds is not None and kinds[index] in _MOMENT_KINDS
        stamp = known.get(key)
        if stamp is None:
            stamp = known[key] = _careful(*key, time)
        if isinstance(stamp, str):
            wrong[index] = stamp
        else:
            slow[index] = stamp
    if slow:
        fast = fast.scatter(list(slow), list(slow.values()))
    return fast, wrong


def _careful(text: str, arrival_ms: int, is_moment: bool, time: Time) -> int | str:
    """Milliseconds, or why the text is no time. What was a date or a time in the record is no text of the format."""
    if is_moment:
        time = replace(time, format="iso")
    try:
        stamp = milliseconds(text, time, arrival_ms)
    except BadTimeError as error:
        return str(error)
    return f"{shown(text)} is beyond all limits" if abs(stamp) >= 1 << 62 else stamp


_PLAIN_ISO: Final = r"[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"  # after the year
_ZONED_ISO: Final = rf"^([0-9]{{4}}-{_PLAIN_ISO}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}}))$"
# The column's zones know clock changes of these years only.
_LOCAL_ISO: Final = rf"^((?:19[789][0-9]|20[0-9]{{2}})-{_PLAIN_ISO})$"


def _fast(text: pl.Series, time: Time) -> pl.Series:
    """The usual forms by the column; null for all else, and wherever a text needs a closer look."""
    nothing = texts.constant(None, len(text), pl.Int64())
    if time.date_only:
        return nothing
    if time.format in _PER_MS:
        digits = text.str.extract("^([0-9]{1,15})$", 1).cast(pl.Int64)  # times 1000 it stays within 64 bits
        return {"epoch_s": digits * 1000, "epoch_ms": digits, "epoch_us": digits // 1000}[time.format]
    iso = text if time.format == "iso" else _as_iso(text, time.format)
    if iso is None:
        return nothing
    frame = pl.DataFrame({"text": iso})
    zoned = (
        pl.col("text")
        .str.extract(_ZONED_ISO, 1)
        .str.replace("Z$", "+00:00")
        .str.replace(" ", "T")
        .str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.f%:z", strict=False)
        .dt.timestamp("us")
    )
    found = zoned
    if time.zone is not None and time.zone[0] not in "+-" and time.fold != "reject":
        side = {"earlier": "earliest", "later": "latest"}[time.fold]
        local = (
            pl.col("text")
            .str.extract(_LOCAL_ISO, 1)
            .str.replace(" ", "T")
            .str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S%.f", strict=False)
            .dt.replace_time_zone(time.zone, ambiguous=side, non_existent="null")  # type: ignore[arg-type]
            .dt.timestamp("us")
        )
        found = pl.coalesce(zoned, local)
    # Floored, so that a time before 1970 is cut like all others; a leap second is left to the careful way.
    leap = pl.col("text").str.contains(r":60(?:\.|Z|[+-]|$)")
    return frame.select(time=pl.when(~leap).then(found.floordiv(1000)))["time"]


@lru_cache(maxsize=64)
def _iso_template(form: str) -> tuple[str, tuple[str, ...]] | None:
    """A pattern's regular expression and its groups, where these are an ISO time's in another order; else None."""
    if form in WORD_FORMATS:
        return None
    pattern = pattern_of(form)
    needed = {"year", "month", "day", "hour", "minute"}
    if not needed <= pattern.groups or pattern.groups - needed - {"second", "fraction"}:
        return None
    return pattern.regex, tuple(sorted(pattern.groups))


def _as_iso(text: pl.Series, form: str) -> pl.Series | None:
    """Texts of a pattern written as ISO times, null where they are not of it; None: the pattern has other parts."""
    template = _iso_template(form)
    if template is None:
        return None
    regex, groups = template
    parts = pl.DataFrame({"text": text}).select(parts=pl.col("text").str.extract_groups(regex)).unnest("parts")

    def two(name: str) -> pl.Expr:
        return pl.col(name).str.strip_chars().str.zfill(2) if name in groups else pl.lit("00")

    pieces = [
        *(pl.col("year"), pl.lit("-"), two("month"), pl.lit("-"), two("day"), pl.lit("T")),
        *(two("hour"), pl.lit(":"), two("minute"), pl.lit(":"), two("second")),
    ]
    if "fraction" in groups:
        pieces += [pl.lit("."), pl.col("fraction")]
    return parts.select(iso=pl.concat_str(pieces))["iso"]
