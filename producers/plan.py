"""What a run of the simulators is asked to do: rate, length, shares of breaks, and the rules it plans around."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.events import DEFAULT_SOURCES, SourceSpec
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT

SHARE_DEFAULT = 0.005  # of all transactions, for each kind named without a share
RATE_MAX = 1_000_000.0  # transactions per second; above it the pacing arithmetic in whole milliseconds means nothing
SOURCES_MIN = 2  # with one source there is nothing to disagree with
TRANSACTIONS_MAX = 1_000_000_000
LATE_MARGIN_MS_DEFAULT = 2_000  # a late event leaves this long after the window: more than any delivery jitter


class Plant(enum.StrEnum):
    """What can be planted into a transaction, at most one each, so that every finding has one cause."""

    AMOUNT = "amount"  # one source reports another amount
    CURRENCY = "currency"  # one source reports another currency
    STATUS = "status"  # one source reports FAILED where the others succeeded
    STUCK = "stuck"  # one source stays PENDING past the window
    TIMESTAMP = "timestamp"  # one source's clock is off by more than the tolerance
    MISSING = "missing"  # one source never reports
    LATE = "late"  # one source reports after the window, in agreement
    DUPLICATE = "duplicate"  # one source reports the same twice, as two events
    CONFLICT = "conflict"  # one source reports twice, with different amounts
    REDELIVERY = "redelivery"  # one event is delivered twice: no break
    UPDATE = "update"  # PENDING then SUCCESS: no break
    REVERSAL = "reversal"  # SUCCESS then REVERSED in every source: no break
    MALFORMED = "malformed"  # an extra record whose bytes are not an event
    UNKNOWN_SCHEMA = "unknown_schema"  # an extra record under a schema id that nobody registered
    WRONG_SOURCE = "wrong_source"  # an extra record on a topic that its source does not own
    BAD_AMOUNT = "bad_amount"  # an extra record with a negative or an absurdly large amount
    BAD_CURRENCY = "bad_currency"  # an extra record in a currency that does not exist
    BAD_TIME = "bad_time"  # an extra record from another century, or from next week
    BAD_ID = "bad_id"  # an extra record without an event id


class InvalidPlanError(ValueError):
    """A plan that cannot be run; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a scenario: the same plan gives the same events, whoever generates them.

    Published twice, the second time is redeliveries only; `run` is any text that makes it new transactions instead.
    `rate` is transactions a second; each transaction is reported once by every source unless a plant says otherwise.
    `match_window_ms` and `time_tolerance_ms` are those of the rules in force, so that what is planted as late is late.
    """

    seed: int
    rate: float
    transactions: int
    breaks: Mapping[Plant, float] = field(default_factory=dict)
    match_window_ms: int = MATCH_WINDOW_MS_DEFAULT
    time_tolerance_ms: int = TIME_TOLERANCE_MS_DEFAULT
    late_margin_ms: int = LATE_MARGIN_MS_DEFAULT
    sources: tuple[SourceSpec, ...] = DEFAULT_SOURCES
    run: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be run. Raises InvalidPlanError."""
        if not 0 < self.rate <= RATE_MAX:
            raise InvalidPlanError(f"rate must be above 0 and at most {RATE_MAX:,.0f} transactions a second")
        if not 0 < self.transactions <= TRANSACTIONS_MAX:
            raise InvalidPlanError(f"transactions must be 1 to {TRANSACTIONS_MAX:,}")
        if self.late_margin_ms < 1:
            raise InvalidPlanError("late_margin_ms must be at least 1 ms, or a late event is not late")
        if len(self.sources) < SOURCES_MIN:
            raise InvalidPlanError(f"at least {SOURCES_MIN} sources are needed")
        if any(share < 0 for share in self.breaks.values()) or sum(self.breaks.values()) > 1:
            raise InvalidPlanError("shares must not be negative, and together at most 1")

    @property
    def identity(self) -> str:
        """Text that differs whenever the events would differ; ids are derived from it.

        Another rate or another share of breaks under the same seed is another scenario. Were the ids the same, its
        events would look like redeliveries of the first one's.
        """
        shares = ",".join(f"{plant}={share!r}" for plant, share in sorted(self.breaks.items()))
        names = ",".join(source.name for source in self.sources)
        return (
            f"{self.seed}|{self.rate!r}|{self.transactions}|{shares}|{names}"
            f"|{self.match_window_ms}|{self.time_tolerance_ms}|{self.late_margin_ms}"
            f"{self.run and '|'}{self.run}"
        )

    @property
    def step_ms(self) -> int:
        """Longest time between two events of one transaction that must stay within window and tolerance."""
        return min(self.match_window_ms // 4, self.time_tolerance_ms // 4, 1_500)


def parse_breaks(texts: Sequence[str]) -> dict[Plant, float]:
    """`["amount=0.01,missing=0.02"]`, `["all"]`, `["all=0.002", "late=0.05"]` or `["none"]` as shares by kind.

    Later words win over earlier ones. Raises InvalidPlanError for an unknown kind or a share outside 0 to 1.
    """
    shares: dict[Plant, float] = {}
    for word in (word.strip() for text in texts for word in text.split(",")):
        name, _, number = word.partition("=")
        name = name.strip().lower().replace("-", "_")
        try:
            share = float(number) if number else SHARE_DEFAULT
        except ValueError:
            raise InvalidPlanError(f"{word!r}: the share must be a number") from None
        if not 0 <= share <= 1:
            raise InvalidPlanError(f"{word!r}: the share must be 0 to 1")
        if name == "none":
            shares = {}
        elif name == "all":
            shares = dict.fromkeys(Plant, share)
        elif name in set(Plant):
            shares[Plant(name)] = share
        elif name:
            raise InvalidPlanError(f"{name!r} is not a kind of break; known: {', '.join(Plant)}, all, none")
    if sum(shares.values()) > 1:
        raise InvalidPlanError(f"the shares add up to {sum(shares.values()):g}; at most 1 is possible")
    return shares
