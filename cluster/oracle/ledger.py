"""What the ledger says: one consistent snapshot of PostgreSQL, streamed by ranges of key groups."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from cluster.oracle.decoding import Version
from cluster.oracle.log import Position
from schemas.events import SourceSpec
from schemas.queries import named_queries
from schemas.rules import Rulebook, RuleSet

PREFETCH_ROWS = 5_000
CONNECT_TIMEOUT_S = 10.0

SQL = named_queries("cluster.oracle", "ledger.sql")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one range of key groups has come. `positions` gives the next offset to read."""

    groups: range
    epoch: int
    next_seq: int
    low_seq: int
    positions: Mapping[Position, int]


class Ledger:
    """A snapshot: every query sees the same moment."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def sources(self) -> tuple[SourceSpec, ...]:
        """The configured sources; the position in the tuple is the stored source id."""
        rows = await self._connection.fetch(SQL["sources"])
        return tuple(SourceSpec(row["name"], row["topic"], row["expected"]) for row in rows)

    async def configurations(self) -> tuple[Version, ...]:
        """All versions of the configuration, in the order in which they came into force; none in an old ledger."""
        if not await self._connection.fetchval(SQL["has_configurations"]):
            return ()
        return tuple(
            Version(
                row["version"],
                row["effective_from_ms"],
                row["reconciliation"],
                row["body"],
                {path: base64.b64decode(content) for path, content in json.loads(row["schemas"]).items()},
            )
            for row in await self._connection.fetch(SQL["configurations"])
        )

    async def topic_bases(self) -> dict[tuple[str, int], int]:
        """By topic and partition what the ledger adds to Kafka's offsets, for topics that were made anew."""
        return {
            (row["topic"], int(partition)): base
            for row in await self._connection.fetch(SQL["topic_bases"])
            for partition, base in json.loads(row["bases"]).items()
        }

    async def topic_ids(self) -> dict[str, str]:
        """Kafka's ids of the topics that the positions are of, as far as the ledger knows them."""
        return {row["topic"]: row["topic_id"] for row in await self._connection.fetch(SQL["topic_ids"])}

    async def rulebook(self) -> Rulebook:
        """The rule sets in force."""
        rows = await self._connection.fetch(SQL["rule_sets"])
        return Rulebook(
            [RuleSet.from_json(row["version"], row["effective_from_ms"], json.loads(row["body"])) for row in rows]
        )

    async def checkpoints(self) -> list[Checkpoint]:
        """All ranges, in order."""
        return [
            Checkpoint(
                groups=range(row["key_group_from"], row["key_group_to"]),
                epoch=row["epoch"],
                next_seq=row["next_seq"],
                low_seq=row["low_seq"],
                positions={
                    (topic, int(partition)): offset
                    for topic, partitions in json.loads(row["positions"]).items()
                    for partition, offset in partitions.items()
                },
            )
            for row in await self._connection.fetch(SQL["checkpoints"])
        ]

    async def raw_events(self, groups: range) -> AsyncIterator[asyncpg.Record]:
        """Stored events of a range of key groups."""
        has_attributes = await self._connection.fetchval(SQL["has_configurations"])
        name = "raw_events" if has_attributes else "raw_events_without_attributes"
        async for row in self._stream(name, groups.start, groups.stop):
            yield row

    def results(self, groups: range) -> AsyncIterator[asyncpg.Record]:
        """Results of a range of key groups."""
        return self._stream("results", groups.start, groups.stop)

    def dead_letters(self) -> AsyncIterator[asyncpg.Record]:
        """All dead letters."""
        return self._stream("dead_letters")

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of a named query, all at once."""
        return list(await self._connection.fetch(SQL[name], *arguments))

    async def _stream(self, name: str, *arguments: object) -> AsyncIterator[asyncpg.Record]:
        async for row in self._connection.cursor(SQL[name], *arguments, prefetch=PREFETCH_ROWS):
            yield row


@asynccontextmanager
async def snapshot(connect_kwargs: Mapping[str, Any]) -> AsyncIterator[Ledger]:
    """Open a read-only snapshot of the database. Raises OSError or asyncpg.PostgresError when it cannot be reached."""
    connection = await asyncpg.connect(**connect_kwargs, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield Ledger(connection)
    finally:
        await connection.close()
