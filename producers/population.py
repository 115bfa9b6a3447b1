"""Who pays and how much: accounts with valid IBANs, currencies of 0, 2 and 3 decimals, log-normal amounts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from schemas.money import CURRENCY_EXPONENTS

ACCOUNTS_DEFAULT = 2_000


@dataclass(frozen=True, slots=True)
class Market:
    """Payments in one currency: its weight among all, the median in major units, and the spread of the logarithm."""

    currency: str
    country: str
    weight: int
    median_major: float
    sigma: float = 1.1


MARKETS: tuple[Market, ...] = (
    Market("EUR", "DE", 34, 54.0),
    Market("USD", "US", 26, 61.0),
    Market("GBP", "GB", 14, 46.0),
    Market("INR", "IN", 8, 1_900.0),
    Market("JPY", "JP", 7, 5_400.0),
    Market("CHF", "CH", 5, 72.0),
    Market("BRL", "BR", 4, 160.0),
    Market("KWD", "KW", 2, 17.5),
)


@dataclass(frozen=True, slots=True)
class Account:
    """One customer's account and the market it pays in."""

    account_id: str
    market: Market


def iban(country: str, bban: str) -> str:
    """An IBAN with correct check digits: ISO 13616, remainder 97 of the rearranged number (ISO 7064)."""
    digits = "".join(str(int(char, 36)) for char in f"{bban}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{bban}"


def accounts(rng: random.Random, count: int = ACCOUNTS_DEFAULT) -> list[Account]:
    """`count` accounts, their markets drawn by weight."""
    markets = rng.choices(MARKETS, weights=[market.weight for market in MARKETS], k=count)
    return [Account(iban(market.country, f"{rng.randrange(10**18):018d}"), market) for market in markets]


def pick_account(rng: random.Random, population: list[Account]) -> Account:
    """An account; a few of them pay far more often than the rest, as in life (density falls as the square root)."""
    return population[int(len(population) * rng.random() ** 2)]


def amount_minor(rng: random.Random, market: Market) -> int:
    """An amount in minor units of the market's currency, at least 1.

    The draw is a float, as every draw from a distribution is; it becomes an integer here, before it is money.
    """
    major = market.median_major * rng.lognormvariate(0.0, market.sigma)
    return max(1, int(major * 10 ** CURRENCY_EXPONENTS[market.currency]))


def other_currency(rng: random.Random, currency: str) -> str:
    """Any market's currency but this one."""
    return rng.choice([market.currency for market in MARKETS if market.currency != currency])
