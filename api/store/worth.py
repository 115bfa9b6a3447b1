"""The order of amounts in several currencies: by their worth in the base currency, else one currency after another.

    rated currencies    together, by worth in the base currency; of equal worth in order of the currency's code
    all others          after them, each currency by itself, in order of the codes

A number of minor units says nothing beside that of another currency, so what has no rate is never put between others.
Within a currency equal amounts are ordered by the id. Worth is compared exactly, as whole multiples of the
largest fraction that all rates are multiples of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from schemas.exchange import ExchangeRates

BIGINT_MIN = -(2**63)
BIGINT_MAX = 2**63 - 1

OrderKey = tuple[int, str, int, str]
"""Segment, the currency that a segment is of (empty where it is of all rated ones), signed weight, currency."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row's place in the order."""

    currency: str
    amount_minor: int
    txn_id: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where a walk through one currency's amounts begins: behind this amount and id, whether or not such a row exists.

    Ids are never empty, so the empty id stands before all rows of its amount, going up, and behind them, going down.
    """

    currency: str
    amount_minor: int
    txn_id: str


class WorthOrder:
    """The order of amounts, one way or the other; rated currencies come first both ways."""

    def __init__(self, rates: ExchangeRates, *, descending: bool) -> None:
        self.descending = descending
        worths = {code: worth for code in rates.rates if (worth := rates.worth(code)) is not None}
        shared = math.lcm(*(worth.denominator for worth in worths.values()))
        self._weights = {code: worth.numerator * (shared // worth.denominator) for code, worth in worths.items()}

    def key(self, currency: str, amount_minor: int) -> OrderKey:
        """Sorts amounts; equal keys are of one currency and amount, and ordered by id."""
        weight = self._weights.get(currency)
        signed = -amount_minor if self.descending else amount_minor
        return (1, currency, signed, currency) if weight is None else (0, "", signed * weight, currency)

    def starts(self, currencies: Sequence[str], after: Place | None) -> list[Start]:
        """Where to walk on in each currency behind a place; currencies that lie wholly before it are left out."""
        begin = BIGINT_MAX if self.descending else BIGINT_MIN
        if after is None:
            return [Start(currency, begin, "") for currency in currencies]
        found = []
        for currency in currencies:
            if currency == after.currency:
                found.append(Start(currency, after.amount_minor, after.txn_id))
                continue
            own, other = self._weights.get(after.currency), self._weights.get(currency)
            if own is not None and other is not None:
                found.append(Start(currency, self._beside(after, currency, Fraction(own, other)), ""))
            elif self.key(currency, 0)[:2] > self.key(after.currency, 0)[:2]:
                found.append(Start(currency, begin, ""))
        return found

    def without_rate(self, currencies: Sequence[str]) -> list[str]:
        """The currencies that stand by themselves, in order."""
        return sorted(currency for currency in currencies if currency not in self._weights)

    def _beside(self, after: Place, currency: str, ratio: Fraction) -> int:
        """The amount behind which all rows of another rated currency follow the place `after`.

        `ratio` is what a minor unit of the place's currency is worth in minor units of the other one.
        """
        same = after.amount_minor * ratio
        floor = same.numerator // same.denominator
        equals_follow = currency > after.currency  # rows of the very same worth, if there can be such
        stops_at_floor = same.denominator == 1 and equals_follow != self.descending
        return max(BIGINT_MIN, min(BIGINT_MAX, floor if stops_at_floor else floor + 1))


def largest(rates: ExchangeRates, amounts: Sequence[tuple[str, int]], rows: int) -> list[int]:
    """The places of the largest amounts (currency, minor units), `rows` at most, the largest first.

    Rated ones by worth; then of every other currency its largest, of each its second largest, and so on: each currency
    has its place in a short list.
    """
    order = WorthOrder(rates, descending=True)
    ordered = sorted(range(len(amounts)), key=lambda at: order.key(*amounts[at]))
    ranks: Counter[str] = Counter()
    found = []
    for at in ordered:
        currency = amounts[at][0]
        is_rated = rates.worth(currency) is not None
        found.append((not is_rated, 0 if is_rated else ranks[currency], at))
        ranks[currency] += 1
    return [at for *_, at in sorted(found, key=lambda each: each[:2])][:rows]
