"""The whole pipeline on the real stack: Ray, supervisor, readers and shards, on a database and topics of its own.

`rig` is started once per module and left running, so that the tests go on with the same ledger and log: each adds
traffic, does something to the stack, and has every verdict so far verified.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from contextlib import closing

import asyncpg
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from cluster import pipeline
from cluster.chaos import Saboteur, Traffic, verified
from cluster.oracle.ledger import snapshot
from cluster.oracle.planted import Findings, compare_planted
from cluster.oracle.verification import Patience
from cluster.stack.kafka import ensure_topics
from producers.manifest import ManifestWriter, read_manifest
from producers.plan import Plan, parse_breaks
from tests.conftest import run_sync

WINDOW_MS = 3_000
PATIENCE = Patience(wait_s=120.0, settle_ms=2_500)
PATIENCE_S = 90.0  # far more than anything takes on a busy machine; only a failure runs into it


class Rig:
    """A running pipeline, the traffic for it, and the proof that it judged right."""

    def __init__(self, stack, settings, endpoints):
        self.stack = stack
        self.settings = settings
        self.endpoints = endpoints
        self.saboteur = Saboteur(stack, settings, endpoints, seed=1)
        self._seeds = itertools.count(int(time.time()))

    def start(self):
        pipeline.start(self.settings, self.endpoints)

    def stop(self):
        return pipeline.stop(self.settings, self.endpoints)

    def status(self):
        return pipeline.status(self.settings, self.endpoints)

    def plan(self, *, seconds=4.0, rate=150.0, breaks="all=0.01", late_margin_ms=500):
        return Plan(
            seed=next(self._seeds),
            rate=rate,
            transactions=round(rate * seconds),
            breaks=parse_breaks([breaks]),
            match_window_ms=WINDOW_MS,
            late_margin_ms=late_margin_ms,
            sources=self.endpoints.source_specs(),
        )

    @contextlib.contextmanager
    def traffic(self, **options):
        """Records flow while the body runs, and to the end of their scenario."""
        flowing = Traffic(self.endpoints, self.plan(**options))
        flowing.start()
        try:
            time.sleep(1.5)  # the body is to meet work in progress
            yield flowing
        finally:
            flowing.join()

    def publish(self, path, **options):
        """Publish a scenario with its manifest; gives how far the publisher fell behind its plan."""
        plan = self.plan(**options)
        with ManifestWriter(path, plan, 0) as manifest:
            flowing = Traffic(self.endpoints, plan, manifest)
            flowing.start()
            return flowing.join().behind_ms_max

    def add_partitions(self, count):
        """Every topic gets so many more. Gives all there are then, and the new ones, as sets of (topic, partition)."""
        known = {(part["topic"], part["partition"]) for part in self.status()["partitions"]}
        sizes = Counter(topic for topic, _ in known)
        for topic, size in sizes.items():
            ensure_topics(self.endpoints.kafka, [topic], size + count, self.settings.topic_retention_ms)
        added = {(topic, size + number) for topic, size in sizes.items() for number in range(count)}
        return known | added, added

    def being_read(self):
        """Partitions that a reader has begun to read, as (topic, partition); one that two read is there twice."""
        return sorted(
            (part["topic"], part["partition"]) for part in self.status()["partitions"] if part["position"] >= 0
        )

    def produce_foreign(self, topic):
        """Publish a record of a schema that is registered and has nothing to do with ours."""
        schema = {"type": "record", "name": "Refund", "fields": [{"name": "amount", "type": "long"}]}
        with SchemaRegistryClient(self.endpoints.registry.client_config("admin")) as registry:
            schema_id = registry.register_schema("refunds-value", Schema(json.dumps(schema), "AVRO"))
        with closing(Producer({**self.endpoints.kafka.client_config("producer"), "log_level": 2})) as producer:
            producer.produce(topic, key=b"T", value=b"\0" + schema_id.to_bytes(4, "big") + b"\2")
            assert producer.flush(30) == 0

    def verify(self):
        """The oracle finds no difference between the ledger and the whole log so far."""
        report = run_sync(verified(self.endpoints, PATIENCE))
        assert report.clean, "\n".join(map(str, report.findings.first(30)))
        assert report.findings.compared["final_results"] > 0
        return report

    def planted(self, path):
        """What the ledger says of everything that a manifest planted."""

        async def compare():
            findings = Findings()
            async with snapshot(self.endpoints.postgres.connect_kwargs("api")) as ledger:
                await compare_planted(read_manifest(path), ledger, findings)
            return findings

        return run_sync(compare())

    def sql(self, statement, *arguments, role="owner"):
        """Rows of a statement, by default as the database's owner."""

        async def ask():
            connection = await asyncpg.connect(**self.endpoints.postgres.connect_kwargs(role))
            try:
                return await connection.fetch(statement, *arguments)
            finally:
                await connection.close()

        return run_sync(ask())

    @contextlib.contextmanager
    def flush_held(self):
        """The body runs while a flush has written the log's rows and waits for the results' table."""
        entered, leave = threading.Event(), threading.Event()

        async def hold():
            connection = await asyncpg.connect(**self.endpoints.postgres.connect_kwargs("owner"))
            try:
                transaction = connection.transaction()
                await transaction.start()
                await connection.execute("lock table results in share mode")
                entered.set()
                while not leave.is_set():
                    await connection.execute("select pg_sleep(0.05)")
                await transaction.rollback()
            finally:
                await connection.close()

        holder = threading.Thread(target=lambda: run_sync(hold()))
        holder.start()
        try:
            assert entered.wait(PATIENCE_S)
            waits = (
                "select 1 from pg_stat_activity where datname = current_database() "
                "and application_name = 'recon-shard-flush' and wait_event_type = 'Lock'"
            )
            self.eventually(lambda: self.sql(waits, role="admin"))
            yield
        finally:
            leave.set()
            holder.join(PATIENCE_S)

    @staticmethod
    def eventually(condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def rig(running_stack, ray_stack, fresh_endpoints, tmp_path_factory):
    """The pipeline, running."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "logs").mkdir()
    endpoints = fresh_endpoints.model_copy(update={"state_dir": folder, "ray": ray_stack.ray})
    endpoints.save()
    settings = running_stack.settings.model_copy(
        update={
            "state_dir": folder,
            "match_window_ms": WINDOW_MS,
            "spill_age_ms": 1_500,  # so that spills happen within the short window
            "shards": 2,
            "heartbeat_interval_ms": 500,
            "discovery_interval_ms": 1_000,
        }
    )
    made = Rig(running_stack, settings, endpoints)
    made.start()
    yield made
    made.stop()
