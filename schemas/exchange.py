"""Exchange rates by configuration: what one unit of a currency is worth in the base currency, as exact decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from schemas.errors import ReconError
from schemas.money import CURRENCY_EXPONENTS, why_no_currency


class InvalidRatesError(ReconError):
    """Rates that cannot be used, with what would be right."""


@dataclass(frozen=True, slots=True)
class ExchangeRates:
    """Rates into one base currency. Without a base nothing is converted.

    `rates` gives by currency how many major units of `base` one major unit is worth.
    """

    base: str = ""
    rates: Mapping[str, Decimal] = field(default_factory=dict)

    @classmethod
    def parse(cls, base: str, text: str) -> ExchangeRates:
        """From a base currency and `USD=0.92,KWD=3.01`. Raises InvalidRatesError."""
        if not base:
            if text:
                raise InvalidRatesError("rates need a base currency")
            return cls()
        _check_currency(base)
        rates: dict[str, Decimal] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            code, separator, number = (one.strip() for one in part.partition("="))
            _check_currency(code)
            try:
                rate = Decimal(number)
            except InvalidOperation:
                rate = Decimal(0)
            if not separator or not rate.is_finite() or rate <= 0:
                raise InvalidRatesError(f"{part[:40]!r} is no rate; right is as USD=0.92")
            if rates.setdefault(code, rate) != rate or (code == base and rate != 1):
                raise InvalidRatesError(f"{code} has two rates")
        return cls(base, {**rates, base: Decimal(1)})

    def total(self, amounts: Iterable[tuple[str, int]]) -> tuple[int | None, list[str]]:
        """The sum of minor units of currencies in minor units of the base, and the currencies that have no rate.

        The sum is None where a rate is missing or there is no base: part of a sum would pass for all of it. It is
        rounded once, at the end, half to even.
        """
        if not self.base:
            return None, []
        pairs = list(amounts)
        unrated = sorted({code for code, minor in pairs if minor and code not in self.rates})
        if unrated:
            return None, unrated
        whole = sum((minor * self._worth(code) for code, minor in pairs if minor), Fraction(0))
        return round(whole * 10 ** CURRENCY_EXPONENTS[self.base]), []  # half to even, as round() does

    def worth(self, currency: str) -> Fraction | None:
        """What one minor unit of a currency is worth, in major units of the base; None where there is no rate."""
        return self._worth(currency) if currency in self.rates else None

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Base and rates as texts: the same for rates that put amounts in the same order."""
        return (self.base, *(f"{code}={rate}" for code, rate in sorted(self.rates.items())))

    def _worth(self, currency: str) -> Fraction:
        return Fraction(self.rates[currency]) * Fraction(1, 10 ** CURRENCY_EXPONENTS[currency])


NO_RATES: Final = ExchangeRates()
"""No base currency: nothing is summed over currencies."""


def _check_currency(code: str) -> None:
    if code not in CURRENCY_EXPONENTS:
        raise InvalidRatesError(why_no_currency(code))
