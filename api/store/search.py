"""Keyset search over results in bounded work.

A page is found by walking an index in the page's order. How many entries one walk may look at is bounded, so a filter
that nothing satisfies costs as much as any other; when the bound is met first, the page is short and its cursor says
where to go on. The planner cannot turn the walk into something else, because the bounded part is a subquery of its own:

    select ... from (select * from results where <base> and <position> order by <key> limit <scan>) r where <filters>

A walk among mismatches reads an index that holds all that filters ask for, and fetches only the page's rows. Orders by
amount are in `amounts.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from api import cursors
from api.db import Connection, Database
from api.times import from_micros, micros
from schemas.events import key_group_of
from schemas.verdicts import Verdict

SEARCH_BUDGET_S = 0.4  # a page keeps walking for so long before it is given back short
MISMATCH_SCAN_ROWS = 5_000  # mismatches lie apart in the table: each costs a page of it

COLUMNS = (
    "r.key_group, r.txn_id, r.verdict, r.final, r.revision, r.rules_version, r.breaks, r.missing, r.late, r.present, "
    "r.currency, r.amount_minor, r.spread_minor, r.first_arrival, r.last_arrival, r.decided_at, r.legs"
)

MISMATCHES = f"r.verdict = {Verdict.MISMATCHED.value}"

# What the indexes of mismatches hold (schemas/sql/migrations/0004 and 0011), under the names that filters use.
COVERED = (
    "r.key_group, r.txn_id, r.decided_at, r.amount_minor, r.spread_minor, r.breaks, r.missing, r.late, r.present, "
    f"r.currency, {Verdict.MISMATCHED.value}::smallint as verdict, true as final"
)


@dataclass
class Filters:
    """Conditions on `r`, with their arguments."""

    conditions: list[str] = field(default_factory=list)
    arguments: list[Any] = field(default_factory=list)

    def place(self, value: Any) -> str:
        """A placeholder for a value."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition whose `{}` are the values."""
        self.conditions.append(condition.format(*(self.place(value) for value in values)))

    @property
    def text(self) -> str:
        """All conditions, joined."""
        return " and ".join(self.conditions) or "true"


@dataclass(frozen=True)
class Walk:
    """A walk by the time of decision: which index by `base`, which way, and from when to when."""

    descending: bool = True
    base: str = "true"
    since_us: int | None = None
    until_us: int | None = None
    scan_rows: int = 20_000

    @property
    def by_group(self) -> bool:
        """Whether equal keys are ordered by key group first, as the index of all results orders them."""
        return self.base == "true"

    @property
    def walked(self) -> str:
        """The columns that the walk itself reads."""
        return COVERED if self.base == MISMATCHES else COLUMNS

    def inner(
        self,
        filters: Filters,
        position: Sequence[Any] | None,
        columns: str,
        rows: int,
        *,
        upto: Sequence[Any] | None = None,
    ) -> str:
        """The bounded walk as SQL, from behind a position up to and with another one; `rows` at most."""
        clauses = [self.base, *time_bounds(self.since_us, self.until_us, filters)]
        ahead, back = ("<", ">=") if self.descending else (">", "<=")
        for place, sign in ((position, ahead), (upto, back)):
            if place is None:
                continue
            columns_of_order, values = ["r.decided_at", "r.txn_id"], [from_micros(place[0]), place[1]]
            if self.by_group:
                columns_of_order.insert(1, "r.key_group")
                values.insert(1, key_group_of(place[1]))
            clauses.append(f"({', '.join(columns_of_order)}) {sign} ({', '.join(map(filters.place, values))})")
        return (
            f"select {columns} from results r where {' and '.join(clauses)} "  # noqa: S608 - fragments of this module
            f"{self.order()} limit {rows}"
        )

    def order(self) -> str:
        """The order of the outer query; the walk gives it already, and this keeps joins from losing it."""
        way = "desc" if self.descending else "asc"
        group = f"r.key_group {way}, " if self.by_group else ""
        return f"order by r.decided_at {way}, {group}r.txn_id {way}"


