"""Which topics the ledger's positions are of, and how to go on when Kafka has others under their names.

Kafka gives every topic an id when it is made. The id is kept with the positions: a topic that was deleted and made anew
has another one, and reading it from the old position would skip its first records in silence. Readers then halt, and an
operator accepts the new topic (`recon topics accept`), which is kept in the audit trail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from actors.ports import EventLog, Incarnation, TopicPartition
from cluster.audit_chain import append, lock_chain
from schemas.audit import AuditEntry
from schemas.covered import ROWS, told
from schemas.errors import ReconError, StoreUnavailableError
from schemas.queries import named_queries

CHAIN: Final = "topics"
# A new incarnation begins at a whole multiple of this, above every offset of the ones before. Not at the highest stored
# position: a shard may have read further than it has flushed, and would leave out as many records of the new topic.
INCARNATION_OFFSETS: Final = 1_000_000_000
_SQL: Final = named_queries("schemas", "sql/log_topics.sql")


class NothingToAcceptError(ReconError):
    """The topic is the one that the ledger knows, and nothing of it is lost."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic in the ledger and in Kafka. Offsets are the ledger's, by partition."""

    topic: str
    incarnation: int
    known_id: str
    found_id: str
    positions: Mapping[int, int]
    earliest: Mapping[int, int]

    @property
    def is_anew(self) -> bool:
        """Whether Kafka has another topic under this name."""
        return self.known_id != self.found_id

    @property
    def lost(self) -> dict[int, tuple[int, int]]:
        """Partitions whose next records are gone: from where to where, in the ledger's offsets."""
        if self.is_anew:
            return {}
        return {
            partition: (at, self.earliest[partition])
            for partition, at in self.positions.items()
            if at < self.earliest.get(partition, 0)
        }


async def _newest(connection: asyncpg.Connection[Any]) -> dict[str, tuple[int, Incarnation]]:
    return {
        row["topic"]: (
            row["incarnation"],
            Incarnation(row["topic_id"], _by_partition(row["bases"]), _by_partition(row["skipped"])),
        )
        for row in await connection.fetch(_SQL["newest"])
    }


def _by_partition(text: str) -> dict[int, int]:
    return {int(partition): offset for partition, offset in json.loads(text).items()}


def known(connect_kwargs: Mapping[str, Any]) -> dict[str, Incarnation]:
    """The topics that the ledger knows. Raises StoreUnavailableError when PostgreSQL does not answer."""

    async def ask() -> dict[str, Incarnation]:
        connection = await asyncpg.connect(**connect_kwargs)
        try:
            return {topic: incarnation for topic, (_, incarnation) in (await _newest(connection)).items()}
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailableError(f"topics of the ledger: {error}") from error


async def remember(connect_kwargs: Mapping[str, Any], topic_ids: Mapping[str, str], by: str) -> None:
    """Keep the ids of topics that the ledger has never seen."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        for topic, topic_id in topic_ids.items():
            async with connection.transaction():
                row = await connection.fetchrow(_SQL["first_seen"], topic, topic_id, by)
                if row is not None:
                    details = {ROWS: {"log_topics": [told("log_topics", row)]}}
                    entry = AuditEntry(datetime.now(UTC), by, "topic.first_seen", "topic", topic, details)
                    await append(connection, CHAIN, entry)
    finally:
        await connection.close()


async def states(connect_kwargs: Mapping[str, Any], log: EventLog) -> dict[str, TopicState]:
    """Every topic that the ledger knows, beside what Kafka has. Raises KafkaUnavailableError."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        newest = await _newest(connection)
        rows = [json.loads(row["positions"]) for row in await connection.fetch(_SQL["positions"])]
    finally:
        await connection.close()
    log.adopt({topic: incarnation for topic, (_, incarnation) in newest.items()})
    ids, counts = await asyncio.to_thread(log.topic_ids), await asyncio.to_thread(log.partition_counts)
    keys: list[TopicPartition] = [(topic, part) for topic, count in counts.items() for part in range(count)]
    earliest = await asyncio.to_thread(log.earliest, keys)
    return {
        topic: TopicState(
            topic,
            number,
            incarnation.topic_id,
            ids[topic],
            _over_shards(rows, topic, min),  # what is below it is in the ledger for all shards
            {part: at for (of, part), at in earliest.items() if of == topic},
        )
        for topic, (number, incarnation) in newest.items()
        if topic in ids
    }


