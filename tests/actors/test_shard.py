"""MatcherShard on in-memory twins: what it takes, refuses, writes, and finds again after trouble."""

from __future__ import annotations

import threading
from dataclasses import replace

import polars as pl
import pytest

from actors.adapters.memory import MemoryCheckpoint, MemoryLedger
from actors.matching import state
from actors.ports import OffsetRange
from schemas.errors import FencedError, GapError
from schemas.events import key_group_of
from schemas.rules import RuleSet, Tolerance
from tests.actors.workbench import A0, NAMES, PATIENCE_S, Workbench, event, eventually, in_words, letter

CORE = ("core_txns", 0)
GATEWAY = ("gateway_txns", 0)


@pytest.fixture
def bench():
    made = Workbench()
    made.start()
    yield made
    made.close()
    assert not made.faults


@pytest.fixture
def spilling():
    """A shard that spills whatever is checked and open at once."""
    made = Workbench(options={"spill_age_ms": 0, "check_age_ms": 0, "show_age_ms": 60_000})
    made.start()
    yield made
    made.close()
    assert not made.faults


def legs(txn_id="T1", *, at=0.0, suffix=""):
    return [
        event(txn_id, source, at=at + index / 10, event_id=f"{source}{suffix}", clock=index / 10)
        for index, source in enumerate(NAMES[:3])
    ]


# -- what a batch covers -----------------------------------------------------------------------------------------------


def test_a_batch_that_comes_again_is_dropped(bench):
    bench.append(*legs())
    bench.push()
    bench.shard.push(bench.batch(bench.read, dict.fromkeys(bench.log, 0)))
    bench.settle()
    assert len(bench.database.events) == 3
    bench.assert_as_judged()


def test_many_small_batches_leave_few_chunks_in_memory(bench):
    """Every later step goes over each chunk: a quiet day's thousands would make each step slower than the last."""
    for number in range(40):
        bench.append(event(f"T{number}", at=number))
        bench.push()
    pending = bench.shard._state.pending
    assert len(pending) == 40
    assert pending.n_chunks() <= state.CHUNKS_MAX


def test_of_a_batch_that_overlaps_only_the_new_part_is_taken(bench):
    bench.append(event(at=0), event(at=1, status="REVERSED"), event("T2", at=2))
    bench.push({CORE: 2})
    bench.shard.push(bench.batch({CORE: 3}, {CORE: 0}))
    bench.settle()
    assert sorted(row["offset"] for row in bench.database.events.values()) == [0, 1, 2]


def test_a_gap_is_refused_whole(bench):
    bench.append(event(at=0), event(at=1), event("T1", "GATEWAY", at=1))
    with pytest.raises(GapError) as refused:
        bench.shard.push(bench.batch({CORE: 2, GATEWAY: 1}, {CORE: 1}))
    assert (refused.value.position, refused.value.start) == (0, 1)
    assert bench.shard.positions() == {}
    bench.settle()
    bench.push()
    bench.settle()
    assert len(bench.database.events) == 3


def test_an_empty_range_beyond_the_position_is_a_gap_too(bench):
    """It carries a watermark, which would say that everything before it was sent."""
    bench.append(event(at=0))
    bench.push()
    batch = bench.batch({})
    ahead = replace(
        batch, ranges=[replace(one, start=5, stop=5) if one.topic == CORE[0] else one for one in batch.ranges]
    )
    with pytest.raises(GapError):
        bench.shard.push(replace(ahead, watermarks_ms={CORE: A0 + 10**6}))
    assert bench.shard._source_watermarks()[0] == 0


@pytest.mark.parametrize(
    ("log_start", "taken"), [(0, False), (4, False), (7, True)], ids=["from-0", "from-4", "from-the-log's-start"]
)
def test_an_unknown_position_takes_only_the_start_of_the_log(bench, log_start, taken):
    batch = replace(bench.batch({}), ranges=[OffsetRange(*CORE, 7, 9, log_start)])
    if taken:
        bench.shard.push(batch)
        assert bench.shard.positions() == {CORE: 9}
    else:
        with pytest.raises(GapError):
            bench.shard.push(batch)


