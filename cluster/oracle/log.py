"""Reads the topics from their beginning and sorts every record into buckets of key groups on disk.

Memory stays bounded however long the log is: records are decoded one by one and spooled to one file per bucket, and
only one bucket is loaded at a time. What must be set aside is rare and is kept in memory as reasons and digests.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from cluster.oracle.decoding import Decoder
from cluster.oracle.judge import Seen
from cluster.oracle.records import Refused, Skipped
from schemas.errors import DeadLetterReason, ReconError, TopicRecreatedError, TransientError
from schemas.events import KEY_GROUPS, Status, key_group_of

BUCKET_EVENTS = 150_000  # about 150 MB of Python objects while a bucket is compared
BUCKETS_MAX = 64  # one open file each; no power of the key groups is needed, ranges may differ by one
CONSUME_MESSAGES = 5_000
CONSUME_TIMEOUT_S = 1.0
STALL_S = 60.0  # no message for so long although the log goes on: give up
OFFSETS_TIMEOUT_S = 15.0
WRITE_ROWS = 2_000

Position = tuple[str, int]  # topic, partition
RecordId = tuple[str, int, int]  # topic, partition, offset

STATUSES = tuple(Status)


class ArrivalTimeError(ReconError):
    """The topic is not stamped by the broker, so arrival times are a producer's claim and nothing can be verified."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"{topic} does not have message.timestamp.type=LogAppendTime")


class LogUnavailableError(TransientError):
    """Kafka did not give the log."""


@dataclass(frozen=True, slots=True)
class SetAsideRecord:
    """A record that must be a dead letter."""

    reason: DeadLetterReason
    arrival: int
    key: bytes | None
    payload_digest: bytes


@dataclass(frozen=True, slots=True)
class Extent:
    """The offsets a partition holds: from `low`, up to and without `high`."""

    low: int
    high: int


def digest(payload: bytes | None) -> bytes:
    """A short fingerprint of a payload, so that a million bad records need not be held; null differs from empty."""
    return b"" if payload is None else hashlib.blake2b(payload, digest_size=16).digest()


