"""Some histories and mutants in every test run; `make simulate` plays as many as one likes. See docs/simulation.md."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.adapters.memory import MemoryCheckpoint
from actors.matching import decide as frames
from actors.matching.frames import EVENT_SCHEMA
from actors.matching.state import _CARRIED, open_events
from schemas.audit import GENESIS
from schemas.events import KEY_GROUPS
from schemas.rules import Rulebook
from tests.actors.workbench import A0, SOURCES, sent_frame
from tests.matching.test_simulation import ANY_EVENT, RULES, log_of
from tests.simulation import chunks, plain_core
from tests.simulation.history import KINDS, Fault, History, Write
from tests.simulation.mutants import MUTANTS, hunt, planted
from tests.simulation.quiet import quiet
from tests.simulation.scheduler import ACTIVE, Condition, Process, Scheduler, Thread, Time
from tests.simulation.shorten import shorten
from tests.simulation.world import installed, play, played

SEEDS = range(1, 61)
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
    whole_core=False,
    writes=(),
    faults=(),
)


@pytest.fixture
def _twins() -> Iterator[None]:
    quiet()
    with installed():
        yield


@pytest.mark.usefixtures("_twins")
@pytest.mark.parametrize("first", SEEDS[::SEEDS_PER_TEST])
def test_every_history_ends_in_the_answer_of_the_oracle(first):
    for seed in range(first, first + SEEDS_PER_TEST):
        history = History.of(seed)
        error = play(history)
        assert error is None, f"{error}\n{history.in_words()}"


@pytest.mark.usefixtures("_twins")
def test_a_seed_is_one_history():
    assert played(History.of(3))[0].trace() == played(History.of(3))[0].trace()
    assert played(History.of(3))[0].trace() != played(History.of(4))[0].trace()


def test_a_history_is_read_back_from_its_text():
    for seed in range(50):
        history = History.of(seed)
        assert History.from_json(history.to_json()) == history
    with pytest.raises(ValueError, match="not a history"):
        History.from_json('{"seed":1,"writes":[],"faults":[]}')


def test_every_kind_of_trouble_is_drawn():
    drawn = {fault.kind for seed in range(1_000) for fault in History.of(seed).faults}
    assert drawn == set(KINDS)


# -- what the simulation found -----------------------------------------------------------------------------------------


def write(at_ms, source, txn_id, partition=0):
    return Write(at_ms, 0, source, partition, txn_id, "e", 100, "EUR", "SUCCESS", at_ms)


@pytest.mark.usefixtures("_twins")
@pytest.mark.parametrize("again", range(4))
def test_a_topic_made_anew_before_anything_of_it_was_flushed_loses_nothing(again):
    """Its partition had no position in the ledger and so got no base; the shard dropped its records as repeats."""
    history = replace(PLAIN, seed=again)
    writes = (write(83, 2, "T3"), write(485, 2, "T2"), write(900, 0, "T2"))
    for at_ms in (120, 200):
        faults = (Fault(90, "ledger_down", 0, 900), Fault(at_ms, "topic_recreated", 2, 0))
        assert play(replace(history, writes=writes, faults=faults)) is None


@pytest.mark.usefixtures("_twins")
def test_a_supervisor_that_is_restarted_lays_no_running_shards_out_anew():
    """After an unclean stop two shards go on though one is wanted; the supervisor's restart took their ranges away."""

    def stopped_uncleanly(world):
        half = KEY_GROUPS // 2
        world.database.checkpoints = {
            0: MemoryCheckpoint(half, audit_hash=GENESIS, positions={("core_txns", 0): 0}),
            half: MemoryCheckpoint(KEY_GROUPS, audit_hash=GENESIS),
        }

    # Long after the positions have become equal, and before something more is to be read.
    history = replace(PLAIN, writes=(write(100, 0, "T0"), write(3_000, 1, "T0")), faults=(Fault(2_500, "kill", 2, 0),))
    world, error = played(history, stopped_uncleanly)
    assert error is None
    assert list(world.database.checkpoints) == [0, KEY_GROUPS // 2]
    with planted(next(one for one in MUTANTS if one.function == "_is_running")):
        assert "not settled" in str(played(history, stopped_uncleanly)[1])


# -- the simulation itself ---------------------------------------------------------------------------------------------

QUICK = ("a repeat is taken again", "a gap is accepted", "low_seq passes open events")


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught(name):
    index = next(index for index, one in enumerate(MUTANTS) if one.name == name)
    verdict = hunt((index, 1, 50))
    assert verdict.is_caught
    with installed():
        assert play(History.of(verdict.seed)) is None  # without the bug it holds


@pytest.mark.usefixtures("_twins")
def test_a_history_that_fails_is_shortened_and_still_fails():
    with planted(next(one for one in MUTANTS if one.name == QUICK[-1])):
        long = next(history for history in map(History.of, range(1, 50)) if play(history) is not None)
        short, error = shorten(long, patience_s=2.0)
        assert "low_seq" in str(error)
        assert len(short.writes) + len(short.faults) < len(long.writes) + len(long.faults)
        assert play(short) is not None
    assert play(short) is None
    with pytest.raises(ValueError, match="does not fail"):
        shorten(short)


def test_a_failure_is_told_with_its_seed_and_how_to_play_it_again(monkeypatch):
    histories = [History.of(seed) for seed in range(1, 5)]
    monkeypatch.setattr(chunks, "shorten", lambda history: (history, AssertionError("shortened")))
    with planted(next(one for one in MUTANTS if one.name == QUICK[-1])):
        told = chunks.play_all(histories, show=False)
    assert (told.histories, told.failed > 0) == (4, True)
    assert told.happened["located"] > 0
    command = next(line for line in told.text.splitlines() if "--replay" in line)
    replayed = History.from_json(shlex.split(command)[-1])
    assert replayed in histories
    assert f"--histories 1 --seed {replayed.seed}" in told.text
    assert chunks.play_all([replayed], show=False).failed == 0


def test_every_mutant_still_has_something_to_mutate():
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        with planted(mutant):
            pass


READ_TO = st.lists(st.integers(0, 40), min_size=len(SOURCES), max_size=len(SOURCES))


@settings(max_examples=60)
@given(rows=st.lists(ANY_EVENT, min_size=1, max_size=12), rules=st.sampled_from(sorted(RULES)), read_to_ms=READ_TO)
def test_the_plain_core_says_what_the_frames_say(rows, rules, read_to_ms):
    logged = sent_frame(log_of(rows)).with_columns(
        seq=pl.int_range(1, len(rows) + 1, dtype=pl.Int64),
        attributes=pl.lit(None, pl.String),
        offset=pl.int_range(len(rows), dtype=pl.Int64),
    )
    distinct, _ = frames.drop_redeliveries(open_events(logged.select(EVENT_SCHEMA.keys()), A0))
    asked = (distinct, Rulebook(RULES[rules]), SOURCES, [A0 + one for one in read_to_ms], _CARRIED)
    left, right = (_plainly(core(*asked)) for core in (frames.decide, plain_core.decide))
    assert left == right


def _plainly(results):
    rows = results.with_columns(pl.col("event_seqs").list.sort()).sort("txn_id").to_dicts()
    return [dict(sorted(row.items())) for row in rows]


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