def test_a_shard_without_rows_in_a_batch_advances_all_the_same():
    bench = Workbench(key_groups=(0, 1))
    bench.start()
    bench.append(event("not-ours", at=0))
    assert key_group_of("not-ours") != 0
    bench.push()
    bench.wait_written()
    bench.close()
    assert bench.database.checkpoints[0].positions[CORE] == 1
    assert not bench.database.events


def test_positions_that_moved_alone_are_written_though_nothing_more_is_read(bench):
    """So that a pipeline that was paused comes to rest."""
    bench.shard._options = replace(bench.shard._options, idle_flush_interval_ms=1_000)
    bench.push()
    bench.wait_written()
    bench.append(event(at=0))
    batch = bench.batch({CORE: 1})
    bench.shard.push(replace(batch, events=batch.events.clear()))
    bench.clock.now_ms += 1_000
    assert bench.shard.drain(PATIENCE_S)
    assert bench.database.checkpoints[0].positions[CORE] == 1


def test_a_reader_that_has_not_heard_of_a_new_partition_makes_the_shard_forget_nothing():
    """The new partition may hold what would be called missing, until somebody has read it."""
    bench = Workbench(partitions=2, options={"check_age_ms": 0})
    bench.start()
    bench.tell(event())
    bench.watermarks = {key: A0 + 60_000 for key in bench.log if key[1] == 0}
    for _ in range(3):
        bench.shard.push(replace(bench.batch({}), partition_counts=dict.fromkeys(bench.batch({}).partition_counts, 1)))
        bench.wait_written()
    assert not (bench.result() or {}).get("final")
    bench.read_up_to(60)
    bench.settle()
    assert bench.in_words() == "MISMATCHED MISSING missing=GATEWAY,MOBILE revision=1"
    bench.close()


def test_dead_letters_are_written_once(bench):
    batch = replace(bench.batch({}), ranges=[OffsetRange(*CORE, 0, 2)])
    bad = letter(3, *CORE, 1)
    bench.shard.push(replace(batch, dead_letters=[bad]))
    bench.shard.push(replace(batch, dead_letters=[bad]))
    bench.wait_written()
    assert list(bench.database.dead_letters.values()) == [bad]


# -- flushes -----------------------------------------------------------------------------------------------------------


def test_a_flush_that_the_database_does_not_take_is_offered_again(bench):
    bench.database.is_down = True
    bench.tell(*legs())
    assert bench.database.flushes == []
    bench.database.is_down = False
    bench.wait_written()
    assert bench.in_words() == "MATCHED revision=1"


def test_a_commit_whose_answer_was_lost_is_not_written_twice(bench):
    bench.database.answers_to_lose = 1
    bench.tell(*legs())
    bench.wait_written()
    assert bench.database.answers_to_lose == 0
    assert len(bench.database.events) == 3
    numbers = [flush.number for flush in bench.database.flushes]
    assert numbers == sorted(set(numbers))
    bench.tell(*legs("T2", at=1))
    bench.wait_written()
    assert bench.in_words("T2") == "MATCHED revision=1"


def test_the_feed_hears_only_what_is_committed(bench):
    bench.database.is_down = True
    bench.tell(*legs())
    assert bench.feed.told == []
    bench.database.is_down = False
    bench.wait_written()
    eventually(lambda: bench.feed.told)
    [(_, number, changed)] = bench.feed.told
    assert changed["txn_id"].to_list() == ["T1"]
    assert number in {flush.number for flush in bench.database.flushes}


def test_more_unwritten_rows_than_allowed_hold_the_caller_up():
    bench = Workbench(options={"unflushed_rows_max": 4})
    bench.start()
    bench.database.is_down = True
    pushed = []

    def feed():
        for number in range(6):
            bench.tell(*legs(f"T{number}", at=number))
            pushed.append(number)

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive(), "with the database down it must block"
    assert len(pushed) < 6
    bench.database.is_down = False
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    bench.settle()
    bench.assert_as_judged()
    bench.close()


