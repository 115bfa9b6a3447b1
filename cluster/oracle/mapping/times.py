"""Times as sources write them, to ms since 1970 in UTC.

A time without a zone is read in the source's. How a local time becomes a moment is worked out the slow way: by trying
the offsets that hold around it, and asking the zone what its clocks show then.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

from cluster.oracle.mapping.configuration import Time

DAY_MS = 86_400_000
EPOCH_CHARACTERS_MAX = 24
OFFSET_HOURS_MAX = 14
CENTURY_TURN = 69  # years of two digits: from 69 on those of 19xx, as POSIX has it
PER_SECOND = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times and those of UTC are both counted from it
EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a workbook's days have no zone
EXCEL_DAYS = range(1, 2_958_466)  # up to the end of the year 9999
EXCEL_LEAP_DAY = 60  # a workbook counts the 29th of February 1900, which there was not
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONG_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

ISO = re.compile(
    r"(?P<Y>[0-9]{4})-?(?P<m>[0-9]{2})-?(?P<d>[0-9]{2})"
    r"([T ](?P<H>[0-9]{2})(:?(?P<M>[0-9]{2})(:?(?P<S>[0-9]{2})([.,](?P<f>[0-9]{1,12}))?)?)?"
    r" ?(?P<z>[Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
LONGHAND = {"%T": "%H:%M:%S", "%F": "%Y-%m-%d", "%R": "%H:%M"}
# Directives of digits: the fewest and the most, and how many where other digits stand right beside.
DIGITS = {
    **dict.fromkeys("mdHIMS", (1, 2, 2)),
    "Y": (4, 4, 4),
    "y": (2, 2, 2),
    "j": (1, 3, 3),
}
WORDS = {"b": MONTHS, "h": MONTHS, "B": LONG_MONTHS, "a": DAYS, "A": LONG_DAYS, "p": ("am", "pm")}
SAME_PART = {"e": "d", "h": "b", "B": "b"}
UNUSED = {"a", "A"}  # the day of the week follows from the date
OF_DIGITS = {*DIGITS, "e", "f"}


class NotATime(ValueError):  # noqa: N818 - a verdict on a text, not an error of ours
    """The text is no time in the configured format, or none that can be placed."""


def milliseconds(text: str, time: Time, arrival_ms: int) -> int:
    """The time that a text says; with `date_only` the start of that day. Raises NotATime.

    `arrival_ms` is the record's arrival: a time without a year is of the year that puts it nearest to it.
    """
    try:
        return _milliseconds(text.strip(), time, arrival_ms)
    except (OverflowError, ValueError) as error:
        raise error if isinstance(error, NotATime) else NotATime(str(error)) from error


def _milliseconds(text: str, time: Time, arrival_ms: int) -> int:
    if time.form in PER_SECOND:
        stamp = _since_epoch(text, PER_SECOND[time.form])
        return _start_of_day_at(stamp, time) if time.date_only else stamp
    if time.form == "excel" and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return _placed(_excel(text), None, time)
    if time.form in {"iso", "excel"}:
        match = ISO.fullmatch(text)
        if match is None:
            raise NotATime(f"{text[:64]!r} is no time of ISO 8601")
        if match["H"] is None and not time.date_only:
            raise NotATime("no time of day")
        return _written(match.groupdict(), time)
    match = re.fullmatch(pattern(time.form), text)
    if match is None:
        raise NotATime(f"{text[:64]!r} is not of the form {time.form}")
    parts = match.groupdict()
    return _written(parts, time) if {"Y", "y"} & set(parts) else _nearest(parts, time, arrival_ms)


def _since_epoch(text: str, per_second: int) -> int:
    number = re.fullmatch(r"(-?[0-9]+)(?:\.([0-9]+))?(?:[eE]\+?([0-9]{1,2}))?", text)
    if number is None or len(text) > EPOCH_CHARACTERS_MAX:
        raise NotATime(f"{text[:64]!r} is no number")
    whole, fraction, exponent = number.groups(default="")
    count = Fraction(int(whole + fraction) * 10 ** int(exponent or 0), 10 ** len(fraction))
    return int(count * 1000 / per_second // 1)


def _excel(text: str) -> datetime:
    """The moment of a workbook's number of days, to the nearest ms: workbooks keep days as floating point."""
    days = Fraction(text)
    if int(days) not in EXCEL_DAYS:
        raise NotATime(f"{text[:64]!r} is no day of a workbook")
    if days < EXCEL_LEAP_DAY + 1:
        days += 1
    return EXCEL_EPOCH + timedelta(milliseconds=round(days * DAY_MS))


