"""The emitter accounts for every record: what was refused waits, what failed is said."""

from __future__ import annotations

import json
import time

import pytest

from producers.connection import Connection, NoEndpointsError
from producers.emitter import DeliveryError, Emitter, producer_config
from producers.plan import Plan, Plant
from producers.scenario import Scenario
from producers.wire import Encoder
from schemas.events import DEFAULT_SOURCES

START_MS = 1_790_000_000_000
PLAN = Plan(
    seed=2,
    rate=5_000.0,
    transactions=60,
    breaks={Plant.AMOUNT: 0.2, Plant.LATE: 0.1},
    match_window_ms=200,
    late_margin_ms=20,
)


class PaperProducer:
    """A producer with a small queue; `fails` says which deliveries go wrong."""

    def __init__(self, queue_max=10, fails=lambda number: False):
        self.queue_max = queue_max
        self.fails = fails
        self.queue = []
        self.sent = []
        self.refused = 0
        self.stuck = False
        self.lag_ms = 0

    def produce(self, topic, value, key, on_delivery):
        if len(self.queue) >= self.queue_max:
            self.refused += 1
            raise BufferError
        self.queue.append((topic, value, key, on_delivery))

    def poll(self, timeout):
        if timeout and not self.stuck:
            self.flush(timeout)
        return 0

    def flush(self, _timeout):
        if self.stuck:
            return len(self.queue)
        for topic, value, key, on_delivery in self.queue:
            self.sent.append((topic, value, key))
            on_delivery("broken" if self.fails(len(self.sent)) else None, self)
        self.queue.clear()
        return 0

    def topic(self):
        return "core_txns"

    def timestamp(self):
        return 2, int(time.time() * 1000) + self.lag_ms


def emitter(producer, senders=("CORE", "GATEWAY", "MOBILE")):
    planted = []
    encoders = {source.topic: Encoder(7) for source in DEFAULT_SOURCES}
    return Emitter(producer, encoders, frozenset(senders), planted.append, int(time.time() * 1000)), planted


def test_everything_is_sent_in_order_and_accounted_for():
    producer = PaperProducer()
    out, planted = emitter(producer)
    expected = list(Scenario(PLAN, START_MS).emissions())
    report = out.run(iter(expected))
    assert [(topic, key) for topic, _, key in producer.sent] == [(one.topic, one.key) for one, _ in expected]
    assert report.total == report.delivered == len(expected)
    assert planted == [truth for _, truth in expected if truth is not None]
    assert producer.refused > 0, "the queue was never full, so back-pressure was not tried"


def test_one_sender_publishes_its_own_records_and_sees_the_whole_truth():
    producer = PaperProducer()
    out, planted = emitter(producer, ["GATEWAY"])
    report = out.run(Scenario(PLAN, START_MS).emissions())
    assert set(report.sent) == {"GATEWAY"}
    assert {topic for topic, _, _ in producer.sent} == {"gateway_txns"}
    assert len(planted) == sum(truth is not None for _, truth in Scenario(PLAN, START_MS).emissions())


def test_a_late_arrival_is_measured_by_the_brokers_stamp():
    producer = PaperProducer()
    producer.lag_ms = 5_000
    out, _ = emitter(producer)
    assert 5_000 <= out.run(Scenario(PLAN, START_MS).emissions()).behind_ms_max < 10_000


def test_failed_deliveries_are_raised_at_the_end():
    out, _ = emitter(PaperProducer(fails=lambda number: number in {3, 5}))
    with pytest.raises(DeliveryError, match="2 records failed"):
        out.run(Scenario(PLAN, START_MS).emissions())


def test_records_without_an_acknowledgement_are_raised_at_the_end():
    producer = PaperProducer(queue_max=1_000)
    producer.stuck = True
    out, _ = emitter(producer)
    with pytest.raises(DeliveryError, match="never acknowledged"):
        out.run(Scenario(PLAN, START_MS).emissions())


def test_a_stop_ends_the_run_in_order():
    producer = PaperProducer()
    out, _ = emitter(producer)
    report = out.run(Scenario(PLAN, START_MS).emissions(), stop=lambda: len(producer.sent) >= 20)
    assert report.stopped
    assert 20 <= report.total < 60
    assert len(producer.sent) == report.total


def test_a_producer_loses_and_doubles_nothing():
    config = producer_config({"bootstrap.servers": "x"})
    assert config["enable.idempotence"]
    assert config["acks"] == "all"


def test_endpoints_are_read_from_the_stacks_file(tmp_path):
    path = tmp_path / "endpoints.json"
    with pytest.raises(NoEndpointsError, match="recon up"):
        Connection.read(path)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(NoEndpointsError, match="not an endpoints file"):
        Connection.read(path)
    certificate = {"cert_file": "c", "key_file": "k"}
    content = {
        "kafka": {"bootstrap_servers": "b", "ca_file": "ca", "roles": {"producer": certificate}},
        "registry": {"url": "u", "ca_file": "ca", "roles": {"producer": {"user": "p", "password": "w"}}},
        "sources": [{"name": "CORE", "topic": "core_txns", "expected": True}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    connection = Connection.read(path)
    assert connection.kafka["security.protocol"] == "SSL"
    assert connection.registry["basic.auth.user.info"] == "p:w"
    assert connection.sources == DEFAULT_SOURCES[:1]