def test_of_two_owners_the_older_one_stops_and_writes_nothing(bench):
    bench.tell(*legs())
    bench.wait_written()
    old = bench.shard
    bench.start()
    bench.append(*legs("T2", at=1))
    batch = bench.batch({key: len(records) for key, records in bench.log.items()})
    old.push(batch)
    eventually(lambda: bench.fenced)
    assert bench.result("T2") is None
    with pytest.raises(RuntimeError) as stopped:
        old.push(batch)
    assert isinstance(stopped.value.__cause__, FencedError)
    bench.push()
    bench.wait_written()
    assert bench.in_words("T2") == "MATCHED revision=1"


def test_a_retry_after_a_successor_came_is_fenced(bench):
    """The answer is lost, then another owner claims: the epoch says that it is over, whatever the flush's number."""
    bench.database.is_down = True
    bench.tell(*legs())
    old = bench.shard
    bench.database.lock.acquire()
    bench.database.is_down = False
    bench.start()
    bench.database.lock.release()
    eventually(lambda: bench.fenced)
    assert old is not bench.shard
    assert not bench.database.events


# -- decided before ----------------------------------------------------------------------------------------------------


def test_a_redelivery_of_a_decided_transaction_is_marked(bench):
    bench.tell(*legs())
    bench.settle()
    bench.tell(event(at=5, event_id="CORE", clock=0))
    bench.settle()
    assert bench.marked() == {("CORE", 0, 1)}
    assert bench.in_words() == "MATCHED revision=1"
    assert bench.database.history == []


def test_all_legs_repeated_after_the_decision_are_redeliveries(bench):
    bench.tell(*legs())
    bench.settle()
    bench.tell(*legs(at=5))
    bench.settle()
    assert bench.marked() == {(source, 0, 1) for source in NAMES[:3]}
    bench.assert_as_judged()


def test_decided_and_wholly_repeated_within_one_flush(bench):
    bench.database.is_down = True
    bench.tell(event("before", at=0))  # the flush thread takes this one and waits
    eventually(lambda: bench.shard._outbox.rows_waiting == 0)
    bench.tell(*legs(at=1))
    bench.tell(*legs(at=2))
    bench.tell(*legs(at=3, suffix="-anew"))
    bench.database.is_down = False
    bench.settle()
    assert bench.marked() == {(source, 0, offset) for source, offset in [("CORE", 2), ("GATEWAY", 1), ("MOBILE", 1)]}
    assert bench.in_words() == "MISMATCHED DUPLICATE revision=4"


def test_two_results_in_one_flush_over_a_provisional_row(bench):
    bench.tell(*legs()[:2])
    bench.settle(12.0)
    assert bench.in_words() == "PENDING"
    bench.database.is_down = True
    bench.tell(event("other", at=1.5))
    eventually(lambda: bench.shard._outbox.rows_waiting == 0)
    bench.tell(legs()[2])
    bench.tell(*legs(at=4, suffix="-anew"))
    bench.database.is_down = False
    bench.wait_written()
    assert bench.in_words() == "MISMATCHED DUPLICATE revision=4"


def test_a_redelivery_beside_another_event_of_a_decided_transaction_is_marked_once(bench):
    bench.tell(*legs())
    bench.wait_written()
    bench.tell(event(at=5, event_id="CORE", clock=0), event("T1", "GATEWAY", at=5, status="REVERSED", clock=1))
    bench.wait_written()
    bench.settle()
    assert bench.marked() == {("CORE", 0, 1)}
    assert bench.in_words() == "MISMATCHED STATUS revision=2"


def test_a_late_event_becomes_a_revision_that_keeps_its_predecessor(bench):
    bench.tell(event("T1", "CORE", at=0, clock=0), event("T1", "GATEWAY", at=0.1, clock=0))
    bench.read_up_to(31)
    bench.settle()
    bench.tell(event("T1", "MOBILE", at=40, clock=0))
    bench.settle()
    assert bench.in_words() == "MATCHED late=MOBILE revision=2"
    assert [in_words(row) for row in bench.database.history] == ["MISMATCHED MISSING missing=MOBILE revision=1"]
    revised = [flush for flush in bench.database.flushes if len(flush.revised)]
    assert [in_words(flush.superseded.row(0, named=True)) for flush in revised] == [
        "MISMATCHED MISSING missing=MOBILE revision=1"
    ]


