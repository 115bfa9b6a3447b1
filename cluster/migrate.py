"""Applies the SQL migrations in order, once each, under a lock; safe to run twice and from two places."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any, Final

import asyncpg

from cluster import baseline
from schemas.errors import ReconError

_LOCK = 0x7265636F6E  # "recon": one migration at a time per database

# What follows a file in its transaction, where SQL alone will not do.
_THEN: Final[Mapping[str, Callable[[asyncpg.Connection[Any]], Awaitable[None]]]] = {"0011_trail.sql": baseline.write}


class MigrationChangedError(ReconError):
    """A migration that was applied before reads differently now."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} was edited after it was applied; add a new migration instead")


def migrations() -> list[tuple[str, str]]:
    """Name and text of every migration file, in order of name."""
    folder = resources.files("schemas").joinpath("sql/migrations")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [(entry.name, entry.read_text(encoding="utf-8")) for entry in files]


async def apply(connect_kwargs: dict[str, Any]) -> list[str]:
    """Apply what is missing and return the names applied. Connects as the owner role.

    Raises MigrationChangedError when an applied file was edited, and asyncpg's errors when SQL fails; each file is one
    transaction, so a failure leaves the database at the last whole migration.
    """
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists schema_migrations (name text primary key, sha256 text not null,"
            " applied_at timestamptz not null default now())"
        )
        known = {row["name"]: row["sha256"] for row in await connection.fetch("select * from schema_migrations")}
        applied: list[str] = []
        for name, text in migrations():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if name in known:
                if known[name] != digest:
                    raise MigrationChangedError(name)
                continue
            async with connection.transaction():
                await connection.execute(text)
                if name in _THEN:
                    await _THEN[name](connection)
                await connection.execute("insert into schema_migrations (name, sha256) values ($1, $2)", name, digest)
            applied.append(name)
        return applied
    finally:
        await connection.close()
