"""The whole shard against the oracle: any events, cut into any batches, with any accidents, end in the same verdicts.

Hypothesis draws a log (few values of everything, so that ties, repeats, one event id with several contents, and edges
are the rule) and a plan of what happens while it is read: batches that take any part of any partition, batches that
come again, crashes, a database that is down or loses its answers, a Redis that is down or loses its memory, time that
goes by. At the end everything is read and every window closed, and the ledger must say what the oracle says: verdict,
breaks, missing, late, revision, legs, which events were counted and which are redeliveries. And no result that was ever
written may call a leg missing that the log holds within the window.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from cluster.oracle.judge import Seen
from schemas.events import Status
from schemas.rules import RuleSet, Tolerance
from tests.actors.workbench import A0, NAMES, PATIENCE_S, SOURCES, Workbench, event

WINDOW_MS = 10
RULES = {
    "plain": (RuleSet(match_window_ms=WINDOW_MS, time_tolerance_ms=3),),
    "versions": (
        RuleSet(match_window_ms=WINDOW_MS, time_tolerance_ms=2, default_tolerance=Tolerance(bps=500)),
        RuleSet(
            version=2,
            effective_from_ms=A0 + 6,
            match_window_ms=4,
            tolerances={"JPY": Tolerance(absolute_minor=1), "EUR": Tolerance(absolute_minor=1, bps=250)},
            expected_sources=("CORE", "RISK"),
        ),
    ),
}
PARTITIONS = 2

ANY_EVENT = st.tuples(
    st.sampled_from(["T1", "T2", "T3"]),
    st.sampled_from(NAMES),
    st.sampled_from("abcd"),
    st.sampled_from([100, 101, 105]),
    st.sampled_from(["EUR", "EUR", "JPY"]),
    st.sampled_from([status.name for status in Status]),
    st.integers(0, 6),  # event time
    st.integers(0, 20),  # arrival
    st.integers(0, PARTITIONS - 1),
)
# Mostly in agreement, so that transactions are decided, and then told again.
HONEST_EVENT = st.tuples(
    st.sampled_from(["T1", "T2"]),
    st.sampled_from(["CORE", "GATEWAY", "MOBILE"]),
    st.sampled_from("abcde"),
    st.sampled_from([100, 100, 100, 105]),
    st.just("EUR"),
    st.sampled_from(["SUCCESS", "SUCCESS", "SUCCESS", "REVERSED", "PENDING"]),
    st.integers(0, 2),
    st.integers(0, 20),
    st.integers(0, PARTITIONS - 1),
)
# The same event once more at another place, as (which, arrival, partition).
REDELIVERIES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(0, PARTITIONS - 1)), max_size=6)
SHARES = st.lists(st.integers(0, 3), min_size=2 * len(SOURCES), max_size=2 * len(SOURCES))
STEP = st.one_of(
    st.tuples(st.just("read"), SHARES),
    st.tuples(st.just("read"), SHARES),
    st.tuples(st.just("read"), SHARES),
    st.tuples(st.just("again"), SHARES),
    st.tuples(st.just("watermarks"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([100, 1_500, 7_000])),
    st.tuples(st.just("written"), st.none()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("database"), st.sampled_from(["down", "up", "lose"])),
    st.tuples(st.just("redis"), st.sampled_from(["down", "up", "lose"])),
)
OPTIONS = st.fixed_dictionaries(
    {
        "spill_age_ms": st.sampled_from([0, 1_000, 60_000]),
        "pending_rows_max": st.sampled_from([0, 2, 1_000]),
        "check_age_ms": st.sampled_from([0, 1_000]),
        "show_age_ms": st.sampled_from([0, 5_000]),
    }
)


@dataclass
class Player:
    """Plays a plan on a workbench."""

    bench: Workbench

    def play(self, steps: list[tuple[str, object]]) -> None:
        for kind, how in steps:
            match kind:
                case "read":
                    self._read(how, back=0)
                case "again":
                    self._read([0] * len(how), back=how)
                case "watermarks":
                    self._raise_watermarks()
                    self._push({})
                case "wait":
                    self.bench.clock.now_ms += how
                    self._push({})
                case "written":
                    self.bench.database.is_down = False
                    self.bench.wait_written()
                case "crash":
                    self.bench.database.is_down = False
                    self.bench.crash()
                case "database":
                    self.bench.database.is_down = how == "down"
                    self.bench.database.answers_to_lose = 1 if how == "lose" else 0
                case "redis":
                    self.bench.redis.is_down = how == "down"
                    if how == "lose":
                        self.bench.redis.hashes.clear()

    def finish(self) -> None:
        bench = self.bench
        bench.database.is_down = False
        bench.redis.is_down = False
        bench.push()
        for key in bench.log:
            bench.watermarks[key] = A0 + 1_000
        for _ in range(4):
            bench.settle(8.0)

    def _read(self, shares, back) -> None:
        """Read on by some records of each partition; `back` sends so many of the last ones once more."""
        bench = self.bench
        backs = back or [0] * len(shares)
        stops, starts = {}, {}
        for key, share, again in zip(bench.log, shares, backs, strict=True):
            stops[key] = min(bench.read[key] + share, len(bench.log[key]))
            starts[key] = max(0, bench.read[key] - again)
        batch = bench.batch(stops, starts)
        self._patiently(batch)
        bench.read = {key: max(bench.read[key], stops[key]) for key in bench.log}

    def _raise_watermarks(self) -> None:
        """As far as the log was read: to the next record's arrival less one, or beyond the last."""
        bench = self.bench
        for key, records in bench.log.items():
            at = bench.read[key]
            reached = A0 + 200 if at == len(records) else records[at].arrival
            bench.watermarks[key] = max(bench.watermarks.get(key, 0), reached)

    def _push(self, stops) -> None:
        self._patiently(self.bench.batch(stops))

    def _patiently(self, batch) -> None:
        """Push; what cannot go on while the database is down brings it up again."""
        if not self.bench.database.is_down:
            self.bench.shard.push(batch)
            return
        thread = threading.Thread(target=self.bench.shard.push, args=(batch,))
        thread.start()
        thread.join(0.03)
        if thread.is_alive():
            self.bench.database.is_down = False
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def log_of(rows) -> list[Seen]:
    ordered = sorted(rows, key=lambda row: row[7])  # within a partition the broker's stamps rise
    return [
        event(
            txn_id,
            source,
            at=arrival / 1000,
            amount=amount,
            currency=currency,
            status=status,
            clock=time / 1000,
            event_id=event_id,
            partition=partition,
        )
        for txn_id, source, event_id, amount, currency, status, time, arrival, partition in ordered
    ]


