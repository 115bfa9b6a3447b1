"""Would the pipeline accept this record now? Asked of the engine's own codec, with the registry of today."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actors.adapters.registry import SchemaCache
from api.ports import Refusal
from api.problems import UnavailableError
from schemas.errors import RegistryUnavailableError
from schemas.events import SourceSpec
from wire.events import SOURCE_SYMBOLS, decode_batch, validate


class Acceptance:
    """An Examiner (api.ports). It connects at the first question: most replicas never ask one."""

    def __init__(self, registry: Mapping[str, Any], sources: Sequence[SourceSpec]) -> None:
        """`registry` is SchemaRegistryClient's configuration."""
        self._registry = registry
        self._owners = {source.topic: SOURCE_SYMBOLS.index(source.name) for source in sources}
        self._lookup: SchemaCache | None = None

    async def __call__(self, topic: str, payload: bytes | None) -> Refusal | None:
        """Why it would be set aside again, or None. Raises UnavailableError when the registry does not answer."""
        return await asyncio.to_thread(self._examine, topic, payload)

    def close(self) -> None:
        """Let the connection go."""
        if self._lookup is not None:
            self._lookup.close()

    def _examine(self, topic: str, payload: bytes | None) -> Refusal | None:
        if topic not in self._owners:
            return Refusal("unknown_topic", f"no source is configured for {topic}")
        if self._lookup is None:
            # A clock that stands still beyond all times: "no such schema" is never believed twice, because people
            # register what was missing and then come here.
            self._lookup = SchemaCache(self._registry, now_s=lambda: math.inf)
        arrival = np.array([time.time_ns() // 1_000_000], dtype=np.int64)
        owner = np.array([self._owners[topic]], dtype=np.uint8)
        try:
            judged = validate(decode_batch([payload], self._lookup), owner, arrival)
        except RegistryUnavailableError as error:
            raise UnavailableError("The schema registry does not answer.") from error
        if not judged.rejects:
            return None
        return Refusal(judged.rejects[0].reason.value, judged.rejects[0].detail)
