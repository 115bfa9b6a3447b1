"""Appends dead letters to their topic again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from api.problems import UnavailableError
from schemas.headers import Headers

DELIVERY_TIMEOUT_MS = 8_000


class KafkaRepublisher:
    """A Republisher (api.ports) on Kafka. The producer is made at the first replay: most replicas never need one."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {
            **config,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
            "client.id": "recon-api-replay",
        }
        self._producer: Producer | None = None

    async def __call__(self, topic: str, key: bytes | None, payload: bytes, headers: Headers = ()) -> tuple[int, int]:
        """Partition and offset of the new record. Raises UnavailableError when Kafka does not take it."""
        return await asyncio.to_thread(self._send, topic, key, payload, headers)

    def _send(self, topic: str, key: bytes | None, payload: bytes, headers: Headers) -> tuple[int, int]:
        if self._producer is None:
            self._producer = Producer(self._config)
        outcome: list[tuple[KafkaError | None, Any]] = []
        try:
            self._producer.produce(
                topic,
                value=payload,
                key=key,
                headers=list(headers),
                on_delivery=lambda error, message: outcome.append((error, message)),
            )
            self._producer.flush(DELIVERY_TIMEOUT_MS / 1_000 + 2)
        except (KafkaException, BufferError) as error:
            raise UnavailableError("Kafka does not take the record.") from error
        if not outcome or outcome[0][0] is not None:
            raise UnavailableError("Kafka does not take the record.")
        message = outcome[0][1]
        return int(message.partition()), int(message.offset())
