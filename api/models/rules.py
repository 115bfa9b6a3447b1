"""Rule sets: versions, drafts, backtests, activation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.models.common import Body, BreakName, Millis, Minor, Money, SeverityName, Shape, TimeBound, VerdictName
from schemas.rules import MATCH_WINDOW_MS_MAX, RULES_LEAD_MS, TIME_TOLERANCE_MS_MAX

BACKTEST_ROWS_MAX = 100_000

CurrencyKey = Annotated[str, Field(pattern=r"^([A-Z]{3}|default)$")]
AmountMinor = Annotated[int, Field(ge=0, le=10**15)]


class ToleranceShape(Body):
    """How far amounts may be apart: the larger of the two."""

    absolute_minor: AmountMinor = 0
    bps: Annotated[int, Field(ge=0, le=10_000, description="Basis points of the largest leg; 100 is 1 %.")] = 0


class AmountLevels(Body):
    """From which amount on a mismatch is at least high, and critical."""

    high_minor: AmountMinor
    critical_minor: AmountMinor


KINDS_DEFAULT: dict[BreakName, SeverityName] = {
    "CONFLICT": "high",
    "DUPLICATE": "high",
    "AMOUNT": "medium",
    "CURRENCY": "high",
    "STATUS": "medium",
    "TIMESTAMP": "low",
    "ATTRIBUTE": "medium",
    "MISSING": "medium",
}


class Severities(Body):
    """How grave a mismatch is: the graver of its worst kind and its amount."""

    kinds: dict[BreakName, SeverityName] = Field(default_factory=lambda: dict(KINDS_DEFAULT))
    amounts: dict[CurrencyKey, AmountLevels] = Field(
        default_factory=lambda: {"default": AmountLevels(high_minor=1_000_000, critical_minor=10_000_000)},
        max_length=200,
        description="By currency; `default` for the rest.",
    )
    second_person_above_minor: dict[CurrencyKey, AmountMinor] = Field(
        default_factory=lambda: {"default": 1_000_000},
        max_length=200,
        description="Resolving above this needs a second person. By currency; `default` for the rest, as minor units "
        "of a currency with two decimals: 1000000 is 10,000 whole units of each.",
    )


class RulesBody(Body):
    """The rules themselves."""

    match_window_ms: Annotated[int, Field(ge=1, le=MATCH_WINDOW_MS_MAX)] = 30_000
    time_tolerance_ms: Annotated[int, Field(ge=0, le=TIME_TOLERANCE_MS_MAX)] = 5_000
    default_tolerance: ToleranceShape = ToleranceShape()
    tolerances: dict[CurrencyKey, ToleranceShape] = Field(default_factory=dict, max_length=200)
    expected_sources: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=lambda: ["CORE", "GATEWAY", "MOBILE"], min_length=1, max_length=15
    )
    severities: Severities = Severities()


class RuleSetView(Shape):
    """One version of the rules."""

    version: int
    state: Literal["draft", "active", "retired"]
    in_force: bool = Field(description="True for the version that judges a transaction arriving now.")
    effective_from: Millis | None
    body: RulesBody
    note: str
    created_by: str
    created_at: Millis
    activated_by: str | None


class RuleSetList(Shape):
    """All versions, newest first."""

    items: list[RuleSetView]
    lead_ms: int = Field(default=RULES_LEAD_MS, description="Earliest activation, from now.")


class RuleDraft(Body):
    """A new version; it changes nothing until a second person activates it."""

    body: RulesBody
    note: Annotated[str, Field(max_length=500)] = ""


class BacktestRequest(Body):
    """Which stored transactions to judge again: final ones, newest first."""

    since: TimeBound | None = None
    until: TimeBound | None = None
    rows_max: Annotated[int, Field(ge=1, le=BACKTEST_ROWS_MAX)] = 20_000


class Flip(Shape):
    """Transactions that would change sides."""

    was: VerdictName
    would_be: VerdictName
    count: int
    amounts: list[Money]


class FlipExample(Shape):
    """One transaction that would change."""

    txn_id: str
    was: VerdictName
    would_be: VerdictName
    was_breaks: list[BreakName]
    would_be_breaks: list[BreakName]
    currency: str
    amount_minor: Minor
    spread_minor: Minor


class BacktestReport(Shape):
    """What the draft would have said of stored history."""

    version: int
    compared_with: str = "the stored results, each by the version that judged it"
    transactions: int
    since: Millis | None = Field(description="Decision time of the oldest transaction judged.")
    until: Millis | None
    complete: bool = Field(description="False when `rows_max` cut the range short.")
    unchanged: int
    flips: list[Flip]
    breaks_before: dict[str, int]
    breaks_after: dict[str, int]
    examples: list[FlipExample] = Field(
        description="At most 50, the largest first: by worth where rates are set, else of each currency in turn."
    )
    took_ms: int


class Activation(Body):
    """When a draft takes over."""

    effective_from: TimeBound | None = Field(
        default=None, description=f"Arrival time at the broker; at least {RULES_LEAD_MS} ms ahead, and that by default."
    )