def time_bounds(since_us: int | None, until_us: int | None, filters: Filters) -> list[str]:
    """Conditions on the time of decision: from when, and before when."""
    clauses = []
    if since_us is not None:
        clauses.append(f"r.decided_at >= {filters.place(from_micros(since_us))}")
    if until_us is not None:
        clauses.append(f"r.decided_at < {filters.place(from_micros(until_us))}")
    return clauses


@dataclass(frozen=True)
class Found:
    """Rows of a page, where the next one starts (None at the end), and how far a short page looked."""

    rows: list[Any]
    next_position: list[Any] | None
    searched_to: int | None


async def walk_page(
    db: Database,
    walk: Walk,
    filters: Filters,
    *,
    limit: int,
    position: Sequence[Any] | None,
    join: str = "",
    columns: str = COLUMNS,
) -> Found:
    """Fill a page, in as many bounded walks as the time budget allows."""
    rows: list[Any] = []
    started = time.monotonic()
    async with db.connection() as connection:
        while True:
            wanted = limit + 1 - len(rows)
            step = Filters(list(filters.conditions), list(filters.arguments))
            inner = walk.inner(step, position, walk.walked, walk.scan_rows)
            rest = f"from ({inner}) r {join} where {step.text} {walk.order()} limit {wanted}"
            if walk.base == MISMATCHES:
                rest = (
                    f"from (select r.key_group, r.txn_id {rest}) hit "
                    f"join results r on r.key_group = hit.key_group and r.txn_id = hit.txn_id {join} {walk.order()}"
                )
            found = await connection.fetch(f"select {columns} {rest}", *step.arguments)
            rows += found
            if len(rows) > limit:
                last = rows[limit - 1]
                return Found(rows[:limit], [micros(last["decided_at"]), last["txn_id"]], None)
            end = await _end_of_walk(connection, walk, position)
            if end is None:
                return Found(rows, None, None)
            position = end
            if time.monotonic() - started > SEARCH_BUDGET_S:
                return Found(rows, list(position), position[0] // 1_000)


async def _end_of_walk(connection: Connection, walk: Walk, position: Sequence[Any] | None) -> list[Any] | None:
    """Where a walk that met its bound stopped; None when it came to the end of the index."""
    step = Filters()
    inner = walk.inner(step, position, "r.decided_at, r.txn_id", walk.scan_rows)
    row = await connection.fetchrow(
        f"select * from ({inner}) r offset {walk.scan_rows - 1} limit 1",  # noqa: S608 - fragments of this module
        *step.arguments,
    )
    return None if row is None else [micros(row["decided_at"]), row["txn_id"]]


@dataclass(frozen=True)
class Counted:
    """How many rows pass, of how many that were looked at, and whether these were all."""

    found: int
    looked_at: int
    is_whole: bool


async def count_walk(db: Database, walk: Walk, filters: Filters, *, budget_s: float) -> Counted:
    """Count what `walk_page` would give on all its pages: the same walk and filters, as far as the time allows."""
    found = looked_at = 0
    position: list[Any] | None = None
    started = time.monotonic()
    async with db.connection() as connection:
        while True:
            # Where the step ends is found first: rows that are added meanwhile are then counted once or not at all.
            end = await _end_of_walk(connection, walk, position)
            step = Filters(list(filters.conditions), list(filters.arguments))
            row = await connection.fetchrow(
                f"select count(*) filter (where {step.text}) as found, count(*) as looked_at "  # noqa: S608 - as above
                f"from ({walk.inner(step, position, walk.walked, walk.scan_rows, upto=end)}) r",
                *step.arguments,
            )
            found, looked_at = found + row["found"], looked_at + row["looked_at"]
            if end is None:
                return Counted(found, looked_at, is_whole=True)
            if time.monotonic() - started > budget_s:
                return Counted(found, looked_at, is_whole=False)
            position = end


def read_cursor(cursor: str | None, digest: str) -> list[Any] | None:
    """The position that a cursor holds."""
    return None if cursor is None else cursors.decode(cursor, digest, (int, str))