def pattern(form: str) -> str:
    """A format as a regular expression; the group of each directive has its letter."""
    for short, long in LONGHAND.items():
        form = form.replace(short, long)
    parts = re.findall("%-?[A-Za-z%]|.", form, re.DOTALL)
    regex = ""
    for index, part in enumerate(parts):
        letter = part[-1]
        if len(part) == 1 or letter == "%":
            regex += re.escape(letter)
            continue
        neighbours = [*parts[max(index - 1, 0) : index], *parts[index + 1 : index + 2]]
        is_tight = any(one.isdigit() if len(one) == 1 else one[-1] in OF_DIGITS for one in neighbours)
        name = "?:" if letter in UNUSED else f"?P<{SAME_PART.get(letter, letter)}>"
        regex += f"({name}{_directive(letter, is_tight=is_tight)})"
    return regex


def _directive(letter: str, *, is_tight: bool) -> str:
    if letter in DIGITS:
        fewest, most, beside = DIGITS[letter]
        return f"[0-9]{{{beside}}}" if is_tight else f"[0-9]{{{fewest},{most}}}"
    if letter in WORDS:
        return f"(?ai:{'|'.join(WORDS[letter])})"
    return {
        "e": "[ 0-9][0-9]" if is_tight else " ?[0-9]{1,2}",
        "f": "[0-9]{1,9}",
        "z": "Z|[+-][0-9]{2}:?[0-9]{2}",
    }[letter]


def _written(parts: dict[str, str | None], time: Time) -> int:
    """The time of parts that tell the year."""
    return _placed(_moment(parts, _year(parts)), _offset(parts.get("z")), time)


def _nearest(parts: dict[str, str | None], time: Time, arrival_ms: int) -> int:
    """The time of parts without a year, in the year that puts it nearest to the arrival.

    The year is chosen by the calendar alone: a day that only a leap year has is looked for in the years around, but a
    time that the clocks jumped over does not become that of another year.
    """
    offset = _offset(parts.get("z"))
    middle = (EPOCH + timedelta(milliseconds=arrival_ms)).year
    found: list[tuple[int, datetime]] = []
    for year in (middle - 1, middle, middle + 1):
        try:
            moment = _moment(parts, year)
        except ValueError:
            continue
        found.append((abs(_roughly(moment, offset, time) - arrival_ms), moment))
    if not found:
        raise NotATime("no such day in the years around the arrival")
    return _placed(min(found)[1], offset, time)


def _roughly(moment: datetime, offset: tzinfo | None, time: Time) -> int:
    """Where a time is put when one only wants to know which of several is nearest."""
    if offset is None and time.zone is not None:
        zone = zone_of(time.zone)
        if time.date_only:
            moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        candidates = _moments(moment, zone)
        if candidates:
            return candidates[-1 if time.fold == "later" else 0]
        return _ms(moment - EPOCH) - _offset_ms(zone, _ms(moment - EPOCH))
    return _ms(moment.replace(tzinfo=offset or UTC) - EPOCH.replace(tzinfo=UTC))


def _year(parts: dict[str, str | None]) -> int:
    if parts.get("Y"):
        return int(str(parts["Y"]))
    short = int(str(parts["y"]))
    return short + (1900 if short >= CENTURY_TURN else 2000)