def test_nothing_is_called_missing_before_the_ledger_was_asked(bench):
    """The leg that closes the window may belong to a transaction that was decided long ago."""
    bench.tell(*legs())
    bench.settle()
    bench.tell(event("T1", "CORE", at=50, clock=0, status="REVERSED"))
    bench.read_up_to(90)
    bench.wait_written()
    assert bench.in_words() == "MATCHED revision=1"
    bench.settle()
    assert bench.in_words() == "MISMATCHED STATUS late=CORE revision=2"


# -- spill -------------------------------------------------------------------------------------------------------------


def spill_one(bench: Workbench, *events) -> None:
    bench.tell(*(events or (event("T1", "CORE", at=0, clock=0),)))
    bench.settle()
    assert bench.shard.status().spilled_txns == 1
    assert bench.shard.status().pending_rows == 0


def test_an_old_open_transaction_spills_and_comes_back_by_its_next_event(spilling):
    spill_one(spilling)
    spilling.tell(event("T1", "GATEWAY", at=1, clock=0), event("T1", "MOBILE", at=1.1, clock=0))
    spilling.wait_written()
    assert spilling.in_words() == "MATCHED revision=1"
    assert spilling.shard.status().spilled_txns == 0
    assert not any(spilling.redis.hashes.values())


def test_a_spilled_transaction_comes_back_when_its_window_closes(spilling):
    spill_one(spilling)
    spilling.read_up_to(31)
    spilling.settle()
    assert spilling.in_words() == "MISMATCHED MISSING missing=GATEWAY,MOBILE revision=1"
    assert spilling.shard.status().spilled_txns == 0


def test_more_open_rows_than_allowed_spill_the_oldest():
    bench = Workbench(options={"pending_rows_max": 2, "spill_age_ms": 10**6})
    bench.start()
    for number in range(5):
        bench.tell(event(f"T{number}", at=number))
        bench.settle()
    status = bench.shard.status()
    assert (status.pending_rows, status.spilled_txns) == (2, 3)
    held = {txn_id for fields in bench.redis.hashes.values() for txn_id in fields}
    assert held == {"T0", "T1", "T2"}
    for number in range(5):
        bench.tell(*legs(f"T{number}", at=number)[1:])
    bench.settle()
    bench.assert_as_judged()
    bench.close()


def test_a_lost_spill_is_rebuilt_from_the_ledger(spilling):
    spill_one(spilling)
    spilling.redis.hashes.clear()
    spilling.tell(event("T1", "GATEWAY", at=1, clock=0), event("T1", "MOBILE", at=1.1, clock=0))
    spilling.settle()
    spilling.assert_as_judged()


def test_a_rebuild_waits_for_what_was_decided_without_a_new_event(spilling, monkeypatch):
    """A redelivery whose mark is still on its way would come back as an open event, and be marked twice."""
    spilling.tell(*legs("T2"))
    spill_one(spilling)
    spilling.tell(event("T2", at=5, event_id="CORE", clock=0))
    spilling.wait_written()
    release, flush = threading.Event(), MemoryLedger.flush

    def slowly(ledger, *arguments):
        assert release.wait(PATIENCE_S)
        return flush(ledger, *arguments)

    monkeypatch.setattr(MemoryLedger, "flush", slowly)
    spilling.clock.now_ms += 1_000
    spilling.push({})  # T2 is looked up
    assert not spilling.shard._outbox.is_empty
    spilling.redis.hashes.clear()
    threading.Timer(0.2, release.set).start()
    spilling.tell(event("T1", "GATEWAY", at=6, clock=0), event("T1", "MOBILE", at=6.1, clock=0))
    spilling.settle()
    assert spilling.marked() == {("CORE", 0, 2)}
    spilling.assert_as_judged()


def test_an_unreachable_spill_store_keeps_rows_in_memory(spilling):
    spilling.redis.is_down = True
    spilling.tell(event("T1", "CORE", at=0, clock=0))
    spilling.settle()
    status = spilling.shard.status()
    assert (status.pending_rows, status.spilled_txns) == (1, 0)
    assert status.degraded
    spilling.redis.is_down = False
    spilling.settle()
    status = spilling.shard.status()
    assert (status.pending_rows, status.spilled_txns, status.degraded) == (0, 1, "")


