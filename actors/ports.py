"""What the engine asks of the world, as protocols, and the plain values that cross them.

Every port has an in-memory twin in actors/adapters/memory.py; one contract suite runs over both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from actors.matching.frames import EVENT_SCHEMA, NO_EVENTS, NO_RESULTS, empty
from schemas.audit import GENESIS
from schemas.events import SourceSpec
from schemas.headers import Headers
from schemas.rules import RuleSet

TopicPartition = tuple[str, int]

# A whole event as it enters the log: EVENT_SCHEMA and the fields that matching does not need.
LOG_SCHEMA: Final[dict[str, pl.DataType]] = {
    **EVENT_SCHEMA,
    "account_id": pl.String(),
    "original_txn_id": pl.String(),
}
NO_LOGGED: Final = empty(LOG_SCHEMA)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that is no acceptable event, kept with its bytes."""

    key_group: int
    topic: str
    partition: int
    offset: int
    arrival_ms: int
    reason: str
    detail: str
    key: bytes | None
    payload: bytes | None
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Offsets [start, stop) of one partition that a batch covers, whether or not it has rows for this shard.

    `log_start` is the first offset that the log holds: a shard that has no position yet takes nothing above it.
    """

    topic: str
    partition: int
    start: int
    stop: int
    log_start: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One reader's message to one shard. Taken whole, or refused whole.

    `events` has LOG_SCHEMA without seq, in log order within each partition. `watermarks_ms` gives, per partition, the
    arrival time up to which that partition was read when the batch was cut.
    """

    ranges: Sequence[OffsetRange]
    watermarks_ms: Mapping[TopicPartition, int]
    events: pl.DataFrame
    dead_letters: Sequence[DeadLetter] = ()
    partition_counts: Mapping[str, int] = field(default_factory=dict)  # of every topic, as last seen by the reader


@dataclass(frozen=True, slots=True)
class Claim:
    """What a new owner of a range of key groups finds: its fencing epoch, and where its predecessor was."""

    key_group_from: int
    key_group_to: int
    epoch: int
    next_seq: int
    low_seq: int
    flushes: int
    positions: Mapping[TopicPartition, int]
    audit_seq: int = 0
    audit_hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Flush:
    """All that one PostgreSQL transaction writes for one shard."""

    claim: Claim
    events: pl.DataFrame = field(default_factory=lambda: NO_LOGGED)
    redeliveries: pl.DataFrame = field(default_factory=lambda: NO_EVENTS)
    final: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)  # new rows
    replacing: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)  # over provisional rows
    revised: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)  # over final rows
    superseded: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)  # what `revised` stands for now
    dead_letters: Sequence[DeadLetter] = ()
    positions: Mapping[TopicPartition, int] = field(default_factory=dict)
    watermarks_ms: Mapping[str, int] = field(default_factory=dict)
    first_seq: int = 1  # events of this flush have seqs in [first_seq, next_seq)
    next_seq: int = 1
    low_seq: int = 1
    number: int = 1


@dataclass(frozen=True, slots=True)
class Flushed:
    """What the ledger did with a flush: the chain's new head and the results as they are now."""

    audit_seq: int
    audit_hash: bytes
    changed: pl.DataFrame  # RESULT_SCHEMA and decided_at (ms)
    rule_sets: Sequence[RuleSet]


class AlreadyDecidedError(Exception):
    """Some transactions of a flush have a result already, or two in it: nothing was written; recompute them."""

    def __init__(self, decided: pl.DataFrame) -> None:
        """`decided` has key_group and txn_id."""
        self.decided = decided
        super().__init__(f"{len(decided)} transactions were decided before")


