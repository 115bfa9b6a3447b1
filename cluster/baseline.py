"""Entries of the chain `baseline`: what a ledger holds when the trail begins to cover decisions.

Nothing vouches for what was decided before. The baseline takes it as it is: results by digests per key group, rows of
people's tables and dead letters one by one, and the ends of all chains. From then on a change of any of it shows.
Written once, in the transaction of the migration.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from cluster.audit_chain import append
from cluster.oracle.copied import RowSplitter
from cluster.oracle.trail_results import final_results
from schemas.audit import AuditEntry
from schemas.covered import (
    BASELINE_ACTION,
    BASELINE_CHAIN,
    BASELINE_ROWS_ACTION,
    COVERED,
    ROWS,
    ROWS_MAX,
    micros,
    told,
)

ACTOR: Final = "recon"
PREFETCH_ROWS: Final = 2_000


async def write(connection: asyncpg.Connection[Any]) -> None:
    """Write the baseline, inside the caller's transaction and as the owner."""
    results, decided_to = await _results(connection)
    heads = await connection.fetch(
        "select distinct on (chain) chain, seq, hash from audit_logs order by chain, seq desc"
    )
    details = {
        "results": results,
        "decided_to_us": decided_to,
        "heads": {row["chain"]: [row["seq"], row["hash"].hex()] for row in heads},
    }
    await _append(connection, BASELINE_ACTION, "ledger", details)
    for table, covered in COVERED.items():
        rows: list[dict[str, Any]] = []
        there = await _columns(connection, table)
        names = [name for name in covered.columns if name in there]
        if not names:
            continue  # a later migration makes it
        query = f"select {', '.join(names)} from {table} order by {', '.join(covered.key)}"  # noqa: S608 (our own names)
        async for row in connection.cursor(query, prefetch=PREFETCH_ROWS):
            rows.append(told(table, row))
            if len(rows) == ROWS_MAX:
                await _append(connection, BASELINE_ROWS_ACTION, table, {ROWS: {table: rows}})
                rows = []
        if rows:
            await _append(connection, BASELINE_ROWS_ACTION, table, {ROWS: {table: rows}})
    head = await connection.fetchrow(
        "select seq, hash from audit_logs where chain = $1 order by seq desc limit 1", BASELINE_CHAIN
    )
    assert head is not None  # noqa: S101 - the first entry was just written
    await connection.execute(
        "insert into audit_heads (chain, seq, hash) values ($1, $2, $3)", BASELINE_CHAIN, head["seq"], head["hash"]
    )


async def _columns(connection: asyncpg.Connection[Any], table: str) -> set[str]:
    """The columns that a table has by now; migrations that follow this one may add others, or the table itself."""
    rows = await connection.fetch(
        "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped", table
    )
    return {row["attname"] for row in rows}


async def _append(connection: asyncpg.Connection[Any], action: str, object_id: str, details: dict[str, Any]) -> None:
    entry = AuditEntry(datetime.now(UTC), ACTOR, action, "ledger", object_id, details)
    await append(connection, BASELINE_CHAIN, entry)


async def _results(connection: asyncpg.Connection[Any]) -> tuple[dict[str, list[Any]], int]:
    """By key group the number of final results and their SHA-256, and when the newest row was written, in microseconds.

    Rows that are not final have no digest here, for the next look at them replaces them; but they are of before too.
    """
    splitter = RowSplitter()
    digests: defaultdict[int, Any] = defaultdict(hashlib.sha256)
    counts: defaultdict[int, int] = defaultdict(int)

    async def take(data: bytes) -> None:
        for row in splitter.feed(data):
            digests[row.key_group].update(row.data)
            counts[row.key_group] += 1

    await connection.copy_from_query(await final_results(connection), output=take, format="binary")
    newest = await connection.fetchval(
        "select greatest((select max(decided_at) from results), (select max(decided_at) from result_history))"
    )
    decided_to = 0 if newest is None else micros(newest)
    return {str(group): [counts[group], digests[group].hexdigest()] for group in sorted(digests)}, decided_to
