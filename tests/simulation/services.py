"""The in-memory twins of the services; at each call time passes, a process may end, an answer may be lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from actors.adapters.memory import MemoryEventLog, MemoryFeed, MemoryLedger, MemoryRedis, MemorySpill
from actors.ports import AlreadyDecidedError, Batch, Claim, Flush, Flushed, Incarnation, Polled, TopicPartition
from actors.shard import MatcherShard
from schemas.errors import (
    FencedError,
    GapError,
    KafkaUnavailableError,
    RegistryUnavailableError,
    StoreUnavailableError,
    TransientError,
)
from schemas.events import SourceSpec
from tests.simulation.scheduler import Scheduler, hesitate

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Weather:
    """How one service is just now."""

    down_until_us: int = 0
    slow_until_us: int = 0
    answers_to_lose: int = 0

    def is_down(self, scheduler: Scheduler) -> bool:
        return scheduler.now_us < self.down_until_us

    def pass_time(self, scheduler: Scheduler, most_us: int) -> None:
        """What a call takes, one way."""
        slow = 60 if scheduler.now_us < self.slow_until_us else 1
        scheduler.pause(slow * scheduler.random.randrange(20, most_us))

    def loses_answer(self) -> bool:
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            return True
        return False


class SimLedger(MemoryLedger):
    """One owner's connection to the ledger."""

    def __init__(self, world: World) -> None:
        super().__init__(world.database)
        self._world = world

    def _call(self, work: Callable[[], Any], most_us: int = 2_000) -> Any:
        scheduler, weather = self._world.scheduler, self._world.ledger_weather
        weather.pass_time(scheduler, most_us)
        if weather.is_down(scheduler):
            raise StoreUnavailableError("the ledger is down")
        value = work()
        weather.pass_time(scheduler, most_us)
        return value

    def claim(self, key_group_from: int, key_group_to: int, owner: str) -> Claim:
        return self._call(lambda: MemoryLedger.claim(self, key_group_from, key_group_to, owner))

    def rule_sets(self) -> Sequence[Any]:
        return self._call(lambda: MemoryLedger.rule_sets(self))

    def open_events(self, claim: Claim) -> tuple[pl.DataFrame, pl.DataFrame]:
        # Two statements, as in PostgreSQL: something may be committed in between.
        events = self._call(lambda: MemoryLedger.open_events(self, claim)[0])
        return events, self._call(lambda: MemoryLedger.open_events(self, claim)[1])

    def decided(self, txns: pl.DataFrame) -> pl.DataFrame:
        return self._call(lambda: MemoryLedger.decided(self, txns))

    def events_of(self, results: pl.DataFrame) -> pl.DataFrame:
        return self._call(lambda: MemoryLedger.events_of(self, results))

    def flush(self, flush: Flush, sources: Sequence[SourceSpec], now_ms: int) -> Flushed:
        tally = self._world.tally

        def work() -> Flushed:
            before = self._world.checks.before_flush(flush)
            flushed = MemoryLedger.flush(self, flush, sources, now_ms)
            self._world.checks.after_flush(flush, before)
            tally["found_committed"] += before is not None and before.flushes == flush.number
            return flushed

        try:
            flushed = self._call(work, 12_000)
        except AlreadyDecidedError:
            tally["refused_as_decided"] += 1
            raise
        except FencedError:
            tally["fenced"] += 1
            raise
        if self._world.ledger_weather.loses_answer():
            raise StoreUnavailableError("the ledger's answer was lost")
        return flushed


class SimSpill(MemorySpill):
    """Redis as one owner's spill."""

    def __init__(self, world: World, claim: Claim) -> None:
        super().__init__(world.redis, claim)
        self._world = world

    def _call(self, work: Callable[[], Any]) -> Any:
        scheduler, weather = self._world.scheduler, self._world.spill_weather
        weather.pass_time(scheduler, 1_000)
        if weather.is_down(scheduler):
            raise TransientError("the spill store is down")
        value = work()
        weather.pass_time(scheduler, 1_000)
        if weather.loses_answer():
            raise TransientError("the spill store's answer was lost")
        return value

    def put(self, rows: pl.DataFrame) -> None:
        self._world.tally["spilled"] += 1
        self._call(lambda: MemorySpill.put(self, rows))

    def take(self, hits: Mapping[int, Sequence[str]], buckets: Sequence[int]) -> pl.DataFrame:
        return self._call(lambda: MemorySpill.take(self, hits, buckets))

    def clear(self) -> None:
        self._call(lambda: MemorySpill.clear(self))


