"""Running totals: hours that are rolled up, plus the minutes since. No total scans results."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from api.db import Database
from api.models.common import Money
from api.queries import queries

FRESH_S = 1.0
PENDING_MAX = 100_000  # counting stops there


class Totals:
    """Sums over the counters that every flush adds to."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._all: list[Any] = []
        self._pending = 0
        self._read_at = float("-inf")

    async def everything(self) -> list[Any]:
        """All metrics since ever: rows of metric, currency, n, amount_minor. Remembered for a second."""
        if time.monotonic() - self._read_at > FRESH_S:
            async with self._db.connection() as connection:
                self._all = list(await connection.fetch(queries("overview")["totals"]))
                self._pending = await connection.fetchval(queries("overview")["pending"], PENDING_MAX)
            self._read_at = time.monotonic()
        return self._all

    async def verdicts(self) -> dict[str, int]:
        """All transactions by verdict. Undecided ones have no counter: they are few, and counted by their own index."""
        counts = prefixed(await self.everything(), "verdict.")
        return {**counts, "PENDING": self._pending}

    async def since(self, moment: datetime) -> list[Any]:
        """The same rows from a minute on."""
        return list(await self._db.fetch(queries("overview")["totals_since"], moment))


def prefixed(rows: list[Any], prefix: str) -> dict[str, int]:
    """Counts of the metrics that start alike, by the rest of their names, over all currencies."""
    counts: dict[str, int] = {}
    for row in rows:
        if row["metric"].startswith(prefix):
            name = row["metric"].removeprefix(prefix)
            counts[name] = counts.get(name, 0) + row["n"]
    return counts


def by_currency(parts: Iterable[tuple[str, int, int]]) -> list[Money]:
    """Sums of (currency, count, minor units), one a currency, in order of their codes."""
    sums: dict[str, tuple[int, int]] = {}
    for currency, count, amount in parts:
        before, sum_before = sums.get(currency, (0, 0))
        sums[currency] = (before + count, sum_before + amount)
    return [
        Money(currency=currency, count=count, amount_minor=amount) for currency, (count, amount) in sorted(sums.items())
    ]
