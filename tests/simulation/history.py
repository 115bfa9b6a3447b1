"""A history as plain data: how the pipeline is set up, what the sources write and what goes wrong, and when.

`History.of(seed)` draws one. All times are milliseconds after the beginning. The same history and seed play the same
way each time, and a history from which something was taken out is a history too: that is how one is shortened.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from schemas.events import DEFAULT_SOURCES

SOURCES = DEFAULT_SOURCES
BAD_SOURCE = -1
PROCESSES = ("shard", "reader", "supervisor")


class Write(NamedTuple):
    """One record. It can be read `delay_ms` after the broker stamped it. Damage makes it a dead letter."""

    at_ms: int
    delay_ms: int
    source: int
    partition: int
    txn_id: str
    event_id: str
    amount: int
    currency: str
    status: str
    clock_ms: int
    damaged: bool = False
    marker: bool = False  # the end of a transaction: takes an offset, is never delivered


class Fault(NamedTuple):
    """Something that happens to the pipeline. What `which` and `value` mean depends on the kind."""

    at_ms: int
    kind: str
    which: int = 0
    value: int = 0


@dataclass(frozen=True)
class History:
    """What happens; the rest is the scheduler's."""

    seed: int
    shards: int
    readers: int
    partitions: int
    window_ms: int
    batch_rows_max: int
    pending_rows_max: int
    spill_age_ms: int
    check_age_ms: int
    show_age_ms: int
    tolerance_minor: int
    writes: tuple[Write, ...]
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed: int) -> History:
        """Draw the history of this seed."""
        draw = random.Random(seed)
        partitions = draw.choice([1, 1, 2])
        window_ms = draw.choice([100, 300, 500])
        length_ms = draw.choice([60, 150, 400, 900])
        return cls(
            seed=seed,
            shards=draw.choice([1, 1, 1, 1, 2]),
            readers=draw.choice([1, 1, 1, 2]),
            partitions=partitions,
            window_ms=window_ms,
            batch_rows_max=draw.choice([3, 10, 1_000]),
            pending_rows_max=draw.choice([0, 2, 1_000]),
            spill_age_ms=draw.choice([0, 200, 60_000]),
            check_age_ms=draw.choice([0, 200]),
            show_age_ms=draw.choice([0, 500]),
            tolerance_minor=draw.choice([0, 0, 2]),
            writes=tuple(_draw_writes(draw, partitions, length_ms, window_ms)),
            faults=tuple(sorted(_draw_faults(draw, length_ms + window_ms))),
        )

    def without(self, writes: Sequence[Write] = (), faults: Sequence[Fault] = ()) -> History:
        """The same history in which these did not happen."""
        return replace(
            self,
            writes=tuple(one for one in self.writes if one not in writes),
            faults=tuple(one for one in self.faults if one not in faults),
        )

    def in_words(self) -> str:
        """Everything that happens, in order."""
        lines = [
            f"seed {self.seed}: shards {self.shards}, readers {self.readers}, partitions a topic {self.partitions}",
            f"window {self.window_ms} ms, tolerance {self.tolerance_minor}, records a poll {self.batch_rows_max}",
            f"rows in memory {self.pending_rows_max}, spill after {self.spill_age_ms} ms",
            f"look-up after {self.check_age_ms} ms, shown after {self.show_age_ms} ms",
        ]
        happenings: list[tuple[int, str]] = []
        for write in self.writes:
            what = f"{write.txn_id} {write.event_id} {write.amount} {write.currency} {write.status}"
            what = "a damaged record" if write.damaged else "a marker" if write.marker else what
            place = f"{SOURCES[write.source].name}[{write.partition}]"
            happenings.append(
                (write.at_ms, f"{place} {what}, its clock {write.clock_ms}, readable at {write.at_ms + write.delay_ms}")
            )
        happenings += [(fault.at_ms, f"* {fault.kind} {fault.which} {fault.value}") for fault in self.faults]
        return "\n".join([*lines, *(f"  {at_ms:>5} ms  {what}" for at_ms, what in sorted(happenings))])


FOREVER_MS = 10_000_000  # a process that hangs for good: somebody has to notice
DELAY_MS_MAX = 120  # from the broker's stamp to the record being readable; with the clocks' skew below the grace
SKEW_MS_MAX = 60
GRACE_MS = 200