def evict(redis: MemoryRedis, which: int) -> None:
    """Lose one hash of those that are there."""
    if redis.hashes:
        del redis.hashes[sorted(redis.hashes)[which % len(redis.hashes)]]


class SimFeed(MemoryFeed):
    """Where changed results are told."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def publish(self, claim: Claim, number: int, changed: pl.DataFrame, sources: Sequence[SourceSpec]) -> None:
        self._world.spill_weather.pass_time(self._world.scheduler, 1_000)
        if not changed.is_empty():
            self._world.checks.on_told(changed)


class SimLog(MemoryEventLog):
    """One reader's consumer."""

    def __init__(self, world: World) -> None:
        super().__init__(world.broker)
        self._world = world
        self._made: dict[str, int] = {}

    def _ask(self) -> None:
        scheduler, weather = self._world.scheduler, self._world.kafka_weather
        weather.pass_time(scheduler, 1_500)
        if weather.is_down(scheduler):
            scheduler.pause(50_000)
            raise KafkaUnavailableError("the broker is down")

    def topic_ids(self) -> dict[str, str]:
        self._ask()
        self._made = dict(self._broker.made)
        return self._later(super().topic_ids())

    def partition_counts(self) -> dict[str, int]:
        self._ask()
        return self._later(super().partition_counts())

    def earliest(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self._ask()
        return self._later(super().earliest(partitions))

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self._ask()
        return self._later(super().ends(partitions))

    def _later(self, answer: Any) -> Any:
        self._world.kafka_weather.pass_time(self._world.scheduler, 1_500)
        return answer

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        scheduler = self._world.scheduler
        most_us = round(timeout_s * 1e6)
        if self._world.kafka_weather.is_down(scheduler) or not self._has_more():
            scheduler.pause(scheduler.random.randrange(most_us // 2, most_us))
        else:
            scheduler.pause(scheduler.random.randrange(100, 8_000))
        # A consumer of an earlier topic of this name gets nothing of the new one, until it asks for ids again.
        wrong = {key: at for key, at in self._at.items() if self._is_other(key[0])}
        whole = self._at
        self._at = {key: at for key, at in whole.items() if key not in wrong}
        stalled = self._world.stalled_until_us
        self._at = {key: at for key, at in self._at.items() if stalled.get(key[0], 0) <= scheduler.now_us}
        if self._world.kafka_weather.is_down(scheduler):
            self._at = {}
        try:
            return super().poll(scheduler.random.randint(1, records_max), 0)
        finally:
            self._at = {**whole, **self._at}

    def _is_other(self, topic: str) -> bool:
        return self._broker.made.get(topic, 0) != self._made.get(topic, 0)

    def _has_more(self) -> bool:
        return any(
            at - self._bases.get(key, 0) < len(self._broker.topics[key[0]][key[1]])
            for key, at in self._at.items()
            if not self._is_other(key[0]) and key[1] < len(self._broker.topics[key[0]])
        )

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        self._world.checks.on_commit(positions)
        super().commit(positions)


class SimShard(MatcherShard):
    """A shard in which the other thread may come in behind every change of what both threads use."""

    tally: Counter[str]  # what happened in this history

    _SHARED = frozenset(
        {
            "_claim",
            "_flushed",
            "_flushed_low_seq",
            "_rulebook",
            "_rules_read_ms",
            "_committed_positions",
            "_committed_seq",
            "_positions",
            "_next_seq",
            "_state",
            "_skipped",
        }
    )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._SHARED:
            hesitate(0.15)

    def push(self, batch: Batch) -> dict[TopicPartition, int]:
        at = self._positions
        repeats = any(one.start < at.get((one.topic, one.partition), 0) for one in batch.ranges)
        try:
            answer = super().push(batch)
        except GapError:
            self.tally["gap"] += 1
            raise
        self.tally["repeat"] += repeats
        return answer


def ask_registry(world: World) -> None:
    """Raises RegistryUnavailableError while it is down."""
    if world.registry_weather.is_down(world.scheduler):
        raise RegistryUnavailableError("the registry is down")


def ask_incarnations(world: World) -> dict[str, Incarnation]:
    """The ledger's topics. Raises StoreUnavailableError while it is down."""
    world.ledger_weather.pass_time(world.scheduler, 2_000)
    if world.ledger_weather.is_down(world.scheduler):
        raise StoreUnavailableError("the ledger is down")
    return dict(world.incarnations)
