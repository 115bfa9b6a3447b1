"""Follows the matchers' feed in Redis: every flush once and in order, whatever the connection does.

The channel says that there is something new, the stream holds what was said: a gap in the channel is filled from the
stream. When Redis was away, flushes may have gone unpublished without a gap in the numbers, so everybody is told to
fetch anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger("api.feed")

STREAM = "feed"  # after the prefix, as the next ones
CHANNEL = "verdicts"
FEED_SEQ = "feed:seq"
PIPELINE = "pipeline"
DESK = "desk"
RETRY_S = 0.5
WARM_UP_MESSAGES = 500  # of the stream, read at the start so that clients of a replaced replica can resume here
FILL_MESSAGES = 1_000

OnFlush = Callable[[int, dict[str, Any]], Awaitable[None]]
OnOther = Callable[[str, dict[str, Any]], Awaitable[None]]
OnGap = Callable[[int, str], Awaitable[None]]


class FeedReader:
    """One subscription per replica. Calls back for each flush, other messages, and gaps that cannot be filled."""

    def __init__(self, redis: Redis, prefix: str, on_flush: OnFlush, on_other: OnOther, on_gap: OnGap) -> None:
        self._redis = redis
        self._prefix = prefix
        self._on_flush = on_flush
        self._on_other = on_other
        self._on_gap = on_gap
        self._newest: int | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        interrupted = False
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(*(self._prefix + name for name in (CHANNEL, PIPELINE, DESK)))
                    await self._catch_up(interrupted=interrupted)
                    interrupted = True
                    while True:
                        message = await channel.get_message(timeout=5.0)
                        if message is not None:
                            await self._take(message)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("feed_interrupted", error=repr(error)[:200])
                await asyncio.sleep(RETRY_S)

    async def _catch_up(self, *, interrupted: bool) -> None:
        """After subscribing: read what the stream has beyond what is known."""
        told = await self._redis.get(self._prefix + FEED_SEQ)
        newest = int(told) if told else 0
        if self._newest is None:
            entries: Any = await self._redis.xrevrange(self._prefix + STREAM, count=WARM_UP_MESSAGES)
            for number, body in _entries(reversed(entries)):
                await self._flush(number, body)
            self._newest = max(self._newest or 0, newest)
            await self._on_gap(self._newest, "")
            return
        if newest < self._newest:  # Redis lost its data: the numbers begin again
            self._newest = newest
        elif newest > self._newest:
            await self._fill(newest)
        if interrupted:
            await self._on_gap(self._newest, "feed_interrupted")

    async def _fill(self, upto: int) -> None:
        """Read the stream from the next number on; a hole in it is a gap that cannot be filled."""
        while self._newest is not None and self._newest < upto:
            entries = await self._redis.xrange(
                self._prefix + STREAM, min=f"{self._newest + 1}-0", max=f"{upto}-0", count=FILL_MESSAGES
            )
            if not entries:
                self._newest = upto
                await self._on_gap(upto, "too_far_behind")
                return
            for number, body in _entries(entries):
                if number > self._newest + 1:
                    await self._on_gap(number - 1, "too_far_behind")
                await self._flush(number, body)

    async def _take(self, message: Mapping[str, Any]) -> None:
        channel = message["channel"].decode().removeprefix(self._prefix)
        data: bytes = message["data"]
        if channel != CHANNEL:
            await self._on_other(channel, orjson.loads(data))
            return
        number, _, body = data.partition(b" ")
        seq = int(number)
        if self._newest is not None and seq <= self._newest:
            if seq + FILL_MESSAGES > self._newest:
                return  # seen already: read from the stream before the channel said it
            self._newest = seq - 1  # Redis lost its data: the numbers begin again
            await self._on_gap(seq - 1, "feed_restarted")
        elif self._newest is not None and seq > self._newest + 1:
            await self._fill(seq - 1)
        await self._flush(seq, body)

    async def _flush(self, seq: int, body: bytes) -> None:
        self._newest = seq
        await self._on_flush(seq, orjson.loads(body))


def _entries(entries: Any) -> list[tuple[int, bytes]]:
    return [(int(entry_id.split(b"-")[0]), fields[b"d"]) for entry_id, fields in entries]
