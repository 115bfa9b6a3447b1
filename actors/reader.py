"""PartitionReader: reads its partitions, decodes a poll at a time, and hands every shard its part.

A plain class: actors/remote.py makes it an actor, tests drive `turn` directly. It keeps no state that matters. Where to
read is asked of the shards, whose positions are in the ledger; so after any trouble it asks again and goes back there,
and what it sends twice the shards drop. A shard that is only slow is no trouble: with PostgreSQL away it takes no batch
for as long as that lasts, and sending the same again would pile up copies in its queue. It is waited for while it
answers questions.

Watermarks. A partition's watermark is the arrival time up to which it was read. A partition that is read to its end
moves on with the clock, but only on the broker's word: at time t we ask for the end offset, and when everything below
it has been read, all that arrived before t less a grace is here. No answer, no movement. Nor does a watermark pass the
time at which the number of partitions was last asked for: a new partition may hold what we would call missing, so the
shards must have heard of it before.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import structlog

from actors.matching.decide import collected
from actors.matching.frames import CURRENCY
from actors.ports import (
    LOG_SCHEMA,
    Batch,
    DeadLetter,
    EventLog,
    Incarnation,
    OffsetRange,
    Polled,
    ShardClient,
    Ticket,
    TopicPartition,
)
from actors.readings import CanonicalTopic, Reading, Readings, ReadingsOf
from schemas.errors import (
    GapError,
    KafkaUnavailableError,
    LostRecordsError,
    ShardLostError,
    TopicRecreatedError,
    TransientError,
)
from schemas.events import KEY_GROUPS, SourceSpec, key_group_of_position
from schemas.rules import RULES_AGE_MS_MAX
from sources.streams import Batch as TopicBatch
from wire.events import decode_batch, validate
from wire.messages import Messages, Reject

HALTED: Final = "halted"  # what a reader's trouble begins with that only an operator can end
Kept = tuple[pl.DataFrame, list[DeadLetter]]  # events (SENT_SCHEMA) and dead letters of some records
SENT_SCHEMA: Final = {name: dtype for name, dtype in LOG_SCHEMA.items() if name != "seq"}
_NO_TOPIC: Final = CanonicalTopic(0, 0)  # where there is no record, nobody looks


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Limits of one reader; the unit is each name's last word."""

    name: str
    partitions: tuple[TopicPartition, ...]
    batch_rows_max: int = 100_000  # records of one poll
    batch_wait_ms: int = 100  # how long a poll waits for more while there is little
    # Every batch costs some milliseconds of CPU however few its rows, so where there is much, a poll waits for company:
    busy_rows: int = 2_000  # records of a poll that mean there is much, if they came
    busy_rate: int = 20_000  # so many a second
    busy_wait_ms: int = 200
    rush_rows: int = 10_000  # the same for a backlog, in which nobody waits for a single verdict
    rush_rate: int = 50_000
    rush_wait_ms: int = 500
    batches_in_flight_max: int = 2  # per shard; beyond it the reader waits
    watermark_interval_ms: int = 200
    watermark_grace_ms: int = 500  # covers clock skew between broker and reader, and replication
    metadata_interval_ms: int = 1_000
    commit_interval_ms: int = 2_000
    retry_interval_ms: int = 300
    halt_interval_ms: int = 2_000  # how often it looks whether an operator has decided how to go on
    shard_patience_ms: int = 5_000  # a shard that took no batch for so long is asked whether it lives

    def patience_ms(self, records: int, elapsed_s: float) -> int:
        """How long the next poll may wait, by what the last one brought in its time."""
        if records >= max(self.rush_rows, self.rush_rate * elapsed_s):
            return self.rush_wait_ms
        if records >= max(self.busy_rows, self.busy_rate * elapsed_s):
            return self.busy_wait_ms
        return self.batch_wait_ms


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition as its reader sees it; offsets are the next to read."""

    topic: str
    partition: int
    position: int
    end_offset: int
    watermark_ms: int


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """What a reader says of itself."""

    name: str
    pid: int
    events: Mapping[str, int]  # accepted, by source
    last_arrival_ms: Mapping[str, int]  # by source
    dead_letters: int
    last_turn_ms: int
    trouble: str
    partitions: Sequence[PartitionStatus]
    skipped: Mapping[str, int]  # records that are no event and no dead letter, by what they are


class PartitionReader:
    """Reads its partitions, which `assign` may change, for a fixed set of shards."""

    def __init__(
        self,
        options: ReaderOptions,
        sources: Sequence[SourceSpec],
        log: EventLog,
        readings: ReadingsOf,
        shards: Sequence[ShardClient],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        on_end: Callable[[], None] = lambda: None,
        incarnations: Callable[[], Mapping[str, Incarnation]] = dict,
    ) -> None:
        """`readings` says how records are read, by version; it is asked again as time goes on.

        `on_end` is called when `run` ends: let go what the readings hold. `incarnations` asks the ledger of its topics.
        """
        self._options = options
        self._assigned = options.partitions  # what is to be read from the next turn of `run` on
        self._sources = tuple(sources)
        self._log = log
        self._ask_readings = readings
        self._readings: Readings | None = None
        self._readings_ms = 0
        self._shards = tuple(shards)
        self._now_ms = now_ms
        self._on_end = on_end
        self._ask_incarnations = incarnations
        self._incarnations: Mapping[str, Incarnation] = {}
        self._gone: list[TopicPartition] = []  # partitions of earlier incarnations that the topics no longer have
        self._logger = structlog.get_logger(__name__).bind(reader=options.name)
        self._first: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._watermarks: dict[TopicPartition, int] = {}
        self._counts: dict[str, int] = {}
        self._counts_seen_ms = 0
        self._tickets: list[deque[Ticket]] = [deque() for _ in self._shards]
        self._safe: list[dict[TopicPartition, int]] = [{} for _ in self._shards]
        self._patience_ms = options.batch_wait_ms
        self._ticked_ms = 0
        self._committed_ms = 0
        self._events = {source.name: 0 for source in sources}
        self._last_arrival_ms = {source.name: 0 for source in sources}
        self._dead_letters = 0
        self._skipped: Counter[str] = Counter()
        self._last_turn_ms = now_ms()
        self._trouble = "starting"
        self._stopping = threading.Event()
        self._paused = threading.Event()
        self._quiet = False  # a turn began while paused, with nothing in flight

    # -- control -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn until stopped. Trouble that may pass is waited out.

        Lost records and a topic that was made anew halt it: it reads nothing and says why, until an operator has
        decided how to go on (`recon topics`).
        """
        try:
            self._turn_until_stopped()
        finally:
            self._log.close()
            self._on_end()

    def _turn_until_stopped(self) -> None:
        located = False
        while not self._stopping.is_set():
            try:
                if self._assigned != self._options.partitions:
                    located = False
                if not located:
                    self.locate()
                    located = True
                self.turn()
                self._trouble = ""
            except (TransientError, GapError) as error:
                located = False
                self._note(f"{type(error).__name__}: {error}")
                self._stopping.wait(self._options.retry_interval_ms / 1000)
            except (LostRecordsError, TopicRecreatedError) as error:
                located = False
                self._halt(error)
                self._stopping.wait(self._options.halt_interval_ms / 1000)

    def _halt(self, error: LostRecordsError | TopicRecreatedError) -> None:
        kind = "lost records" if isinstance(error, LostRecordsError) else "topic made anew"
        trouble = f"{HALTED}: {kind}: {error}"
        if trouble != self._trouble:
            self._logger.critical("reader_halts", kind=kind, error=str(error))
        self._trouble = trouble

    def pause(self) -> None:
        """Stop reading; watermarks stand still too. What is in flight arrives."""
        self._paused.set()

    def resume(self) -> None:
        """Read on."""
        self._quiet = False
        self._paused.clear()

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions instead, from where the shards are, after the turn under way; a repeat is harmless."""
        self._assigned = tuple(partitions)

    def stop(self) -> None:
        """Leave `run` after the current turn."""
        self._stopping.set()

    def idle(self) -> bool:
        """Whether it is paused, the turn that was under way is over, and nothing is in flight."""
        return self._paused.is_set() and self._quiet

    def status(self) -> ReaderStatus:
        """A snapshot for people and for the supervisor's heartbeat."""
        return ReaderStatus(
            name=self._options.name,
            pid=os.getpid(),
            events=dict(self._events),
            last_arrival_ms=dict(self._last_arrival_ms),
            dead_letters=self._dead_letters,
            last_turn_ms=self._last_turn_ms,
            trouble=self._trouble,
            partitions=[
                PartitionStatus(*key, self._next.get(key, -1), self._ends.get(key, -1), self._watermarks.get(key, 0))
                for key in self._options.partitions
            ],
            skipped=dict(self._skipped),
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def locate(self) -> None:
        """Ask every shard where it is, and go to the lowest position of each partition."""
        self._let_arrive()
        if self._assigned != self._options.partitions:
            self._options = replace(self._options, partitions=self._assigned)
            self._safe = [{} for _ in self._shards]  # of what another reads now we hear nothing any more
        self._incarnations = self._ask_incarnations()
        self._log.adopt(self._incarnations)
        self._counts_seen_ms = self._now_ms()
        self._counts = self._log.partition_counts()
        self._check_topics()
        # A topic that was made anew may have fewer partitions. Of the others nothing more will ever come.
        wanted = [key for key in self._options.partitions if key[1] < self._counts.get(key[0], 0)]
        self._gone = [
            (topic, partition)
            for topic, incarnation in self._incarnations.items()
            for partition in incarnation.bases
            if topic in self._counts and partition >= self._counts[topic]
        ]
        known = [shard.positions() for shard in self._shards]
        first = self._first = self._log.earliest(wanted)
        # What was read once counts no more for a shard that lost it: watermarks begin again with the positions.
        self._watermarks = {}
        self._next = {}
        for key in wanted:
            position = min(positions.get(key, first[key]) for positions in known)
            if position < first[key] and self._given_up(key) < first[key]:
                raise LostRecordsError(*key, position, first[key])
            self._next[key] = position
        # What was given up as lost is covered by the first range, so shards see no gap.
        self._log.assign({key: max(at, first[key]) for key, at in self._next.items()})
        self._ends = self._log.ends(wanted)
        self._logger.info("located", lag=sum(self._ends[key] - max(self._next[key], first[key]) for key in wanted))

    def _given_up(self, key: TopicPartition) -> int:
        """The offset below which nothing can be read any more, by an operator's decision.

        That is what an earlier topic of this name had beyond a shard's position, and what the operator gave up.
        """
        incarnation = self._incarnations.get(key[0])
        return max(incarnation.skipped.get(key[1], 0), incarnation.bases.get(key[1], 0)) if incarnation else 0

    def _check_topics(self) -> None:
        """Raises TopicRecreatedError when a topic is another than the one that the ledger's positions are of."""
        for topic, found in self._log.topic_ids().items() if self._incarnations else ():
            known = self._incarnations.get(topic)
            if known is not None and known.topic_id != found:
                raise TopicRecreatedError(topic, known.topic_id, found)

    def turn(self) -> int:
        """One poll and what follows from it; gives the number of records read."""
        options = self._options
        now = self._now_ms()
        self._last_turn_ms = now
        self._collect()
        self._quiet = self._paused.is_set() and not any(self._tickets)
        if self._paused.is_set():
            self._stopping.wait(options.batch_wait_ms / 1000)
            return 0
        began_s = time.monotonic()
        polled = self._log.poll(options.batch_rows_max, self._patience_ms / 1000)
        self._patience_ms = options.patience_ms(len(polled.values), time.monotonic() - began_s)
        tick = now - self._ticked_ms >= options.watermark_interval_ms
        if not polled.values and not tick:
            return 0
        batches = self._cut(polled)
        if tick:
            self._ticked_ms = now
            self._advance_with_clock()
        self._send(batches)
        if now - self._committed_ms >= options.commit_interval_ms:
            self._committed_ms = now
            self._log.commit(self._safe_positions())
        return len(polled.values)

    def _cut(self, polled: Polled) -> tuple[list[OffsetRange], pl.DataFrame, list[DeadLetter]]:
        """Decode and check a poll; ranges cover every record read, good or bad."""
        if not polled.values:
            return self._ranges(polled), pl.DataFrame(schema=SENT_SCHEMA), []
        kept: list[Kept] = []
        for reading, rows in self._readings_at(polled.arrivals_ms):
            kept += self._read(reading, polled if rows is None else polled.only(rows))
        frames = [events for events, _ in kept if len(events)]
        letters = [letter for _, some in kept for letter in some]
        self._dead_letters += len(letters)
        events = frames[0] if len(frames) == 1 else pl.concat([pl.DataFrame(schema=SENT_SCHEMA), *frames])
        return self._ranges(polled), events, letters

    def _readings_at(self, arrivals_ms: npt.NDArray[np.int64]) -> Iterator[tuple[Reading, npt.NDArray[np.intp] | None]]:
        """Versions with their records. None is read by what was asked more than RULES_AGE_MS_MAX before it arrived."""
        latest = int(arrivals_ms.max())
        if self._readings is None or latest >= self._readings_ms + RULES_AGE_MS_MAX:
            asked_ms = self._now_ms()
            self._readings = self._ask_readings()
            self._readings_ms = max(asked_ms, latest - RULES_AGE_MS_MAX + 1)
        return self._readings.at(arrivals_ms)

    def _read(self, reading: Reading, polled: Polled) -> Iterator[Kept]:
        """Events and dead letters of records under one version, by topic; those of recon's own records together."""
        own = [topic in reading.canonical for topic, _ in polled.partitions]
        if all(own):
            yield self._read_canonical(reading, polled)
            return
        places = polled.origin
        if any(own):
            rows = np.flatnonzero(np.array(own)[places])
            if len(rows):
                yield self._read_canonical(reading, polled.only(rows))
        for topic in dict.fromkeys(topic for topic, _ in polled.partitions if topic not in reading.canonical):
            rows = np.flatnonzero(np.array([name == topic for name, _ in polled.partitions])[places])
            if topic in reading.mapped and len(rows):
                yield self._read_mapped(reading, topic, polled.only(rows))
            else:
                self._skipped["unconfigured_topic"] += len(rows)

    def _read_canonical(self, reading: Reading, polled: Polled) -> Kept:
        """Events of topics that have recon's own records."""
        origin, arrivals = polled.origin, polled.arrivals_ms
        topics = [reading.canonical.get(topic, _NO_TOPIC) for topic, _ in polled.partitions]
        owners = np.array([topic.position for topic in topics], dtype=np.uint8)[origin]
        decoded = validate(decode_batch(polled.values, reading.lookup), owners, arrivals, reading.names)
        rows = decoded.events["row"].to_numpy()
        # An accepted event's source owns the topic that it came by.
        sources = np.array([topic.source for topic in topics], dtype=np.uint8)[origin[rows]]
        columns: dict[str, pl.Expr | pl.Series] = {"source": pl.Series(sources), "attributes": pl.lit(None, pl.String)}
        return self._kept(polled, decoded.events, columns, decoded.rejects)

    def _read_mapped(self, reading: Reading, topic: str, polled: Polled) -> Kept:
        """Events of one topic that is read by a mapping."""
        size = range(len(polled.values))
        partitions = np.array([partition for _, partition in polled.partitions], dtype=np.int64)[polled.origin]
        messages = Messages(
            topic,
            polled.values,
            [polled.key_of(row) for row in size],
            [polled.headers_of(row) for row in size],
            polled.arrivals_ms.tolist(),
        )
        found = reading.mapped[topic].read(TopicBatch(messages, partitions, polled.offsets, polled.arrivals_ms))
        self._skipped.update(found.skipped)
        return self._kept(polled, found.events, {}, found.rejects)

    def _kept(
        self, polled: Polled, decoded: pl.DataFrame, columns: Mapping[str, pl.Expr | pl.Series], rejects: list[Reject]
    ) -> Kept:
        """Decoded rows with what their records' places say, and dead letters of what was set aside."""
        rows = decoded["row"].to_numpy()
        origin, arrivals = polled.origin[rows], polled.arrivals_ms[rows]
        numbers = np.array([partition for _, partition in polled.partitions], dtype=np.int32)
        ids = [zlib.crc32(txn_id) % KEY_GROUPS for txn_id in decoded["txn_id"].cast(pl.Binary).to_list()]
        events = collected(
            decoded.lazy()
            .with_columns(
                pl.col("currency").cast(CURRENCY),
                key_group=pl.Series(ids, dtype=pl.Int16),
                arrival=pl.Series(arrivals),
                partition=pl.Series(numbers[origin]),
                offset=pl.Series(polled.offsets[rows]),
                **columns,
            )
            .select(SENT_SCHEMA.keys())
        )
        self._count(events["source"].to_numpy(), arrivals)
        return events, [self._letter(polled, reject) for reject in rejects]

    def _letter(self, polled: Polled, reject: Reject) -> DeadLetter:
        topic, partition = polled.partitions[polled.origin[reject.row]]
        offset = int(polled.offsets[reject.row])
        return DeadLetter(
            key_group=key_group_of_position(partition, offset),
            topic=topic,
            partition=partition,
            offset=offset,
            arrival_ms=int(polled.arrivals_ms[reject.row]),
            reason=reject.reason.value,
            detail=reject.detail,
            key=polled.key_of(reject.row),
            payload=polled.values[reject.row],
            headers=polled.headers_of(reject.row),
        )

    def _count(self, sources: npt.NDArray[np.uint8], arrivals_ms: npt.NDArray[np.int64]) -> None:
        """Move the counters that `status` tells on."""
        for source, count in enumerate(np.bincount(sources)):
            if count:
                name = self._sources[source].name
                self._events[name] += int(count)
                self._last_arrival_ms[name] = int(arrivals_ms[sources == source].max())

    def _ranges(self, polled: Polled) -> list[OffsetRange]:
        """What this poll covers: from where each partition stood to behind its last record.

        What is never delivered counts as read once the end behind it is reached: markers of transactions, records of
        aborted ones, and what an operator has given up as lost.
        """
        stops: dict[TopicPartition, int] = {}
        for place, key in enumerate(polled.partitions):
            last = np.flatnonzero(polled.origin == place)[-1]
            stops[key] = int(polled.offsets[last]) + 1
            self._raise_watermark(key, int(polled.arrivals_ms[last]))
        ranges: list[OffsetRange] = []
        for key in self._options.partitions:
            stop = max(stops.get(key, -1), self._log.reached(key))
            if key in self._next and stop > self._next[key]:
                ranges.append(OffsetRange(*key, self._next[key], stop, self._first[key]))
                self._next[key] = stop
        return ranges

    def _raise_watermark(self, key: TopicPartition, arrival_ms: int) -> None:
        self._watermarks[key] = max(self._watermarks.get(key, 0), min(arrival_ms, self._counts_seen_ms))

    def _advance_with_clock(self) -> None:
        """Move the watermarks of partitions that are read to their end, on the broker's word only."""
        asked_ms = self._now_ms()
        if asked_ms - self._counts_seen_ms >= self._options.metadata_interval_ms:
            # Shards hear of a new partition with the first batch whose watermarks pass its making, and its source's
            # watermark stands until somebody reads it. Partitions are only ever added: fewer is an old answer.
            counts = self._log.partition_counts()
            self._counts = {topic: max(count, self._counts.get(topic, 0)) for topic, count in counts.items()}
            self._counts_seen_ms = asked_ms
            self._check_topics()
            if any(key not in self._next and key[1] < self._counts[key[0]] for key in self._options.partitions):
                raise KafkaUnavailableError("a partition is there that was not; locating anew")
        self._ends = self._log.ends(list(self._next))
        done = [*self._gone, *(key for key, end in self._ends.items() if self._next[key] >= end)]
        for key in done:
            self._raise_watermark(key, asked_ms - self._options.watermark_grace_ms)

    # -- sending -------------------------------------------------------------------------------------------------

    def _send(self, cut: tuple[list[OffsetRange], pl.DataFrame, list[DeadLetter]]) -> None:
        covered, events, letters = cut
        # A watermark says that all before it was sent, so each goes with a range, if an empty one: a shard that does
        # not stand there, because it lost what was on its way, refuses the batch.
        read = {(one.topic, one.partition) for one in covered}
        still = [OffsetRange(*key, at, at, self._first[key]) for key, at in self._next.items() if key not in read]
        ranges = [*covered, *still]
        for shard, tickets in zip(self._shards, self._tickets, strict=True):
            while len(tickets) >= self._options.batches_in_flight_max:
                self._settle(shard, tickets)
            mine = pl.col("key_group").is_between(shard.key_group_from, shard.key_group_to - 1)
            batch = Batch(
                ranges=ranges,
                watermarks_ms=dict(self._watermarks),
                events=events.filter(mine) if len(events) else events,
                dead_letters=[one for one in letters if shard.key_group_from <= one.key_group < shard.key_group_to],
                partition_counts=self._counts,
            )
            tickets.append(shard.send(batch))

    def _collect(self) -> None:
        """Take in what shards have answered. Raises what they raised."""
        for shard, tickets in zip(self._shards, self._tickets, strict=True):
            while tickets and tickets[0].done():
                self._settle(shard, tickets)

    def _settle(self, shard: ShardClient, tickets: deque[Ticket]) -> None:
        """Take in the oldest answer. Raises what the shard raised, ShardLostError when it is silent."""
        self._wait_for(shard, tickets[0])
        self._safe[self._shards.index(shard)].update(tickets.popleft().result())

    def _wait_for(self, shard: ShardClient, ticket: Ticket) -> None:
        """Wait for a shard's answer as long as it lives. Raises ShardLostError when it does not, or we are to stop."""
        while not ticket.done(self._options.shard_patience_ms / 1000):
            name = f"the shard of key groups {shard.key_group_from} to {shard.key_group_to - 1}"
            if self._stopping.is_set():
                raise ShardLostError(f"stopped while {name} had not answered")
            if not shard.alive():
                raise ShardLostError(f"{name} is silent")
            self._note(f"{name} lives and takes no batch; waiting for it")

    def _let_arrive(self) -> None:
        """Wait for what is on its way, whatever becomes of it: sent again, it would wait beside its own copy."""
        for shard, tickets in zip(self._shards, self._tickets, strict=True):
            try:
                while tickets:
                    self._wait_for(shard, tickets[0])
                    tickets.popleft()
            except ShardLostError:
                tickets.clear()

    def _safe_positions(self) -> dict[TopicPartition, int]:
        """Positions that every shard has in the ledger."""
        keys = set.intersection(*(set(safe) for safe in self._safe)) if self._safe else set()
        return {key: min(safe[key] for safe in self._safe) for key in keys}

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._logger.warning("reader_waits", trouble=trouble)
        self._trouble = trouble


def partitions_by_reader(counts: Mapping[str, int], readers: int) -> list[tuple[TopicPartition, ...]]:
    """Deal partitions out to readers, round robin over all topics, so that every reader sees every source."""
    dealt: list[list[TopicPartition]] = [[] for _ in range(readers)]
    every = [(topic, partition) for topic, count in sorted(counts.items()) for partition in range(count)]
    for index, key in enumerate(sorted(every, key=lambda key: (key[1], key[0]))):
        dealt[index % readers].append(key)
    return [tuple(keys) for keys in dealt]
