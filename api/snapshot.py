"""The pipeline's own report, as its supervisor leaves it in Redis each second."""

from __future__ import annotations

import time
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger("api.snapshot")

KEY = "pipeline"  # after the prefix; also the channel on which each report is published
FRESH_S = 0.5
STALE_MS = 10_000  # an older report counts as none


class SnapshotReader:
    """Reads the report, and remembers it for half a second."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._key = prefix + KEY
        self._known: dict[str, Any] | None = None
        self._read_at = float("-inf")

    async def get(self) -> dict[str, Any] | None:
        """The report, or None when there is none or Redis does not answer."""
        if time.monotonic() - self._read_at < FRESH_S:
            return self._known
        try:
            text = await self._redis.get(self._key)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("redis_unavailable", error=repr(error)[:200])
            text = None
        self._known = orjson.loads(text) if text else None
        self._read_at = time.monotonic()
        return self._known
