"""Tells every live replica what people do on the desk, by one Redis channel."""

from __future__ import annotations

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.times import millis, now

log = structlog.get_logger("api.desk_feed")

CHANNEL = "desk"  # after the prefix


class DeskFeed:
    """Publishes changes of exceptions and incidents. The change is stored already: a lost message costs a refresh."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._channel = prefix + CHANNEL

    async def changed(self, txn_id: str, state: str, version: int, assignee: str | None, actor: str) -> None:
        """An exception changed."""
        data = {"txn_id": txn_id, "state": state, "version": version, "assignee": assignee, "actor": actor}
        await self.publish("exception", {**data, "at": millis(now())})

    async def publish(self, event: str, data: object) -> None:
        """Any event for the live feed."""
        try:
            await self._redis.publish(self._channel, orjson.dumps({"event": event, "data": data}))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("desk_event_lost", event_name=event, error=repr(error)[:200])