class Ledger(Protocol):
    """PostgreSQL, as one shard sees it. Raises StoreUnavailableError when it does not answer."""

    def claim(self, key_group_from: int, key_group_to: int, owner: str) -> Claim:
        """Become the owner: raise the epoch, which fences every earlier owner."""
        ...

    def rule_sets(self) -> Sequence[RuleSet]:
        """Active rule sets."""
        ...

    def open_events(self, claim: Claim) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Events (EVENT_SCHEMA) that no final result holds, and the provisional results (txn_id, breaks)."""
        ...

    def decided(self, txns: pl.DataFrame) -> pl.DataFrame:
        """Of these transactions (key_group, txn_id) the ones with a final result, as it is (RESULT_SCHEMA)."""
        ...

    def events_of(self, results: pl.DataFrame) -> pl.DataFrame:
        """Stored events (EVENT_SCHEMA) of results, by their key_group and event_seqs."""
        ...

    def flush(self, flush: Flush, sources: Sequence[SourceSpec], now_ms: int) -> Flushed:
        """Write all of it in one transaction, or nothing; its results are decided at `now_ms`, or just after the last.

        Moments (`decided_at`) rise from flush to flush of a range, so that an auditor can tell their rows apart.

        Raises FencedError when the epoch is not ours any more, AlreadyDecidedError when `final` meets a row,
        `replacing` a final one, or both name a transaction, StoreUnavailableError when PostgreSQL does not answer: the
        same flush may be offered again.
        """
        ...

    def close(self) -> None:
        """Let connections go."""
        ...


class SpillStore(Protocol):
    """Redis, as one shard sees it. Raises TransientError when it does not answer; it may lose everything."""

    def put(self, rows: pl.DataFrame) -> None:
        """Keep rows (PENDING_SCHEMA) of whole transactions, by bucket of closes_at and txn_id."""
        ...

    def take(self, hits: Mapping[int, Sequence[str]], buckets: Sequence[int]) -> pl.DataFrame:
        """Give back and forget: the named transactions of each bucket, and whole buckets."""
        ...

    def clear(self) -> None:
        """Forget everything that any owner of these key groups spilled."""
        ...


class Feed(Protocol):
    """Where changed results are told, after the commit. Never raises: the ledger is the truth."""

    def publish(self, claim: Claim, number: int, changed: pl.DataFrame, sources: Sequence[SourceSpec]) -> None:
        """Tell the results of one flush (RESULT_SCHEMA and decided_at)."""
        ...


@dataclass(frozen=True, slots=True)
class Polled:
    """Records as they came from the log: one entry a record in each, those of a partition in order of offset."""

    partitions: Sequence[TopicPartition]  # that records came from, each once
    origin: npt.NDArray[np.intp]  # position in `partitions`
    offsets: npt.NDArray[np.int64]
    arrivals_ms: npt.NDArray[np.int64]
    values: Sequence[bytes | None]
    key_of: Callable[[int], bytes | None]  # asked only where it is needed: a call a record is dear
    headers_of: Callable[[int], Headers | None] = lambda _row: None

    @classmethod
    def of(
        cls,
        origins: Sequence[TopicPartition],
        offsets: Sequence[int],
        arrivals_ms: Sequence[int],
        values: Sequence[bytes | None],
        key_of: Callable[[int], bytes | None],
        headers_of: Callable[[int], Headers | None] = lambda _row: None,
    ) -> Self:
        """From the partition of each record, and lists beside it."""
        places = {key: place for place, key in enumerate(dict.fromkeys(origins))}
        return cls(
            partitions=tuple(places),
            origin=np.array([places[key] for key in origins], dtype=np.intp),
            offsets=np.array(offsets, dtype=np.int64),
            arrivals_ms=np.array(arrivals_ms, dtype=np.int64),
            values=values,
            key_of=key_of,
            headers_of=headers_of,
        )

    def only(self, rows: npt.NDArray[np.intp]) -> Polled:
        """Some of the records, by their indexes, in the order of these."""
        return Polled(
            partitions=self.partitions,
            origin=self.origin[rows],
            offsets=self.offsets[rows],
            arrivals_ms=self.arrivals_ms[rows],
            values=[self.values[row] for row in rows],
            key_of=lambda row: self.key_of(int(rows[row])),
            headers_of=lambda row: self.headers_of(int(rows[row])),
        )


@dataclass(frozen=True, slots=True)
class Incarnation:
    """A topic as the ledger knows it. A topic that was deleted and made anew is another incarnation of its name.

    The offsets of all incarnations are kept apart in the ledger: `bases` gives, by partition, what is added to Kafka's
    offsets of this one. `skipped` gives, by partition, the (ledger's) offset below which lost records were given up.
    """

    topic_id: str
    bases: Mapping[int, int] = field(default_factory=dict)
    skipped: Mapping[int, int] = field(default_factory=dict)


class EventLog(Protocol):
    """Kafka, as one reader sees it. Raises TransientError when it does not answer.

    Offsets are the ledger's: those of Kafka, plus the bases of the incarnations that were adopted.
    """

    def adopt(self, incarnations: Mapping[str, Incarnation]) -> None:
        """Count offsets by these incarnations of the topics from now on; assign anew afterwards."""
        ...

    def topic_ids(self) -> dict[str, str]:
        """The id that Kafka gave to each configured topic when it was made, asked afresh."""
        ...

    def partition_counts(self) -> dict[str, int]:
        """Partitions of each configured topic, asked afresh."""
        ...

    def earliest(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset still kept, per partition."""
        ...

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record, per partition, as the broker has it now."""
        ...

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets; whatever was fetched before is dropped."""
        ...

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """Up to `records_max` records, in order within each partition. Raises LostRecordsError past retention."""
        ...

    def reached(self, partition: TopicPartition) -> int:
        """The offset up to which the partition was read, records that are never delivered (markers) included."""
        ...

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell lag tools how far we are. Nothing is ever resumed from it."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Ticket(Protocol):
    """A batch on its way to a shard."""

    def done(self, timeout_s: float = 0.0) -> bool:
        """Whether `result` would not block, after waiting for that up to `timeout_s`."""
        ...

    def result(self) -> dict[TopicPartition, int]:
        """Positions safe in the ledger. Raises GapError when refused, ShardLostError when the shard died."""
        ...


class ShardClient(Protocol):
    """A matcher shard, as a reader sees it."""

    key_group_from: int
    key_group_to: int

    def send(self, batch: Batch) -> Ticket:
        """Send a batch; batches of one sender arrive in order."""
        ...

    def positions(self) -> dict[TopicPartition, int]:
        """Where the shard wants each partition resumed. Raises ShardLostError while it is not there."""
        ...

    def alive(self) -> bool:
        """Whether the shard answers a question just now, however long its batches wait."""
        ...
