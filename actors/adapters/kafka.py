"""Kafka as an event log: manual assignment, no consumer group membership, positions kept elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import structlog
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
)
from confluent_kafka import (
    TopicPartition as KafkaPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from actors.ports import Incarnation, Polled, TopicPartition
from schemas.errors import KafkaUnavailableError, LostRecordsError
from schemas.headers import Headers

_log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S: Final = 10.0
GROUP: Final = "recon"  # only for lag tools: offsets are committed under this name, never read

_CONSUMER: Final[dict[str, Any]] = {
    "group.id": GROUP,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",  # a position outside the log is lost data, and must be seen
    "isolation.level": "read_committed",
    # A poll waits for company anyway. Answered at every record, the broker spends more on fetches than on the records.
    "fetch.wait.max.ms": 30,
    "fetch.min.bytes": 64 * 1024,
    # A fetch takes this much of each partition in turn. Little, so that in a replay the legs of a transaction arrive
    # within a poll or two: with 4 MiB they came six polls apart, and every second transaction was shown as provisional.
    "fetch.message.max.bytes": 256 * 1024,
    "queued.max.messages.kbytes": 64 * 1024,
    "queued.min.messages": 200_000,
    "check.crcs": True,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
}


def _headers(message: Message) -> Headers | None:
    """A record's headers in their order. The client gives a text for bytes that it could decode."""
    found = message.headers()
    if not found:
        return None
    pairs = found.items() if isinstance(found, dict) else found
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


class KafkaEventLog:
    """An EventLog (actors.ports)."""

    def __init__(self, client_config: Mapping[str, Any], topics: Sequence[str]) -> None:
        """`client_config` is librdkafka's (bootstrap.servers, TLS)."""
        self._topics = tuple(topics)
        quiet = {"log_level": 3}
        self._consumer = Consumer({**_CONSUMER, **quiet, **client_config})
        self._admin = AdminClient({**quiet, **client_config})
        self._reached: dict[TopicPartition, int] = {}
        self._bases: dict[TopicPartition, int] = {}  # those that are not 0: usually none

    def adopt(self, incarnations: Mapping[str, Incarnation]) -> None:
        """See actors.ports.EventLog."""
        self._bases = {
            (topic, partition): base
            for topic, incarnation in incarnations.items()
            for partition, base in incarnation.bases.items()
            if base
        }

    def topic_ids(self) -> dict[str, str]:
        """See actors.ports.EventLog."""
        try:
            asked = self._admin.describe_topics(TopicCollection(list(self._topics)), request_timeout=REQUEST_TIMEOUT_S)
            return {topic: str(future.result(REQUEST_TIMEOUT_S).topic_id) for topic, future in asked.items()}
        except (KafkaException, TimeoutError) as error:
            raise KafkaUnavailableError(f"ids of the topics: {error}") from error

    def partition_counts(self) -> dict[str, int]:
        """See actors.ports.EventLog."""
        counts: dict[str, int] = {}
        for topic in self._topics:
            try:
                metadata = self._admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics.get(topic)
            except KafkaException as error:
                raise KafkaUnavailableError(f"metadata of {topic}: {error}") from error
            if metadata is None or metadata.error is not None:
                raise KafkaUnavailableError(f"topic {topic}: {metadata.error if metadata else 'unknown'}")
            counts[topic] = len(metadata.partitions)
        return counts

    def earliest(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """See actors.ports.EventLog."""
        return self._list_offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """See actors.ports.EventLog."""
        return self._list_offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See actors.ports.EventLog."""
        self._reached = dict(positions)
        self._consumer.assign(
            [KafkaPartition(*key, max(0, at - self._bases.get(key, 0))) for key, at in positions.items()]
        )

    def poll(self, records_max: int, timeout_s: float) -> Polled:
        """See actors.ports.EventLog."""
        messages = self._consumer.consume(records_max, timeout_s)
        errors = [message for message in messages if message.error() is not None]
        records = [message for message in messages if message.error() is None] if errors else messages
        for message in errors:
            self._on_error(message, cast("KafkaError", message.error()))
        # A record without an error has all of these, but the client's types cannot say so.
        origins = cast("list[TopicPartition]", [(message.topic(), message.partition()) for message in records])
        offsets = cast("list[int]", [message.offset() for message in records])
        if self._bases:
            offsets = [at + self._bases.get(key, 0) for key, at in zip(origins, offsets, strict=True)]
        return Polled.of(
            origins=origins,
            offsets=offsets,
            arrivals_ms=[message.timestamp()[1] for message in records],
            values=cast("list[bytes | None]", [message.value() for message in records]),
            key_of=lambda row: records[row].key(),
            headers_of=lambda row: _headers(records[row]),
        )

    def reached(self, partition: TopicPartition) -> int:
        """See actors.ports.EventLog."""
        return self._reached.get(partition, OFFSET_INVALID)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See actors.ports.EventLog."""
        own = {key: at - self._bases.get(key, 0) for key, at in positions.items()}
        offsets = [KafkaPartition(*key, at) for key, at in own.items() if at >= 0]
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                _log.warning("lag_commit_failed", error=str(error))

    def close(self) -> None:
        """See actors.ports.EventLog."""
        self._consumer.close()
        with self._admin:
            pass  # leaving the block is the one way to close it

    def _on_error(self, message: Message, error: KafkaError) -> None:
        key = (message.topic() or "", message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (librdkafka's own name for it)
            self._reached[key] = max(self._reached.get(key, 0), (message.offset() or 0) + self._bases.get(key, 0))
            return
        if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001
            first = self.earliest([key])[key]
            raise LostRecordsError(*key, self._reached.get(key, -1), first)
        _log.warning("kafka_error", error=error.str(), code=error.name(), fatal=error.fatal())
        if error.fatal():
            raise KafkaUnavailableError(error.str())

    def _list_offsets(self, partitions: Sequence[TopicPartition], spec: Any) -> dict[TopicPartition, int]:
        wanted = {KafkaPartition(topic, part): spec for topic, part in partitions}
        if not wanted:
            return {}
        try:
            futures = self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=REQUEST_TIMEOUT_S
            )
            deadline = time.monotonic() + REQUEST_TIMEOUT_S
            return {
                (at.topic, at.partition): future.result(timeout=max(0.0, deadline - time.monotonic())).offset
                + self._bases.get((at.topic, at.partition), 0)
                for at, future in futures.items()
            }
        except (KafkaException, TimeoutError) as error:
            raise KafkaUnavailableError(f"offsets: {error}") from error