def test_a_spill_store_that_goes_away_while_it_holds_rows_costs_a_rebuild(spilling):
    spill_one(spilling)
    spilling.redis.is_down = True
    spilling.tell(event("T1", "GATEWAY", at=1, clock=0), event("T1", "MOBILE", at=1.1, clock=0))
    spilling.wait_written()
    assert spilling.in_words() == "MATCHED revision=1"
    spilling.redis.is_down = False
    spilling.settle()
    spilling.assert_as_judged()


def test_what_a_failed_spill_left_behind_does_not_come_back_beside_the_row_in_memory(spilling):
    spill_one(spilling)
    left = {key: dict(fields) for key, fields in spilling.redis.hashes.items()}
    spilling.shard._options = replace(spilling.shard._options, spill_age_ms=10**9)
    spilling.tell(event("T1", "GATEWAY", at=1, clock=0))
    spilling.settle()
    spilling.redis.hashes.update(left)  # the deletion never reached the store
    spilling.shard._options = replace(spilling.shard._options, spill_age_ms=0)
    spilling.settle()
    spilling.redis.hashes.update({key: {**spilling.redis.hashes.get(key, {}), **rows} for key, rows in left.items()})
    spilling.read_up_to(31)
    spilling.settle()
    assert spilling.marked() == set()


def test_a_successor_forgets_what_its_predecessor_spilled(spilling):
    spill_one(spilling)
    spilling.crash()
    assert spilling.redis.hashes == {}
    spilling.push()
    spilling.tell(event("T1", "GATEWAY", at=1, clock=0), event("T1", "MOBILE", at=1.1, clock=0))
    spilling.settle()
    spilling.assert_as_judged()


# -- recovery ----------------------------------------------------------------------------------------------------------


def test_a_successor_reads_only_from_the_lowest_open_event_on(bench):
    for number in range(4):
        bench.tell(*legs(f"done-{number}", at=number / 10))
    bench.tell(event("open", at=1))
    bench.settle()
    low = bench.database.checkpoints[0].low_seq
    assert low == 13
    bench.crash()
    assert bench.shard.status().pending_rows == 1
    bench.push()
    bench.tell(*legs("open", at=1)[1:])
    bench.settle()
    bench.assert_as_judged()


def test_what_was_not_written_is_read_from_the_log_again(bench):
    bench.tell(event("T1", "CORE", at=0))
    bench.wait_written()
    bench.database.is_down = True
    bench.append(*legs()[1:])
    bench.push()
    bench.shard._stopping.set()
    bench.database.is_down = False
    bench.crash()
    assert bench.read[CORE] == 1
    assert bench.read[GATEWAY] == 0
    bench.push()
    bench.settle()
    bench.assert_as_judged()


def one_owner_after_two(*events, **options) -> Workbench:
    """One shard where two were: each of them gave out seqs from 1 on, and read these events."""
    before = [Workbench(key_groups=(0, 64)), Workbench(key_groups=(64, 128))]
    bench = Workbench(options=options)
    bench.append(*events)
    database = bench.database = before[0].database
    database.checkpoints[64] = before[1].database.checkpoints[64]
    for half in before:
        half.database, half.log = database, bench.log
        half.start()
        half.push()
        half.settle()
        half.close()
    left, right = database.checkpoints.pop(0), database.checkpoints.pop(64)
    assert left.positions == right.positions
    database.checkpoints[0] = MemoryCheckpoint(
        128,
        epoch=max(left.epoch, right.epoch) + 1,
        next_seq=max(left.next_seq, right.next_seq),
        low_seq=min(left.low_seq, right.low_seq),
        positions=left.positions,
    )
    seqs = [seq for _, seq in database.events]
    assert len(set(seqs)) < len(seqs)
    bench.start()
    return bench


def in_both_halves() -> tuple[str, str]:
    """Two transactions, one of each half of the key groups."""
    ids = [f"T{number}" for number in range(100)]
    return next(one for one in ids if key_group_of(one) < 64), next(one for one in ids if key_group_of(one) >= 64)


