"""Would the pipeline accept this record now? Asked of the readers' own code, with configuration and registry of now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actors.readings import CanonicalTopic, Reading
from api.ports import Refusal
from api.problems import UnavailableError
from cluster.reading_versions import LedgerReadings
from schemas.errors import RegistryUnavailableError, StoreUnavailableError
from schemas.events import SourceSpec
from schemas.headers import Headers
from sources.streams import Batch
from wire.events import decode_batch, validate
from wire.messages import Messages, Reject


class Acceptance:
    """An Examiner (api.ports). It connects for each question: most replicas never ask one, and none asks often."""

    def __init__(self, registry: Mapping[str, Any], sources: Sequence[SourceSpec], postgres: Mapping[str, Any]) -> None:
        """`registry` is SchemaRegistryClient's configuration, `sources` the built-in ones, `postgres` asyncpg's."""
        self._registry = registry
        self._sources = tuple(sources)
        self._postgres = postgres

    async def __call__(
        self, topic: str, payload: bytes | None, key: bytes | None = None, headers: Headers = ()
    ) -> Refusal | None:
        """Why it would be set aside again, or None. Raises UnavailableError when registry or ledger do not answer."""
        return await asyncio.to_thread(self._examine, topic, payload, key, headers)

    def close(self) -> None:
        """Nothing is held between questions."""

    def _examine(self, topic: str, payload: bytes | None, key: bytes | None, headers: Headers) -> Refusal | None:
        # Made anew for every question: "no such schema" must not be believed twice, because people register what was
        # missing and then come here.
        readings = LedgerReadings(self._postgres, self._registry, self._sources)
        arrivals = np.array([time.time_ns() // 1_000_000], dtype=np.int64)
        try:
            ((reading, _),) = readings().at(arrivals)
            rejects = _rejects(reading, Messages(topic, [payload], [key], [headers], arrivals.tolist()), arrivals)
        except RegistryUnavailableError as error:
            raise UnavailableError("The schema registry does not answer.") from error
        except StoreUnavailableError as error:
            raise UnavailableError("The database does not answer.") from error
        finally:
            readings.close()
        if rejects is None:
            return Refusal("unknown_topic", f"no source is configured for {topic}")
        return Refusal(rejects[0].reason.value, rejects[0].detail) if rejects else None


def _rejects(reading: Reading, messages: Messages, arrivals: Any) -> list[Reject] | None:
    """What is wrong with a record of a topic; None where no source reads the topic."""
    topic = messages.topic
    if topic in reading.canonical:
        owner: CanonicalTopic = reading.canonical[topic]
        owners = np.array([owner.position], dtype=np.uint8)
        return validate(decode_batch(messages.values, reading.lookup), owners, arrivals, reading.names).rejects
    if topic in reading.mapped:
        zeros = np.zeros(1, dtype=np.int64)
        return reading.mapped[topic].read(Batch(messages, zeros, zeros, arrivals)).rejects
    return None
