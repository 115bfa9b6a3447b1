"""Rule sets as data: what counts as agreement, from which arrival time on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import InvalidRulesError
from schemas.events import AMOUNT_MINOR_MAX
from schemas.money import CURRENCY_EXPONENTS, why_no_currency

MATCH_WINDOW_MS_DEFAULT = 30_000
TIME_TOLERANCE_MS_DEFAULT = 5_000
MATCH_WINDOW_MS_MAX = 7 * 86_400_000  # pending state is bounded by the window: a week is the longest we hold
TIME_TOLERANCE_MS_MAX = 366 * 86_400_000  # a leap year: what settles later than that is another payment
# No event is judged by rules that were read more than so long before it arrived. A version is activated twice as far
# ahead: that is counted from before the activation is committed, by another clock, and what is left is for both.
RULES_AGE_MS_MAX = 5_000
RULES_LEAD_MS = 2 * RULES_AGE_MS_MAX
# What the configuration of the sources says in a rule set's body, whoever drafted the rest.
CONFIGURED_KEYS = ("compared_attributes", "calendars", "row_sources")
TOLERANCE_BPS_MAX = 10_000  # basis points of the largest leg: 10,000 is 100 %


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart amounts may be: the larger of `absolute_minor` and `bps` basis points of the largest leg."""

    absolute_minor: int = 0
    bps: int = 0

    def allowed_minor(self, largest_minor: int) -> int:
        """Largest spread that still agrees, in minor units, rounded down."""
        return max(self.absolute_minor, largest_minor * self.bps // 10_000)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One version of the rules.

    A transaction is judged by the version that was in force at its first arrival, so that the log alone says which
    version applies, however late or often it is read.
    """

    version: int = 1
    effective_from_ms: int = 0
    match_window_ms: int = MATCH_WINDOW_MS_DEFAULT
    time_tolerance_ms: int = TIME_TOLERANCE_MS_DEFAULT
    default_tolerance: Tolerance = Tolerance()
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    expected_sources: tuple[str, ...] = ("CORE", "GATEWAY", "MOBILE")
    compared_attributes: tuple[str, ...] = ()  # names of attributes that must agree
    calendars: Mapping[str, str] = field(default_factory=dict)  # sources of whose times only the day counts: its zone
    row_sources: tuple[str, ...] = ()  # sources whose events are states of rows: the newest replaces the one before

    def __post_init__(self) -> None:
        """Refuse a rule set that could not be applied. Raises InvalidRulesError naming the field."""
        if self.version < 1:
            raise InvalidRulesError("version", "must be at least 1")
        if not 0 < self.match_window_ms <= MATCH_WINDOW_MS_MAX:
            raise InvalidRulesError("match_window_ms", f"must be 1 to {MATCH_WINDOW_MS_MAX} ms")
        if not 0 <= self.time_tolerance_ms <= TIME_TOLERANCE_MS_MAX:
            raise InvalidRulesError("time_tolerance_ms", f"must be 0 to {TIME_TOLERANCE_MS_MAX} ms")
        if not self.expected_sources or len(set(self.expected_sources)) != len(self.expected_sources):
            raise InvalidRulesError("expected_sources", "must name at least one source, each once")
        for currency, tolerance in {**self.tolerances, "default": self.default_tolerance}.items():
            if currency != "default" and currency not in CURRENCY_EXPONENTS:
                raise InvalidRulesError("tolerances", why_no_currency(currency))
            if not 0 <= tolerance.absolute_minor <= AMOUNT_MINOR_MAX or not 0 <= tolerance.bps <= TOLERANCE_BPS_MAX:
                raise InvalidRulesError(
                    "tolerances", f"{currency}: absolute_minor 0 to {AMOUNT_MINOR_MAX} and bps 0 to {TOLERANCE_BPS_MAX}"
                )

    def tolerance(self, currency: str) -> Tolerance:
        """The tolerance for a currency, or the default one."""
        return self.tolerances.get(currency, self.default_tolerance)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as stored in `rule_sets.body` (version and effective_from_ms are columns of their own)."""
        return {
            "match_window_ms": self.match_window_ms,
            "time_tolerance_ms": self.time_tolerance_ms,
            "default_tolerance": {
                "absolute_minor": self.default_tolerance.absolute_minor,
                "bps": self.default_tolerance.bps,
            },
            "tolerances": {
                currency: {"absolute_minor": tolerance.absolute_minor, "bps": tolerance.bps}
                for currency, tolerance in sorted(self.tolerances.items())
            },
            "expected_sources": list(self.expected_sources),
            **self._of_sources(),
        }

    def _of_sources(self) -> dict[str, Any]:
        """What only configured sources have; left out where there is none."""
        told = (list(self.compared_attributes), dict(sorted(self.calendars.items())), list(self.row_sources))
        return {name: value for name, value in zip(CONFIGURED_KEYS, told, strict=True) if value}

    @classmethod
    def from_json(cls, version: int, effective_from_ms: int, body: Mapping[str, Any]) -> RuleSet:
        """The inverse of `to_json`; unknown keys are ignored. Raises InvalidRulesError for values out of range."""
        default = body.get("default_tolerance", {})
        return cls(
            version=version,
            effective_from_ms=effective_from_ms,
            match_window_ms=int(body.get("match_window_ms", MATCH_WINDOW_MS_DEFAULT)),
            time_tolerance_ms=int(body.get("time_tolerance_ms", TIME_TOLERANCE_MS_DEFAULT)),
            default_tolerance=Tolerance(int(default.get("absolute_minor", 0)), int(default.get("bps", 0))),
            tolerances={
                currency: Tolerance(int(value.get("absolute_minor", 0)), int(value.get("bps", 0)))
                for currency, value in body.get("tolerances", {}).items()
            },
            expected_sources=tuple(body.get("expected_sources", ("CORE", "GATEWAY", "MOBILE"))),
            compared_attributes=tuple(body.get("compared_attributes", ())),
            calendars=dict(body.get("calendars", {})),
            row_sources=tuple(body.get("row_sources", ())),
        )


class Rulebook:
    """All active rule sets, by the arrival time from which each is in force."""

    def __init__(self, rule_sets: Sequence[RuleSet]) -> None:
        """Order the versions by effective_from_ms. Raises InvalidRulesError when none covers time 0."""
        self.rule_sets = tuple(sorted(rule_sets, key=lambda rules: (rules.effective_from_ms, rules.version)))
        if not self.rule_sets or self.rule_sets[0].effective_from_ms > 0:
            raise InvalidRulesError("effective_from_ms", "the first rule set must be in force from 0")

    def at(self, first_arrival_ms: int) -> RuleSet:
        """The rule set for a transaction first seen at `first_arrival_ms`."""
        chosen = self.rule_sets[0]
        for rules in self.rule_sets:
            if rules.effective_from_ms <= first_arrival_ms:
                chosen = rules
        return chosen

    @property
    def row_sources(self) -> frozenset[str]:
        """Sources whose events are states of rows. A source is that for good, so that every version's names count."""
        return frozenset(name for rules in self.rule_sets for name in rules.row_sources)

    @property
    def newest_version(self) -> int:
        """The highest version number in the book."""
        return max(rules.version for rules in self.rule_sets)
