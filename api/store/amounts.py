"""Keyset search over mismatches by amount or spread, in several currencies, in bounded work.

Each currency's part of an index is walked in its own order, a bounded number of entries at a time, and the walks are
merged by worth (`worth.py`). A currency whose walk met its bound may have more rows right behind the last one that it
gave, so the merged rows are good down to the first of these ends in the order; there the next step goes on. So a step
costs a bounded number of index entries and a sort of these, however many rows there are and however rare the filtered
ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from api import cursors
from api.db import Connection, Database
from api.models.common import AmountOrder
from api.queries import queries
from api.store.search import (
    COLUMNS,
    COVERED,
    MISMATCH_SCAN_ROWS,
    MISMATCHES,
    SEARCH_BUDGET_S,
    Filters,
    time_bounds,
)
from api.store.worth import OrderKey, Place, WorthOrder
from schemas.exchange import ExchangeRates

AmountKey = Literal["amount_minor", "spread_minor"]


@dataclass(frozen=True)
class AmountWalk:
    """An order by amounts among mismatches: of which column, and how currencies compare; in one currency or all.

    Times are microseconds since 1970; they filter what the walk gives.
    """

    key: AmountKey
    order: WorthOrder
    currency: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    scan_rows: int = MISMATCH_SCAN_ROWS

    def step(self, filters: Filters, after: Place | None, currencies: Sequence[str], rows: int, join: str) -> str:
        """One bounded step as SQL: of each currency the entries that pass, and the last one when it met its bound."""
        way, sign = ("desc", "<") if self.order.descending else ("asc", ">")
        starts = self.order.starts(currencies, after)
        names = filters.place([start.currency for start in starts])
        amounts = filters.place([start.amount_minor for start in starts])
        ids = filters.place([start.txn_id for start in starts])
        conditions = " and ".join([*filters.conditions, *time_bounds(self.since_us, self.until_us, filters)]) or "true"
        return (
            f"select * from (select r.currency, r.{self.key} as amount, r.key_group, r.txn_id, r.place, "  # noqa: S608
            f"coalesce({conditions}, false) as passes "
            f"from unnest({names}::text[], {amounts}::bigint[], {ids}::text[]) as start (currency, amount, txn_id) "
            f"cross join lateral (select walked.*, row_number() over () as place from ("
            f"select {COVERED} from results r where {MISMATCHES} and r.currency = start.currency "
            f"and (r.{self.key}, r.txn_id) {sign} (start.amount, start.txn_id) "
            f"order by r.{self.key} {way}, r.txn_id {way} limit {rows}) walked) r {join}) r "
            f"where r.passes or r.place = {rows}"
        )

    async def currencies(self, connection: Connection) -> list[str]:
        """The currencies to walk: those that mismatches have, or the one that is asked for."""
        if self.currency is not None:
            return [self.currency]
        found = await connection.fetch(queries("transactions")["mismatched_currencies"])
        return [row["currency"] for row in found]


@dataclass(frozen=True)
class FoundAmounts:
    """A page: its rows, where the next one starts (None at the end), and the currencies that were compared."""

    rows: list[Any]
    next_place: Place | None
    currencies: list[str]


async def amounts_page(
    db: Database,
    walk: AmountWalk,
    filters: Filters,
    *,
    limit: int,
    after: Place | None,
    join: str = "",
    columns: str = COLUMNS,
) -> FoundAmounts:
    """Fill a page, in as many bounded steps as the time budget allows."""
    taken: list[Any] = []
    started = time.monotonic()
    async with db.connection() as connection:
        currencies = await walk.currencies(connection)
        rows = limit + 1  # enough for a page without filters; then as many as a walk may look at
        while True:
            step = Filters(list(filters.conditions), list(filters.arguments))
            sql = walk.step(step, after, currencies, rows, join)
            found, end = _merge(walk.order, await connection.fetch(sql, *step.arguments), rows)
            taken += found
            if len(taken) > limit:
                last = taken[limit - 1]
                return FoundAmounts(
                    await _whole(connection, taken[:limit], join, columns),
                    Place(last["currency"], last["amount"], last["txn_id"]),
                    currencies,
                )
            if end is None or time.monotonic() - started > SEARCH_BUDGET_S:
                return FoundAmounts(await _whole(connection, taken, join, columns), end, currencies)
            after, rows = end, max(limit + 1, walk.scan_rows // max(1, len(currencies)))


def _merge(order: WorthOrder, entries: Sequence[Any], rows: int) -> tuple[list[Any], Place | None]:
    """The entries that pass, in order, as far as every walk has come; and how far that is, None when all have ended."""
    keyed = [((order.key(entry["currency"], entry["amount"]), entry["place"]), entry) for entry in entries]
    ends = [each for each in keyed if each[0][1] == rows]
    reach, end = min(ends, key=_first, default=(None, None))
    good = sorted((each for each in keyed if each[1]["passes"] and (reach is None or each[0] <= reach)), key=_first)
    place = None if end is None else Place(end["currency"], end["amount"], end["txn_id"])
    return [entry for _, entry in good], place


def _first(each: tuple[tuple[OrderKey, int], Any]) -> tuple[OrderKey, int]:
    return each[0]


async def _whole(connection: Connection, entries: Sequence[Any], join: str, columns: str) -> list[Any]:
    """The rows of entries, in their order, less those that have become no mismatch meanwhile."""
    if not entries:
        return []
    found: list[Any] = await connection.fetch(
        f"select {columns} from unnest($1::smallint[], $2::text[]) with ordinality hit (key_group, txn_id, place) "  # noqa: S608
        f"join results r on r.key_group = hit.key_group and r.txn_id = hit.txn_id and {MISMATCHES} {join} "
        f"order by hit.place",
        [entry["key_group"] for entry in entries],
        [entry["txn_id"] for entry in entries],
    )
    return found


def amount_order(rates: ExchangeRates, currencies: Sequence[str]) -> AmountOrder:
    """How a page's amounts were compared."""
    without = WorthOrder(rates, descending=True).without_rate(currencies)
    return AmountOrder(base_currency=rates.base or None, currencies=len(currencies), without_rate=without)


def encode_place(digest: str, place: Place | None) -> str | None:
    """A place as a cursor."""
    return None if place is None else cursors.encode(digest, [place.currency, place.amount_minor, place.txn_id])


def read_place(cursor: str | None, digest: str) -> Place | None:
    """The place that a cursor holds. Raises InvalidError for a cursor of another search."""
    return None if cursor is None else Place(*cursors.decode(cursor, digest, (str, int, str)))
