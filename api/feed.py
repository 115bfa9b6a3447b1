"""The live feed's memory and each socket's flow control: plain state, no I/O, time is an argument.

A flush is published once with a number that rises by one. Each replica keeps the newest in a ring; each socket only has
its place in it and a window of unacknowledged bytes. So a slow client costs at most the window, and one that reconnects
with its last number gets what it missed from the ring, or is told to fetch anew.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from api.caller import Caller


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """One flush: its number, and what the client gets, as JSON.

    Text, not objects: thousands of flushes as dicts were half a gigabyte, and a second's pause for each collection.
    """

    seq: int
    body: bytes

    @property
    def size_bytes(self) -> int:
        """Of the JSON."""
        return len(self.body)


class FeedRing:
    """The newest flushes, consecutive, bounded by number and by bytes."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages: deque[FeedMessage] = deque()
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self.newest = 0

    @property
    def oldest(self) -> int:
        """The lowest number in the ring; one above the newest when it is empty."""
        return self._messages[0].seq if self._messages else self.newest + 1

    @property
    def size_bytes(self) -> int:
        """JSON bytes held."""
        return self._bytes

    def append(self, message: FeedMessage) -> None:
        """Add the next flush. One that does not follow makes a new beginning: what was before cannot be replayed."""
        if message.seq != self.newest + 1:
            self.restart(message.seq - 1)
        self._messages.append(message)
        self._bytes += message.size_bytes
        self.newest = message.seq
        while len(self._messages) > self._messages_max or (self._bytes > self._bytes_max and len(self._messages) > 1):
            self._bytes -= self._messages.popleft().size_bytes

    def restart(self, newest: int) -> None:
        """Forget everything; the next flush is `newest + 1`."""
        self._messages.clear()
        self._bytes = 0
        self.newest = newest

    def after(self, seq: int) -> FeedMessage | None:
        """The flush after `seq`; None at the newest. Raises LookupError when it is no longer, or never was, here."""
        if seq == self.newest:
            return None
        if not self.oldest <= seq + 1 <= self.newest:
            raise LookupError(seq)
        return self._messages[seq + 1 - self.oldest]


class FeedMerge:
    """Flushes that wait to go out as one message, to sockets that asked for it.

    The first after a pause goes at once. The next ones wait until `wait_ms` have passed since, or `bytes_max` are
    together: what a message costs at each socket is then paid ten times a second at most, however often shards flush.
    """

    def __init__(self, wait_ms: int, bytes_max: int) -> None:
        self._wait_ms = wait_ms
        self._bytes_max = bytes_max
        self._waiting: list[dict[str, Any]] = []
        self._bytes = 0
        self._sent_ms = -wait_ms

    def add(self, flush: dict[str, Any], size_bytes: int) -> None:
        """One more flush, the next in order."""
        self._waiting.append(flush)
        self._bytes += size_bytes

    def due_in_ms(self, now_ms: int) -> int | None:
        """How long what waits has to wait still; 0 when it is to go now, None when nothing waits."""
        if not self._waiting:
            return None
        if self._bytes >= self._bytes_max or now_ms < self._sent_ms:  # the clock was set back
            return 0
        return max(0, self._sent_ms + self._wait_ms - now_ms)

    def take(self, now_ms: int) -> tuple[dict[str, Any], int] | None:
        """What waits as one message, and its size in bytes; None when nothing does."""
        if not self._waiting:
            return None
        taken, size = merged(self._waiting), self._bytes
        self.clear()
        self._sent_ms = now_ms
        return taken, size

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting = []
        self._bytes = 0


def merged(flushes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Consecutive flushes as one: the results in order, sums of counts, the oldest time, all else the newest's."""
    counts: Counter[str] = Counter()
    for flush in flushes:
        counts.update(flush.get("counts", {}))
    return {
        **flushes[-1],
        "first_seq": flushes[0]["first_seq"],
        "at": min(flush.get("at", 0) for flush in flushes),
        "omitted": sum(flush.get("omitted", 0) for flush in flushes),
        "counts": dict(counts),
        "results": [result for flush in flushes for result in flush.get("results", ())],
    }


@dataclass(slots=True)
class LiveSocket:
    """One socket: who, what it listens to, where it is in the feed, and how much it has not acknowledged."""

    sid: str
    caller: Caller
    topics: set[str]
    seq: int
    merges: bool = False  # it takes several flushes in one message
    at_head: bool = False
    sent_bytes: int = 0
    acked_bytes: int = 0
    mark_bytes: int | None = None  # sent_bytes when the acknowledgement that is awaited was asked for
    over_since_ms: int | None = None
    catching_up: bool = False
    reason: str = ""
    closing: bool = field(default=False)

    @property
    def unacked_bytes(self) -> int:
        """Sent and not known to have arrived."""
        return self.sent_bytes - self.acked_bytes

    def sent(self, size_bytes: int, *, limit_bytes: int, now_ms: int) -> None:
        """Account for a message; notes when the socket goes over its window."""
        self.sent_bytes += size_bytes
        if self.unacked_bytes > limit_bytes and self.over_since_ms is None:
            self.over_since_ms = now_ms

    def wants_mark(self, every_bytes: int) -> bool:
        """Whether it is time to ask for an acknowledgement."""
        return self.mark_bytes is None and self.unacked_bytes >= every_bytes

    def marked(self) -> None:
        """An acknowledgement was asked for."""
        self.mark_bytes = self.sent_bytes

    def acked(self, *, limit_bytes: int) -> None:
        """The acknowledgement came: all that was sent before the mark has arrived."""
        if self.mark_bytes is not None:
            self.acked_bytes = self.mark_bytes
            self.mark_bytes = None
        if self.unacked_bytes <= limit_bytes:
            self.over_since_ms = None

    def is_slow(self, *, now_ms: int, slow_ms: int) -> bool:
        """Over its window for too long."""
        return self.over_since_ms is not None and now_ms - self.over_since_ms > slow_ms
