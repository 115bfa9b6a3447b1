"""Entries of the audit trail by the owner's commands, each in a chain whose end is its last entry."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from schemas.audit import GENESIS, AuditEntry, chained_row
from schemas.queries import named_queries

_SQL: Final = named_queries("schemas", "sql/audit_chain.sql")


async def lock_chain(connection: asyncpg.Connection[Any], chain: str) -> None:
    """Be the only writer of a chain until the caller's transaction ends."""
    await connection.execute(_SQL["one_writer"], chain)


async def append(connection: asyncpg.Connection[Any], chain: str, entry: AuditEntry) -> None:
    """Add an entry to a chain, inside the caller's transaction."""
    await lock_chain(connection, chain)
    head = await connection.fetchrow(_SQL["chain_head"], chain)
    seq, previous = (head["seq"] + 1, head["hash"]) if head else (1, GENESIS)
    await connection.execute(_SQL["append_audit"], *chained_row(chain, seq, entry, previous))
