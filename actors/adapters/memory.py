"""In-memory twins of the ports (actors.ports): what unit tests, simulations and offline runs put behind the engine.

Each twin has the shared part (a database, a Redis, a broker) as an object of its own, so that several owners, one after
the other or at once, meet in it as they do in the real thing. Switches on the shared part play its failures.
"""

# ruff: noqa: ARG002 (a twin takes what its port gives, needed or not)
from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from actors.matching.frames import NO_EVENTS, NO_RESULTS, RESULT_SCHEMA, empty
from actors.matching.state import PENDING_SCHEMA, SPILL_BUCKET_MS
from actors.ports import (
    AlreadyDecidedError,
    Batch,
    Claim,
    DeadLetter,
    Flush,
    Flushed,
    Incarnation,
    Polled,
    TopicPartition,
)
from actors.shard import MatcherShard
from schemas.errors import (
    FencedError,
    KafkaUnavailableError,
    LostRecordsError,
    ShardLostError,
    StoreUnavailableError,
    TransientError,
)
from schemas.events import SourceSpec
from schemas.rules import RuleSet

_NOTHING_CHANGED: Final = empty({**RESULT_SCHEMA, "decided_at": pl.Int64()})
_NOTHING_SHOWN: Final = empty({"txn_id": pl.String(), "breaks": pl.Int16()})
_NOTHING_SPILLED: Final = empty(PENDING_SCHEMA)
TxnKey = tuple[int, str]  # key group, txn_id
Place = tuple[int, int]  # key group, seq


class WrittenTwiceError(Exception):
    """A row that is written once, by its key, came again: what PostgreSQL would call a unique violation."""


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryCheckpoint:
    """One row of `checkpoints`."""

    key_group_to: int
    epoch: int = 0
    next_seq: int = 1
    low_seq: int = 1
    flushes: int = 0
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    watermarks_ms: dict[str, int] = field(default_factory=dict)
    audit_seq: int = 0
    audit_hash: bytes = b""


@dataclass(slots=True)
class MemoryDatabase:
    """The ledger's tables as dictionaries, and switches for its failures."""

    checkpoints: dict[int, MemoryCheckpoint] = field(default_factory=dict)
    events: dict[Place, dict[str, Any]] = field(default_factory=dict)  # LOG_SCHEMA
    redeliveries: dict[Place, str] = field(default_factory=dict)
    results: dict[TxnKey, dict[str, Any]] = field(default_factory=dict)  # RESULT_SCHEMA
    history: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: dict[tuple[int, str, int, int], DeadLetter] = field(default_factory=dict)
    rule_sets: list[RuleSet] = field(default_factory=lambda: [RuleSet()])
    flushes: list[Flush] = field(default_factory=list)  # as committed
    decided_ms: int = 0  # the moment of the last flush
    is_down: bool = False
    answers_to_lose: int = 0  # flushes that are committed, but whose answer gets lost
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def with_ranges(cls, *ranges: tuple[int, int]) -> MemoryDatabase:
        """An empty ledger laid out for these ranges of key groups."""
        return cls(checkpoints={start: MemoryCheckpoint(stop) for start, stop in ranges})