def test_revisions_of_transactions_whose_seqs_are_the_same_know_all_their_events():
    ids = in_both_halves()
    bench = one_owner_after_two(*(one for txn_id in ids for one in legs(txn_id)))
    bench.tell(*(event(txn_id, "CORE", at=5, clock=1, status="REVERSED") for txn_id in ids))
    bench.settle()
    assert [bench.in_words(txn_id) for txn_id in ids] == ["MISMATCHED STATUS revision=2"] * 2
    bench.assert_as_judged()
    bench.close()


def test_repeats_of_transactions_whose_seqs_are_the_same_know_all_their_events():
    ids = in_both_halves()
    bench = one_owner_after_two(*(one for txn_id in ids for one in legs(txn_id)))
    bench.tell(*(one for txn_id in ids for one in legs(txn_id, at=5, suffix="-anew")))
    bench.settle()
    assert [bench.in_words(txn_id) for txn_id in ids] == ["MISMATCHED DUPLICATE revision=4"] * 2
    bench.assert_as_judged()
    bench.close()


def test_a_rebuild_finds_an_open_event_whose_seq_is_that_of_one_in_memory():
    ids = in_both_halves()
    bench = one_owner_after_two(
        *(event(txn_id, "CORE", at=0, clock=0) for txn_id in ids), pending_rows_max=1, spill_age_ms=10**6
    )
    bench.settle()
    status = bench.shard.status()
    assert (status.pending_rows, status.spilled_txns) == (1, 1)
    [spilled] = [txn_id for fields in bench.redis.hashes.values() for txn_id in fields]
    bench.redis.hashes.clear()
    bench.tell(event(spilled, "GATEWAY", at=1, clock=0), event(spilled, "MOBILE", at=1.1, clock=0))
    bench.wait_written()
    assert bench.in_words(spilled) == "MATCHED revision=1"
    bench.close()


@pytest.mark.parametrize("after_s", [60.0, 9.5], ids=["long-ago", "committed-half-a-second-late"])
def test_rules_are_read_again_before_an_event_could_fall_under_a_newer_version(bench, after_s):
    effective_from_ms = A0 + round(after_s * 1000)
    lenient = RuleSet(2, effective_from_ms, default_tolerance=Tolerance(absolute_minor=9))
    bench.database.rule_sets.append(lenient)
    bench.append(
        event("T1", "CORE", at=after_s, amount=100),
        event("T1", "GATEWAY", at=after_s, amount=109),
        event("T1", "MOBILE", at=after_s, amount=100),
    )
    bench.push()
    bench.wait_written()
    assert bench.in_words() == "MATCHED revision=1"
    assert bench.result()["rules_version"] == 2


def test_a_bug_in_the_store_stops_the_shard_instead_of_going_on(bench):
    bench.tell(*legs())
    bench.wait_written()
    bench.database.events[key_group_of("T2"), bench.shard._next_seq] = {"source": 0, "partition": 9, "offset": 9}
    bench.tell(*legs("T2", at=1))
    eventually(lambda: bench.faults)
    with pytest.raises(RuntimeError):
        bench.push()
    bench.faults.clear()


def test_a_status_tells_what_is_held(bench):
    bench.tell(*legs(), event("open", at=1))
    bench.wait_written()
    status = bench.shard.status()
    assert (status.events, status.final, status.pending_rows, status.epoch) == (4, 1, 1, 1)
    assert status.flushes == len(bench.database.flushes)


def test_hash_collisions_are_harmless(spilling, monkeypatch):
    """Every transaction has the same hash: recalls hit falsely, and verdicts stay."""

    real = state.open_events
    monkeypatch.setattr(
        state, "open_events", lambda events, now: real(events, now).with_columns(hash=pl.lit(7, pl.UInt64))
    )
    for number in range(3):
        spilling.tell(event(f"T{number}", at=number / 10, clock=0))
        spilling.settle()
    for number in range(3):
        spilling.tell(*(replace(one, event_time=A0) for one in legs(f"T{number}", at=1 + number)[1:]))
        spilling.settle()
    spilling.assert_as_judged()
