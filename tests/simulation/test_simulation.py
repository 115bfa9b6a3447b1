"""Some histories in every test run; `python -m tests.simulation` plays as many as one likes. See docs/simulation.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.simulation.history import Fault, History, Write
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.quiet import quiet
from tests.simulation.scheduler import ACTIVE, Condition, Process, Scheduler, Thread, Time
from tests.simulation.shorten import shorten
from tests.simulation.world import installed, play, played

SEEDS_PER_TEST = 10
PLAIN = History(
    seed=1,
    shards=1,
    readers=1,
    partitions=1,
    window_ms=100,
    batch_rows_max=10,
    pending_rows_max=2,
    spill_age_ms=60_000,
    check_age_ms=0,
    show_age_ms=500,
    tolerance_minor=0,
    writes=(),
    faults=(),
)


@pytest.fixture(autouse=True)
def _twins_installed() -> Iterator[None]:
    quiet()
    with installed():
        yield


@pytest.mark.parametrize("first", range(1, 81, SEEDS_PER_TEST))
def test_every_history_ends_in_the_answer_of_the_oracle(first):
    for seed in range(first, first + SEEDS_PER_TEST):
        history = History.of(seed)
        error = play(history)
        assert error is None, f"{error}\n{history.in_words()}"


def test_a_seed_is_one_history():
    for seed in (3, 4, 5):
        assert played(History.of(seed))[0].trace() == played(History.of(seed))[0].trace()
    assert played(History.of(3))[0].trace() != played(History.of(4))[0].trace()


# -- what the simulation found -----------------------------------------------------------------------------------------


def write(at_ms, source, txn_id, partition=0):
    return Write(at_ms, 0, source, partition, txn_id, "e", 100, "EUR", "SUCCESS", at_ms)


@pytest.mark.parametrize("again", range(8))
def test_a_topic_made_anew_before_anything_of_it_was_flushed_loses_nothing(again):
    """Its partition had no position in the ledger and so got no base; the shard dropped its records as repeats."""
    history = replace(PLAIN, seed=again)
    writes = (write(83, 2, "T3"), write(485, 2, "T2"), write(900, 0, "T2"))
    for at_ms in (120, 200, 300):
        faults = (Fault(90, "ledger_down", 0, 900), Fault(at_ms, "topic_recreated", 2, 0))
        assert play(replace(history, writes=writes, faults=faults)) is None


# -- the simulation itself ---------------------------------------------------------------------------------------------

QUICK = ("a repeat is taken again", "a gap is accepted", "low_seq passes open events", "the epoch is not checked")


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught_and_its_history_shortened(name):
    mutant = next(one for one in MUTANTS if one.name.startswith(name))
    with planted(mutant):
        seed = next(seed for seed in range(1, 200) if play(History.of(seed)) is not None)
        long = History.of(seed)
        short, error = shorten(long, patience_s=2.0)
        assert error is not None
        assert len(short.writes) + len(short.faults) <= len(long.writes) + len(long.faults)
        assert play(short) is not None
    assert play(short) is None


def test_every_mutant_still_has_something_to_mutate():
    for mutant in MUTANTS:
        with planted(mutant):
            pass


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(1)
    ACTIVE.append(made)
    yield made
    ACTIVE.pop()


def test_time_passes_only_where_somebody_waits(scheduler):
    seen = []

    def sleeper(name, seconds):
        for _ in range(3):
            Time.sleep(seconds)
            seen.append((name, round(Time.monotonic(), 1)))

    scheduler.spawn(None, lambda: sleeper("fast", 1.0))
    scheduler.spawn(None, lambda: sleeper("slow", 1.4))
    scheduler.at(10_000_000, scheduler.finish)
    scheduler.run()
    assert seen == [("fast", 1.0), ("slow", 1.4), ("fast", 2.0), ("slow", 2.8), ("fast", 3.0), ("slow", 4.2)]


def test_a_dead_process_stops_between_two_steps_and_nothing_of_it_is_cleaned_up(scheduler):
    steps = []
    process = Process("doomed")

    def work():
        try:
            for step in range(10):
                steps.append(step)
                Time.sleep(1.0)
        except Exception:  # noqa: BLE001
            steps.append("cleaned up")

    def kill():
        process.alive = False

    scheduler.spawn(process, work)
    scheduler.at(2_500_000, kill)
    scheduler.at(9_000_000, scheduler.finish)
    scheduler.run()
    assert steps == [0, 1, 2]


def test_a_condition_wakes_who_waits_and_a_frozen_process_goes_on_later(scheduler):
    condition, done, seen = Condition(), [], []
    process = Process("frozen")

    def waiter():
        with condition:
            condition.wait_for(lambda: bool(done), 60.0)
        seen.append(round(Time.monotonic()))

    def waker():
        Time.sleep(2.0)
        done.append(True)
        condition.notify_all()

    scheduler.spawn(process, waiter)
    scheduler.spawn(None, lambda: Thread(waker).start())
    process.frozen_until_us = 5_000_000
    scheduler.at(9_000_000, scheduler.finish)
    scheduler.run()
    assert seen == [5]


def test_what_fails_in_a_task_ends_the_history(scheduler):
    def fail():
        raise KeyError("x")

    scheduler.spawn(None, fail)
    scheduler.run()
    assert isinstance(scheduler.failure, KeyError)