def assert_nothing_missing_was_invented(bench: Workbench) -> None:
    judged = bench.judgements()
    for flush in bench.database.flushes:
        for frame in (flush.final, flush.replacing, flush.revised):
            for row in frame.filter("final").iter_rows(named=True):
                for source, spec in enumerate(bench.sources):
                    if not row["missing"] >> source & 1:
                        continue
                    held = [
                        one
                        for key, records in bench.log.items()
                        for one in records
                        if key[0] == spec.topic
                        and one.txn_id == row["txn_id"]
                        and one.arrival <= judged[row["txn_id"]].close
                    ]
                    assert not held, f"{spec.name} was called missing in {row['txn_id']}"


def with_redeliveries(rows, again):
    return [*rows, *((*rows[which % len(rows)][:7], arrival, partition) for which, arrival, partition in again)]


def simulate(rows, steps, rules, options) -> None:
    bench = Workbench(rule_sets=RULES[rules], partitions=PARTITIONS, options=options)
    bench.append(*log_of(rows))
    bench.start()
    player = Player(bench)
    try:
        player.play(steps)
        player.finish()
        note(f"flushes: {len(bench.database.flushes)}, owners: {len(bench.owners)}")
        bench.assert_as_judged()
        assert_nothing_missing_was_invented(bench)
    finally:
        bench.close()
    assert not bench.faults


# Threads take part, so a failure is shown as it was found: shrinking it would only chase the clock.
SIMULATED = settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@SIMULATED
@given(
    rows=st.lists(ANY_EVENT, min_size=1, max_size=16),
    again=REDELIVERIES,
    steps=st.lists(STEP, max_size=14),
    rules=st.sampled_from(sorted(RULES)),
    options=OPTIONS,
)
def test_any_log_read_in_any_way_ends_in_the_verdicts_of_the_oracle(rows, again, steps, rules, options):
    simulate(with_redeliveries(rows, again), steps, rules, options)


@SIMULATED
@given(
    rows=st.lists(HONEST_EVENT, min_size=6, max_size=24),
    again=REDELIVERIES,
    steps=st.lists(STEP, min_size=4, max_size=20),
    options=OPTIONS,
)
def test_what_was_decided_and_is_told_again_ends_in_the_verdicts_of_the_oracle(rows, again, steps, options):
    simulate(with_redeliveries(rows, again), steps, "plain", options)
