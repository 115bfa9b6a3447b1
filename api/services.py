"""The parts of the service, put together for one replica; they live as long as the app's lifespan."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from api.audit_log import AuditLog
from api.backtest import Backtests
from api.csvs import ExportSlots
from api.db import Database
from api.desk_feed import DeskFeed
from api.metrics import MetricSet, MetricsExchange
from api.options import ApiOptions
from api.people import People
from api.ports import Decoder, Examiner, Judge, Republisher
from api.problems import UnavailableError
from api.rates import Rates
from api.snapshot import SnapshotReader
from api.store.deadletters import DeadLetterStore
from api.store.exceptions import ExceptionStore
from api.store.overview import OverviewStore
from api.store.rules import RuleStore
from api.store.totals import Totals
from api.store.trail import Trail
from api.store.transactions import TransactionStore
from api.store.vocabulary import VocabularyReader
from api.tokens import FetchKeys, KeySet, TokenVerifier, fetch_from
from api.watch import Housekeeper
from schemas.metrics import (
    AUDIT_COMMITS,
    AUDIT_ENTRIES,
    AUDIT_REFUSED,
    PIPELINE_UP,
    RATE_REFUSED,
    SHARD_FLUSH_P99,
    SHARD_PENDING,
    SIGNING_KEYS_FRESH,
    SOURCE_EVENTS_PER_S,
    SOURCE_LAG,
    SOURCE_SILENT,
    TRANSACTIONS,
    Metric,
)

REDIS_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Ports:
    """What other folders lend to the service; without one, the operations that need it answer 503."""

    judge: Judge | None = None
    republish: Republisher | None = None
    decode: Decoder | None = None
    examine: Examiner | None = None
    fetch_keys: FetchKeys | None = None


def connect_redis(options: ApiOptions, *, subscriber: bool = False) -> Redis:
    """A client with time limits.

    A subscriber waits without one, relying on health checks, and does not reconnect by itself: what was said meanwhile
    would be lost without anybody noticing.
    """
    extra: dict[str, Any] = {}
    if options.redis_ca_file:
        extra["ssl_ca_certs"] = options.redis_ca_file
    client: Redis = Redis.from_url(
        options.redis_url,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        socket_timeout=None if subscriber else REDIS_TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 0 if subscriber else 2),
        **extra,
    )
    return client


@dataclass
class Services:
    """Everything a handler can reach."""

    options: ApiOptions
    ports: Ports = field(default_factory=Ports)

    def __post_init__(self) -> None:
        """Put the parts together; nothing connects yet."""
        options, limits = self.options, self.options.limits
        self.metric_set = MetricSet()
        self.db = Database(options)
        self.redis = connect_redis(options)
        self.verifier = TokenVerifier(
            options.tokens, KeySet(options.tokens, self.ports.fetch_keys or fetch_from(options.tokens))
        )
        self.rates = Rates(limits.rate_per_s, limits.rate_burst_requests)
        self.audit = AuditLog(self.db, limits)
        self.people = People(self.db, self.audit)
        self.exports = ExportSlots(limits.exports_per_caller)
        self.vocabulary = VocabularyReader(self.db)
        self.totals = Totals(self.db)
        self.snapshot = SnapshotReader(self.redis, options.redis_prefix)
        self.desk_feed = DeskFeed(self.redis, options.redis_prefix)
        self.transactions = TransactionStore(self.db, self.vocabulary, self.totals, limits, options.rates)
        self.overview = OverviewStore(
            self.db, self.vocabulary, self.totals, self.snapshot, options.public.ray_dashboard_url, options.rates
        )
        self.exceptions = ExceptionStore(
            self.db, self.vocabulary, self.totals, self.audit, self.desk_feed, options.rates
        )
        self.rules = RuleStore(self.db, self.vocabulary, self.audit, self.desk_feed)
        self.backtests = Backtests(self.db, self.vocabulary, self.ports.judge, limits, options.rates)
        self.dead_letters = DeadLetterStore(self.db, self.audit, self.ports)
        self.trail = Trail(self.db, self.audit, limits)
        self.metrics = MetricsExchange(self.metric_set, self.redis, options.redis_prefix, options.replica)
        self._tasks: list[asyncio.Task[None]] = []
        self.metric_set[AUDIT_ENTRIES]

    async def start(self) -> None:
        """Start what works in the background. A dependency that is down does not keep the service from starting."""
        self.audit.start()
        self._tasks.append(asyncio.create_task(self._keep_metrics(), name="metrics"))
        self._tasks.append(asyncio.create_task(self.verifier.keys.refresh(), name="signing-keys"))
        self._tasks.append(asyncio.create_task(Housekeeper(self).run(), name="housekeeping"))

    async def stop(self) -> None:
        """Let the audit writer finish, then close the connections."""
        await self.audit.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.db.close()
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()

    async def _keep_metrics(self) -> None:
        told: dict[str, int] = {}
        counters: dict[Metric, Callable[[], int]] = {
            AUDIT_ENTRIES: lambda: self.audit.entries,
            AUDIT_COMMITS: lambda: self.audit.commits,
            AUDIT_REFUSED: lambda: self.audit.refused,
            RATE_REFUSED: lambda: self.rates.refused,
        }
        while True:
            for metric, read in counters.items():
                value = read()
                self.metric_set[metric].inc(value - told.get(metric.name, 0))
                told[metric.name] = value
            self.metric_set[SIGNING_KEYS_FRESH].set(int(self.verifier.keys.fresh))
            await self.measure_pipeline()
            await self.metrics.push()
            await asyncio.sleep(5.0)

    async def measure_pipeline(self) -> None:
        """Set the gauges of the pipeline from its supervisor's report, and those of the ledger from its totals."""
        report = await self.snapshot.get()
        metrics = self.metric_set
        metrics[PIPELINE_UP].set(int(report is not None))
        for gauge in (SOURCE_EVENTS_PER_S, SOURCE_LAG, SOURCE_SILENT, SHARD_PENDING, SHARD_FLUSH_P99):
            metrics[gauge].clear()  # of a source or shard that is gone nothing is known
        for source in (report or {}).get("sources", ()):
            metrics[SOURCE_EVENTS_PER_S].labels(source["name"]).set(source["events_per_s"])
            metrics[SOURCE_LAG].labels(source["name"]).set(source["lag"])
            metrics[SOURCE_SILENT].labels(source["name"]).set(int(source["silent"]))
        for shard in (report or {}).get("shards", ()):
            metrics[SHARD_PENDING].labels(shard["name"]).set(shard["pending_rows"])
            metrics[SHARD_FLUSH_P99].labels(shard["name"]).set(shard["flush_ms_p99"])
        with contextlib.suppress(UnavailableError):
            for verdict, count in (await self.totals.verdicts()).items():
                metrics[TRANSACTIONS].labels(verdict).set(max(0, count))

    async def readiness(self) -> dict[str, Any]:
        """Which parts do not answer."""
        not_ready: list[str] = []
        degraded: list[str] = []
        try:
            async with asyncio.timeout(3.0):
                await self.db.fetchrow("select 1")
        except (UnavailableError, TimeoutError):
            not_ready.append("postgres")
        try:
            async with asyncio.timeout(3.0):
                await self.redis.ping()
        except (RedisError, OSError, TimeoutError):
            degraded.append("redis")
        if not self.verifier.keys.known:
            await self.verifier.keys.refresh()
        if not self.verifier.keys.known:
            not_ready.append("signing_keys")
        elif not self.verifier.keys.fresh:
            degraded.append("keycloak")
        if await self.snapshot.get() is None:
            degraded.append("pipeline")
        return {"ready": not not_ready, "not_ready": not_ready, "degraded": degraded}