class MemoryLedger:
    """A Ledger (actors.ports): one owner's connection to a MemoryDatabase."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def claim(self, key_group_from: int, key_group_to: int, owner: str) -> Claim:
        """See actors.ports.Ledger. Raises FencedError when there is no such range."""
        with self._up() as database:
            row = database.checkpoints.get(key_group_from)
            if row is None or row.key_group_to != key_group_to:
                raise FencedError(key_group_from, -1)
            row.epoch += 1
            return Claim(
                key_group_from=key_group_from,
                key_group_to=key_group_to,
                epoch=row.epoch,
                next_seq=row.next_seq,
                low_seq=row.low_seq,
                flushes=row.flushes,
                positions=dict(row.positions),
                audit_seq=row.audit_seq,
                audit_hash=row.audit_hash,
            )

    def rule_sets(self) -> Sequence[RuleSet]:
        """See actors.ports.Ledger."""
        with self._up() as database:
            return list(database.rule_sets)

    def open_events(self, claim: Claim) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See actors.ports.Ledger."""
        mine = range(claim.key_group_from, claim.key_group_to)
        with self._up() as database:
            held = {(key[0], seq) for key, row in database.results.items() if row["final"] for seq in row["event_seqs"]}
            rows = [
                row
                for place, row in sorted(database.events.items())
                if place[0] in mine and place[1] >= claim.low_seq and place not in held | set(database.redeliveries)
            ]
            shown = [
                {"txn_id": txn_id, "breaks": row["breaks"]}
                for (key_group, txn_id), row in database.results.items()
                if key_group in mine and not row["final"]
            ]
        return _frame(rows, NO_EVENTS), _frame(shown, _NOTHING_SHOWN)

    def decided(self, txns: pl.DataFrame) -> pl.DataFrame:
        """See actors.ports.Ledger."""
        with self._up() as database:
            found = [database.results.get(key) for key in _keys(txns)]
        return _frame([row for row in found if row is not None and row["final"]], NO_RESULTS)

    def events_of(self, results: pl.DataFrame) -> pl.DataFrame:
        """See actors.ports.Ledger."""
        groups, seqs = results["key_group"].to_list(), results["event_seqs"].to_list()
        places = [(group, seq) for group, of in zip(groups, seqs, strict=True) for seq in of]
        with self._up() as database:
            found = [database.events[place] for place in places if place in database.events]
        return _frame(found, NO_EVENTS)

    def flush(self, flush: Flush, sources: Sequence[SourceSpec], now_ms: int) -> Flushed:
        """See actors.ports.Ledger. Raises WrittenTwiceError for what would be a bug of the caller."""
        with self._up() as database:
            now_ms = database.decided_ms = max(now_ms, database.decided_ms + 1)
            changed = _changed(flush, now_ms)
            row = database.checkpoints.get(flush.claim.key_group_from)
            if row is None or row.epoch != flush.claim.epoch:
                raise FencedError(flush.claim.key_group_from, flush.claim.epoch)
            if row.flushes == flush.number:  # it was committed before, and only the answer got lost
                return Flushed(row.audit_seq, row.audit_hash, changed, list(database.rule_sets))
            if row.flushes != flush.number - 1:
                raise FencedError(flush.claim.key_group_from, flush.claim.epoch)
            self._refuse_decided(flush)
            self._refuse_repeats(flush)
            self._write(flush)
            row.next_seq, row.low_seq, row.flushes = flush.next_seq, flush.low_seq, flush.number
            row.positions, row.watermarks_ms = dict(flush.positions), dict(flush.watermarks_ms)
            row.audit_seq = flush.claim.audit_seq + 1
            row.audit_hash = hashlib.sha256(flush.claim.audit_hash + str(flush.number).encode()).digest()
            database.flushes.append(flush)
            if database.answers_to_lose:
                database.answers_to_lose -= 1
                raise StoreUnavailableError("the answer was lost")
            return Flushed(row.audit_seq, row.audit_hash, changed, list(database.rule_sets))

    def close(self) -> None:
        """See actors.ports.Ledger."""

    def _up(self) -> _Opened:
        return _Opened(self._database)

    def _refuse_decided(self, flush: Flush) -> None:
        """Raise AlreadyDecidedError for new results of transactions that have a row already or that occur twice."""
        results = self._database.results
        final, replacing = _keys(flush.final), _keys(flush.replacing)
        known = {key for key in final if key in results}
        known |= {key for key in replacing if key in results and results[key]["final"]}
        known |= {key for key, count in Counter(final + replacing).items() if count > 1}
        if known:
            schema = {name: RESULT_SCHEMA[name] for name in ("key_group", "txn_id")}
            raise AlreadyDecidedError(pl.DataFrame(sorted(known), schema=schema, orient="row"))

    def _refuse_repeats(self, flush: Flush) -> None:
        database = self._database
        twice = [place for place in _places(flush.events) if place in database.events]
        twice += [place for place in _places(flush.redeliveries) if place in database.redeliveries]
        letters = [letter for letter in flush.dead_letters if _letter_key(letter) in database.dead_letters]
        marks, events = _places(flush.redeliveries), _places(flush.events)
        if twice or letters or len(set(marks)) < len(marks) or len(set(events)) < len(events):
            raise WrittenTwiceError(f"flush {flush.number}: {twice} {letters}")

    def _write(self, flush: Flush) -> None:
        database = self._database
        database.events.update(zip(_places(flush.events), _rows(flush.events), strict=True))
        database.redeliveries.update(zip(_places(flush.redeliveries), flush.redeliveries["txn_id"], strict=True))
        database.dead_letters.update({_letter_key(letter): letter for letter in flush.dead_letters})
        database.history += [database.results[key] for key in _keys(flush.revised)]
        for frame in (flush.final, flush.replacing, flush.revised):
            database.results.update(zip(_keys(frame), _rows(frame), strict=True))


