"""Sends a scenario's records to Kafka at their moments, with back-pressure, and accounts for every one of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaError, Message, Producer

from producers.emission import Emission, Planted
from producers.wire import Encoder

log = structlog.get_logger(__name__)

QUEUE_MESSAGES_MAX = 100_000  # bounds memory at about 30 MB; a full queue makes the simulator wait
LINGER_MS = 5
FLUSH_TIMEOUT_S = 60.0
QUEUE_FULL_POLL_S = 0.05
SLEEP_MAX_S = 0.05  # a stop request and delivery reports are seen at least this often
ERRORS_KEPT_MAX = 5


class DeliveryError(RuntimeError):
    """Some records did not reach the broker, so the run is not what its manifest says."""

    def __init__(self, failed: int, unsent: int, examples: list[str]) -> None:
        self.failed = failed
        self.unsent = unsent
        super().__init__(f"{failed} records failed and {unsent} were never acknowledged: {'; '.join(examples) or '-'}")


@dataclass(slots=True)
class EmitReport:
    """What a run did. `behind_ms_max` is how far it fell behind its plan at worst."""

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


class Emitter:
    """Publishes records of the chosen senders; the others pass by, so that separate processes share one scenario."""

    def __init__(
        self,
        producer: Producer,
        encoders: Mapping[str, Encoder],
        senders: frozenset[str],
        on_planted: Callable[[Planted], None],
    ) -> None:
        self._producer = producer
        self._encoders = encoders
        self._senders = senders
        self._on_planted = on_planted
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
        for emission, planted in records:
            self._wait_until(began + emission.at_ms / 1000.0, stop, on_progress)
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
        self.report.behind_ms_max = max(self.report.behind_ms_max, int(-wait * 1000))
        while wait > 0 and not stop():
            # poll() serves delivery reports while it sleeps
            self._producer.poll(min(wait, SLEEP_MAX_S))
            on_progress(self.report)
            # poll returns early when a report comes in; sleep no longer than what is left
            wait = due - time.monotonic()

    def _send(self, emission: Emission) -> None:
        value = self._encoders[emission.topic].encode(emission.event, emission.damage)
        while True:
            try:
                self._producer.produce(emission.topic, value=value, key=emission.key, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(QUEUE_FULL_POLL_S)
        self._producer.poll(0)
        self.report.sent[emission.sender] += 1

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.report.delivered += 1
            return
        self._failed += 1
        if len(self._examples) < ERRORS_KEPT_MAX:
            self._examples.append(f"{message.topic()}: {error}")
        log.warning("record_not_delivered", topic=message.topic(), error=str(error))
