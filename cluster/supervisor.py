"""The supervisor actor: makes readers and shards, watches them, replaces the silent, tells people how it goes.

It keeps no state that matters: a restarted supervisor finds the named actors and goes on. Readers are told when the
partitions change, and again whenever one says that it reads others. A shard that dies is restarted by Ray and claims a
new epoch; an actor that lives but says nothing for `heartbeat_timeout_ms` is killed, and if a shard goes on writing
somewhere, the epoch fences it. A reader that waits for a shard answers all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import orjson
import ray
import redis
import structlog

from actors.adapters.kafka import KafkaEventLog
from actors.adapters.redis import connect
from actors.ports import TopicPartition
from actors.reader import partitions_by_reader
from actors.remote import NAMESPACE, ReaderActor, ShardActor, named
from cluster.endpoints import Endpoints
from cluster.layout import KeyGroupRange, prepare
from cluster.log_topics import remember
from cluster.logs import configure_logs
from cluster.settings import Settings
from cluster.wiring import build_reader, build_shard, shard_name, sources_of, topics_of
from schemas.errors import TransientError

SNAPSHOT_KEY: Final = "recon:pipeline"
SNAPSHOT_TTL_S: Final = 10
SOURCE_SILENT_MS: Final = 60_000  # a source that has said nothing for this long is called silent
START_PATIENCE_MS: Final = 120_000  # how long an actor may take from its making to its first answer
_DRAIN_POLL_S: Final = 0.05
_RATE_WINDOW_S: Final = 5.0
_RETRY_S: Final = 1.0
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,  # it is stopping or starting
)
_T = TypeVar("_T")


@dataclass
class Watched:
    """One actor under watch."""

    name: str
    kind: str
    handle: Any
    status: dict[str, Any] = field(default_factory=dict)
    heard_s: float = field(default_factory=time.monotonic)
    pending: Any = None
    starting: bool = True  # it has not answered since it was made or replaced
    pids: set[int] = field(default_factory=set)
    rate: tuple[float, int, float] = (0.0, 0, 0.0)  # measured at, count then, events per second
    partitions: tuple[TopicPartition, ...] = ()  # what a reader is to read


class Supervisor:
    """Runs the pipeline of one stack. `cluster.pipeline` makes it a detached actor."""

    def __init__(self, state_dir: Path, settings: Settings) -> None:
        """Lay out and start everything; returns when all actors exist. Raises what the ledger or Kafka raise."""
        configure_logs(settings.log_level)
        self._state_dir = state_dir
        self._settings = settings
        self._endpoints = Endpoints.load(state_dir)
        self._redis = connect(self._endpoints.redis.connect_kwargs())
        self._log = structlog.get_logger(__name__)
        self._sources = self._patiently(lambda: sources_of(self._endpoints))
        self._kafka = KafkaEventLog(self._endpoints.kafka.client_config("pipeline"), topics_of(self._sources))
        self._ranges: list[KeyGroupRange] = self._patiently(self._prepare)
        self._counts: Mapping[str, int] = self._patiently(self._kafka.partition_counts)
        self._patiently(self._remember_topics)
        self._counts_checked_s = time.monotonic()
        self._shards = [self._make_shard(at) for at in self._ranges]
        self._readers = self._make_readers()
        self._state = "running"
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    # -- called by people and by cluster.pipeline ------------------------------------------------------------------

    def ready(self, timeout_s: float = 60.0) -> bool:
        """Wait until every actor has answered once."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all(watched.status for watched in self._watched()):
                return True
            time.sleep(0.05)
        return False

    def status(self) -> dict[str, Any]:
        """The snapshot that is published each second."""
        with self._lock:
            return self._snapshot()

    def pause(self, timeout_s: float) -> bool:
        """Stop reading and wait until all that was read is in the ledger. False when the time ran out."""
        deadline = time.monotonic() + timeout_s
        self._state = "paused"
        while time.monotonic() < deadline:
            try:
                # Each time again: a reader may have been restarted, or made, a moment ago.
                ray.get([reader.handle.pause.remote() for reader in self._readers], timeout=5.0)
                if all(ray.get([reader.handle.idle.remote() for reader in self._readers], timeout=5.0)):
                    left = max(0.1, deadline - time.monotonic())
                    return all(ray.get([s.handle.drain.remote(left) for s in self._shards], timeout=left + 5.0))
            except ray.exceptions.RayError as error:
                self._log.warning("drain_retries", error=str(error).splitlines()[-1])
            time.sleep(_DRAIN_POLL_S)
        return False

    def resume(self) -> None:
        """Read on after `pause`."""
        for reader in self._readers:
            ray.get(reader.handle.resume.remote(), timeout=5.0)
        self._state = "running"

    def stop(self, timeout_s: float) -> bool:
        """Pause, then end every actor. Whether all that was read is in the ledger."""
        drained = self.pause(timeout_s)
        self._state = "stopped"
        self._stopping.set()
        self._thread.join(timeout=10.0)
        for watched in self._watched():
            ray.kill(watched.handle, no_restart=True)
        self._kafka.close()
        with contextlib.suppress(redis.RedisError):
            self._redis.delete(SNAPSHOT_KEY)
        self._redis.close()
        return drained

    # -- actors ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> list[KeyGroupRange]:
        kwargs = self._endpoints.postgres.connect_kwargs("app")
        return asyncio.run(prepare(kwargs, self._sources, self._settings.shards, _is_running))

    def _remember_topics(self) -> None:
        """Keep the ids of topics with their positions, so that a topic that is made anew is noticed."""
        kwargs = self._endpoints.postgres.connect_kwargs("app")
        asyncio.run(remember(kwargs, self._kafka.topic_ids(), "supervisor"))

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        """Wait for a dependency that is away. An exception out of the constructor would end this actor for good."""
        while True:
            try:
                return ask()
            except (TransientError, *_AWAY) as error:
                self._log.warning("supervisor_waits", error=f"{type(error).__name__}: {error}")
                time.sleep(_RETRY_S)

    def _watched(self) -> list[Watched]:
        return [*self._shards, *self._readers]

    def _make_shard(self, key_groups: KeyGroupRange) -> Watched:
        name = shard_name(key_groups[0])
        build = functools.partial(build_shard, self._state_dir, self._settings, *key_groups)
        return Watched(name, "matcher", named(ShardActor, name).remote(build))

    def _make_readers(self) -> list[Watched]:
        readers: list[Watched] = []
        count = min(self._settings.readers, sum(self._counts.values()))
        for index, partitions in enumerate(partitions_by_reader(self._counts, count)):
            name = f"reader-{index}"
            build = functools.partial(
                build_reader, self._state_dir, self._settings, name, partitions, tuple(self._ranges)
            )
            handle = named(ReaderActor, name).remote(build)
            readers.append(Watched(name, "reader", handle, partitions=partitions))
        return readers

    def _watch(self) -> None:
        interval_s = self._settings.heartbeat_interval_ms / 1000
        while not self._stopping.wait(interval_s):
            try:
                self._listen()
                self._discover()
                self._assign()
                with self._lock:
                    snapshot = self._snapshot()
                self._tell(snapshot)
            except Exception:  # noqa: BLE001 (the watch goes on whatever happens; what it could not do it does next time)
                self._log.exception("watch_failed")

    def _listen(self) -> None:
        """Ask everybody, take what answers have come, and replace who has been silent for too long."""
        now = time.monotonic()
        for watched in self._watched():
            if watched.pending is None:
                watched.pending = watched.handle.status.remote()
        pending = [watched.pending for watched in self._watched()]
        ready, _ = ray.wait(pending, num_returns=len(pending), timeout=self._settings.heartbeat_interval_ms / 2000)
        for watched in self._watched():
            if watched.pending in ready:
                try:
                    watched.status = ray.get(watched.pending, timeout=0)
                    watched.heard_s, watched.starting = now, False
                    watched.pids.add(watched.status["pid"])
                    self._measure(watched, now)
                except ray.exceptions.RayError as error:
                    watched.starting = True  # Ray restarts it
                    self._log.warning("no_heartbeat", actor=watched.name, error=str(error).splitlines()[-1])
                watched.pending = None
            elif now - watched.heard_s > self._patience_s(watched):
                self._log.error("replacing_silent_actor", actor=watched.name)
                ray.kill(watched.handle, no_restart=False)
                watched.pending, watched.heard_s, watched.starting = None, now, True

    def _patience_s(self, watched: Watched) -> float:
        """How long an actor may be silent. One that starts reads what is open from the ledger, and its program before.

        On a busy machine that takes longer than any heartbeat; to replace it then would begin it anew for ever.
        """
        patience_ms = self._settings.heartbeat_timeout_ms
        return (max(patience_ms, START_PATIENCE_MS) if watched.starting else patience_ms) / 1000

    def _measure(self, watched: Watched, now: float) -> None:
        events = watched.status["events"]
        count = sum(events.values()) if isinstance(events, dict) else events
        at, before, rate = watched.rate
        if now - at >= _RATE_WINDOW_S or count < before:
            rate = max(0, count - before) / (now - at) if at else 0.0
            watched.rate = (now, count, rate)

    def _discover(self) -> None:
        """Deal the partitions out anew when there are more. Their sources wait for that, see actors.reader."""
        if time.monotonic() - self._counts_checked_s < self._settings.discovery_interval_ms / 1000:
            return
        if self._state != "running":
            return  # a reader made now would read
        try:
            counts = self._kafka.partition_counts()
        except TransientError as error:
            self._log.warning("discovery_postponed", error=str(error))
            return
        self._counts_checked_s = time.monotonic()
        # Partitions are only ever added, and so readers.
        counts = {topic: max(count, self._counts.get(topic, 0)) for topic, count in counts.items()}
        if counts == self._counts:
            return
        self._log.info("partitions_changed", before=dict(self._counts), now=counts)
        with self._lock:
            self._counts = counts
            known = {reader.name: reader for reader in self._readers}
            dealt = self._make_readers()
            for reader in dealt:
                if reader.name in known:
                    known[reader.name].partitions = reader.partitions
            self._readers = [known.get(reader.name, reader) for reader in dealt]

    def _assign(self) -> None:
        """Tell readers that read something else what to read: there are new partitions, or they were restarted.

        While two of them read the same partition, the shards drop what comes twice.
        """
        for reader in self._readers:
            if not reader.status:
                continue
            told = {(part["topic"], part["partition"]) for part in reader.status["partitions"]}
            if told != set(reader.partitions):
                reader.handle.assign.remote(reader.partitions)

    # -- telling ---------------------------------------------------------------------------------------------------

    def _snapshot(self) -> dict[str, Any]:
        now_ms = time.time_ns() // 1_000_000
        now = time.monotonic()
        own = {
            "name": "supervisor",
            "kind": "supervisor",
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id()[:8],
            "restarts": 0,
            "heartbeat_age_ms": 0,
            "trouble": "",
        }
        actors = [own, *(self._actor_row(watched, now) for watched in self._watched())]
        partitions = [
            {
                "topic": part["topic"],
                "source": self._source_of(part["topic"]),
                "partition": part["partition"],
                "position": part["position"],
                "end_offset": part["end_offset"],
                "lag": max(0, part["end_offset"] - part["position"]),
                "watermark_ms": part["watermark_ms"],
                "reader": reader.name,
            }
            for reader in self._readers
            for part in reader.status.get("partitions", [])
        ]
        return {
            "at": now_ms,
            "state": self._state,
            "actors": actors,
            "partitions": sorted(partitions, key=lambda part: (part["topic"], part["partition"])),
            "shards": [self._shard_row(shard) for shard in self._shards if shard.status],
            "skipped": self._skipped(),
            "sources": [self._source_row(source, partitions, now_ms) for source in self._sources],
        }

    def _actor_row(self, watched: Watched, now: float) -> dict[str, Any]:
        return {
            "name": watched.name,
            "kind": watched.kind,
            "pid": watched.status.get("pid", 0),
            "node": "",
            "restarts": max(0, len(watched.pids) - 1),
            "heartbeat_age_ms": int((now - watched.heard_s) * 1000),
            "trouble": watched.status.get("trouble", "") or watched.status.get("degraded", ""),
        }

    def _shard_row(self, shard: Watched) -> dict[str, Any]:
        return {**shard.status, "events_per_s": round(shard.rate[2], 1)}

    def _skipped(self) -> dict[str, int]:
        """Records that were no event and no dead letter since the readers started, by what they are."""
        skipped: Counter[str] = Counter()
        for reader in self._readers:
            skipped.update(reader.status.get("skipped", {}))
        return dict(skipped)

    def _source_of(self, topic: str) -> str:
        return next(source.name for source in self._sources if source.topic == topic)

    def _source_row(self, source: Any, partitions: list[dict[str, Any]], now_ms: int) -> dict[str, Any]:
        mine = [part for part in partitions if part["topic"] == source.topic]
        events = sum(reader.status.get("events", {}).get(source.name, 0) for reader in self._readers)
        total = sum(sum(reader.status.get("events", {}).values()) for reader in self._readers)
        rate = sum(reader.rate[2] for reader in self._readers)
        last = max(
            (reader.status.get("last_arrival_ms", {}).get(source.name, 0) for reader in self._readers), default=0
        )
        return {
            "name": source.name,
            "topic": source.topic,
            "expected": source.expected,
            "events": events,
            "events_per_s": round(rate * events / total, 1) if total else 0.0,
            "lag": sum(part["lag"] for part in mine),
            "watermark_ms": min((part["watermark_ms"] for part in mine), default=0),
            "last_event_ms": last,
            "silent": bool(last) and now_ms - last > SOURCE_SILENT_MS,
        }

    def _tell(self, snapshot: dict[str, Any]) -> None:
        try:
            text = orjson.dumps(snapshot)
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(SNAPSHOT_KEY, text, ex=SNAPSHOT_TTL_S)
            pipe.publish(SNAPSHOT_KEY, text)
            pipe.execute()
        except redis.RedisError as error:
            self._log.warning("snapshot_not_told", error=str(error))


def _is_running(key_group_from: int) -> bool:
    """Whether there is a shard of these key groups. A supervisor that was restarted finds its shards at work."""
    try:
        ray.get_actor(shard_name(key_group_from), namespace=NAMESPACE)
    except ValueError:
        return False
    return True