class _Opened:
    """The database, locked, for one statement or transaction. Raises StoreUnavailableError while it is down."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def __enter__(self) -> MemoryDatabase:
        self._database.lock.acquire()
        if self._database.is_down:
            self._database.lock.release()
            raise StoreUnavailableError("the database is down")
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.lock.release()


def _changed(flush: Flush, now_ms: int) -> pl.DataFrame:
    frames = [frame for frame in (flush.final, flush.replacing, flush.revised) if len(frame)]
    if not frames:
        return _NOTHING_CHANGED
    return pl.concat(frames).with_columns(decided_at=pl.lit(now_ms, pl.Int64))


def _keys(frame: pl.DataFrame) -> list[TxnKey]:
    return list(zip(frame["key_group"].to_list(), frame["txn_id"].to_list(), strict=True)) if len(frame) else []


def _places(frame: pl.DataFrame) -> list[Place]:
    return list(zip(frame["key_group"].to_list(), frame["seq"].to_list(), strict=True)) if len(frame) else []


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts() if len(frame) else []


def _letter_key(letter: DeadLetter) -> tuple[int, str, int, int]:
    return letter.key_group, letter.topic, letter.partition, letter.offset


def _frame(rows: Sequence[Mapping[str, Any]], like: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns of the frame `like`, which is empty."""
    return (
        pl.DataFrame([{name: row[name] for name in like.columns} for row in rows], schema=like.schema) if rows else like
    )


# -- Redis -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryRedis:
    """What spills share: rows by key and transaction. `is_down` plays an outage, clearing `hashes` a loss."""

    hashes: dict[str, dict[str, pl.DataFrame]] = field(default_factory=dict)
    is_down: bool = False

    def answer(self) -> None:
        """Raise TransientError while it is down."""
        if self.is_down:
            raise TransientError("the spill store is down")


class MemorySpill:
    """A SpillStore (actors.ports)."""

    def __init__(self, server: MemoryRedis, claim: Claim) -> None:
        self._server = server
        self._range = f"{claim.key_group_from}:"
        self._prefix = f"{self._range}{claim.epoch}:"

    def put(self, rows: pl.DataFrame) -> None:
        """See actors.ports.SpillStore."""
        self._server.answer()
        for (bucket, txn_id), group in rows.group_by(pl.col("closes_at") // SPILL_BUCKET_MS, "txn_id"):
            self._server.hashes.setdefault(f"{self._prefix}{bucket}", {})[str(txn_id)] = group.select(
                PENDING_SCHEMA.keys()
            )

    def take(self, hits: Mapping[int, Sequence[str]], buckets: Sequence[int]) -> pl.DataFrame:
        """See actors.ports.SpillStore."""
        self._server.answer()
        found: list[pl.DataFrame] = [_NOTHING_SPILLED]
        for bucket, txn_ids in hits.items():
            fields = self._server.hashes.get(f"{self._prefix}{bucket}", {})
            found += [fields.pop(txn_id) for txn_id in txn_ids if txn_id in fields]
        for bucket in buckets:
            found += self._server.hashes.pop(f"{self._prefix}{bucket}", {}).values()
        return pl.concat(found)

    def clear(self) -> None:
        """See actors.ports.SpillStore."""
        self._server.answer()
        for key in [key for key in self._server.hashes if key.startswith(self._range)]:
            del self._server.hashes[key]


class MemoryFeed:
    """A Feed (actors.ports) that keeps what it was told: (key_group_from, flush number, changed results)."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, pl.DataFrame]] = []

    def publish(self, claim: Claim, number: int, changed: pl.DataFrame, sources: Sequence[SourceSpec]) -> None:
        """See actors.ports.Feed."""
        if not changed.is_empty():
            self.told.append((claim.key_group_from, number, changed))


# -- Kafka -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record of a partition. A marker takes an offset and is never delivered."""

    key: bytes | None
    value: bytes | None
    arrival_ms: int
    is_marker: bool = False


@dataclass(slots=True)
class MemoryBroker:
    """Topics as lists of partitions; a record's offset is its index. `is_down` plays an outage."""

    topics: dict[str, list[list[MemoryRecord]]] = field(default_factory=dict)
    starts: dict[TopicPartition, int] = field(default_factory=dict)  # where retention has come to
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)  # how often each topic was made anew
    is_down: bool = False

    def recreate(self, topic: str) -> None:
        """Delete a topic and make it anew, with as many partitions and nothing in them."""
        self.topics[topic] = [[] for _ in self.topics[topic]]
        self.starts = {key: start for key, start in self.starts.items() if key[0] != topic}
        self.made[topic] = self.made.get(topic, 0) + 1

    def append(self, topic: str, partition: int, record: MemoryRecord) -> int:
        """Append a record; gives its offset."""
        self.topics[topic][partition].append(record)
        return len(self.topics[topic][partition]) - 1

    def answer(self) -> None:
        """Raise KafkaUnavailableError while it is down."""
        if self.is_down:
            raise KafkaUnavailableError("the broker is down")


