"""Bugs planted on purpose, one at a time: `python -m tests.simulation.mutants`. Each must be caught by some history.

A mutant replaces a piece of one function's source and compiles it anew in its module. The oracle and the checks are
never touched. Exit code 1 when one is not caught.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import multiprocessing
import os
import statistics
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType
from typing import Any

from actors import outbox, reader, readings, remote, shard
from actors.adapters import memory
from actors.matching import decide, state
from cluster import log_topics, supervisor
from tests.simulation.environment import begin_anew_unless_set
from tests.simulation.history import History
from tests.simulation.quiet import quiet
from tests.simulation.world import installed, play


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in the source of `function` of `module` (a method as Class.method)."""

    name: str
    module: ModuleType
    function: str
    old: str
    new: str


HISTORIES_MAX = 2_000  # for one mutant

_REFUSED = "return Refused(gap.topic, gap.partition, gap.position, gap.start)"

MUTANTS = (
    # -- the fence and the flush ---------------------------------------------------------------------------------------
    Mutant(
        "the epoch is not checked at a flush",
        memory,
        "MemoryLedger.flush",
        "if row is None or row.epoch != flush.claim.epoch:",
        "if row is None:",
    ),
    Mutant("a claim does not raise the epoch", memory, "MemoryLedger.claim", "row.epoch += 1", "row.epoch += 0"),
    Mutant(
        "a flush whose answer got lost counts as another owner's",
        memory,
        "MemoryLedger.flush",
        "if row.flushes == flush.number:",
        "if False:",
    ),
    Mutant(
        "a flush that is tried again gets a new number",
        shard,
        "MatcherShard._write",
        'self._log.warning("flush_postponed", flush=flush.number, error=str(error))',
        "flush = replace(flush, number=flush.number + 1)",
    ),
    Mutant(
        "flushes are put together in the wrong order", outbox, "Outbox.add", "append(decided)", "insert(0, decided)"
    ),
    Mutant(
        "a flush has the positions of its first batch", outbox, "assemble", "last.positions", "decided[0].positions"
    ),
    Mutant("an older provisional row covers a newer", outbox, "assemble", 'keep="last"', 'keep="first"'),
    Mutant(
        "marks of redeliveries are lost but those of the last batch",
        outbox,
        "assemble",
        'joined("redeliveries")',
        "last.redeliveries",
    ),
    Mutant(
        "low_seq passes open events",
        shard,
        "MatcherShard._emit",
        "self._state.low_seq(self._next_seq)",
        "self._next_seq",
    ),
    Mutant("low_seq passes spilled events", state, "State.low_seq", 'self.spilled["low_seq"].min()', "None"),
    Mutant(
        "positions count as committed before they are",
        shard,
        "MatcherShard._write",
        "self._committed_positions = dict(flush.positions)",
        "self._committed_positions = dict(self._positions)",
    ),
    Mutant(
        "the audit chain's head is not carried on",
        shard,
        "MatcherShard._write",
        "audit_seq=flushed.audit_seq, audit_hash=flushed.audit_hash",
        "audit_seq=flushed.audit_seq",
    ),
    Mutant(
        "results are told before they are committed",
        shard,
        "MatcherShard._write",
        "started = time.monotonic()",
        "started = time.monotonic(); self._feed.publish(self._claim, flush.number, flush.final, self._sources)",
    ),
    Mutant(
        "results are not told",
        shard,
        "MatcherShard._write",
        "self._feed.publish(self._claim, flush.number, flushed.changed, self._sources)",
        "pass",
    ),
    # -- what a shard takes --------------------------------------------------------------------------------------------
    Mutant("a gap is accepted", shard, "MatcherShard._admit", "if covered.start > position:", "if False:"),
    Mutant("a repeat is taken again", shard, "MatcherShard._admit", "if covered.start < position:", "if False:"),
    Mutant(
        "of a repeat one record too many is dropped",
        shard,
        "MatcherShard._admit",
        '(pl.col("offset") < position)',
        '(pl.col("offset") <= position)',
    ),
    Mutant(
        "the position moves one too far",
        shard,
        "MatcherShard._admit",
        "max(position, covered.stop)",
        "covered.stop + 1",
    ),
    Mutant(
        "a shard without a position takes a batch from anywhere",
        shard,
        "MatcherShard._admit",
        "self._positions.get(key, covered.log_start)",
        "self._positions.get(key, covered.start)",
    ),
    Mutant(
        "dead letters of a repeat are kept again", shard, "MatcherShard._admit", "or one.offset >= position", "or True"
    ),
    Mutant(
        "a source's watermark is its fastest partition's",
        shard,
        "MatcherShard._source_watermarks",
        "min(heard, default=0)",
        "max(heard, default=0)",
    ),
    Mutant(
        "a partition that nobody read yet is left out",
        shard,
        "MatcherShard._source_watermarks",
        "min(heard, default=0)",
        "min((one for one in heard if one), default=0)",
    ),
    Mutant(
        "new rules are not taken over",
        shard,
        "MatcherShard._write",
        "self._rulebook = Rulebook(flushed.rule_sets)",
        "pass",
    ),
    Mutant(
        "rules are never asked for before an event is judged",
        shard,
        "MatcherShard._refresh_rules",
        "while latest >= self._rules_read_ms + RULES_AGE_MS_MAX:",
        "while False:",
    ),
    Mutant(
        "what was skipped comes behind what was taken",
        shard,
        "MatcherShard._flush_forever",
        "[*self._skipped, *taken]",
        "[*taken, *self._skipped]",
    ),
    # -- what was decided before, and spills ---------------------------------------------------------------------------
    Mutant(
        "a revision is made of the new events alone",
        shard,
        "MatcherShard._check",
        "events = pl.concat([stored, rows.select(EVENT_SCHEMA.keys())]).unique(_PLACE)",
        "events = rows.select(EVENT_SCHEMA.keys())",
    ),
    Mutant(
        "a refused result is made again of the stored events alone",
        shard,
        "MatcherShard._as_revisions",
        "pl.concat([events, fresh])",
        "events",
    ),
    Mutant(
        "a refused result stays in its flush",
        shard,
        "MatcherShard._as_revisions",
        "final=flush.final.filter(~is_decided)",
        "final=flush.final",
    ),
    Mutant(
        "spilled rows that are lost are forgotten",
        shard,
        "MatcherShard._recall",
        'if len(rows) < gone["rows"].sum():',
        "if False:",
    ),
    Mutant(
        "what a failed spill left behind comes back too",
        shard,
        "MatcherShard._recall",
        'rows.join(gone, on=["hash", "closes_at"], how="semi")',
        "rows",
    ),
    Mutant(
        "what is read back stands beside what is in memory",
        shard,
        "MatcherShard._rebuild",
        'restored.join(known, on=_PLACE, how="anti")',
        "restored",
    ),
    Mutant(
        "spilled transactions are not recalled when their window closes",
        state,
        "recalls",
        "due = state.spilled.filter(is_due(watermarks)).select(bucket=bucket).to_series().unique().to_list()",
        "due = []",
    ),
    # -- the rules of a match ------------------------------------------------------------------------------------------
    Mutant(
        "the window has closed at <=",
        decide,
        "_judge",
        '(pl.col("closes_at") < watermark)',
        '(pl.col("closes_at") <= watermark)',
    ),
    Mutant(
        "an arrival at the close is late",
        decide,
        "_special",
        'is_late = pl.col("arrival") > pl.col("closes_at")',
        'is_late = pl.col("arrival") >= pl.col("closes_at")',
    ),
    Mutant("revisions are off by one", decide, "_special", "revision=1 + pl.coalesce", "revision=pl.coalesce"),
    Mutant(
        "an event id seen before is a redelivery, whatever it says",
        decide,
        "drop_redeliveries",
        "pl.struct(*_EVENT, *content).is_first",
        "pl.struct(*_EVENT).is_first",
    ),
    Mutant(
        "of two deliveries the later counts",
        decide,
        "drop_redeliveries",
        "events.sort(*_ARRIVAL_ORDER)",
        "events.sort(*_ARRIVAL_ORDER, descending=True)",
    ),
    Mutant(
        "a leg is the latest arrival",
        decide,
        "_special",
        '"source", *_LEG_ORDER',
        '"source", "arrival", *_LEG_ORDER[:1], *_LEG_ORDER[2:]',
    ),
    Mutant(
        "rules are those of the last arrival",
        decide,
        "decide",
        'pl.col("arrival").min().over',
        'pl.col("arrival").max().over',
    ),
    # -- readers -------------------------------------------------------------------------------------------------------
    Mutant(
        "a watermark passes records that are not read",
        reader,
        "PartitionReader._advance_with_clock",
        "if self._next[key] >= end",
        "if end >= 0",
    ),
    Mutant(
        "the grace is left out",
        reader,
        "PartitionReader._advance_with_clock",
        "asked_ms - self._options.watermark_grace_ms",
        "asked_ms",
    ),
    Mutant(
        "a watermark passes the last look at the partitions",
        reader,
        "PartitionReader._raise_watermark",
        "min(arrival_ms, self._counts_seen_ms)",
        "arrival_ms",
    ),
    Mutant(
        "a reader goes to the highest position",
        reader,
        "PartitionReader.locate",
        "min(positions.get",
        "max(positions.get",
    ),
    Mutant(
        "watermarks outlive going back",
        reader,
        "PartitionReader.locate",
        "self._watermarks = {}",
        "self._watermarks = dict(self._watermarks)",
    ),
    Mutant(
        "watermarks are sent without their places",
        reader,
        "PartitionReader._send",
        "ranges = [*covered, *still]",
        "ranges = [*covered]",
    ),
    Mutant(
        "Kafka is told the position of the fastest shard",
        reader,
        "PartitionReader._safe_positions",
        "min(safe[key] for safe in self._safe)",
        "max(safe[key] for safe in self._safe)",
    ),
    Mutant(
        "a refused batch is not sent again",
        reader,
        "PartitionReader._turn_until_stopped",
        "except (TransientError, GapError) as error:\n            located = False",
        "except (TransientError, GapError) as error:\n            located = True",
    ),
    Mutant("a refusal is taken for an answer", remote, "ShardActor.push", _REFUSED, "return {}"),
    Mutant(
        "a topic that was made anew is not noticed",
        reader,
        "PartitionReader._check_topics",
        "if known is not None and known.topic_id != found:",
        "if False:",
    ),
    Mutant(
        "what an operator gave up still stops the reader",
        reader,
        "PartitionReader._given_up",
        "return max(",
        "return 0 and max(",
    ),
    Mutant(
        "mappings are asked for once",
        reader,
        "PartitionReader._readings_at",
        "self._readings is None or latest >= self._readings_ms + RULES_AGE_MS_MAX",
        "self._readings is None",
    ),
    Mutant(
        "records are read by the newest mapping, whenever they arrived",
        readings,
        "Readings._place",
        'np.searchsorted(self._starts, arrival_ms, side="right")',
        "len(self._starts)",
    ),
    Mutant(
        "a partition's end is asked for once",
        reader,
        "PartitionReader._advance_with_clock",
        "self._ends = self._log.ends(list(self._next))",
        "self._ends = {**self._log.ends(list(self._next)), **self._ends}",
    ),
    # -- supervisor and operators --------------------------------------------------------------------------------------
    Mutant(
        "a silent actor is not replaced",
        supervisor,
        "Supervisor._listen",
        "ray.kill(watched.handle, no_restart=False)",
        "pass",
    ),
    Mutant(
        "added partitions are not discovered",
        supervisor,
        "Supervisor._discover",
        "if counts == self._counts:",
        "if True:",
    ),
    Mutant(
        "a restarted supervisor lays running shards out anew",
        supervisor,
        "_is_running",
        "return True",
        "return False",
    ),
    Mutant(
        "a restarted reader is not told what it reads now",
        supervisor,
        "Supervisor._assign",
        "if told != set(reader.partitions):",
        "if False:",
    ),
    Mutant(
        "a new topic begins at the highest stored position",
        log_topics,
        "next_base",
        "return (position // INCARNATION_OFFSETS + 1) * INCARNATION_OFFSETS",
        "return position",
    ),
    Mutant(
        "a partition of a new topic that has no position gets no base",
        log_topics,
        "next_incarnation",
        "{*highest, *found.earliest}",
        "highest",
    ),
)


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The mutant in place of what it mutates, wherever that was imported to."""
    owner: Any = mutant.module
    *path, name = mutant.function.split(".")
    for part in path:
        owner = getattr(owner, part)
        if owner is getattr(remote, "ShardActor", None):
            owner = next(one for one in owner.__ray_metadata__.modified_class.__mro__ if one.__name__ == "ShardActor")
    original = vars(owner)[name]
    assert isinstance(original, FunctionType)
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} is {source.count(mutant.old)} times in {mutant.function}")
    source = source.replace(mutant.old, mutant.new)
    source = source[source.index("def ") :] if source.startswith("@") else source
    code = compile("from __future__ import annotations\n" + source, f"<{mutant.name}>", "exec")
    made: dict[str, Any] = {}
    exec(code, mutant.module.__dict__, made)
    holders = [owner]
    if owner is mutant.module:
        holders = [one for one in list(sys.modules.values()) if getattr(one, name, None) is original]
    try:
        for holder in holders:
            setattr(holder, name, made[name])
        yield
    finally:
        for holder in holders:
            setattr(holder, name, original)


@dataclass(frozen=True)
class Verdict:
    """How a mutant fared: the seed that caught it (-1: none), by what, after how many histories and how long."""

    name: str
    seed: int
    why: str
    histories: int
    seconds: float

    @property
    def is_caught(self) -> bool:
        """Whether some history failed."""
        return self.seed >= 0


def hunt(asked: tuple[int, int, int]) -> Verdict:
    """Play histories with a mutant (its index, the first seed, how many at most) until one fails."""
    index, seed, histories_max = asked
    mutant = MUTANTS[index]
    quiet()
    began_s = time.monotonic()
    with installed(), planted(mutant):
        for count in range(histories_max):
            history = History.of(seed + count)
            if mutant.module is decide:  # most histories play without it
                history = replace(history, whole_core=True)
            error = play(history)
            if error is not None:
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                return Verdict(mutant.name, seed + count, why, count + 1, time.monotonic() - began_s)
    return Verdict(mutant.name, -1, "", histories_max, time.monotonic() - began_s)


def main() -> int:
    """Exit code 0 when every mutant was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--histories", type=int, default=HISTORIES_MAX, help="at most so many for each")
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    asked = parser.parse_args()
    chosen = [(index, asked.seed, asked.histories) for index, one in enumerate(MUTANTS) if asked.only in one.name]
    if not chosen:
        parser.error(f"no mutant's name contains {asked.only!r}")
    began_s = time.monotonic()
    say = functools.partial(print, flush=True)  # its output is what it is for
    say(f"{'mutant':<70} {'caught':<7} {'histories':>9} {'seconds':>8}  by")
    verdicts: list[Verdict] = []
    with ProcessPoolExecutor(asked.processes, multiprocessing.get_context("spawn")) as pool:
        for verdict in pool.map(hunt, chosen):
            verdicts.append(verdict)
            caught = "yes" if verdict.is_caught else "NO"
            by = f"seed {verdict.seed}: {verdict.why[:110]}" if verdict.is_caught else ""
            say(f"{verdict.name:<70} {caught:<7} {verdict.histories:>9} {verdict.seconds:>8.1f}  {by}")
    escaped = [one.name for one in verdicts if not one.is_caught]
    say(
        f"{len(verdicts) - len(escaped)} of {len(verdicts)} caught in {time.monotonic() - began_s:.0f} s;"
        f" half of them within {statistics.median(one.histories for one in verdicts):.0f} histories"
    )
    if escaped:
        say(f"not caught: {'; '.join(escaped)}")
    return 1 if escaped else 0


if __name__ == "__main__":
    begin_anew_unless_set("tests.simulation.mutants")
    sys.exit(main())