def bucket_ranges(events: int) -> list[range]:
    """Ranges of key groups, so many that each holds about BUCKET_EVENTS events."""
    count = max(1, min(BUCKETS_MAX, -(-events // BUCKET_EVENTS)))
    bounds = [KEY_GROUPS * index // count for index in range(count + 1)]
    return [range(low, high) for low, high in itertools.pairwise(bounds)]


class Spool:
    """Accepted events by bucket in files of a folder; records set aside in memory; skipped ones only counted.

    Can be appended to after reading.
    """

    def __init__(self, folder: Path, buckets: list[range]) -> None:
        self.buckets = buckets
        self.set_aside: dict[RecordId, SetAsideRecord] = {}
        self.accepted = 0
        self.skipped = 0
        self.newest_arrival = 0  # ms, of accepted events
        self.oldest_arrival = 1 << 62
        self._bucket_of = [next(i for i, groups in enumerate(buckets) if kg in groups) for kg in range(KEY_GROUPS)]
        self._paths = [folder / f"bucket-{index:03d}.jsonl" for index in range(len(buckets))]
        self._rows: list[list[bytes]] = [[] for _ in buckets]
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        """Open the files."""
        self._files = [path.open("wb") for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; the folder is the caller's to remove."""
        for file in self._files:
            file.close()

    def add(self, event: Seen) -> None:
        """Spool one accepted event."""
        bucket = self._bucket_of[key_group_of(event.txn_id)]
        rows = self._rows[bucket]
        rows.append(
            orjson.dumps(
                (
                    event.source,
                    event.event_id,
                    event.txn_id,
                    event.amount_minor,
                    event.currency,
                    int(event.status),
                    event.event_time,
                    event.account_id,
                    event.original_txn_id,
                    event.arrival,
                    event.partition,
                    event.offset,
                    event.attributes,
                )
            )
        )
        self.accepted += 1
        self.newest_arrival = max(self.newest_arrival, event.arrival)
        self.oldest_arrival = min(self.oldest_arrival, event.arrival)
        if len(rows) >= WRITE_ROWS:
            self._write(bucket)

    def events(self, bucket: int) -> Iterator[Seen]:
        """All events of a bucket, in the order in which they were read."""
        self._write(bucket)
        self._files[bucket].flush()
        with self._paths[bucket].open("rb") as lines:
            for line in lines:
                row = orjson.loads(line)
                row[5] = STATUSES[row[5]]
                yield Seen(*row)

    def _write(self, bucket: int) -> None:
        rows = self._rows[bucket]
        if rows:
            self._files[bucket].write(b"\n".join(rows) + b"\n")
            rows.clear()


class LogReader:
    """Reads all partitions of the topics; `read_to` may be called again and goes on where it stopped."""

    def __init__(
        self,
        kafka: Mapping[str, Any],
        decoder: Decoder,
        bases: Mapping[Position, int] | None = None,
    ) -> None:
        """Reads the decoder's topics. `bases` is what the ledger adds to Kafka's offsets; all offsets here are its."""
        self._bases = bases or {}
        self._kafka = dict(kafka)
        self._decoder = decoder
        self._next: dict[Position, int] = {}
        self._consumer = Consumer(
            {
                **kafka,
                "group.id": "recon-verify",  # never committed to; the client insists on a name
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": 4 << 20,
                "queued.max.messages.kbytes": 32 << 10,
            }
        )

    @property
    def decoder(self) -> Decoder:
        """How records are read. Another one holds for what is read from then on."""
        return self._decoder

    @decoder.setter
    def decoder(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def check_topics(self, known: Mapping[str, str]) -> None:
        """Raise TopicRecreatedError when a topic is another than the ledger's, by its id in Kafka.

        Its records are not those that were judged, so that nothing of them can be compared. Raises LogUnavailableError.
        """
        try:
            with AdminClient(self._kafka) as admin:
                asked = admin.describe_topics(TopicCollection(self._decoder.topics), request_timeout=OFFSETS_TIMEOUT_S)
                found = {topic: str(future.result(OFFSETS_TIMEOUT_S).topic_id) for topic, future in asked.items()}
        except (KafkaException, TimeoutError) as error:
            raise LogUnavailableError(f"ids of the topics: {error}") from error
        for topic, topic_id in found.items():
            if known.get(topic, topic_id) != topic_id:
                raise TopicRecreatedError(topic, known[topic], topic_id)

    def extents(self) -> dict[Position, Extent]:
        """Where each partition begins and ends at this moment. Raises LogUnavailableError."""
        found: dict[Position, Extent] = {}
        try:
            for topic in self._decoder.topics:
                metadata = self._consumer.list_topics(topic, timeout=OFFSETS_TIMEOUT_S).topics[topic]
                if metadata.error is not None:
                    raise LogUnavailableError(f"{topic}: {metadata.error}")
                for partition in metadata.partitions:
                    low, high = self._consumer.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=OFFSETS_TIMEOUT_S
                    )
                    base = self._bases.get((topic, partition), 0)
                    found[topic, partition] = Extent(low + base, high + base)
        except KafkaException as error:
            raise LogUnavailableError(str(error)) from error
        # A topic that was made anew with fewer partitions: of the others Kafka has nothing any more.
        topics = self._decoder.topics
        gone = {position: Extent(base, base) for position, base in self._bases.items() if position[0] in topics}
        return {**gone, **found}

    def read_to(
        self, extents: Mapping[Position, Extent], spool: Spool, on_progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Read every record below the given ends into the spool; returns how many. Raises LogUnavailableError."""
        open_partitions = {
            position: extent.high
            for position, extent in extents.items()
            if max(self._next.get(position, 0), extent.low) < extent.high
        }
        wanted = [
            TopicPartition(
                *position,
                self._next[position] - self._bases.get(position, 0) if position in self._next else OFFSET_BEGINNING,
            )
            for position in open_partitions
        ]
        self._consumer.assign(wanted)
        if wanted:
            self._consumer.resume(wanted)  # a partition that an earlier call paused at its end stays paused otherwise
        count, heard = 0, time.monotonic()
        while open_partitions:
            for message in self._consumer.consume(CONSUME_MESSAGES, CONSUME_TIMEOUT_S):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the documented name
                    raise LogUnavailableError(f"{message.topic()}[{message.partition()}]: {error}")
                heard = time.monotonic()
                position, offset = self._where(message)
                end = open_partitions.get(position)
                if end is None:
                    continue  # beyond what was asked for; it is read again when it is
                if error is None and offset < end:
                    self._take(message, spool)
                    self._next[position] = offset + 1
                    count += 1
                if offset + (error is None) >= end:
                    self._next[position] = end
                    del open_partitions[position]
                    self._consumer.pause([TopicPartition(*position)])
            on_progress(count)
            if time.monotonic() - heard > STALL_S:
                raise LogUnavailableError(f"nothing came for {STALL_S:.0f} s; still open: {sorted(open_partitions)}")
        return count

    def _where(self, message: Message) -> tuple[Position, int]:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            raise LogUnavailableError("a message without a place in the log")
        return (topic, partition), offset + self._bases.get((topic, partition), 0)

    def _take(self, message: Message, spool: Spool) -> None:
        (topic, partition), offset = self._where(message)
        value, key = message.value(), message.key()
        kind, arrival = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise ArrivalTimeError(topic)
        headers = [(str(name), _bytes(content)) for name, content in _pairs(message.headers())]
        try:
            spool.add(self._decoder.decode(topic, partition, offset, arrival, _bytes(value), _bytes(key), headers))
        except Skipped:
            spool.skipped += 1
        except Refused as refused:
            spool.set_aside[topic, partition, offset] = SetAsideRecord(
                refused.reason, arrival, _bytes(key), digest(_bytes(value))
            )


def _pairs(headers: Any) -> list[tuple[str, str | bytes | None]]:
    """A message's headers; the client may give them as a list of pairs, or none."""
    return list(headers or ())


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
