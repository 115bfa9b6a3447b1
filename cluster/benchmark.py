"""`recon bench`: replay preloaded topics through the whole pipeline, and copy the same rows bare, in one run.

A stack of its own (no Keycloak, no API) is started beside whatever runs, filled, measured, verified and deleted:

1. the pipeline starts and pauses; the topics are filled and read once, as the broker's JVM compiles while it runs
   and a bank's broker has long done so; the broker rests
2. t0: resume. t1: every shard's position in PostgreSQL is at the end of the log, so every event is committed
3. the oracle verifies the outcome row by row
4. the same rows are exported, and copied into empty tables over 1 and 2 connections: a row an event with its key and a
   row a result, which is what anybody would do first; and the blocks and results as they are stored. The fastest of
   two rounds counts

CPU seconds are what the kernel accounts to each process between t0 and t1; memory is the peak of the sum over our own
processes (readers, shards, supervisor, Ray), sampled.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from cluster import pipeline
from cluster.endpoints import Endpoints
from cluster.oracle.verification import Access, Patience, Verification
from cluster.settings import PORT_SPAN, Settings
from cluster.stack.stack import Plan, Stack
from producers.connection import Connection
from producers.preload import Load, preload
from schemas.errors import ReconError
from schemas.places import ENDPOINTS_FILE

BENCH_PORTS_ABOVE: Final = 3 * PORT_SPAN  # the benchmark's stack leaves room for two others
POLL_S: Final = 0.1
READ_ONCE_RECORDS: Final = 10_000
STALL_S: Final = 120.0  # a replay that moves no position for this long has failed
MEMORY_SAMPLE_S: Final = 2.5  # the kernel walks every page for a sample: one a second cost 2 % of the machine
COPY_CONNECTIONS: Final = (1, 2)
COPY_ROUNDS: Final = 2
# What is copied bare: table, how its bare twin is made (same columns, same order), order within a connection's share.
_RESULTS_COPY: Final = ("results", "create table bare_results (like results including all)", "decided_at")
_EVENT_ROWS: Final = (
    "create table bare_event_log as select * from event_log with no data;"
    " alter table bare_event_log add primary key (key_group, seq)"
)
_EVENT_BLOCKS: Final = "create table bare_event_blocks (like event_blocks including all)"
COPIES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "rows": (("event_log", _EVENT_ROWS, "seq"), _RESULTS_COPY),
    "stored": (("event_blocks", _EVENT_BLOCKS, "seq_from"), _RESULTS_COPY),
}
_MIB: Final = 1024 * 1024


class BenchmarkFailedError(ReconError):
    """The replay did not come to its end."""


@dataclass(slots=True)
class Outcome:
    """What a run measured. Rates are events per second, CPU and times in seconds, memory in MiB."""

    events: int
    transactions: int
    elapsed_s: float
    events_per_s: float
    copy_events_per_s: dict[str, float]  # a row an event, by number of connections
    copy_ratio: float  # against the fastest bare copy of rows
    stored_copy_events_per_s: dict[str, float]  # blocks as they are stored, by number of connections
    stored_copy_ratio: float
    cpu_s: dict[str, float]
    engine_cpu_s: float
    postgres_cpu_s: float
    peak_rss_mib: float
    rss_mib: list[int]  # samples over the run, for the eye
    verified: bool
    differences: int
    machine: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def bench_settings(settings: Settings) -> Settings:
    """The same settings for a stack beside the running one, with a broker tuned for throughput."""
    return settings.model_copy(
        update={
            "state_dir": settings.state_dir / "bench",
            "port_base": settings.port_base + BENCH_PORTS_ABOVE,
            "kafka_heap_mib": 1024,
            "kafka_full_jit": True,
            "ray_dashboard": False,
            "ray_address": "",
        }
    )


def run(settings: Settings, transactions: int, say: Callable[[str], None], *, keep: bool = False) -> Outcome:
    """Run the benchmark. Raises BenchmarkFailedError, and StackFailedError when the stack does not start."""
    stack = Stack(settings)
    stack.down(wipe=True)
    try:
        say("starting a stack for the benchmark")
        endpoints = stack.up(Plan(keycloak=False, api=False))
        return _measure(settings, endpoints, transactions, say)
    finally:
        if not keep:
            stack.down(wipe=True)


def _measure(settings: Settings, endpoints: Endpoints, transactions: int, say: Callable[[str], None]) -> Outcome:
    import ray  # noqa: PLC0415 (only after the stack's token is in the environment)

    supervisor = pipeline.supervisor(endpoints)
    ray.get(supervisor.pause.remote(30.0))
    say(f"filling the topics with {transactions:,} transactions")
    loaded = preload(Connection.read(settings.state_dir / ENDPOINTS_FILE), Load(transactions))
    say(f"{loaded.total:,} events in {loaded.elapsed_s:.1f} s; reading them once")
    read_once(endpoints, loaded.total)
    say("replaying")
    parts = processes(settings, ray.get(supervisor.status.remote()))
    before = cpu_seconds(parts)
    memory = MemorySampler([process for name in ("readers", "shards", "supervisor", "ray") for process in parts[name]])
    with memory:
        began = time.monotonic()
        ray.get(supervisor.resume.remote())
        asyncio.run(_until_committed(endpoints, loaded.total))
        elapsed = time.monotonic() - began
        after = cpu_seconds(parts)
    cpu = {name: round(after[name] - before[name], 2) for name in parts}
    say(f"{loaded.total / elapsed:,.0f} events/s; verifying")
    report = asyncio.run(_verify(endpoints))
    pipeline.stop(settings, endpoints)
    say("copying the same rows bare")
    copies = {kind: asyncio.run(bare_copies(endpoints, settings.state_dir, loaded.total, kind)) for kind in COPIES}
    engine = sum(cpu[name] for name in ("readers", "shards", "supervisor", "ray"))
    rate = loaded.total / elapsed
    return Outcome(
        events=loaded.total,
        transactions=transactions,
        elapsed_s=round(elapsed, 2),
        events_per_s=round(rate),
        copy_events_per_s={str(count): round(value) for count, value in copies["rows"].items()},
        copy_ratio=round(rate / max(copies["rows"].values()), 3),
        stored_copy_events_per_s={str(count): round(value) for count, value in copies["stored"].items()},
        stored_copy_ratio=round(rate / max(copies["stored"].values()), 3),
        cpu_s=cpu,
        engine_cpu_s=round(engine, 2),
        postgres_cpu_s=cpu["postgres"],
        peak_rss_mib=round(memory.peak_bytes / _MIB),
        rss_mib=memory.samples_mib,
        verified=report.clean,
        differences=report.findings.total,
        machine={"cores": os.cpu_count(), "memory_mib": psutil.virtual_memory().total // _MIB},
    )


def read_once(endpoints: Endpoints, events: int) -> None:
    """Read every topic to its end and throw it away. Raises BenchmarkFailedError when records stop coming."""
    consumer = Consumer(
        {**endpoints.kafka.client_config("reader"), "group.id": "recon-bench", "enable.auto.commit": False}
    )
    try:
        topics = [source.topic for source in endpoints.sources]
        known = consumer.list_topics(timeout=STALL_S).topics
        consumer.assign(
            [TopicPartition(topic, part, OFFSET_BEGINNING) for topic in topics for part in known[topic].partitions]
        )
        count, moved = 0, time.monotonic()
        while count < events:
            messages = consumer.consume(READ_ONCE_RECORDS, 1.0)
            if messages:
                count, moved = count + len(messages), time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise BenchmarkFailedError(f"only {count} of {events} records can be read")
    finally:
        consumer.close()


def processes(settings: Settings, snapshot: Mapping[str, Any]) -> dict[str, list[psutil.Process]]:
    """Processes of each part; children included where a part forks."""
    stack = Stack(settings)
    parts: dict[str, list[psutil.Process]] = {"readers": [], "shards": [], "supervisor": []}
    kinds = {"reader": "readers", "matcher": "shards", "supervisor": "supervisor"}
    for actor in snapshot["actors"]:
        parts[kinds[actor["kind"]]].append(psutil.Process(actor["pid"]))
    own = {process.pid for group in parts.values() for process in group}
    for name in ("ray", "kafka", "postgres", "redis", "registry"):
        record = stack.processes.alive(name)
        if record is not None:
            root = psutil.Process(record.pid)
            tree = [root, *root.children(recursive=True)]
            parts[name] = [process for process in tree if process.pid not in own]
    return parts


def cpu_seconds(parts: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    """User and system seconds of each part so far; a process that ended counts what its parent reaped."""
    totals: dict[str, float] = {}
    for name, group in parts.items():
        total = 0.0
        for process in group:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        totals[name] = total
    return totals


class MemorySampler:
    """Peak of the summed resident memory of some processes. Shared pages count once per process, so it errs upwards."""

    def __init__(self, watched: list[psutil.Process]) -> None:
        self._watched = watched
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)
        self.peak_bytes = 0
        self.samples_mib: list[int] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(MEMORY_SAMPLE_S):
            total = 0
            for process in self._watched:
                try:
                    memory = process.memory_full_info() if process.is_running() else None
                except psutil.Error:
                    continue
                total += memory.pss if memory else 0
            self.peak_bytes = max(self.peak_bytes, total)
            self.samples_mib.append(total // _MIB)


async def _until_committed(endpoints: Endpoints, events: int) -> None:
    """Wait until the ledger's positions cover `events` records. Raises BenchmarkFailedError when they stand still."""
    connection = await asyncpg.connect(**endpoints.postgres.connect_kwargs("api"))
    try:
        seen, moved = -1, time.monotonic()
        while True:
            covered = await connection.fetchval(
                "select coalesce(min(covered), 0) from (select (select sum(p.value::bigint)"
                " from jsonb_each(positions) t, jsonb_each_text(t.value) p) as covered from checkpoints) shards"
            )
            if covered is not None and covered >= events:
                return
            if covered != seen:
                seen, moved = covered, time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise BenchmarkFailedError(f"stuck at {covered} of {events} records for {STALL_S:.0f} s")
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()


