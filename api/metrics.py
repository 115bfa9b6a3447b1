"""Metrics of the catalogue: each replica keeps its own and leaves them in Redis; any replica can show them all.

A scrape reaches one replica, whichever the proxy picks. So every replica stores its exposition under a key that
expires, and /metrics joins what is there, with a label that says whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.metrics import CATALOGUE, Kind, Metric

log = structlog.get_logger("api.metrics")

KEY = "metrics:"  # after the prefix; the replica follows
PUSH_EVERY_S = 5.0
KEEP_S = 20
REPLICAS_MAX = 500


class MetricSet:
    """The metrics of one replica, by their catalogue entries."""

    def __init__(self, catalogue: Iterable[Metric] = CATALOGUE) -> None:
        self.registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {}
        for metric in catalogue:
            kinds: dict[Kind, Any] = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge, Kind.HISTOGRAM: Histogram}
            extra: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
            self._by_name[metric.name] = kinds[metric.kind](
                metric.name, metric.meaning, metric.labels, registry=self.registry, **extra
            )

    def __getitem__(self, metric: Metric) -> Any:
        """The prometheus_client object of a catalogue entry."""
        return self._by_name[metric.name]

    def exposition(self) -> str:
        """In the Prometheus text format."""
        return generate_latest(self.registry).decode()


class MetricsExchange:
    """Leaves this replica's metrics in Redis, and joins those of all."""

    def __init__(self, metrics: MetricSet, redis: Redis, prefix: str, replica: str) -> None:
        self._metrics = metrics
        self._redis = redis
        self._replica = replica
        self._prefix = prefix + KEY

    async def push(self) -> None:
        """Store this replica's exposition."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._redis.set(self._prefix + self._replica, self._metrics.exposition(), ex=KEEP_S)

    async def run(self) -> None:
        """Push every few seconds, until cancelled."""
        while True:
            await self.push()
            await asyncio.sleep(PUSH_EVERY_S)

    async def exposition(self) -> str:
        """All replicas' metrics as one text. Without Redis: this replica's."""
        texts = {self._replica: self._metrics.exposition()}
        try:
            keys = [key async for key in self._redis.scan_iter(match=self._prefix + "*", count=REPLICAS_MAX)]
            for key in keys[:REPLICAS_MAX]:
                replica = (key.decode() if isinstance(key, bytes) else key).removeprefix(self._prefix)
                text = await self._redis.get(key)
                if text is not None and replica != self._replica:
                    texts[replica] = text.decode() if isinstance(text, bytes) else text
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("metrics_of_others_unavailable", error=repr(error)[:200])
        return joined(texts)


def joined(texts: dict[str, str]) -> str:
    """Expositions by replica as one, each sample with its replica's label."""
    families: dict[str, Family] = {}
    for replica, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text):
            into = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "replica": replica}, sample.value)

    class _Joined:
        def collect(self) -> Iterable[Family]:
            return families.values()

    return generate_latest(_Joined()).decode()
