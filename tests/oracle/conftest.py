"""A pipeline in this process on real Kafka and PostgreSQL: the engine's own classes, without Ray."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from typer.testing import CliRunner

from actors.adapters.kafka import KafkaEventLog
from actors.adapters.memory import LocalShard, MemoryFeed, MemoryRedis, MemorySpill
from actors.adapters.postgres import PostgresLedger
from actors.adapters.registry import SchemaCache
from actors.reader import PartitionReader, ReaderOptions
from actors.readings import Readings
from actors.shard import MatcherShard, ShardOptions
from cluster.cli import build
from cluster.layout import prepare, set_first_rules
from cluster.settings import get_settings

# What a command prints is read as JSON here, so nothing else in this process may write to the same stream.
from tests.quiet import quiet  # noqa: F401

WINDOW_MS = 8_000
KEY_GROUP_RANGES = [(0, 64), (64, 128)]


def run_sync(coroutine):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Recon:
    """`recon` on a stack of its own: commands as a person gives them, and SQL as the database's owner."""

    def __init__(self, endpoints, folder):
        self.endpoints = endpoints
        self.folder = folder

    def __call__(self, command, *arguments):
        return CliRunner().invoke(build(command), [command, *map(str, arguments)])

    def sql(self, *statements):
        async def work():
            connection = await asyncpg.connect(**self.endpoints.postgres.connect_kwargs("owner"))
            try:
                found = None
                for statement in statements:
                    found = await connection.fetch(statement)
                return found
            finally:
                await connection.close()

        return run_sync(work())


@pytest.fixture(scope="module")
def recon_home(fresh_endpoints, tmp_path_factory):
    """A state folder that points at this module's own database and topics."""
    folder = tmp_path_factory.mktemp("recon")
    endpoints = fresh_endpoints.model_copy(update={"state_dir": folder})
    endpoints.save()
    home = Recon(endpoints, folder)
    # A right on the database itself does not come along when the database is a copy.
    home.sql(f"grant temporary on database {endpoints.postgres.connect_kwargs('owner')['database']} to recon_app")
    run_sync(set_first_rules(endpoints.postgres.connect_kwargs("owner"), WINDOW_MS, endpoints.source_specs()))
    # Two shards that make the day's partition at the same moment may collide; an actor would start again, a thread not.
    home.sql("select ensure_event_blocks_partition((now() at time zone 'UTC')::date)")
    run_sync(prepare(endpoints.postgres.connect_kwargs("app"), endpoints.source_specs(), len(KEY_GROUP_RANGES)))
    return home


@pytest.fixture
def recon(recon_home, monkeypatch):
    monkeypatch.setenv("RECON_STATE_DIR", str(recon_home.folder))
    get_settings.cache_clear()
    yield recon_home
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def pipeline(recon_home):
    """One reader and two shards in threads of this process."""
    endpoints = recon_home.endpoints
    sources = endpoints.source_specs()
    topics = [source.topic for source in sources]
    faults = []
    shards = [
        MatcherShard(
            ShardOptions(start, stop, f"shard-{start}"),
            sources,
            PostgresLedger(endpoints.postgres.connect_kwargs("app")),
            lambda claim: MemorySpill(MemoryRedis(), claim),
            MemoryFeed(),
            faults.append,
        )
        for start, stop in KEY_GROUP_RANGES
    ]
    lookup = SchemaCache(endpoints.registry.client_config("pipeline"))
    log = KafkaEventLog(endpoints.kafka.client_config("pipeline"), topics)
    partitions = tuple((topic, number) for topic, count in log.partition_counts().items() for number in range(count))
    reader = PartitionReader(
        ReaderOptions("reader-0", partitions),
        sources,
        log,
        lambda: Readings.built_in(sources, lookup),
        [LocalShard(*bounds, shard) for bounds, shard in zip(KEY_GROUP_RANGES, shards, strict=True)],
    )
    thread = threading.Thread(target=reader.run)
    thread.start()
    yield reader
    reader.stop()
    thread.join(30)
    lookup.close()
    for shard in shards:
        shard.drain(10)
        shard.close()
    assert faults == []
