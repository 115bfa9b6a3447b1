"""Time zones and format patterns: checked when a configuration is read, so that no record meets a wrong one."""

from __future__ import annotations

import functools
import re
import zoneinfo
from dataclasses import dataclass
from typing import Final

from sources.config.problems import closest

WORD_FORMATS: Final = ("iso", "epoch_s", "epoch_ms", "epoch_us", "excel")
"""Formats that are words; all others are patterns with % directives."""

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ABBREVIATION_MAX: Final = 5
"""The longest abbreviation of a zone, in letters."""

_LONG: Final = "january|february|march|april|may|june|july|august|september|october|november|december"
_OFFSET: Final = re.compile(r"[+-](0[0-9]|1[0-4]):[0-5][0-9]")

# Directive -> group name, pattern, pattern where digits follow or precede without a mark between.
_DIRECTIVES: Final[dict[str, tuple[str, str, str]]] = {
    "Y": ("year", "[0-9]{4}", "[0-9]{4}"),
    "y": ("short_year", "[0-9]{2}", "[0-9]{2}"),
    "m": ("month", "[0-9]{1,2}", "[0-9]{2}"),
    "d": ("day", "[0-9]{1,2}", "[0-9]{2}"),
    "e": ("day", " ?[0-9]{1,2}", "[ 0-9][0-9]"),
    "j": ("day_of_year", "[0-9]{1,3}", "[0-9]{3}"),
    "H": ("hour", "[0-9]{1,2}", "[0-9]{2}"),
    "I": ("hour_of_twelve", "[0-9]{1,2}", "[0-9]{2}"),
    "M": ("minute", "[0-9]{1,2}", "[0-9]{2}"),
    "S": ("second", "[0-9]{1,2}", "[0-9]{2}"),
    "f": ("fraction", "[0-9]{1,9}", "[0-9]{1,9}"),
    "p": ("half", "(?i:AM|PM)", "(?i:AM|PM)"),
    "b": ("month_name", "(?i:" + "|".join(MONTHS) + ")", ""),
    "h": ("month_name", "(?i:" + "|".join(MONTHS) + ")", ""),
    "B": ("month_name", f"(?i:{_LONG})", ""),
    "a": ("", "(?i:mon|tue|wed|thu|fri|sat|sun)", ""),
    "A": ("", "(?i:monday|tuesday|wednesday|thursday|friday|saturday|sunday)", ""),
    "z": ("offset", "(?:Z|[+-][0-9]{2}:?[0-9]{2})", "(?:Z|[+-][0-9]{2}:?[0-9]{2})"),
}
_LONGHAND: Final = {"T": "%H:%M:%S", "F": "%Y-%m-%d", "R": "%H:%M"}
_NUMERIC: Final = frozenset("YymdejHIMSf")
_INSTEAD: Final = {
    "s": "right are the formats epoch_s, epoch_ms and epoch_us",
    "Z": "names of zones are ambiguous (IST, CST); say zone: and leave the name to extract",
    "D": "%D is month first; write %m/%d/%y or %d/%m/%y",
    "c": "it depends on a locale; write the directives out",
    "x": "it depends on a locale; write the directives out",
    "X": "it depends on a locale; write the directives out",
}


class BadFormatError(ValueError):
    """A pattern that cannot be used; `right` says what would be."""

    def __init__(self, what: str, right: str = "") -> None:
        self.what = what
        self.right = right
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A format as a regular expression with named groups, and what it tells."""

    regex: str
    groups: frozenset[str]

    @property
    def has_year(self) -> bool:
        """Whether it tells the year."""
        return bool(self.groups & {"year", "short_year"})

    @property
    def has_time(self) -> bool:
        """Whether it tells the time of day."""
        return bool(self.groups & {"hour", "hour_of_twelve"})


@functools.lru_cache(maxsize=256)
def pattern_of(text: str) -> Pattern:
    """A format's pattern. Raises BadFormatError for directives that are unknown, missing, twice or ambiguous."""
    text = re.sub("%([TFR])", lambda match: _LONGHAND[match[1]], text)
    parts = re.findall(r"%-?.|[^%]|%$", text, re.DOTALL)
    regex, seen = "", []
    for index, part in enumerate(parts):
        if not part.startswith("%") or part == "%%":
            regex += re.escape(part[-1])
            continue
        letter = part[-1]
        if part == "%" or letter not in _DIRECTIVES:
            known = " ".join("%" + one for one in _DIRECTIVES)
            raise BadFormatError(f"{part} is no directive that can be read", _INSTEAD.get(letter, f"right are {known}"))
        name, wide, tight = _DIRECTIVES[letter]
        beside = [*parts[max(0, index - 1) : index], *parts[index + 1 : index + 2]]
        is_beside_digits = any(
            (one.startswith("%") and one[-1] in _NUMERIC) or (len(one) == 1 and one.isdigit()) for one in beside
        )
        pattern = tight if letter in _NUMERIC and is_beside_digits else wide
        if name in seen:
            raise BadFormatError(f"{part} tells the {name} a second time")
        regex += f"(?P<{name}>{pattern})" if name else pattern
        seen.extend([name] if name else [])
    groups = frozenset(seen)
    _complete(groups)
    return Pattern(f"^{regex}$", groups)


def _complete(groups: frozenset[str]) -> None:
    if "year" in groups and "short_year" in groups:
        raise BadFormatError("it tells the year twice", "right is %Y or %y")
    if "month" in groups and "month_name" in groups:
        raise BadFormatError("it tells the month twice", "right is %m or %b")
    if "day_of_year" not in groups and not ("day" in groups and groups & {"month", "month_name"}):
        raise BadFormatError("it tells no day", "right are %d with %m or %b, or %j")
    if "day_of_year" in groups and groups & {"day", "month", "month_name"}:
        raise BadFormatError("it tells the day twice", "right is %j, or %d with %m")
    if ("hour_of_twelve" in groups) != ("half" in groups):
        raise BadFormatError("%I and %p need each other: 5 may be morning or afternoon", "right are %H, or %I with %p")
    if {"hour", "hour_of_twelve"} <= groups:
        raise BadFormatError("it tells the hour twice", "right is %H, or %I with %p")
    if groups & {"minute", "second", "fraction"} and not groups & {"hour", "hour_of_twelve"}:
        raise BadFormatError("it tells minutes and no hour", "right is %H:%M")
    if groups & {"second", "fraction"} and "minute" not in groups:
        raise BadFormatError("it tells seconds and no minutes", "right is %H:%M:%S")


@functools.lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of all zones of the IANA database, without those that mean this machine's or none."""
    return frozenset(zoneinfo.available_timezones()) - {"Factory", "localtime", "posixrules"}


def check_zone(text: str) -> tuple[str, str] | None:
    """What is wrong with a zone's name, and what is right; None when it is one."""
    if text in zones() or _OFFSET.fullmatch(text):
        return None
    # An abbreviation is no typing mistake: IST is India's, Israel's and Ireland's, and close to MST.
    near = "" if text.isupper() and len(text) <= ABBREVIATION_MAX else closest(text, zones())
    places = [zone for zone in zones() if zone.rpartition("/")[2].casefold() == text.casefold()]
    right = f"did you mean {min(places)}?" if places else near
    return f"{text!r} is no time zone of the IANA database", right or "right are names as Asia/Kolkata, or +05:30"
