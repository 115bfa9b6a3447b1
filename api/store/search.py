"""Keyset search over results in bounded work.

A page is found by walking an index in the page's order. How many entries one walk may look at is bounded, so a filter
that nothing satisfies costs as much as any other; when the bound is met first, the page is short and its cursor says
where to go on. The planner cannot turn the walk into something else, because the bounded part is a subquery of its own:

    select ... from (select * from results where <base> and <position> order by <key> limit <scan>) r where <filters>

A walk among mismatches reads an index that holds all that filters ask for, and fetches only the page's rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from api import cursors
from api.db import Connection, Database
from api.models.common import FieldProblem
from api.problems import InvalidError
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

# What the indexes of mismatches hold (schemas/sql/migrations/0004_covering.sql), under the names that filters use.
COVERED = (
    "r.key_group, r.txn_id, r.decided_at, r.amount_minor, r.spread_minor, r.breaks, r.missing, r.late, r.present, "
    f"r.currency, {Verdict.MISMATCHED.value}::smallint as verdict, true as final"
)

Key = Literal["decided_at", "amount_minor", "spread_minor"]


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
    """An order to walk in: which index by `base` and `key`, which way, and from when to when."""

    key: Key = "decided_at"
    descending: bool = True
    base: str = "true"
    since_us: int | None = None
    until_us: int | None = None
    scan_rows: int = 20_000

    def __post_init__(self) -> None:
        """Amounts are indexed for mismatches only."""
        if self.key != "decided_at" and self.base != MISMATCHES:
            problem = FieldProblem(where="query.sort", problem="orders by amount or spread need verdict=MISMATCHED")
            raise InvalidError("This order is not possible.", errors=[problem])

    @property
    def by_group(self) -> bool:
        """Whether equal keys are ordered by key group first, as the index of all results orders them."""
        return self.base == "true"

    @property
    def walked(self) -> str:
        """The columns that the walk itself reads."""
        return COVERED if self.base == MISMATCHES else COLUMNS

    def value(self, row: Any) -> int:
        """The key of a row as a cursor holds it."""
        return micros(row["decided_at"]) if self.key == "decided_at" else int(row[self.key])

    def inner(self, filters: Filters, position: Sequence[Any] | None, columns: str, rows: int) -> str:
        """The bounded walk as SQL; `rows` at most."""
        clauses = [self.base]
        if self.key == "decided_at":
            clauses += self._bounds(filters)
        if position is not None:
            key = from_micros(position[0]) if self.key == "decided_at" else position[0]
            sign = "<" if self.descending else ">"
            columns_of_order, values = [f"r.{self.key}", "r.txn_id"], [key, position[1]]
            if self.by_group:
                columns_of_order.insert(1, "r.key_group")
                values.insert(1, key_group_of(position[1]))
            clauses.append(f"({', '.join(columns_of_order)}) {sign} ({', '.join(map(filters.place, values))})")
        return (
            f"select {columns} from results r where {' and '.join(clauses)} "  # noqa: S608 - fragments of this module
            f"{self.order()} limit {rows}"
        )

    def _bounds(self, filters: Filters) -> list[str]:
        clauses = []
        if self.since_us is not None:
            clauses.append(f"r.decided_at >= {filters.place(from_micros(self.since_us))}")
        if self.until_us is not None:
            clauses.append(f"r.decided_at < {filters.place(from_micros(self.until_us))}")
        return clauses

    def outer(self, filters: Filters) -> str:
        """Conditions on what the walk gives. Times bound the walk itself, unless it goes by another key."""
        times = self._bounds(filters) if self.key != "decided_at" else []
        return " and ".join([*filters.conditions, *times]) or "true"

    def order(self) -> str:
        """The order of the outer query; the walk gives it already, and this keeps joins from losing it."""
        way = "desc" if self.descending else "asc"
        group = f"r.key_group {way}, " if self.by_group else ""
        return f"order by r.{self.key} {way}, {group}r.txn_id {way}"


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
            conditions = walk.outer(step)
            rest = f"from ({inner}) r {join} where {conditions} {walk.order()} limit {wanted}"
            if walk.base == MISMATCHES:
                rest = (
                    f"from (select r.key_group, r.txn_id {rest}) hit "
                    f"join results r on r.key_group = hit.key_group and r.txn_id = hit.txn_id {join} {walk.order()}"
                )
            found = await connection.fetch(f"select {columns} {rest}", *step.arguments)
            rows += found
            if len(rows) > limit:
                last = rows[limit - 1]
                return Found(rows[:limit], [walk.value(last), last["txn_id"]], None)
            end = await _end_of_walk(connection, walk, position)
            if end is None:
                return Found(rows, None, None)
            position = end
            if time.monotonic() - started > SEARCH_BUDGET_S:
                reached = position[0] // 1_000 if walk.key == "decided_at" else None
                return Found(rows, list(position), reached)


async def _end_of_walk(connection: Connection, walk: Walk, position: Sequence[Any] | None) -> list[Any] | None:
    """Where a walk that met its bound stopped; None when it came to the end of the index."""
    step = Filters()
    inner = walk.inner(step, position, f"r.{walk.key}, r.txn_id", walk.scan_rows)
    row = await connection.fetchrow(
        f"select * from ({inner}) r offset {walk.scan_rows - 1} limit 1",  # noqa: S608 - fragments of this module
        *step.arguments,
    )
    return None if row is None else [walk.value(row), row["txn_id"]]


def read_cursor(cursor: str | None, digest: str) -> list[Any] | None:
    """The position that a cursor holds."""
    return None if cursor is None else cursors.decode(cursor, digest, (int, str))