def _draw_writes(draw: random.Random, partitions: int, length_ms: int, window_ms: int) -> Iterator[Write]:
    """Transactions of a few kinds: most agree, some disagree, come late, twice, in parts, or not at all."""
    written: list[Write] = []
    for number in range(draw.choice([1, 2, 2, 3, 4])):
        begin_ms = draw.randrange(length_ms)
        honest = draw.random() < 0.5
        for source in range(len(SOURCES)):
            if draw.random() < (0.05 if honest else 0.25):
                continue
            for again in range(1 if draw.random() < (0.9 if honest else 0.6) else 2):
                late = draw.random() < 0.12
                written.append(
                    Write(
                        at_ms=begin_ms + (window_ms + draw.randrange(500) if late else _spread(draw, window_ms)),
                        delay_ms=draw.choice([0, 0, draw.randrange(DELAY_MS_MAX)]),
                        source=source,
                        partition=draw.randrange(partitions),
                        txn_id=f"T{number}",
                        event_id=f"{'abc'[source]}{draw.randrange(2) if not honest else again}",
                        amount=100 if honest else draw.choice([100, 100, 100, 101, 105]),
                        currency="EUR" if draw.random() < 0.97 else "JPY",
                        status=draw.choice(["SUCCESS"] * 5 + ["PENDING", "REVERSED", "FAILED"]),
                        clock_ms=begin_ms + draw.randrange(3),
                    )
                )
    for _ in range(draw.choice([0, 0, 1, 2])):  # a producer's retry, seen elsewhere or later
        if written:
            one = draw.choice(written)
            written.append(one._replace(at_ms=one.at_ms + draw.randrange(700), partition=draw.randrange(partitions)))
    for _ in range(draw.choice([0, 0, 0, 1, 2])):
        bad = Write(draw.randrange(length_ms), 0, draw.randrange(3), draw.randrange(partitions), "", "", 0, "", "", 0)
        written.append(bad._replace(damaged=True) if draw.random() < 0.6 else bad._replace(marker=True))
    # Each is a happening of its own, so that one can be taken out.
    seen: set[Any] = set()
    for one in sorted(written):
        moved = one
        while moved in seen:
            moved = moved._replace(at_ms=moved.at_ms + 1)
        seen.add(moved)
        yield moved


def _spread(draw: random.Random, window_ms: int) -> int:
    """When in its window a record comes: mostly soon, now and then at the very edge."""
    return draw.choice([0, draw.randrange(60), draw.randrange(60), draw.randrange(window_ms), window_ms, window_ms + 1])


# How often each kind is drawn, and what its numbers are.
KINDS: dict[str, int] = {
    "kill": 8,  # a process ends; which: kind of process, value: which of them
    "kill_in_steps": 8,  # the same, but right behind some step of its
    "freeze": 5,  # a process stands still, and may find that it was replaced
    "cut_off": 5,  # a process is replaced and goes on beside its successor
    "ledger_down": 4,
    "ledger_slow": 3,
    "ledger_answers_lost": 6,  # committed, but nobody hears of it
    "spill_down": 3,
    "spill_lost": 4,  # everything
    "spill_evicts": 3,  # something
    "spill_answers_lost": 3,
    "kafka_down": 3,
    "registry_down": 2,
    "network_slow": 3,
    "answers_lost": 4,
    "sent_twice": 5,
    "partitions_added": 3,
    "rules_switched": 4,
    "rescaled": 4,
    "all_killed": 2,
    "kafka_retention": 2,
    "ledger_retention": 2,
    "topic_recreated": 2,
}


def _draw_faults(draw: random.Random, length_ms: int) -> Iterator[Fault]:
    kinds = draw.choices(list(KINDS), weights=list(KINDS.values()), k=draw.choice([1, 1, 2, 2, 3, 4]))
    for kind in kinds:
        at_ms = draw.randrange(20, length_ms + 300)
        match kind:
            case "kill" | "kill_in_steps" | "freeze" | "cut_off":
                which = draw.choice([0, 0, 0, 1, 1, 2])
                value = draw.randrange(1_000) if kind != "freeze" else draw.choice([200, 900, 2_500, FOREVER_MS])
            case "rescaled":
                which, value = draw.choice([1, 2, 3]), 0
            case "rules_switched":
                which, value = draw.choice([200, 450, 900]), draw.randrange(4)
            case "sent_twice" | "answers_lost" | "ledger_answers_lost" | "spill_answers_lost":
                which, value = draw.choice([1, 1, 3]), 0
            case _:
                which, value = draw.randrange(3), draw.choice([100, 400, 900])
        yield Fault(at_ms, kind, which, value)
