"""What a shard has decided and not yet written: steps go in at one end, whole flushes come out at the other.

The compute thread adds, the flush thread takes; a flush in progress never holds up the next batch, until more rows
wait than `rows_max`. Then `add` blocks, the shard answers late, and the readers stop: that is the back-pressure.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from actors.matching.frames import NO_EVENTS, NO_RESULTS
from actors.ports import NO_LOGGED, Claim, DeadLetter, Flush, TopicPartition


@dataclass(frozen=True, slots=True)
class Decided:
    """What one batch leads to, with the positions that it takes the shard to."""

    positions: Mapping[TopicPartition, int]
    watermarks_ms: Mapping[str, int]
    next_seq: int
    low_seq: int
    events: pl.DataFrame = field(default_factory=lambda: NO_LOGGED)
    redeliveries: pl.DataFrame = field(default_factory=lambda: NO_EVENTS)
    final: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)
    replacing: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)
    revised: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)
    superseded: pl.DataFrame = field(default_factory=lambda: NO_RESULTS)
    dead_letters: Sequence[DeadLetter] = ()

    @property
    def rows(self) -> int:
        """Rows that the ledger will write for it."""
        frames = (self.events, self.redeliveries, self.final, self.replacing, self.revised)
        return sum(map(len, frames)) + len(self.dead_letters)


class Outbox:
    """Decided work in order, handed over in flushes. Safe between one adding and one taking thread."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._waiting: list[Decided] = []
        self._rows = 0
        self._taken_revisions = False
        self._is_taken = False
        self._closed = False
        self._changed = threading.Condition()

    def add(self, decided: Decided) -> None:
        """Queue it; blocks while `rows_max` rows wait already."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows < self._rows_max or self._closed)
            self._waiting.append(decided)
            self._rows += decided.rows
            self._changed.notify_all()

    def take(self, timeout_s: float, rows_wanted: int) -> list[Decided]:
        """All that waits, once `rows_wanted` rows do or the time is over. Call `done` when it is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows >= rows_wanted or self._closed, timeout_s)
            taken, self._waiting, self._rows = self._waiting, [], 0
            self._taken_revisions = any(len(decided.revised) for decided in taken)
            self._is_taken = bool(taken)
            self._changed.notify_all()
            return taken

    def done(self) -> None:
        """What was taken last is in the ledger."""
        with self._changed:
            self._taken_revisions = self._is_taken = False
            self._changed.notify_all()

    @property
    def rows_waiting(self) -> int:
        """Rows not yet taken."""
        return self._rows

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and what was taken last is done."""
        with self._changed:
            return not self._waiting and not self._is_taken

    @property
    def has_revisions(self) -> bool:
        """Whether a revision is not yet in the ledger. A second one would be computed from half the events."""
        with self._changed:
            return self._taken_revisions or any(len(decided.revised) for decided in self._waiting)

    def close(self) -> None:
        """Wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def assemble(claim: Claim, decided: Sequence[Decided], first_seq: int, number: int) -> Flush:
    """One flush of all that was decided since the last. The latest provisional row of a transaction stands for all."""
    last = decided[-1]

    def joined(name: str) -> pl.DataFrame:
        frames: list[pl.DataFrame] = [getattr(one, name) for one in decided if len(getattr(one, name))]
        return pl.concat(frames) if len(frames) > 1 else frames[0] if frames else getattr(last, name)

    replacing = joined("replacing")
    if sum(len(one.replacing) > 0 for one in decided) > 1:
        replacing = replacing.unique("txn_id", keep="last", maintain_order=True)

    return Flush(
        claim=claim,
        events=joined("events"),
        redeliveries=joined("redeliveries"),
        final=joined("final"),
        replacing=replacing,
        revised=joined("revised"),
        superseded=joined("superseded"),
        dead_letters=[letter for one in decided for letter in one.dead_letters],
        positions=last.positions,
        watermarks_ms=last.watermarks_ms,
        first_seq=first_seq,
        next_seq=last.next_seq,
        low_seq=last.low_seq,
        number=number,
    )
