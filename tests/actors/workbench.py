"""A shard on in-memory twins, with a log and a clock of its own: what the tests of the engine play on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from actors.adapters.memory import MemoryDatabase, MemoryFeed, MemoryLedger, MemoryRedis, MemorySpill
from actors.ports import Batch, DeadLetter, OffsetRange, TopicPartition
from actors.reader import SENT_SCHEMA
from actors.shard import MatcherShard, ShardOptions
from cluster.oracle.judge import Judgement, Seen, judge
from schemas.errors import FencedError
from schemas.events import DEFAULT_SOURCES, KEY_GROUPS, SourceSpec, Status, key_group_of
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import Verdict, break_names, source_names

A0 = 1_790_000_000_000  # ms; every story begins here
SOURCES = (*DEFAULT_SOURCES, SourceSpec("RISK", "risk_txns", expected=False))
NAMES = [source.name for source in SOURCES]
PATIENCE_S = 20.0  # far more than anything here takes, so that only a hang runs into it


class Clock:
    """Wall-clock time in ms that moves when it is told to."""

    def __init__(self, now_ms: int = A0) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def event(
    txn_id: str = "T1",
    source: str = "CORE",
    *,
    at: float = 0.0,
    amount: int = 100,
    currency: str = "EUR",
    status: str = "SUCCESS",
    clock: float | None = None,
    event_id: str | None = None,
    partition: int = 0,
    offset: int = -1,
) -> Seen:
    """One event that arrives `at` seconds after A0; its own clock says the same unless told otherwise."""
    arrival = A0 + round(at * 1000)
    return Seen(
        source=NAMES.index(source),
        event_id=event_id or f"{source}-{txn_id}-{at}-{amount}-{status}-{clock}",
        txn_id=txn_id,
        amount_minor=amount,
        currency=currency,
        status=Status[status],
        event_time=arrival if clock is None else A0 + round(clock * 1000),
        account_id="ACC-1",
        original_txn_id=None,
        arrival=arrival,
        partition=partition,
        offset=offset,
    )


def sent_frame(events: Iterable[Seen]) -> pl.DataFrame:
    """Events as a reader sends them."""
    rows = [
        {
            "key_group": key_group_of(one.txn_id),
            "txn_id": one.txn_id,
            "source": one.source,
            "event_id": one.event_id,
            "amount_minor": one.amount_minor,
            "currency": one.currency,
            "status": int(one.status),
            "event_time": one.event_time,
            "arrival": one.arrival,
            "partition": one.partition,
            "offset": one.offset,
            "account_id": one.account_id,
            "original_txn_id": one.original_txn_id,
        }
        for one in events
    ]
    return pl.DataFrame(rows, schema=SENT_SCHEMA)


@dataclass
class Workbench:
    """One range of key groups, its database and its log. `start` begins a new owner; the log goes on."""

    rule_sets: Sequence[RuleSet] = (RuleSet(),)
    partitions: int = 1
    key_groups: tuple[int, int] = (0, KEY_GROUPS)
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[SourceSpec] = SOURCES

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.database = MemoryDatabase.with_ranges(self.key_groups)
        self.database.rule_sets = list(self.rule_sets)
        self.redis = MemoryRedis()
        self.feed = MemoryFeed()
        self.log: dict[TopicPartition, list[Seen]] = {
            (source.topic, partition): [] for source in self.sources for partition in range(self.partitions)
        }
        self.read: dict[TopicPartition, int] = dict.fromkeys(self.log, 0)
        self.watermarks: dict[TopicPartition, int] = {}
        self.faults: list[BaseException] = []
        self.fenced: list[int] = []
        self.started = 0
        self.owners: list[MatcherShard] = []

    # -- owners --------------------------------------------------------------------------------------------------

    def start(self) -> MatcherShard:
        """A new owner, from what the ledger has; the reader goes back to where it is."""
        given = {
            "flush_interval_ms": 1,
            "busy_flush_interval_ms": 1,
            "idle_flush_interval_ms": 1,
            "retry_interval_ms": 2,
            "housekeeping_interval_ms": 0,
            **self.options,
        }
        self.started += 1
        number = self.started
        known = {name: value for name, value in given.items() if name in ShardOptions.__dataclass_fields__}
        shard = MatcherShard(
            ShardOptions(*self.key_groups, owner="shard-under-test", **known),
            self.sources,
            MemoryLedger(self.database),
            lambda claim: MemorySpill(self.redis, claim),
            self.feed,
            lambda error: self._note(number, error),
            self.clock,
        )
        self.owners.append(shard)
        self.read = {key: shard.positions().get(key, 0) for key in self.log}
        self.watermarks = {}
        return shard

    def _note(self, number: int, error: BaseException) -> None:
        """A predecessor may find that it is one; anything else is a fault."""
        if isinstance(error, FencedError) and number < self.started:
            self.fenced.append(number)
        else:
            self.faults.append(error)

    @property
    def shard(self) -> MatcherShard:
        return self.owners[-1]

    def crash(self) -> MatcherShard:
        """Lose the owner with all it holds in memory, and start another."""
        old = self.shard
        old._stopping.set()
        old._outbox.close()
        return self.start()

    def close(self) -> None:
        self.database.is_down = False
        for owner in self.owners:
            owner.close()

    # -- the log and its reader ----------------------------------------------------------------------------------

    def append(self, *events: Seen) -> None:
        """Write to the log; offsets are given here."""
        for one in events:
            records = self.log[self.sources[one.source].topic, one.partition]
            one.offset = len(records)
            records.append(one)

    def batch(self, stops: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int] | None = None) -> Batch:
        """What a reader sends that reads up to `stops`; it covers all its partitions, also those without records."""
        begins = {**self.read, **(starts or {})}
        ranges = [OffsetRange(*key, begins[key], max(stops.get(key, 0), begins[key])) for key in self.log]
        events = [
            one
            for covered in ranges
            for one in self.log[covered.topic, covered.partition][covered.start : covered.stop]
            if self.key_groups[0] <= key_group_of(one.txn_id) < self.key_groups[1]
        ]
        counts = {source.topic: self.partitions for source in self.sources}
        return Batch(ranges, dict(self.watermarks), sent_frame(events), (), counts)

    def push(self, stops: Mapping[TopicPartition, int] | None = None) -> None:
        """Deliver the log up to `stops`, by default all of it."""
        stops = {key: len(records) for key, records in self.log.items()} if stops is None else stops
        batch = self.batch(stops)
        self.shard.push(batch)
        for covered in batch.ranges:
            self.read[covered.topic, covered.partition] = covered.stop

    def tell(self, *events: Seen) -> None:
        """Write to the log and deliver it, the clock at the last arrival."""
        self.append(*events)
        self.clock.now_ms = max([self.clock.now_ms, *(one.arrival for one in events)])
        self.push()

    def read_up_to(self, seconds: float, *names: str) -> None:
        """Watermarks of these sources (default: all) reach so many seconds after A0, and are delivered."""
        reached = A0 + round(seconds * 1000)
        for source in self.sources:
            if source.name in (names or NAMES):
                for partition in range(self.partitions):
                    key = (source.topic, partition)
                    self.watermarks[key] = max(reached, self.watermarks.get(key, 0))
        self.push({})

    def settle(self, seconds: float = 2.0) -> None:
        """Let so much time pass that old transactions are looked up, and everything is written."""
        for _ in range(3):
            self.clock.now_ms += round(seconds * 500)
            self.push({})
            self.wait_written()

    def wait_written(self) -> None:
        """Wait until all that was decided is in the ledger."""
        if not self.shard.drain(PATIENCE_S):
            raise AssertionError("the shard did not drain")
        assert not self.faults, self.faults

    # -- what came of it -----------------------------------------------------------------------------------------

    def result(self, txn_id: str = "T1") -> dict[str, Any] | None:
        return self.database.results.get((key_group_of(txn_id), txn_id))

    def in_words(self, txn_id: str = "T1") -> str:
        """The stored result as the stories say it."""
        row = self.result(txn_id)
        return "nothing" if row is None else in_words(row)

    def marked(self) -> set[tuple[str, int, int]]:
        """Redeliveries in the ledger as (source, partition, offset)."""
        rows = [self.database.events[place] for place in self.database.redeliveries]
        return {(NAMES[row["source"]], row["partition"], row["offset"]) for row in rows}

    def judgements(self) -> dict[str, Judgement]:
        """What the oracle says of everything in the log, all windows closed. Marks redeliveries on the log's events."""
        by_txn: dict[str, list[Seen]] = {}
        for records in self.log.values():
            for one in records:
                by_txn.setdefault(one.txn_id, []).append(one)
        rulebook = Rulebook(self.database.rule_sets)
        never = [1 << 60] * len(self.sources)
        return {txn_id: judge(events, rulebook, self.sources, never) for txn_id, events in by_txn.items()}

    def assert_as_judged(self) -> None:
        """The ledger says of every transaction what the oracle says, and holds every event of the log once."""
        database = self.database
        stored = {
            (self.sources[row["source"]].topic, row["partition"], row["offset"]): place
            for place, row in database.events.items()
        }
        assert len(stored) == len(database.events)
        assert set(stored) == {(*key, one.offset) for key, records in self.log.items() for one in records}
        judged = self.judgements()
        assert {key[1] for key in database.results} == set(judged)
        repeats: set[Any] = set()
        for txn_id, expected in judged.items():
            row = self.result(txn_id)
            assert row is not None
            assert row["final"], txn_id
            distinct, again = set(), set()
            for key, records in self.log.items():
                for one in records:
                    if one.txn_id == txn_id:
                        (again if one.redelivery else distinct).add(stored[(*key, one.offset)])
            repeats |= again
            assert (txn_id, in_words(row)) == (txn_id, judged_in_words(expected))
            assert row["legs"] == expected.packed_legs
            assert row["rules_version"] == expected.rules_version
            assert (row["first_arrival"], row["last_arrival"]) == (expected.first_arrival, expected.last_arrival)
            assert (row["amount_minor"], row["spread_minor"]) == (expected.amount_minor, expected.spread_minor)
            assert sorted(row["event_seqs"]) == sorted(seq for _, seq in distinct)
        assert set(database.redeliveries) == repeats
        for key, checkpoint in database.checkpoints.items():
            assert checkpoint.next_seq > max((seq for _, seq in database.events), default=0), key
            assert checkpoint.low_seq == checkpoint.next_seq, "nothing is open any more"


def in_words(row: Mapping[str, Any]) -> str:
    """A result row as the stories say it: verdict, breaks, missing, late, revision; a provisional one its breaks."""
    words = [Verdict(row["verdict"]).name]
    words += [",".join(break_names(row["breaks"]))] if row["breaks"] else []
    if row["final"]:
        words += [f"missing={','.join(source_names(row['missing'], NAMES))}"] if row["missing"] else []
        words += [f"late={','.join(source_names(row['late'], NAMES))}"] if row["late"] else []
        words += [f"revision={row['revision']}"]
    return " ".join(words)


def judged_in_words(judged: Judgement) -> str:
    """A judgement of the oracle in the same words."""
    return in_words(
        {
            "verdict": judged.verdict,
            "breaks": sum(kind.mask for kind in judged.breaks),
            "final": judged.final,
            "missing": sum(1 << source for source in judged.missing),
            "late": sum(1 << source for source in judged.late),
            "revision": judged.revision,
        }
    )


def letter(key_group: int, topic: str, partition: int, offset: int) -> DeadLetter:
    """A dead letter."""
    return DeadLetter(key_group, topic, partition, offset, A0, "malformed", "no", b"k", b"\1")


def eventually(condition: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait for another thread. Fails when it never comes true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)
