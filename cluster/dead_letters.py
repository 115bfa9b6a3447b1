"""Dead letters by hand: list them, look at one, and send one back into the log once it has become readable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
from confluent_kafka import KafkaError, Message, Producer

from cluster.oracle.decoding import Decoder
from cluster.oracle.judge import Seen
from cluster.oracle.records import Refused, Skipped
from schemas.audit import GENESIS, AuditEntry, chained_row
from schemas.covered import ROWS, told
from schemas.errors import TransientError
from schemas.events import KEY_GROUPS
from schemas.headers import unpacked_headers
from schemas.queries import named_queries

AUDIT_CHAIN = "api-cli"  # the service's role may write chains whose name begins with api
DELIVERY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0

_SQL = named_queries("cluster", "dead_letters.sql")


class NotDeliveredError(TransientError):
    """Kafka did not take the record; the dead letter is as it was."""


@dataclass(frozen=True, slots=True)
class LetterId:
    """Where in the log a dead letter was: written topic:partition:offset."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Raises ValueError when the text is no such place."""
        topic, partition, offset = text.rsplit(":", 2)
        return cls(topic, int(partition), int(offset))

    def __str__(self) -> str:
        """The written form."""
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one replay: the new place in the log, or why there is none."""

    letter: str
    replayed: bool
    explanation: str


@asynccontextmanager
async def connected(access: Mapping[str, Any]) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection for the length of a command."""
    connection = await asyncpg.connect(**access, timeout=CONNECT_TIMEOUT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def search(
    connection: asyncpg.Connection[asyncpg.Record],
    *,
    state: str | None = None,
    reason: str | None = None,
    topic: str | None = None,
    limit: int = 50,
) -> list[asyncpg.Record]:
    """Dead letters, newest first."""
    return list(await connection.fetch(_SQL["search"], state, reason, topic, limit))


async def find(connection: asyncpg.Connection[asyncpg.Record], letter: LetterId) -> asyncpg.Record | None:
    """One dead letter with its bytes."""
    groups = list(range(KEY_GROUPS))
    return await connection.fetchrow(_SQL["one"], groups, letter.topic, letter.partition, letter.offset)


def read_again(decoder: Decoder, row: asyncpg.Record, now_ms: int) -> Seen | Refused | Skipped:
    """What the record is today, judged as if it arrived at `now_ms`."""
    place = row["topic"], row["kafka_partition"], row["kafka_offset"]
    try:
        return decoder.decode(*place, now_ms, row["payload"], row["key"], unpacked_headers(row["headers"]))
    except (Refused, Skipped) as verdict:
        return verdict


async def replay(
    connection: asyncpg.Connection[asyncpg.Record], producer: Producer, decoder: Decoder, letter: LetterId, actor: str
) -> Replayed:
    """Append the same bytes to the same topic, if they are an acceptable event by now.

    The state and the audit entry are written first, in a transaction that commits only once Kafka has the record. After
    a crash in between the letter is still open, and replaying it again is a redelivery, which changes no verdict.
    Raises NotDeliveredError.
    """
    now = datetime.now(UTC)
    async with connection.transaction():
        row = await find(connection, letter)
        if row is None:
            return Replayed(str(letter), replayed=False, explanation="there is no such dead letter")
        if row["state"] == "replayed":
            return Replayed(str(letter), replayed=False, explanation="it was replayed before")
        found = read_again(decoder, row, int(now.timestamp() * 1000))
        if isinstance(found, Refused):
            return Replayed(str(letter), replayed=False, explanation=f"still {found.reason.value}: {found}")
        if isinstance(found, Skipped):
            return Replayed(str(letter), replayed=False, explanation=f"it would be skipped: {found}")
        changed = await connection.fetchrow(
            _SQL["mark_replayed"],
            row["key_group"],
            letter.topic,
            letter.partition,
            letter.offset,
            actor,
        )
        if changed is None:
            return Replayed(str(letter), replayed=False, explanation="somebody else changed it just now")
        partition, offset = await asyncio.to_thread(publish, producer, letter.topic, row)
        details = {
            "client": "cli",
            "txn_id": found.txn_id,
            "partition": partition,
            "offset": offset,
            ROWS: {"dead_letters": [told("dead_letters", changed)]},
        }
        entry = AuditEntry(now, actor, "dead_letter.replay", "dead_letter", str(letter), details)
        await append_audit(connection, entry)
    return Replayed(str(letter), replayed=True, explanation=f"now {letter.topic}:{partition}:{offset}")


async def append_audit(connection: asyncpg.Connection[asyncpg.Record], entry: AuditEntry) -> None:
    """Add an entry to the chain of acts from the command line, inside the caller's transaction."""
    await connection.execute(_SQL["ensure_head"], AUDIT_CHAIN)
    seq, previous = await connection.fetchrow(_SQL["lock_head"], AUDIT_CHAIN) or (0, GENESIS)
    seq += 1
    row = chained_row(AUDIT_CHAIN, seq, entry, previous)
    await connection.execute(_SQL["append_entry"], *row)
    await connection.execute(_SQL["move_head"], AUDIT_CHAIN, seq, row[-1])


def publish(producer: Producer, topic: str, row: asyncpg.Record) -> tuple[int, int]:
    """Partition and offset of the appended record: the letter's bytes, key and headers. Raises NotDeliveredError."""
    outcome: list[tuple[KafkaError | None, Message]] = []
    producer.produce(
        topic,
        value=row["payload"],
        key=row["key"],
        headers=[*unpacked_headers(row["headers"])],
        on_delivery=lambda error, message: outcome.append((error, message)),
    )
    producer.flush(DELIVERY_TIMEOUT_S)
    if not outcome or outcome[0][0] is not None:
        raise NotDeliveredError(f"{topic}: {outcome[0][0] if outcome else 'no acknowledgement'}")
    message = outcome[0][1]
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise NotDeliveredError(f"{topic}: acknowledged without a place")
    return partition, offset
