"""Puts real parts behind the engine's ports. Runs inside each actor, so that no secret travels through Ray."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncpg

from actors.adapters.kafka import KafkaEventLog
from actors.adapters.postgres import PostgresLedger
from actors.adapters.redis import RedisFeed, RedisSpill, connect
from actors.ports import TopicPartition
from actors.reader import PartitionReader, ReaderOptions
from actors.remote import RayShard
from actors.shard import MatcherShard, ShardOptions
from cluster.activation import sources_in_force
from cluster.endpoints import Endpoints
from cluster.log_topics import known
from cluster.logs import configure_logs
from cluster.reading_versions import LedgerReadings
from cluster.settings import Settings
from schemas.errors import StoreUnavailableError
from schemas.events import SourceSpec


def shard_name(key_group_from: int) -> str:
    """Actor name, owner and audit chain of the shard that starts at this key group."""
    return f"shard-{key_group_from}"


def sources_of(endpoints: Endpoints) -> tuple[SourceSpec, ...]:
    """The sources in order of their numbers. Raises StoreUnavailableError when PostgreSQL does not answer."""
    try:
        return asyncio.run(sources_in_force(endpoints.postgres.connect_kwargs("app"), endpoints.source_specs()))
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        raise StoreUnavailableError(f"the ledger's sources: {type(error).__name__}: {error}") from error


def topics_of(sources: Sequence[SourceSpec]) -> list[str]:
    """The topics that feed sources, each once."""
    return list(dict.fromkeys(source.topic for source in sources))


def build_shard(
    state_dir: Path,
    settings: Settings,
    key_group_from: int,
    key_group_to: int,
    on_fault: Callable[[BaseException], None],
) -> MatcherShard:
    """A shard on PostgreSQL and Redis. Raises StoreUnavailableError when PostgreSQL is not there."""
    configure_logs(settings.log_level)
    endpoints = Endpoints.load(state_dir)
    client = connect(endpoints.redis.connect_kwargs())
    options = ShardOptions(
        key_group_from=key_group_from,
        key_group_to=key_group_to,
        owner=shard_name(key_group_from),
        flush_interval_ms=settings.flush_interval_ms,
        flush_rows=settings.flush_rows,
        pending_rows_max=settings.pending_rows_max,
        spill_age_ms=settings.spill_age_ms,
    )
    return MatcherShard(
        options,
        sources_of(endpoints),
        PostgresLedger(endpoints.postgres.connect_kwargs("app")),
        lambda claim: RedisSpill(client, claim),
        RedisFeed(client),
        on_fault,
    )


def build_reader(
    state_dir: Path,
    settings: Settings,
    name: str,
    partitions: tuple[TopicPartition, ...],
    ranges: tuple[tuple[int, int], ...],
) -> PartitionReader:
    """A reader on Kafka and the registry, for the shards of these key-group ranges."""
    configure_logs(settings.log_level)
    endpoints = Endpoints.load(state_dir)
    sources = sources_of(endpoints)
    options = ReaderOptions(
        name=name,
        partitions=partitions,
        batch_rows_max=settings.batch_rows_max,
        batch_wait_ms=settings.batch_wait_ms,
        batches_in_flight_max=settings.batches_in_flight_max,
        watermark_grace_ms=settings.watermark_grace_ms,
    )
    readings = LedgerReadings(
        endpoints.postgres.connect_kwargs("app"), endpoints.registry.client_config("pipeline"), sources
    )
    return PartitionReader(
        options,
        sources,
        KafkaEventLog(endpoints.kafka.client_config("pipeline"), topics_of(sources)),
        readings,
        [RayShard(shard_name(start), start, stop) for start, stop in ranges],
        on_end=readings.close,
        incarnations=functools.partial(known, endpoints.postgres.connect_kwargs("app")),
    )