def _moment(parts: dict[str, str | None], year: int) -> datetime:
    """Date and time as written. Raises ValueError for a day or time that there is not."""

    def number(name: str, absent: int) -> int:
        return int(parts.get(name) or absent)

    if "j" in parts:
        day = date(year, 1, 1) + timedelta(days=number("j", 0) - 1)
        if day.year != year:
            raise NotATime(f"{year} has no day {parts['j']}")
    else:
        name = parts.get("b")
        month = number("m", 1) if name is None else 1 + MONTHS.index(name[:3].lower())
        day = date(year, month, number("d", 1))
    hour = number("H", 0)
    if "I" in parts:
        if not 1 <= number("I", 0) <= 12:
            raise NotATime(f"hour {parts['I']} of twelve")
        hour = number("I", 0) % 12 + (12 if str(parts["p"]).lower() == "pm" else 0)
    fraction = int((parts.get("f") or "0").ljust(3, "0")[:3])  # cut to ms
    return datetime(day.year, day.month, day.day, hour, number("M", 0), number("S", 0), fraction * 1000)  # noqa: DTZ001


def _offset(text: str | None) -> tzinfo | None:
    """A written offset. Raises NotATime for one that no zone has."""
    if text is None:
        return None
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > OFFSET_HOURS_MAX or minutes > 59:
        raise NotATime(f"{text} is no offset from UTC")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if text[0] == "-" else span)


def zone_of(name: str) -> tzinfo:
    """A zone by its name of the IANA database, or by its offset as +05:30."""
    return _offset(name) or UTC if name[0] in "+-" else ZoneInfo(name)


def _placed(moment: datetime, offset: tzinfo | None, time: Time) -> int:
    """A time as written, with the offset that was written beside it or else in the source's zone."""
    if offset is not None:
        stamp = _ms(moment.replace(tzinfo=offset) - EPOCH.replace(tzinfo=UTC))
        return _start_of_day_at(stamp, time) if time.date_only else stamp
    if time.zone is None:
        raise NotATime("no zone")
    zone = zone_of(time.zone)
    if time.date_only:
        return start_of_day(moment.date(), zone)
    found = _moments(moment, zone)
    if not found:
        raise NotATime(f"{moment} does not exist in {time.zone}")
    if len(found) > 1 and time.fold == "reject":
        raise NotATime(f"{moment} was twice in {time.zone}")
    return found[-1 if time.fold == "later" else 0]


def _moments(moment: datetime, zone: tzinfo) -> list[int]:
    """All moments, in ms, at which a zone's clocks show this: none where they jump over it, two where they go back."""
    local = _ms(moment - EPOCH)
    # No clock is more than a day away from UTC, so the offset that held is one of those of these two days.
    offsets = {_offset_ms(zone, local + hours * 3_600_000) for hours in range(-24, 25)}
    return sorted(local - offset for offset in offsets if _offset_ms(zone, local - offset) == offset)


def _offset_ms(zone: tzinfo, stamp: int) -> int:
    """How far a zone's clocks are ahead of UTC at a moment."""
    there = (EPOCH.replace(tzinfo=UTC) + timedelta(milliseconds=stamp)).astimezone(zone)
    return _ms(there.utcoffset() or timedelta())


def start_of_day(day: date, zone: tzinfo) -> int:
    """The first moment of a day in a zone. Where clocks jump over midnight, the day begins when they go on."""
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    for minute in range(24 * 60):
        found = _moments(midnight + timedelta(minutes=minute), zone)
        if found:
            return found[0]
    raise NotATime(f"{day} was left out in {zone}")


def _start_of_day_at(stamp: int, time: Time) -> int:
    """The first moment of the day in which a moment lies, in the source's zone."""
    zone = zone_of(time.zone or "UTC")
    return start_of_day((EPOCH.replace(tzinfo=UTC) + timedelta(milliseconds=stamp)).astimezone(zone).date(), zone)


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
