"""The newest records of a topic, read without a trace: no group, nothing committed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import KafkaUnavailableError
from sources.streams import Batch
from wire.messages import Messages

TIMEOUT_S: Final = 10.0


@dataclass(slots=True)
class Newest:
    """Records with their places, in order of arrival. Offsets are Kafka's, times ms since 1970."""

    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    arrivals_ms: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    headers: list[list[tuple[str, bytes | None]] | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def batch(self, topic: str) -> Batch:
        """The same as a topic's reader takes it."""
        return Batch(
            Messages(topic, self.values, self.keys, self.headers, self.arrivals_ms),
            np.array(self.partitions, dtype=np.int64),
            np.array(self.offsets, dtype=np.int64),
            np.array(self.arrivals_ms, dtype=np.int64),
        )

    def place(self, row: int) -> str:
        """A record's place in its topic."""
        return f"[{self.partitions[row]}]@{self.offsets[row]}"


def newest(client_config: Mapping[str, Any], topic: str, wanted: int) -> Newest:
    """At most `wanted` records, the newest of all partitions. Raises KafkaUnavailableError."""
    consumer = Consumer(
        {
            **client_config,
            "group.id": "recon-preview",  # never committed to; the client insists on a name
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        found = _read(consumer, topic, wanted)
    except KafkaException as error:
        raise KafkaUnavailableError(f"topic {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    rows = sorted(found, key=lambda message: (message.timestamp()[1], message.partition(), message.offset()))[-wanted:]
    made = Newest()
    for message in rows:
        made.partitions.append(message.partition())
        made.offsets.append(message.offset())
        made.arrivals_ms.append(message.timestamp()[1])
        made.keys.append(message.key())
        made.headers.append(message.headers())
        made.values.append(message.value())
    return made


def _read(consumer: Consumer, topic: str, wanted: int) -> list[Any]:
    metadata = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    if metadata.error is not None:
        raise KafkaUnavailableError(f"topic {topic}: {metadata.error}")
    ends: dict[int, int] = {}
    starts = []
    for partition in metadata.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_S)
        if high > low:
            ends[partition] = high
            starts.append(TopicPartition(topic, partition, max(low, high - wanted)))
    consumer.assign(starts)
    found = []
    deadline = time.monotonic() + TIMEOUT_S
    while ends and time.monotonic() < deadline:
        found += [message for message in consumer.consume(wanted, timeout=0.5) if message.error() is None]
        for place in consumer.position(starts):
            if place.partition in ends and place.offset >= ends[place.partition]:
                del ends[place.partition]
    return found
