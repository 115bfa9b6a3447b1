"""Sends a scenario's records to Kafka at their moments, with back-pressure, and accounts for every one of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.emission import Emission, Planted
from producers.wire import Encoder

log = structlog.get_logger(__name__)

QUEUE_MESSAGES_MAX = 100_000  # bounds memory at about 30 MB; a full queue makes the simulator wait
LINGER_MS = 20  # at 5 ms a broker spends half a core on requests at 5,000 records a second
FLUSH_TIMEOUT_S = 60.0
QUEUE_FULL_POLL_S = 0.05
SLEEP_MAX_S = 0.05  # a stop request and delivery reports are seen at least this often
ERRORS_KEPT_MAX = 5
READY_TIMEOUT_S = 30.0
STATS_MS = 250
ASSIGNED = "Assigned"  # librdkafka's name for the state of an idempotent producer that has its id


class ProducerNotReadyError(RuntimeError):
    """Kafka gave this producer no id in time, so nothing can be sent."""


class DeliveryError(RuntimeError):
    """Some records did not reach the broker, so the run is not what its manifest says."""

    def __init__(self, failed: int, unsent: int, examples: list[str]) -> None:
        self.failed = failed
        self.unsent = unsent
        super().__init__(f"{failed} records failed and {unsent} were never acknowledged: {'; '.join(examples) or '-'}")


@dataclass(slots=True)
class EmitReport:
    """What a run did. `behind_ms_max` is how long after its moment in the plan a record arrived, at worst."""

    sent: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    behind_ms_max: int = 0
    elapsed_s: float = 0.0
    stopped: bool = False

    @property
    def total(self) -> int:
        """Records sent, over all sources."""
        return sum(self.sent.values())


def producer_config(connection: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Settings of an idempotent producer: no record is lost, doubled or overtaken by a retry."""
    return {
        **connection,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": LINGER_MS,
        "compression.type": "lz4",
        "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
        "client.id": "recon-simulator",
        "log_level": 3,  # errors; a retry while the broker is starting is not one
        **more,
    }


def ready_producer(connection: Mapping[str, Any], topics: Iterable[str]) -> Producer:
    """A producer whose first record will leave at once. Raises ProducerNotReadyError.

    An idempotent producer must be given an id by the broker first, which takes seconds on a broker that has just
    started; records sent meanwhile would wait, all arrive together, and be early or late against the plan. Only the
    client's statistics say when the id is there.
    """
    states: list[str] = []

    def on_stats(text: str) -> None:
        if ASSIGNED not in states:
            states.append(json.loads(text).get("eos", {}).get("idemp_state", ""))

    producer = Producer(producer_config(connection, **{"statistics.interval.ms": STATS_MS, "stats_cb": on_stats}))
    deadline = time.monotonic() + READY_TIMEOUT_S
    while ASSIGNED not in states:
        if time.monotonic() > deadline:
            raise ProducerNotReadyError(f"Kafka gave the producer no id within {READY_TIMEOUT_S:.0f} s")
        producer.poll(STATS_MS / 1000)
    try:
        for topic in topics:
            producer.list_topics(topic, timeout=READY_TIMEOUT_S)
    except KafkaException as error:
        raise ProducerNotReadyError(f"Kafka does not answer: {error}") from error
    return producer


class Emitter:
    """Publishes records of the chosen senders; the others pass by, so that separate processes share one scenario."""

    def __init__(
        self,
        producer: Producer,
        encoders: Mapping[str, Encoder],
        senders: frozenset[str],
        on_planted: Callable[[Planted], None],
        start_ms: int | None = None,
    ) -> None:
        """`start_ms` is the wall-clock time at which the plan begins, from which arrivals count (default: now)."""
        self._producer = producer
        self._encoders = encoders
        self._senders = senders
        self._on_planted = on_planted
        self._start_ms = int(time.time() * 1000) if start_ms is None else start_ms
        self._failed = 0
        self._examples: list[str] = []
        self.report = EmitReport()

    def run(
        self,
        records: Iterable[tuple[Emission, Planted | None]],
        *,
        stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[EmitReport], None] = lambda _: None,
    ) -> EmitReport:
        """Send until the records end or `stop()` says so. Raises DeliveryError if any was not acknowledged."""
        began = time.monotonic()
        offset = self._start_ms / 1000.0 - time.time()  # by the wall clock the plan began then; from here on, monotonic
        for emission, planted in records:
            self._wait_until(began + offset + emission.at_ms / 1000.0, stop, on_progress)
            if stop():
                self.report.stopped = True
                break
            if emission.sender in self._senders:
                self._send(emission)
            if planted is not None:
                self._on_planted(planted)
        unsent = self._producer.flush(FLUSH_TIMEOUT_S)
        self.report.elapsed_s = time.monotonic() - began
        on_progress(self.report)
        if self._failed or unsent:
            raise DeliveryError(self._failed, unsent, self._examples)
        return self.report

    def _wait_until(self, due: float, stop: Callable[[], bool], on_progress: Callable[[EmitReport], None]) -> None:
        wait = due - time.monotonic()
        while wait > 0 and not stop():
            # poll() serves delivery reports while it sleeps
            self._producer.poll(min(wait, SLEEP_MAX_S))
            on_progress(self.report)
            # poll returns early when a report comes in; sleep no longer than what is left
            wait = due - time.monotonic()

    def _send(self, emission: Emission) -> None:
        value = self._encoders[emission.topic].encode(emission.event, emission.damage)
        report = partial(self._delivered, self._start_ms + emission.at_ms)
        while True:
            try:
                self._producer.produce(emission.topic, value=value, key=emission.key, on_delivery=report)
                break
            except BufferError:
                self._producer.poll(QUEUE_FULL_POLL_S)
        self._producer.poll(0)
        self.report.sent[emission.sender] += 1

    def _delivered(self, due_ms: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.report.delivered += 1
            _, arrival_ms = message.timestamp()  # the broker's, which is what decides on late
            self.report.behind_ms_max = max(self.report.behind_ms_max, arrival_ms - due_ms)
            return
        self._failed += 1
        if len(self._examples) < ERRORS_KEPT_MAX:
            self._examples.append(f"{message.topic()}: {error}")
        log.warning("record_not_delivered", topic=message.topic(), error=str(error))
