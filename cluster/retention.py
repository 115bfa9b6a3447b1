"""Drops days of the event log that are past keeping and hold nothing open, and says so in the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg

from cluster.audit_chain import append
from schemas.audit import AuditEntry
from schemas.queries import named_queries

_SQL: Final = named_queries("schemas", "sql/retention.sql")
CHAIN: Final = "retention"


@dataclass(frozen=True, slots=True)
class Day:
    """One day of writing, its partition, and what became of it: kept, dropped, or held back for open transactions."""

    name: str
    day: date
    events: int
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
            name, outcome = row["name"], "kept"
            events = int(await connection.fetchval(f"select coalesce(sum(events), 0) from {name}"))  # noqa: S608
            if row["day"] < cutoff:
                outcome = await _drop(connection, name, events, dry_run=dry_run)
            days.append(Day(name, row["day"], events, row["bytes"], outcome))
        return days
    finally:
        await connection.close()


async def _drop(connection: asyncpg.Connection[Any], name: str, events: int, *, dry_run: bool) -> str:
    async with connection.transaction():
        has_open = await connection.fetchval(
            f"select exists (select from {name} e join checkpoints c"  # noqa: S608 (a name from the catalogue)
            " on e.key_group >= c.key_group_from and e.key_group < c.key_group_to and e.seq_to >= c.low_seq)"
        )
        if has_open:
            return "held"
        if dry_run:
            return "would drop"
        await connection.execute(
            f"delete from redeliveries r using {name} b"  # noqa: S608
            " where r.key_group = b.key_group and r.seq between b.seq_from and b.seq_to"
        )
        await connection.execute(f"drop table {name}")
        details = {"partition": name, "events": events}
        entry = AuditEntry(datetime.now(UTC), "retention", "log.dropped", "event_blocks", name, details)
        await append(connection, CHAIN, entry)
    return "dropped"
