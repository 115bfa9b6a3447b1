"""One history played: the engine's own classes on twins of everything else.

Real: PartitionReader, MatcherShard, Outbox, the matching core, the actors of actors.remote, RayShard and RayTicket, and
cluster.supervisor.Supervisor. Twins: Kafka, PostgreSQL, Redis (actors.adapters.memory), Ray, the clock and the threads.
`installed` puts the twins in the place of what the engine's modules import; only one world is played at a time.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import polars as pl
import ray

from actors import outbox, reader, remote, shard
from actors.adapters.memory import MemoryBroker, MemoryCheckpoint, MemoryDatabase, MemoryRecord, MemoryRedis
from actors.matching import decide as frames
from actors.matching import state
from actors.ports import Incarnation, TopicPartition
from actors.reader import HALTED, PartitionReader, ReaderOptions
from actors.readings import Reading, Readings
from actors.remote import RayShard
from actors.shard import ShardOptions
from cluster import supervisor
from cluster.layout import split_key_groups
from cluster.log_topics import TopicState, next_incarnation
from cluster.oracle.judge import Seen
from cluster.wiring import shard_name
from schemas.audit import GENESIS
from schemas.errors import DeadLetterReason
from schemas.events import SourceSpec, Status
from schemas.rules import RuleSet, Tolerance
from schemas.verdicts import Verdict
from tests.actors.workbench import A0
from tests.simulation import plain_core
from tests.simulation.checks import BrokenError, Checks, owner_of
from tests.simulation.history import (
    GRACE_MS,
    PROCESSES,
    RULES_AGE_MS,
    RULES_LEAD_MS,
    SKEW_MS_MAX,
    SOURCES,
    Fault,
    History,
    Write,
)
from tests.simulation.ray_twin import Actor, Cluster, Handle, Named, plain_class
from tests.simulation.scheduler import ACTIVE, Scheduler, Threading, Time
from tests.simulation.services import (
    SimFeed,
    SimLedger,
    SimLog,
    SimShard,
    SimSpill,
    Weather,
    ask_incarnations,
    ask_registry,
    evict,
)
from wire.events import DECODED_SCHEMA, Decoded
from wire.messages import Reject

SETTLED_MS_MAX = 120_000  # of virtual time; what is not settled by then never will be
START_PATIENCE_MS = 4_000  # in place of the supervisor's, so that what hangs while it starts is replaced in time
PATIENCE_US = 5_000_000  # a supervisor that stands still for longer is noticed: its snapshots are missing
TOLD_MS_MAX = 3_000  # from then on to every result being told
STATE_DIR = Path("simulated")
HARMLESS = ("clock_stepped",)  # what happens to a process and costs it nothing
_PLAIN = {"shard": plain_class(remote.ShardActor), "reader": plain_class(remote.ReaderActor)}
_NONE_DECODED = pl.DataFrame(schema=DECODED_SCHEMA)
_SUPERVISOR = supervisor.Supervisor
_WATCHED = supervisor.Watched


@dataclass
class Record:
    """A record as the broker has it. `made` is the topic's incarnation, `index` Kafka's offset in it."""

    write: Write
    made: int
    index: int
    stamp_ms: int
    may_be_lost: bool = False  # Kafka dropped it before the ledger had it
    dropped: bool = False  # the ledger dropped it, long decided

    def seen(self, partition: int, offset: int) -> Seen:
        """As the oracle takes it."""
        write = self.write
        return Seen(
            source=write.source,
            event_id=write.event_id,
            txn_id=write.txn_id,
            amount_minor=write.amount,
            currency=write.currency,
            status=Status[write.status],
            event_time=A0 + write.clock_ms,
            account_id="ACC",
            original_txn_id=None,
            arrival=self.stamp_ms,
            partition=partition,
            offset=offset,
        )


class World:
    """Everything of one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.scheduler = Scheduler(history.seed)
        self.cluster = Cluster(self.scheduler, SKEW_MS_MAX)
        rules = RuleSet(
            match_window_ms=history.window_ms,
            time_tolerance_ms=2,
            default_tolerance=Tolerance(absolute_minor=history.tolerance_minor),
        )
        self.database = MemoryDatabase(rule_sets=[rules])
        self.redis = MemoryRedis()
        self.broker = MemoryBroker({source.topic: [[] for _ in range(history.partitions)] for source in SOURCES})
        self.ledger_weather, self.spill_weather = Weather(), Weather()
        self.kafka_weather, self.registry_weather = Weather(), Weather()
        self.readings = [Reading.built_in(SOURCES, self.lookup)]
        self.stalled_until_us: dict[str, int] = {}  # topics that deliver nothing
        self.incarnations: dict[str, Incarnation] = {}
        self.bases: dict[tuple[str, int], dict[int, int]] = {}  # by topic and how often it was made
        self.made_ms: dict[TopicPartition, int] = {}  # of partitions that are not as old as the history
        self.records: list[Record] = []
        self.sealed: set[str] = set()
        self.verdicts_at_retention: dict[str, dict[str, Any]] = {}
        self.checks = Checks(self)
        self.tally: Counter[str] = Counter()  # what happened, by the names of tests.simulation.happened
        self.shards = history.shards
        self.operating = 0  # operators at work
        self.to_come = len(history.writes) + len(history.faults)
        self.settings = SimpleNamespace(
            log_level="CRITICAL",
            shards=history.shards,
            readers=history.readers,
            heartbeat_interval_ms=600,
            heartbeat_timeout_ms=1_800,
            discovery_interval_ms=500,
        )

    def happened(self) -> Counter[str]:
        """How often each thing happened: what went wrong, what came of it, and what was written."""
        found = self.tally + Counter(fault.kind for fault in self.history.faults)
        for flush in self.database.flushes:
            found["redelivery"] += len(flush.redeliveries)
            found["revised"] += len(flush.revised)
            found["dead_letter"] += len(flush.dead_letters)
            found["shown_open"] += len(flush.replacing) - int(flush.replacing["final"].sum())
        for row in self.database.results.values():
            found["matched"] += row["verdict"] == Verdict.MATCHED
            found["mismatched"] += row["verdict"] == Verdict.MISMATCHED
            found["missing"] += row["missing"] > 0
            found["late"] += row["late"] > 0
            found["by_later_rules"] += row["rules_version"] > 1
        return found

    def trace(self) -> tuple[Any, ...]:
        """What tells one play from another: steps, time, and everything that was committed."""
        committed = [
            (flush.claim.key_group_from, flush.claim.epoch, flush.number, flush.next_seq, dict(flush.watermarks_ms))
            for flush in self.database.flushes
        ]
        results = sorted((key, row["revision"], row["legs"]) for key, row in self.database.results.items())
        return self.scheduler.steps, self.scheduler.now_us, committed, results

    # -- play ----------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Raises what does not hold."""
        scheduler, history = self.scheduler, self.history
        ACTIVE.append(scheduler)
        try:
            self._start_supervisor()
            for write in history.writes:
                scheduler.at((write.at_ms + write.delay_ms) * 1_000, functools.partial(self._append, write))
            for fault in history.faults:
                scheduler.at(fault.at_ms * 1_000, functools.partial(self._befall, fault))
            last_ms = max([0, *(one.at_ms + 200 for one in (*history.writes, *history.faults))])
            scheduler.at((last_ms + 200) * 1_000, self._heal)
            scheduler.run()
            if scheduler.failure is not None:
                raise scheduler.failure
            self.checks.at_end()
        finally:
            ACTIVE.pop()

    def _heal(self) -> None:
        """All services are well from now on, and the pipeline has to come to rest."""
        for weather in (self.ledger_weather, self.spill_weather, self.kafka_weather, self.registry_weather):
            weather.down_until_us = weather.slow_until_us = weather.answers_to_lose = 0
        self.cluster.repeats = self.cluster.calls_to_lose = self.cluster.answers_to_lose = 0
        self.cluster.slow_until_us = 0
        self.stalled_until_us.clear()
        for process in self.cluster.processes:
            process.slow_until_us = 0
        self._until_us = self.scheduler.now_us + SETTLED_MS_MAX * 1_000
        self._look()

    def _look(self) -> None:
        self._operate()
        open_work = self._why_unsettled()
        if not open_work:
            self.scheduler.after(250_000, self._end)
        elif self.scheduler.now_us > self._until_us:
            raise BrokenError(f"not settled after {SETTLED_MS_MAX} ms: {open_work}")
        else:
            self.scheduler.after(150_000, self._look)

    def _end(self) -> None:
        if self._why_unsettled():
            self._look()
        elif self.checks.untold() and self.scheduler.now_us < self._until_us:
            self._until_us = min(self._until_us, self.scheduler.now_us + TOLD_MS_MAX * 1_000)
            self.scheduler.after(150_000, self._end)
        else:
            self.scheduler.finish()

    def _why_unsettled(self) -> str:
        if self.operating:
            return "an operator is at work"
        rows = self.database.checkpoints
        if len(rows) == 0:
            return "no shards are laid out"
        for topic, partitions in self.broker.topics.items():
            bases = self.bases.get((topic, self.broker.made.get(topic, 0)))
            if bases is None:
                return f"{topic} is not accepted"
            for partition, records in enumerate(partitions):
                end = bases.get(partition, 0) + len(records)
                for start, row in rows.items():
                    at = row.positions.get((topic, partition), 0)
                    if at < end:
                        return f"shard {start} is at {at} of {end} in {topic}[{partition}]"
        for start, row in rows.items():
            if row.low_seq != row.next_seq:
                return f"shard {start} has open events from {row.low_seq} to {row.next_seq}"
        unfinal = [key for key, row in self.database.results.items() if not row["final"]]
        return f"not final: {unfinal}" if unfinal else ""

    # -- the log -------------------------------------------------------------------------------------------------------

    def _append(self, write: Write) -> None:
        topic = SOURCES[write.source].topic
        partitions = self.broker.topics[topic]
        partition = write.partition % len(partitions)
        if write.partition == 0 and len(partitions) > self.history.partitions:
            partition = (write.at_ms + len(self.records)) % len(partitions)  # an added one is used, too
        records = partitions[partition]
        stamp_ms = A0 + write.at_ms
        if records:
            stamp_ms = max(stamp_ms, records[-1].arrival_ms)
        stamp_ms = max(stamp_ms, self.made_ms.get((topic, partition), 0))
        value = b"" if write.damaged else b"\0" + len(self.records).to_bytes(4, "big")
        index = self.broker.append(topic, partition, MemoryRecord(b"", value, stamp_ms, write.marker))
        self.records.append(
            Record(write._replace(partition=partition), self.broker.made.get(topic, 0), index, stamp_ms)
        )

    def place(self, record: Record) -> tuple[TopicPartition, int | None]:
        """Where the ledger has a record: its partition and offset; None while its topic is not accepted."""
        topic = SOURCES[record.write.source].topic
        bases = self.bases.get((topic, record.made))
        key = (topic, record.write.partition)
        return key, None if bases is None else bases.get(record.write.partition, 0) + record.index

    def _not_in_ledger(self, record: Record) -> bool:
        """Whether the shard that this record belongs to has no position behind it in the ledger."""
        key, offset = self.place(record)
        if offset is None:
            return True
        group = owner_of(record, record.write.partition, offset)
        for start, row in self.database.checkpoints.items():
            if start <= group < row.key_group_to:
                return row.positions.get(key, 0) <= offset
        return True

    def lookup(self, _: int) -> None:
        """The schema registry. Raises RegistryUnavailableError while it is down."""
        ask_registry(self)

    # -- what the supervisor and the actors are built with -------------------------------------------------------------

    def _start_supervisor(self) -> None:
        self.settings.shards = self.shards
        build = functools.partial(_SUPERVISOR, STATE_DIR, self.settings)
        self.cluster.make("supervisor", "supervisor", build)

    def clock(self) -> Callable[[], int]:
        """A clock of the running process."""
        task = self.scheduler.current
        assert task is not None
        assert task.process is not None
        process = task.process
        return lambda: A0 + self.scheduler.now_us // 1_000 + process.skew_ms

    def build_shard(self, key_groups: tuple[int, int], on_fault: Callable[[BaseException], None]) -> SimShard:
        history = self.history
        made: list[SimShard] = []

        def fault(error: BaseException) -> None:
            self.on_fault(error, made[0] if made else None)
            on_fault(error)

        one = SimShard(
            ShardOptions(
                *key_groups,
                owner=shard_name(key_groups[0]),
                flush_interval_ms=100,
                busy_rows=8,
                busy_flush_interval_ms=250,
                flush_rows=12,
                busy_batch_rows=6,
                idle_flush_interval_ms=400,
                pending_rows_max=history.pending_rows_max,
                spill_age_ms=history.spill_age_ms,
                check_age_ms=history.check_age_ms,
                show_age_ms=history.show_age_ms,
                housekeeping_interval_ms=200,
                retry_interval_ms=60,
            ),
            SOURCES,
            SimLedger(self),
            lambda claim: SimSpill(self, claim),
            SimFeed(self),
            fault,
            self.clock(),
        )
        one.tally = self.tally
        self.tally["taken_over"] += one._claim.epoch > 1
        made.append(one)
        return one

    def on_fault(self, error: BaseException, one: SimShard | None) -> None:
        """A shard ends itself. Only another owner is a reason for that."""
        if self.scheduler.closing:
            return
        if isinstance(error, shard.FencedError):
            if one is None:
                return
            row = self.database.checkpoints.get(one._claim.key_group_from)
            if row is None or row.epoch != one._claim.epoch or row.key_group_to != one._claim.key_group_to:
                return
            self.scheduler.fail(BrokenError(f"a shard was fenced that has no successor: {error}"))
            return
        self.scheduler.fail(error)

    def build_reader(
        self, name: str, partitions: tuple[TopicPartition, ...], ranges: tuple[tuple[int, int], ...]
    ) -> PartitionReader:
        return PartitionReader(
            ReaderOptions(
                name=name,
                partitions=partitions,
                batch_rows_max=self.history.batch_rows_max,
                batch_wait_ms=200,
                busy_wait_ms=250,
                rush_wait_ms=300,
                watermark_interval_ms=350,
                watermark_grace_ms=GRACE_MS,
                metadata_interval_ms=500,
                commit_interval_ms=500,
                retry_interval_ms=80,
                halt_interval_ms=200,
                shard_patience_ms=500,
            ),
            SOURCES,
            SimLog(self),
            self.ask_readings,
            [RayShard(shard_name(start), start, stop) for start, stop in ranges],
            self.clock(),
            incarnations=functools.partial(ask_incarnations, self),
        )

    def ask_sources(self) -> Sequence[SourceSpec]:
        """cluster.wiring.sources_of on the twin. Raises StoreUnavailableError while the ledger is down."""
        SimLedger(self).rule_sets()
        return SOURCES

    def ask_readings(self) -> Readings:
        """cluster.reading_versions.LedgerReadings on the twin. Raises StoreUnavailableError with the ledger down."""
        SimLedger(self).rule_sets()
        return Readings(self.readings)

    def prepare(self, shards: int, is_running: Callable[[int], bool]) -> list[tuple[int, int]]:
        """cluster.layout.prepare on the twin."""
        SimLedger(self).rule_sets()  # raises while the ledger is down
        rows = dict(sorted(self.database.checkpoints.items()))
        have = [(start, row.key_group_to) for start, row in rows.items()]
        want = split_key_groups(shards)
        if have == want:
            return have
        if not rows:
            self.database.checkpoints = {start: MemoryCheckpoint(stop, audit_hash=GENESIS) for start, stop in want}
            return want
        if any(is_running(start) for start in rows):
            return have
        positions = [row.positions for row in rows.values()]
        if any(other != positions[0] for other in positions):
            return have
        self.database.checkpoints = {
            start: MemoryCheckpoint(
                stop,
                epoch=max(row.epoch for row in rows.values()) + 1,
                next_seq=max(row.next_seq for row in rows.values()),
                low_seq=min(row.low_seq for row in rows.values()),
                positions=dict(positions[0]),
                audit_hash=GENESIS,
            )
            for start, stop in want
        }
        return want

    def remember(self, topic_ids: dict[str, str]) -> None:
        """cluster.log_topics.remember on the twin."""
        SimLedger(self).rule_sets()
        for topic, topic_id in topic_ids.items():
            if topic not in self.incarnations:
                self.incarnations[topic] = Incarnation(topic_id)
                self.bases[topic, int(topic_id.rsplit("-", 1)[1])] = {}

    # -- operators -----------------------------------------------------------------------------------------------------

    def _operate(self) -> None:
        """What people do: accept topics that readers halt for, and replace a supervisor that hangs for good."""
        chief = self.cluster.actors.get("supervisor")
        if chief is not None and chief.process.frozen_until_us > self.scheduler.now_us + PATIENCE_US:
            chief.lose(chief.process, restart=True, cut_off=True)
        if not any(self._trouble(actor).startswith(HALTED) for actor in list(self.cluster.actors.values())):
            return
        rows = self.database.checkpoints.values()
        for topic, known in list(self.incarnations.items()):
            made = self.broker.made.get(topic, 0)
            found_id = f"{topic}-{made}"
            earliest = {
                partition: self.broker.starts.get((topic, partition), 0) + known.bases.get(partition, 0)
                for partition in range(len(self.broker.topics[topic]))
            }
            found = TopicState(topic, 1, known.topic_id, found_id, _over(rows, topic, min), earliest)
            if found.is_anew or found.lost:
                bases, skipped = next_incarnation(found, known, _over(rows, topic, max))
                self.incarnations[topic] = Incarnation(found_id, bases, skipped)
                self.bases[topic, made] = bases

    def _trouble(self, actor: Actor) -> str:
        return "" if actor.kind != "reader" or actor.instance is None else actor.instance._reader._trouble

    def _rescale(self, shards: int, readers: int) -> None:
        """`recon down`, and `recon up` with other numbers of shards and readers."""
        self.operating += 1
        try:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                handle = self.cluster.get_actor("supervisor")
                self.cluster.get(handle.stop.remote(4.0), timeout=6.0)
            self._kill_all()
            self.scheduler.pause(self.scheduler.random.randrange(100_000))
            self.shards, self.settings.readers = shards, readers
            self._start_supervisor()
        finally:
            self.operating -= 1

    def _kill_all(self) -> None:
        for actor in list(self.cluster.actors.values()):
            self.cluster.kill(Handle(actor), no_restart=True)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def _befall(self, fault: Fault) -> None:
        getattr(self, f"_{fault.kind}")(fault)

    def _until(self, fault: Fault) -> int:
        return self.scheduler.now_us + fault.value * 1_000

    def _ledger_down(self, fault: Fault) -> None:
        self.ledger_weather.down_until_us = self._until(fault)

    def _ledger_slow(self, fault: Fault) -> None:
        self.ledger_weather.slow_until_us = self._until(fault)

    def _ledger_answers_lost(self, fault: Fault) -> None:
        self.ledger_weather.answers_to_lose = fault.which

    def _spill_down(self, fault: Fault) -> None:
        self.spill_weather.down_until_us = self._until(fault)

    def _spill_slow(self, fault: Fault) -> None:
        self.spill_weather.slow_until_us = self._until(fault)

    def _spill_lost(self, _: Fault) -> None:
        self.redis.hashes.clear()

    def _spill_evicts(self, fault: Fault) -> None:
        evict(self.redis, fault.value)

    def _spill_answers_lost(self, fault: Fault) -> None:
        self.spill_weather.answers_to_lose = fault.which

    def _kafka_down(self, fault: Fault) -> None:
        self.kafka_weather.down_until_us = self._until(fault)

    def _kafka_slow(self, fault: Fault) -> None:
        self.kafka_weather.slow_until_us = self._until(fault)

    def _topic_stalled(self, fault: Fault) -> None:
        self.stalled_until_us[SOURCES[fault.which].topic] = self._until(fault)

    def _registry_down(self, fault: Fault) -> None:
        self.registry_weather.down_until_us = self._until(fault)

    def _network_slow(self, fault: Fault) -> None:
        self.cluster.slow_until_us = self._until(fault)

    def _calls_lost(self, fault: Fault) -> None:
        self.cluster.calls_to_lose = fault.which

    def _answers_lost(self, fault: Fault) -> None:
        self.cluster.answers_to_lose = fault.which

    def _sent_twice(self, fault: Fault) -> None:
        self.cluster.repeats = fault.which

    def _partitions_added(self, fault: Fault) -> None:
        topic = SOURCES[fault.which].topic
        self.made_ms[topic, len(self.broker.topics[topic])] = A0 + self.scheduler.now_us // 1_000
        self.broker.topics[topic].append([])

    def _rescaled(self, fault: Fault) -> None:
        self.checks.every_result_is_told = False
        self.scheduler.spawn(None, lambda: self._rescale(fault.which, fault.value))

    def _all_killed(self, _: Fault) -> None:
        self.checks.every_result_is_told = False
        if not self.operating:
            self._kill_all()
            self.scheduler.after(100_000, lambda: None if self.operating else self._start_supervisor())

    def _kill(self, fault: Fault) -> None:
        """Something happens to one process."""
        kind = PROCESSES[fault.which]
        actors = sorted((one for one in self.cluster.actors.values() if one.kind == kind), key=lambda one: one.name)
        if not actors:
            return
        actor = actors[fault.value % len(actors)]
        process = actor.process
        self.checks.every_result_is_told &= kind != "shard" or fault.kind in HARMLESS
        match fault.kind:
            case "kill":
                actor.lose(process, restart=True)
            case "kill_in_steps":
                process.steps_left = 1 + fault.value % 40
                process.on_last_step = lambda: actor.lose(process, restart=True)
            case "freeze":
                process.frozen_until_us = self.scheduler.now_us + fault.value * 1_000
            case "cut_off":
                process.frozen_until_us = self.scheduler.now_us + fault.value % 5 * 100_000
                actor.lose(process, restart=True, cut_off=True)
            case "process_slow":
                process.slow_until_us = self._until(fault)
            case "clock_stepped":
                process.skew_ms = fault.value

    _kill_in_steps = _freeze = _cut_off = _process_slow = _clock_stepped = _kill

    def _rules_switched(self, fault: Fault) -> None:
        if self.ledger_weather.is_down(self.scheduler):
            self.scheduler.after(100_000, lambda: self._rules_switched(fault))
            return
        book = self.database.rule_sets
        begins_ms = A0 + self.scheduler.now_us // 1_000 + RULES_LEAD_MS
        book.append(
            replace(
                book[0],
                version=len(book) + 1,
                effective_from_ms=max(begins_ms, book[-1].effective_from_ms + 1),
                match_window_ms=fault.which,
                time_tolerance_ms=fault.value % 2,
                default_tolerance=Tolerance(absolute_minor=fault.value),
                expected_sources=("CORE", "GATEWAY") if fault.value == 3 else ("CORE", "GATEWAY", "MOBILE"),
            )
        )

    def _mapping_switched(self, fault: Fault) -> None:
        """From some time on the configuration names one topic less, or that one again. The rules know nothing of it."""
        if self.ledger_weather.is_down(self.scheduler):
            self.scheduler.after(100_000, lambda: self._mapping_switched(fault))
            return
        latest = self.readings[-1]
        topic = SOURCES[fault.which].topic
        named = {name: one for name, one in self.readings[0].canonical.items() if name != topic}
        begins_ms = A0 + self.scheduler.now_us // 1_000 + RULES_LEAD_MS
        self.readings.append(
            replace(
                latest,
                canonical=named if topic in latest.canonical else self.readings[0].canonical,
                version=latest.version + 1,
                effective_from_ms=max(begins_ms, latest.effective_from_ms + 1),
            )
        )

    def passed_over(self, record: Record) -> bool:
        """Whether the configuration at a record's arrival does not name its topic."""
        in_force = max(
            (one for one in self.readings if one.effective_from_ms <= record.stamp_ms), key=lambda one: one.version
        )
        return SOURCES[record.write.source].topic not in in_force.canonical

    def _kafka_retention(self, fault: Fault) -> None:
        """Kafka drops what is oldest, read or not."""
        topic = SOURCES[fault.which].topic
        for partition, records in enumerate(self.broker.topics[topic]):
            keep = {100: len(records) // 2, 400: 1, 900: 0}[fault.value]
            start = max(self.broker.starts.get((topic, partition), 0), len(records) - keep)
            self.broker.starts[topic, partition] = start
            for record in self.records:
                key, _ = self.place(record)
                if key == (topic, partition) and record.made == self.broker.made.get(topic, 0) and record.index < start:
                    record.may_be_lost |= self._not_in_ledger(record)

    def _topic_recreated(self, fault: Fault) -> None:
        """Somebody deletes a topic and makes it anew."""
        topic = SOURCES[fault.which].topic
        if topic not in self.incarnations:
            return
        for record in self.records:
            if SOURCES[record.write.source].topic == topic and record.made == self.broker.made.get(topic, 0):
                record.may_be_lost |= self._not_in_ledger(record)
        self.broker.recreate(topic)
        for partition in range(len(self.broker.topics[topic])):
            self.made_ms[topic, partition] = A0 + self.scheduler.now_us // 1_000

    def _ledger_retention(self, _: Fault) -> None:
        """The ledger drops what is below the lowest open event, as cluster.retention does."""
        database = self.database
        for start, row in database.checkpoints.items():
            mine = range(start, row.key_group_to)
            gone = [place for place in database.events if place[0] in mine and place[1] < row.low_seq]
            for place in gone:
                event = database.events.pop(place)
                database.redeliveries.pop(place, None)
                self.sealed.add(event["txn_id"])
                result = database.results.get((place[0], event["txn_id"]))
                if result is not None and result["final"]:
                    self.verdicts_at_retention.setdefault(event["txn_id"], dict(result))
                where = (SOURCES[event["source"]].topic, event["partition"], event["offset"])
                for record in self.records:
                    key, offset = self.place(record)
                    record.dropped |= (*key, offset) == where


def _over(rows: Any, topic: str, choose: Callable[[list[int]], int]) -> dict[int, int]:
    found: dict[int, list[int]] = {}
    for row in rows:
        for (of, partition), at in row.positions.items():
            if of == topic:
                found.setdefault(partition, []).append(at)
    return {partition: choose(positions) for partition, positions in found.items()}


def _decode(values: Sequence[bytes | None], lookup: Callable[[int], Any]) -> Decoded:
    """wire.events.decode_batch and `validate` on values that name the world's records: the rooms above start here."""
    lookup(1)
    world = _world()
    rows = [(row, world.records[int.from_bytes(value[1:], "big")].write) for row, value in enumerate(values) if value]
    plain = [
        {
            "row": row,
            "event_id": write.event_id,
            "txn_id": write.txn_id,
            "source": write.source,
            "amount_minor": write.amount,
            "currency": write.currency,
            "status": Status[write.status].value,
            "event_time": A0 + write.clock_ms,
            "account_id": "ACC",
            "original_txn_id": None,
        }
        for row, write in rows
    ]
    rejects = [Reject(row, DeadLetterReason.NOT_FRAMED, "") for row, value in enumerate(values) if not value]
    return Decoded(pl.DataFrame(plain, schema=DECODED_SCHEMA) if plain else _NONE_DECODED, rejects)


def _decide(*args: Any) -> pl.DataFrame:
    """actors.matching.decide.decide, or the oracle's judge in its place."""
    return (frames.decide if _world().history.whole_core else plain_core.decide)(*args)


# -- the twins in their places -----------------------------------------------------------------------------------------

_PRESENT: list[World] = []


def _world() -> World:
    return _PRESENT[-1]


class _Endpoints:
    """cluster.endpoints.Endpoints, as far as the supervisor asks."""

    redis = postgres = SimpleNamespace(connect_kwargs=lambda *_: {})
    kafka = SimpleNamespace(client_config=lambda *_: {})

    @classmethod
    def load(cls, _: Path) -> _Endpoints:
        return cls()


class _Snapshots:
    """The Redis client that the supervisor tells its snapshots to."""

    def pipeline(self, **_: Any) -> _Snapshots:
        return self

    def set(self, *_: Any, **__: Any) -> None: ...
    def publish(self, *_: Any) -> None: ...
    def execute(self) -> None: ...
    def delete(self, *_: Any) -> None: ...
    def close(self) -> None: ...


class _Present:
    """Forwards to what belongs to the world that is being played."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


def _build_shard(_: Path, __: Any, start: int, stop: int, on_fault: Callable[[BaseException], None]) -> SimShard:
    return _world().build_shard((start, stop), on_fault)


def _build_reader(_: Path, __: Any, name: str, partitions: Any, ranges: Any) -> PartitionReader:
    return _world().build_reader(name, partitions, ranges)


def _named(actor: Any, name: str) -> Named:
    kind = "shard" if actor is remote.ShardActor else "reader"
    return Named(lambda: _world().cluster, _PLAIN[kind], name, kind)


def _die(error: BaseException) -> None:
    """actors.remote._die: shards tell the world themselves; of readers everything unforeseen is a bug."""
    world = _world()
    if not world.scheduler.closing and not isinstance(error, (shard.FencedError, BrokenError)):
        world.scheduler.fail(error)
    world.cluster.exit_process(70)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """The twins in the place of what the engine's modules import."""
    present_ray = _Present(lambda: _world().cluster)
    replaced: list[tuple[Any, str, Any]] = [
        (state, "decide", _decide),
        (shard, "time", Time),
        (shard, "threading", Threading),
        (shard, "RULES_AGE_MS_MAX", RULES_AGE_MS),
        (outbox, "threading", Threading),
        (reader, "time", Time),
        (reader, "threading", Threading),
        (reader, "RULES_AGE_MS_MAX", RULES_AGE_MS),
        (reader, "decode_batch", _decode),
        (reader, "validate", lambda decoded, *_: decoded),
        (remote, "time", Time),
        (remote, "threading", Threading),
        (remote, "ray", present_ray),
        (remote, "gc", SimpleNamespace(set_threshold=lambda *_: None, freeze=lambda: None)),
        (remote, "_die", _die),
        (remote, "CALL_TIMEOUT_S", 2.0),
        (remote, "QUESTION_TIMEOUT_S", 1.0),
        (remote, "_BUILD_RETRY_S", 0.15),
        (supervisor, "time", Time),
        (supervisor, "threading", Threading),
        (supervisor, "ray", present_ray),
        (supervisor, "asyncio", SimpleNamespace(run=lambda value: value)),
        (supervisor, "Endpoints", _Endpoints),
        (supervisor, "connect", lambda *_: _Snapshots()),
        (supervisor, "configure_logs", lambda *_: None),
        (supervisor, "KafkaEventLog", lambda *_: SimLog(_world())),
        (supervisor, "prepare", lambda _, __, shards, is_running: _world().prepare(shards, is_running)),
        (supervisor, "sources_of", lambda _: _world().ask_sources()),
        (supervisor, "remember", lambda _, topic_ids, __: _world().remember(topic_ids)),
        (supervisor, "named", _named),
        (supervisor, "build_shard", _build_shard),
        (supervisor, "build_reader", _build_reader),
        (supervisor, "Watched", lambda *args, **kwargs: _WATCHED(*args, heard_s=Time.monotonic(), **kwargs)),
        (supervisor, "START_PATIENCE_MS", START_PATIENCE_MS),
        (supervisor, "_RETRY_S", 0.15),
        (supervisor, "_DRAIN_POLL_S", 0.05),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, value in replaced:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def played(history: History, before: Callable[[World], None] = lambda _: None) -> tuple[World, BaseException | None]:
    """Play a history under `installed`, in a world that `before` may change first.

    Gives the world, and what did not hold, None if all did.
    """
    world = World(history)
    before(world)
    _PRESENT.append(world)
    try:
        world.play()
    except Exception as error:  # noqa: BLE001 (given back)
        return world, error
    finally:
        _PRESENT.pop()
    return world, None


def play(history: History) -> BaseException | None:
    """What did not hold in a history, None if all did."""
    return played(history)[1]