def _over_shards(
    rows: Sequence[Mapping[str, Mapping[str, int]]], topic: str, choose: Callable[[list[int]], int]
) -> dict[int, int]:
    """The lowest or the highest position of each partition over all shards."""
    found: dict[int, list[int]] = {}
    for row in rows:
        for partition, at in row.get(topic, {}).items():
            found.setdefault(int(partition), []).append(at)
    return {partition: choose(positions) for partition, positions in found.items()}


def next_base(position: int) -> int:
    """Where the offsets of a new incarnation begin, when the one before was read to `position` at least."""
    return (position // INCARNATION_OFFSETS + 1) * INCARNATION_OFFSETS


def next_incarnation(
    found: TopicState, before: Incarnation, highest: Mapping[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """`bases` and `skipped` (actors.ports.Incarnation) that go on with what Kafka has.

    `highest` gives each partition's highest position over all shards. A partition of a new topic gets a base also when
    the ledger has no position of it: a shard may have read the old one and not flushed yet.
    """
    bases = dict(before.bases)
    if found.is_anew:
        read = {part: max(highest.get(part, 0), before.bases.get(part, 0)) for part in {*highest, *found.earliest}}
        bases = {part: next_base(at) for part, at in read.items()}
    skipped = dict(before.skipped)
    for partition, at in found.earliest.items():
        # Kafka's own offset, whatever the old base was, counted by the new one.
        start = at - before.bases.get(partition, 0) + bases.get(partition, 0)
        if start > (bases.get(partition, 0) if found.is_anew else found.positions.get(partition, start)):
            skipped[partition] = start
    return bases, skipped


async def accept(owner_kwargs: Mapping[str, Any], log: EventLog, topic: str, by: str, reason: str) -> dict[str, Any]:
    """Go on with the topic that Kafka has, and without what it no longer holds; gives what was decided.

    Connects as the owner. Raises NothingToAcceptError.
    """
    found = (await states(owner_kwargs, log)).get(topic)
    if found is None:
        raise NothingToAcceptError(f"{topic}: the ledger knows no such topic, or Kafka has none")
    if not found.is_anew and not found.lost:
        raise NothingToAcceptError(f"{topic}: its id is the one that the ledger knows, and nothing of it is lost")
    connection = await asyncpg.connect(**owner_kwargs)
    try:
        async with connection.transaction():
            await lock_chain(connection, CHAIN)
            number, before = (await _newest(connection))[topic]
            rows = [json.loads(row["positions"]) for row in await connection.fetch(_SQL["positions"])]
            # The highest over all shards: what one of them has may not be counted again for another.
            highest = _over_shards(rows, topic, max)
            bases, skipped = next_incarnation(found, before, highest)
            details = {
                "reason": reason,
                "known_id": found.known_id,
                "found_id": found.found_id,
                "bases": bases,
                "skipped": skipped,
                "positions": dict(found.positions),
            }
            row = await connection.fetchrow(
                _SQL["accept"], topic, number + 1, found.found_id, json.dumps(bases), json.dumps(skipped), by
            )
            details[ROWS] = {"log_topics": [told("log_topics", row)]}
            # As JSON has them, with the numbers of partitions as text: the hash is taken over what will be read back.
            entry = AuditEntry(datetime.now(UTC), by, "topic.accepted", "topic", topic, json.loads(json.dumps(details)))
            await append(connection, CHAIN, entry)
    finally:
        await connection.close()
    return details