async def _verify(endpoints: Endpoints) -> Any:
    access = Access(
        kafka=endpoints.kafka.client_config("reader"),
        registry=endpoints.registry.client_config("reader"),
        postgres=endpoints.postgres.connect_kwargs("api"),
        sources=endpoints.source_specs(),
    )
    return await Verification(access, Patience(), lambda _: None).run()


async def bare_copies(endpoints: Endpoints, folder: Path, events: int, kind: str) -> dict[int, float]:
    """Events per second of copying what the pipeline wrote into empty tables, one of COPIES, by connections."""
    owner, admin = (endpoints.postgres.connect_kwargs(role, "recon") for role in ("owner", "admin"))
    return {
        count: events / min([await _bare_copy(owner, admin, folder, kind, count) for _ in range(COPY_ROUNDS)])
        for count in COPY_CONNECTIONS
    }


async def _checkpoint(kwargs: dict[str, Any]) -> None:
    """Write dirty pages out, so that a copy does not pay for what was written before it."""
    connection = await asyncpg.connect(**kwargs)
    try:
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def _bare_copy(kwargs: dict[str, Any], admin: dict[str, Any], folder: Path, kind: str, count: int) -> float:
    """Seconds for both tables over `count` connections, each with its share of the key groups, key order kept."""
    files: list[tuple[str, Path]] = []
    connections = [await asyncpg.connect(**kwargs) for _ in range(count)]
    try:
        for table, make, order in COPIES[kind]:
            await connections[0].execute(f"drop table if exists bare_{table}")
            await connections[0].execute(make)
            for index in range(count):
                path = folder / f"bare_{table}_{index}.copy"
                query = f"select * from {table} where key_group % {count} = {index} order by {order}"  # noqa: S608
                await connections[0].copy_from_query(query, output=path, format="binary")
                files.append((table, path))
        await _checkpoint(admin)
        began = time.monotonic()

        async def copy(index: int) -> None:
            for table, path in files[index::count]:
                await connections[index].copy_to_table(f"bare_{table}", source=path, format="binary")

        await asyncio.gather(*(copy(index) for index in range(count)))
        return time.monotonic() - began
    finally:
        for table, *_ in COPIES[kind]:
            await connections[0].execute(f"drop table if exists bare_{table}")
        for _, path in files:
            path.unlink(missing_ok=True)
        for connection in connections:
            await connection.close()