class MemoryEventLog:
    """An EventLog (actors.ports): one reader's consumer on a MemoryBroker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._at: dict[TopicPartition, int] = {}
        self._bases: dict[TopicPartition, int] = {}

    def adopt(self, incarnations: Mapping[str, Incarnation]) -> None:
        """See actors.ports.EventLog."""
        self._bases = {(topic, part): base for topic, one in incarnations.items() for part, base in one.bases.items()}

    def topic_ids(self) -> dict[str, str]:
        """See actors.ports.EventLog."""
        self._broker.answer()
        return {topic: f"{topic}-{self._broker.made.get(topic, 0)}" for topic in self._broker.topics}

    def partition_counts(self) -> dict[str, int]:
        """See actors.ports.EventLog."""
        self._broker.answer()
        return {topic: len(partitions) for topic, partitions in self._broker.topics.items()}

    def earliest(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """See actors.ports.EventLog."""
        self._broker.answer()
        return {key: self._broker.starts.get(key, 0) + self._bases.get(key, 0) for key in partitions}

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """See actors.ports.EventLog."""
        self._broker.answer()
        return {key: len(self._broker.topics[key[0]][key[1]]) + self._bases.get(key, 0) for key in partitions}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See actors.ports.EventLog."""
        self._at = dict(positions)

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """See actors.ports.EventLog. An unreachable broker delivers nothing, as the real client does."""
        taken: list[tuple[str, int, int, MemoryRecord]] = []
        for (topic, partition), at in self._at.items() if not self._broker.is_down else ():
            base = self._bases.get((topic, partition), 0)
            start = self._broker.starts.get((topic, partition), 0) + base
            if at < start:
                raise LostRecordsError(topic, partition, at, start)
            records = self._broker.topics[topic][partition]
            stop = at
            while stop - base < len(records) and len(taken) < records_max:
                if not records[stop - base].is_marker:
                    taken.append((topic, partition, stop, records[stop - base]))
                stop += 1
            self._at[topic, partition] = stop
        return Polled.of(
            origins=[(topic, partition) for topic, partition, _, _ in taken],
            offsets=[offset for _, _, offset, _ in taken],
            arrivals_ms=[record.arrival_ms for _, _, _, record in taken],
            values=[record.value for _, _, _, record in taken],
            key_of=lambda row: taken[row][3].key,
        )

    def reached(self, partition: TopicPartition) -> int:
        """See actors.ports.EventLog."""
        return self._at.get(partition, -1)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See actors.ports.EventLog."""
        self._broker.committed.update({key: at - self._bases.get(key, 0) for key, at in positions.items()})

    def close(self) -> None:
        """See actors.ports.EventLog."""
        self._at = {}


# -- a shard in this process -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalTicket:
    """A Ticket (actors.ports) whose answer is there."""

    answer: dict[TopicPartition, int] | BaseException

    def done(self, timeout_s: float = 0.0) -> bool:
        """See actors.ports.Ticket."""
        return True

    def result(self) -> dict[TopicPartition, int]:
        """See actors.ports.Ticket."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class LocalShard:
    """A ShardClient (actors.ports) that calls a MatcherShard directly. Without one it is a shard that is gone."""

    def __init__(self, key_group_from: int, key_group_to: int, shard: MatcherShard | None = None) -> None:
        self.key_group_from = key_group_from
        self.key_group_to = key_group_to
        self.shard = shard

    def send(self, batch: Batch) -> LocalTicket:
        """See actors.ports.ShardClient."""
        if self.shard is None:
            return LocalTicket(ShardLostError("there is no shard"))
        try:
            return LocalTicket(self.shard.push(replace(batch)))
        except Exception as error:  # noqa: BLE001 (an answer, as it would be from another process)
            return LocalTicket(error)

    def positions(self) -> dict[TopicPartition, int]:
        """See actors.ports.ShardClient."""
        if self.shard is None:
            raise ShardLostError("there is no shard")
        return self.shard.positions()

    def alive(self) -> bool:
        """See actors.ports.ShardClient."""
        return self.shard is not None
