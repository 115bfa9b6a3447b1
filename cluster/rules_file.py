"""Rules as people write them, in durations, major units and per cent, made exactly into what the API takes.

    match_window: 30s
    time_tolerance: 3d
    expected_sources: [CORE, GATEWAY, MOBILE]
    tolerances:
      EUR: {absolute: "0.05", percent: 0.1}
      default: {absolute: "0"}
    severity:
      kinds: {AMOUNT: medium}
      amounts: {EUR: {high: 10000, critical: 100000}}
    second_person_above: {EUR: 10000, default: 10000}

Durations and `tolerances` are as in `rules` of recon.yaml. `default` stands for every currency that is not named, in
its own major units. What is left out is as the API has it by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cache
from typing import Any, Final

import yaml

from schemas.events import AMOUNT_MINOR_MAX, DEFAULT_SOURCES, SOURCES_MAX
from schemas.money import CURRENCY_EXPONENTS, why_no_currency
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT
from schemas.verdicts import Break
from sources.config.grammar import MISSING, Choice, Exact, Found, Key, Keys, Listed, Named, Reading, Text
from sources.config.models import RulesConfig, ToleranceConfig
from sources.config.problems import InvalidConfigError, Problem
from sources.config.reading import RULES, TOLERANCE

FILE_BYTES_MAX: Final = 262_144
"""The largest file, in bytes: as much as the API takes in one request."""
LEVELS: Final = ("low", "medium", "high", "critical")
SECOND_PERSON_EXPONENT: Final = 2
"""Decimals in which the API counts the limit for a second person that has no currency of its own."""
_UNITS_MS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


@dataclass(frozen=True, slots=True)
class _Levels:
    """From which amount on a mismatch is high, and critical; major units."""

    high: Decimal
    critical: Decimal


def _currency(text: str) -> tuple[str, str] | None:
    if text == "default" or text in CURRENCY_EXPONENTS:
        return None
    return why_no_currency(text), "right are codes as EUR, and default"


def _levels(found: Found) -> _Levels:
    levels = _Levels(found.get("high", Decimal(0)), found.get("critical", Decimal(0)))
    if levels.critical < levels.high:
        found.wrong("critical", f"{levels.critical} is below high", "critical begins at high or above it")
    return levels


CURRENCY: Final = Text("a currency", check=_currency)
AMOUNTS: Final = Keys(
    cache(
        lambda: {
            "high": Key(Exact(), "in major units", required=True),
            "critical": Key(Exact(), "in major units", required=True),
        }
    ),
    _levels,
)
SEVERITY: Final = Keys(
    cache(
        lambda: {
            "kinds": Key(Named(Choice([kind.name for kind in Break]), Choice(LEVELS)), "how grave each kind is"),
            "amounts": Key(Named(CURRENCY, AMOUNTS), "from which amount on, by currency"),
        }
    ),
    lambda found: found,
)


def _build(found: Found) -> dict[str, Any]:
    tolerances = dict(found.get("tolerances", {}))
    default = tolerances.pop("default", ToleranceConfig())
    for code, one in tolerances.items():
        _check_decimals(found, "tolerances", code, one.absolute)
    rules = RulesConfig(
        found.get("match_window", MATCH_WINDOW_MS_DEFAULT),
        found.get("time_tolerance", TIME_TOLERANCE_MS_DEFAULT),
        tolerances,
        default,
    )
    sources = found.get("expected_sources", [source.name for source in DEFAULT_SOURCES])
    severity = found.get("severity")
    severities: dict[str, Any] = {}
    if severity is not None and severity.get("kinds"):
        severities["kinds"] = severity.get("kinds")
    if severity is not None and severity.get("amounts"):
        severities["amounts"] = _amounts(found, severity.get("amounts"))
    if found.get("second_person_above"):
        severities["second_person_above_minor"] = {
            code: _minor(
                found,
                "second_person_above",
                code,
                amount,
                SECOND_PERSON_EXPONENT if code == "default" else CURRENCY_EXPONENTS[code],
            )
            for code, amount in found.get("second_person_above").items()
        }
    body = rules.to_rule_set(tuple(sources)).to_json() if not found.reading.problems else {}
    return {**body, **({"severities": severities} if severities else {})}


def _amounts(found: Found, given: Mapping[str, _Levels]) -> dict[str, dict[str, int]]:
    """Levels by currency in minor units. A default in major units becomes one for each currency, by its decimals."""
    made = {}
    for code, exponent in CURRENCY_EXPONENTS.items():
        levels = given.get(code)
        if levels is not None:
            high = _minor(found, "severity", code, levels.high, exponent)
            critical = _minor(found, "severity", code, levels.critical, exponent)
        elif "default" in given:
            high, critical = (
                int(value.scaleb(exponent).to_integral_value(ROUND_CEILING))
                for value in (given["default"].high, given["default"].critical)
            )
        else:
            continue
        made[code] = {"high_minor": high, "critical_minor": critical}
    return made


def _minor(found: Found, name: str, code: str, amount: Decimal, exponent: int) -> int:
    """Minor units; an amount that has a part of one, or is too large, is a problem."""
    _check_decimals(found, name, code, amount, exponent)
    minor = int(amount.scaleb(exponent).to_integral_value(ROUND_FLOOR))
    if minor > AMOUNT_MINOR_MAX:
        found.wrong(name, f"{code}: {amount} is too large", f"right are at most {AMOUNT_MINOR_MAX} minor units")
    return minor


def _check_decimals(found: Found, name: str, code: str, amount: Decimal, exponent: int | None = None) -> None:
    decimals = CURRENCY_EXPONENTS.get(code, 0) if exponent is None else exponent
    if amount.scaleb(decimals) % 1:
        found.wrong(name, f"{code}: {amount} is part of a minor unit", f"{code} has {decimals} decimals")


DOCUMENT: Final = Keys(
    cache(
        lambda: {
            **{name: RULES.keys()[name] for name in ("match_window", "time_tolerance")},
            "tolerances": Key(Named(CURRENCY, TOLERANCE), "how far apart amounts may be, by currency, and `default`"),
            "expected_sources": Key(Listed(Text("a source"), high=SOURCES_MAX), "whose legs are waited for"),
            "severity": Key(SEVERITY, "how grave a mismatch is"),
            "second_person_above": Key(Named(CURRENCY, Exact()), "resolving more than this takes two, in major units"),
        }
    ),
    _build,
)


def body_of(text: str, file: str) -> dict[str, Any]:
    """The API's rules from a file in this form. Raises InvalidConfigError with all that is wrong, line by line.

    Args:
        text: YAML.
        file: the file's name, for errors.
    """
    if len(text) > FILE_BYTES_MAX:
        raise InvalidConfigError(file, [Problem(0, 0, "", f"is longer than {FILE_BYTES_MAX} bytes")])
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = f"is no YAML: {error.problem or error.context}"
        raise InvalidConfigError(file, [Problem(line, column, "", what)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidConfigError(file, [Problem(0, 0, "", f"is no YAML: {error}")]) from error
    if node is None:
        raise InvalidConfigError(file, [Problem(0, 0, "", "is empty", f"right are {', '.join(DOCUMENT.keys())}")])
    reading = Reading()
    body: Any = DOCUMENT.read(node, "", reading)
    if reading.problems or body is MISSING:
        raise InvalidConfigError(file, dict.fromkeys(reading.problems))
    made: dict[str, Any] = body
    return made


def file_of(body: Mapping[str, Any]) -> str:
    """Rules of the API as a file in this form, as YAML: `body_of` makes the same rules of it.

    A default in minor units is another amount in each currency, so it is written out by currency.
    """
    default = body["default_tolerance"]
    tolerances = {
        code: _tolerance(body["tolerances"].get(code, default), exponent)
        for code, exponent in CURRENCY_EXPONENTS.items()
        if code in body["tolerances"] or default["absolute_minor"]
    }
    severities = body["severities"]
    amounts = severities["amounts"]
    levels = {
        code: {
            "high": _major(one["high_minor"], exponent),
            "critical": _major(one["critical_minor"], exponent),
        }
        for code, exponent in CURRENCY_EXPONENTS.items()
        if (one := amounts.get(code, amounts.get("default"))) is not None
    }
    above = {
        code: _major(minor, SECOND_PERSON_EXPONENT if code == "default" else CURRENCY_EXPONENTS[code])
        for code, minor in severities["second_person_above_minor"].items()
    }
    document = {
        "match_window": _duration(body["match_window_ms"]),
        "time_tolerance": _duration(body["time_tolerance_ms"]),
        "expected_sources": list(body["expected_sources"]),
        "tolerances": {**tolerances, "default": _tolerance({"absolute_minor": 0, "bps": default["bps"]}, 0)},
        "severity": {"kinds": dict(severities["kinds"]), "amounts": levels},
        "second_person_above": above,
    }
    text: str = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120)
    return text


def _tolerance(one: Mapping[str, int], exponent: int) -> dict[str, str]:
    return {"absolute": _major(one["absolute_minor"], exponent), "percent": _major(one["bps"], 2)}


def _major(minor: int, exponent: int) -> str:
    """`5, 2` as `0.05`, by integer arithmetic."""
    whole, part = divmod(minor, 10**exponent)
    return f"{whole}.{part:0{exponent}d}" if exponent else str(whole)


def _duration(ms: int) -> str:
    return next(f"{ms // size}{unit}" for size, unit in _UNITS_MS if ms % size == 0)
