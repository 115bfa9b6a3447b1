"""How grave a mismatch is: the graver of its worst kind and its amount, by the severities of the rules in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from api.models.common import SeverityName
from api.models.rules import Severities
from schemas.money import CURRENCY_EXPONENTS
from schemas.verdicts import Break, Verdict, break_mask, break_names

LEVELS: tuple[SeverityName, ...] = ("low", "medium", "high", "critical")

# The same judgement in SQL, for filters. Placeholders: masks of the kinds at each level, then thresholds by currency.
SEVERITY_SQL = """greatest(
    case when r.breaks & {critical} <> 0 then 3 when r.breaks & {high} <> 0 then 2
         when r.breaks & {medium} <> 0 then 1 else 0 end,
    case when r.amount_minor >= coalesce(({amounts}::jsonb #>> array[r.currency, 'critical_minor'])::bigint,
                                         ({amounts}::jsonb #>> '{{default,critical_minor}}')::bigint) then 3
         when r.amount_minor >= coalesce(({amounts}::jsonb #>> array[r.currency, 'high_minor'])::bigint,
                                         ({amounts}::jsonb #>> '{{default,high_minor}}')::bigint) then 2
         else 0 end)"""


@dataclass(frozen=True, slots=True)
class SeverityScale:
    """Severities compiled for quick use."""

    kinds: Mapping[str, int]
    amounts: Mapping[str, tuple[int, int]]
    second_person_above: Mapping[str, int]
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, severities: Severities) -> SeverityScale:
        """Compile."""
        defaults = Severities()
        kinds = {**defaults.kinds, **severities.kinds}
        amounts = {**defaults.amounts, **severities.amounts}
        return cls(
            kinds={kind: LEVELS.index(level) for kind, level in kinds.items()},
            amounts={key: (levels.high_minor, levels.critical_minor) for key, levels in amounts.items()},
            second_person_above={**defaults.second_person_above_minor, **severities.second_person_above_minor},
            thresholds={key: levels.model_dump() for key, levels in amounts.items()},
        )

    def level(self, breaks: Sequence[str], amount_minor: int, currency: str) -> SeverityName:
        """The severity of a mismatch; `amount_minor` is its largest leg."""
        high, critical = self.amounts.get(currency, self.amounts["default"])
        by_amount = 3 if amount_minor >= critical else 2 if amount_minor >= high else 0
        return LEVELS[max([by_amount, *(self.kinds.get(kind, 0) for kind in breaks)])]

    def mask(self, level: SeverityName) -> int:
        """Mask of the kinds that are of this severity by themselves."""
        wanted = LEVELS.index(level)
        return sum(kind.mask for kind in Break if self.kinds.get(kind.name, 0) == wanted)

    def needs_second_person(self, amount_minor: int, currency: str) -> bool:
        """Whether resolving it waits for a second person; the database enforces the same."""
        own = self.second_person_above.get(currency)
        return amount_minor > (scaled(self.second_person_above["default"], currency) if own is None else own)


def scaled(default_minor: int, currency: str) -> int:
    """A limit for every currency, in minor units of one with two decimals, in minor units of this one, rounded down.

    So it is the same number of whole units everywhere: 10,000.00 EUR, 10,000 JPY, 10,000.000 KWD.
    """
    units: int = 10 ** CURRENCY_EXPONENTS.get(currency, 2)
    return default_minor * units // 100


_VERDICTS: tuple[Any, ...] = tuple(verdict.name for verdict in Verdict)
_BREAKS: list[list[Any]] = [cast("list[Any]", break_names(mask)) for mask in range(1 << len(Break))]


def verdict_of(code: int) -> Any:
    """The name of a stored verdict, typed loosely because pydantic checks it against the literal."""
    return _VERDICTS[code]


def breaks_of(mask: int) -> list[Any]:
    """Names in a mask, typed loosely because pydantic checks them against the literal."""
    return _BREAKS[mask & (len(_BREAKS) - 1)]


# Kinds that put the whole amount at risk: it is not certain that there was one payment, or in which currency.
_WHOLE_AMOUNT = break_mask(["CONFLICT", "DUPLICATE", "CURRENCY", "STATUS", "MISSING"])


def money_at_risk(breaks: int, amount_minor: int, spread_minor: int) -> int:
    """What may be lost by a mismatch, in minor units: as the SQL function of this name (migration 0009).

    The whole amount where the payment itself is in doubt, the difference where only amounts differ, else nothing.
    """
    if breaks & _WHOLE_AMOUNT:
        return abs(amount_minor)
    return spread_minor if breaks & Break.AMOUNT.mask else 0
