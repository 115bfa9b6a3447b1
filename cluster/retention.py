"""Drops days of the event log that are past keeping and hold nothing open, and says so in the audit trail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg

from schemas.audit import GENESIS, AuditEntry, entry_hash
from schemas.queries import named_queries

_SQL: Final = named_queries("schemas", "sql/retention.sql")
CHAIN: Final = "retention"


@dataclass(frozen=True, slots=True)
class Day:
    """One day's partition and what became of it: kept, dropped, or held back because of open transactions."""

    name: str
    day: date
    about_rows: int
    size_bytes: int
    outcome: str


async def apply(owner_kwargs: dict[str, Any], keep_days: int, *, dry_run: bool) -> list[Day]:
    """Drop days older than `keep_days` before today (UTC); with `dry_run` only say which. Connects as the owner.

    Results, revisions, audit entries and dead letters stay. A transaction whose events were dropped keeps its verdict
    for good: an event that arrives even later is logged, and revises nothing.
    """
    connection = await asyncpg.connect(**owner_kwargs)
    try:
        cutoff = datetime.now(UTC).date() - timedelta(days=keep_days)
        days: list[Day] = []
        for row in await connection.fetch(_SQL["days"]):
            outcome = "kept"
            if row["day"] < cutoff:
                outcome = await _drop(connection, row["name"], dry_run=dry_run)
            days.append(Day(row["name"], row["day"], max(0, row["about_rows"]), row["bytes"], outcome))
        return days
    finally:
        await connection.close()


async def _drop(connection: asyncpg.Connection[Any], name: str, *, dry_run: bool) -> str:
    async with connection.transaction():
        has_open = await connection.fetchval(
            f"select exists (select from {name} e join checkpoints c"  # noqa: S608 (a name from the catalogue)
            " on e.key_group >= c.key_group_from and e.key_group < c.key_group_to and e.seq >= c.low_seq)"
        )
        if has_open:
            return "held"
        if dry_run:
            return "would drop"
        rows = await connection.fetchval(f"select count(*) from {name}")  # noqa: S608
        until = await connection.fetchval(f"select max(arrival) from {name}")  # noqa: S608
        await connection.execute(f"drop table {name}")
        if until is not None:
            await connection.execute(_SQL["forget_marks"], until)
        await _record(connection, name, rows)
    return "dropped"


async def _record(connection: asyncpg.Connection[Any], name: str, rows: int) -> None:
    await connection.execute("select pg_advisory_xact_lock(hashtext('audit-retention'))")
    head = await connection.fetchrow(_SQL["chain_head"])
    seq, previous = (head["seq"] + 1, head["hash"]) if head else (1, GENESIS)
    details = {"partition": name, "events": rows}
    entry = AuditEntry(datetime.now(UTC), "retention", "log.dropped", "event_log", name, details)
    await connection.execute(
        _SQL["append_audit"],
        seq,
        entry.occurred_at,
        entry.actor,
        entry.action,
        entry.object_type,
        entry.object_id,
        json.dumps(details),
        previous,
        entry_hash(CHAIN, seq, entry, previous),
    )
