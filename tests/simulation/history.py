"""A history as plain data: how the pipeline is set up, what the sources write and what goes wrong, and when.

`History.of(seed)` draws one. All times are milliseconds after the beginning. The same history and seed play the same
way each time, and a history from which something was taken out is a history too: that is how one is shortened.
`to_json` gives one as text, `from_json` reads it back.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from schemas.events import DEFAULT_SOURCES

SOURCES = DEFAULT_SOURCES
BAD_SOURCE = -1
PROCESSES = ("shard", "reader", "supervisor")
WHOLE_CORE_SHARE = 0.125  # of histories; the rules of a match have generated tests of their own in tests/matching


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
    whole_core: bool  # the rules of a match by the engine's own frames, else by tests.simulation.plain_core
    writes: tuple[Write, ...]
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed: int) -> History:
        """Draw the history of this seed."""
        draw = random.Random(seed)
        partitions = draw.choice([1, 1, 2])
        window_ms = draw.choice([100, 300, 500])
        length_ms = draw.choice([60, 150, 400, 900])
        spills, faults = _draw_faults(draw, length_ms + window_ms)
        window_ms = 500 if spills else window_ms
        return cls(
            seed=seed,
            shards=draw.choice([1, 1, 1, 1, 2]),
            readers=draw.choice([1, 1, 1, 2]),
            partitions=partitions,
            window_ms=window_ms,
            batch_rows_max=draw.choice([3, 10, 1_000]),
            pending_rows_max=0 if spills else draw.choice([0, 2, 1_000]),
            spill_age_ms=draw.choice([0, 200, 60_000]),
            check_age_ms=0 if spills else draw.choice([0, 200]),
            show_age_ms=draw.choice([0, 500]),
            tolerance_minor=draw.choice([0, 0, 2]),
            whole_core=draw.random() < WHOLE_CORE_SHARE,
            writes=tuple(_draw_writes(draw, partitions, length_ms, window_ms, faults)),
            faults=tuple(faults),
        )

    def without(self, writes: Sequence[Write] = (), faults: Sequence[Fault] = ()) -> History:
        """The same history in which these did not happen."""
        return replace(
            self,
            writes=tuple(one for one in self.writes if one not in writes),
            faults=tuple(one for one in self.faults if one not in faults),
        )

    def to_json(self) -> str:
        """One line of text from which `from_json` makes the same history."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> History:
        """The inverse of `to_json`. Raises ValueError for text that is no history."""
        try:
            plain = json.loads(text)
            plain["writes"] = tuple(Write(*one) for one in plain["writes"])
            plain["faults"] = tuple(Fault(*one) for one in plain["faults"])
            return cls(**plain)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a history: {error}") from error

    def in_words(self) -> str:
        """Everything that happens, in order."""
        core = "the engine's own core" if self.whole_core else "the oracle's judge in place of the core"
        lines = [
            f"seed {self.seed}: shards {self.shards}, readers {self.readers}, partitions a topic {self.partitions}",
            f"window {self.window_ms} ms, tolerance {self.tolerance_minor}, records a poll {self.batch_rows_max}",
            f"rules of a match by {core}",
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
RULES_AGE_MS = 150  # in place of schemas.rules.RULES_AGE_MS_MAX, so that a history need not last for a minute
RULES_LEAD_MS = 2 * RULES_AGE_MS  # from the activation of rules to the time from which they are in force
NEAR_MS = 80  # so close to something that goes wrong do many transactions begin


class Kind(NamedTuple):
    """One kind of trouble: how often it is drawn, what happens, and of what its two numbers are drawn."""

    weight: int
    what: str
    which: Sequence[int]
    value: Sequence[int]


_SHARDS_MOSTLY = (0, 0, 0, 1, 1, 2)  # places in PROCESSES
_READERS_TOO = (0, 0, 1, 2)
_ANY_SOURCE = range(len(SOURCES))
_ANY_OF_THEM = range(1_000)  # which process of its kind, and behind how many steps
_FOR_MS = (100, 400, 900)
_TIMES = (1, 1, 3)
_NO = (0,)

KINDS: dict[str, Kind] = {
    "kill": Kind(8, "a process ends and is started anew", _SHARDS_MOSTLY, _ANY_OF_THEM),
    "kill_in_steps": Kind(5, "a process ends behind some step of its", _SHARDS_MOSTLY, _ANY_OF_THEM),
    "freeze": Kind(5, "a process stands still, maybe until replaced", _SHARDS_MOSTLY, (200, 900, 2_500, FOREVER_MS)),
    "cut_off": Kind(6, "a process is replaced and goes on beside its successor", _SHARDS_MOSTLY, _ANY_OF_THEM),
    "process_slow": Kind(3, "every step of a process takes long", _READERS_TOO, (200, 900)),
    "clock_stepped": Kind(2, "a process's clock jumps", (0, 1, 1), range(-SKEW_MS_MAX, SKEW_MS_MAX + 1)),
    "all_killed": Kind(2, "every process ends, and the pipeline is started anew", _NO, _NO),
    "rescaled": Kind(4, "stopped, and started with other numbers of shards and readers", (1, 2, 3), (1, 1, 2)),
    "ledger_down": Kind(4, "PostgreSQL answers nothing", _NO, _FOR_MS),
    "ledger_slow": Kind(3, "PostgreSQL answers late", _NO, _FOR_MS),
    "ledger_answers_lost": Kind(6, "a flush is committed, and nobody hears of it", _TIMES, _NO),
    "ledger_retention": Kind(2, "the ledger drops what is decided and past keeping", _NO, _NO),
    "spill_down": Kind(3, "Redis answers nothing", _NO, _FOR_MS),
    "spill_slow": Kind(2, "Redis answers late", _NO, _FOR_MS),
    "spill_lost": Kind(4, "Redis forgets everything", _NO, _NO),
    "spill_evicts": Kind(3, "Redis forgets something", _NO, range(3)),
    "spill_answers_lost": Kind(3, "Redis does what it was asked, and nobody hears of it", _TIMES, _NO),
    "kafka_down": Kind(3, "no broker answers", _NO, _FOR_MS),
    "kafka_slow": Kind(2, "the brokers answer late", _NO, _FOR_MS),
    "topic_stalled": Kind(3, "a topic delivers nothing, though its end is told", _ANY_SOURCE, _FOR_MS),
    "kafka_retention": Kind(3, "Kafka drops records, read or not; an operator decides", _ANY_SOURCE, _FOR_MS),
    "partitions_added": Kind(3, "a topic gets one partition more", _ANY_SOURCE, _NO),
    "topic_recreated": Kind(3, "a topic is deleted and made anew; an operator accepts it", _ANY_SOURCE, _NO),
    "registry_down": Kind(2, "the schema registry answers nothing", _NO, _FOR_MS),
    "network_slow": Kind(3, "calls between processes take long", _NO, _FOR_MS),
    "calls_lost": Kind(3, "calls between processes get lost on their way", _TIMES, _NO),
    "answers_lost": Kind(4, "calls are carried out, and their answers get lost", _TIMES, _NO),
    "sent_twice": Kind(5, "a batch arrives twice", _TIMES, _NO),
    "rules_switched": Kind(6, "other rules are in force from some time on", (200, 450, 900), range(4)),
    "mapping_switched": Kind(4, "a topic is read no more from some time on, or again", _ANY_SOURCE, _NO),
}


# From a fault to the time at which a transaction best begins to meet it: at the earliest and at the latest.
_FROM_THEN_MS: dict[str, tuple[int, int]] = {
    "rules_switched": (RULES_LEAD_MS - NEAR_MS, RULES_LEAD_MS + NEAR_MS),
    "mapping_switched": (RULES_LEAD_MS - NEAR_MS, RULES_LEAD_MS + NEAR_MS),
    **dict.fromkeys(("spill_lost", "spill_evicts", "spill_down", "spill_answers_lost"), (-700, -100)),
    "topic_recreated": (-NEAR_MS, 0),
}


# Most histories have trouble of one theme, because kinds that work together are what is rarely foreseen.
THEMES: tuple[Sequence[str], ...] = (
    tuple(KINDS),
    tuple(KINDS),
    ("kill", "kill_in_steps", "freeze", "cut_off", "ledger_answers_lost", "ledger_slow", "rescaled", "all_killed"),
    ("kill_in_steps", "calls_lost", "answers_lost", "sent_twice", "network_slow", "process_slow", "ledger_slow"),
    ("spill_down", "spill_slow", "spill_lost", "spill_evicts", "spill_answers_lost", "kill_in_steps"),
    ("rules_switched", "mapping_switched", "ledger_down", "ledger_slow", "kill_in_steps"),
    ("topic_recreated", "kafka_retention", "partitions_added", "topic_stalled", "ledger_down", "kill_in_steps"),
)
_SPILLING = THEMES[4]


def _draw_faults(draw: random.Random, length_ms: int) -> tuple[bool, list[Fault]]:
    """Whether the set-up is to spill, and what goes wrong, in order."""
    theme = draw.choice(THEMES)
    names = draw.choices(theme, weights=[KINDS[name].weight for name in theme], k=draw.choice([1, 1, 2, 2, 3, 4]))
    at_ms = draw.randrange(20, length_ms + 300)
    faults: list[Fault] = []
    for name in names:
        # Half of what goes wrong comes upon something else that does.
        at_ms = at_ms + draw.randrange(NEAR_MS) if draw.random() < 0.5 else draw.randrange(20, length_ms + 300)
        faults.append(Fault(at_ms, name, draw.choice(KINDS[name].which), draw.choice(KINDS[name].value)))
        # Where PostgreSQL is away, shards go on by the rules that they have, and have positions that it does not know.
        if name in {"rules_switched", "mapping_switched", "topic_recreated"} and draw.random() < 0.4:
            after_ms = draw.randrange(NEAR_MS) * (-1 if name == "topic_recreated" else 1)
            faults.append(Fault(max(10, at_ms + after_ms), "ledger_down", 0, 900))
    return theme is _SPILLING, sorted(faults)


def _moment(draw: random.Random, faults: Sequence[Fault]) -> int:
    """A time at which a transaction may begin to meet something that goes wrong."""
    fault = draw.choice(faults)
    earliest_ms, latest_ms = _FROM_THEN_MS.get(fault.kind, (-NEAR_MS, NEAR_MS))
    return max(0, fault.at_ms + draw.randint(earliest_ms, latest_ms))


def _draw_writes(
    draw: random.Random, partitions: int, length_ms: int, window_ms: int, faults: Sequence[Fault]
) -> Iterator[Write]:
    """Transactions of a few kinds: most agree, some disagree, come late, twice, in parts, or not at all."""
    written: list[Write] = []
    for number in range(draw.choice([1, 2, 2, 3, 4])):
        begin_ms = draw.randrange(length_ms)
        if draw.random() < 0.4:
            begin_ms = _moment(draw, faults)
        told = list(_draw_transaction(draw, f"T{number}", begin_ms, partitions, window_ms))
        written += told
        if told and draw.random() < 0.15:  # told on while something goes wrong
            one = draw.choice(told)
            at_ms = max(one.at_ms, draw.choice(faults).at_ms + draw.randrange(-NEAR_MS, NEAR_MS))
            written.append(one._replace(at_ms=at_ms, event_id=one.event_id + "*", delay_ms=0))
        if told and draw.random() < 0.1:  # at the very close, something else of a source, and something of this one
            at_ms = min(one.at_ms for one in told) + window_ms
            beside = told[0]._replace(at_ms=at_ms, delay_ms=0, source=draw.randrange(3), txn_id=f"T{number}'")
            written += [beside, draw.choice(told)._replace(at_ms=at_ms + draw.randrange(-2, 1), delay_ms=0)]
        if draw.random() < 0.2:  # long decided, and told again by everybody
            again_ms = max(begin_ms + draw.randrange(900), draw.choice(faults).at_ms + draw.randrange(300))
            written += [
                one._replace(at_ms=again_ms + draw.randrange(30), event_id=f"{one.event_id}+", delay_ms=0)
                for one in told
            ]
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


def _draw_transaction(
    draw: random.Random, txn_id: str, begin_ms: int, partitions: int, window_ms: int
) -> Iterator[Write]:
    honest = draw.random() < 0.5
    status = draw.choice(["SUCCESS", "SUCCESS", "SUCCESS", "FAILED"])
    for source in range(len(SOURCES)):
        if draw.random() < (0.05 if honest else 0.25):
            continue
        for again in range(1 if draw.random() < (0.9 if honest else 0.6) else 2):
            late = draw.random() < 0.12
            yield Write(
                at_ms=begin_ms + (window_ms + draw.randrange(500) if late else _spread(draw, window_ms)),
                delay_ms=draw.choice([0, 0, draw.randrange(DELAY_MS_MAX)]),
                source=source,
                partition=draw.randrange(partitions),
                txn_id=txn_id,
                event_id=f"{'abc'[source]}{draw.randrange(2) if not honest else again}",
                amount=100 if honest else draw.choice([100, 100, 100, 101, 105]),
                currency="EUR" if draw.random() < 0.97 else "JPY",
                status=status if honest else draw.choice(["SUCCESS"] * 5 + ["PENDING", "REVERSED", "FAILED"]),
                clock_ms=begin_ms + draw.randrange(3 if honest else 4),
            )


def _spread(draw: random.Random, window_ms: int) -> int:
    """When in its window a record comes: mostly soon, now and then at the very edge."""
    return draw.choice([0, draw.randrange(60), draw.randrange(60), draw.randrange(window_ms), window_ms, window_ms + 1])
