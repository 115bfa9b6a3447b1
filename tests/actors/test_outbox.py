"""The outbox: order, back-pressure, and what one flush is made of."""

from __future__ import annotations

import threading

import polars as pl

from actors.matching.frames import RESULT_SCHEMA
from actors.outbox import Decided, Outbox, assemble
from actors.ports import Claim
from tests.actors.workbench import PATIENCE_S, eventually

CLAIM = Claim(0, 128, 1, 1, 1, 0, {})


def results(*rows):
    frame = pl.DataFrame(
        [{"key_group": 1, "txn_id": txn_id, "final": final, "revision": revision} for txn_id, final, revision in rows],
        schema_overrides={"key_group": pl.Int16, "revision": pl.Int32},
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in RESULT_SCHEMA.items() if name not in frame.columns]
    return frame.with_columns(missing).select(RESULT_SCHEMA.keys())


def decided(next_seq, **frames):
    return Decided({("core_txns", 0): next_seq}, {"CORE": next_seq}, next_seq, 1, **frames)


def test_what_is_added_comes_out_in_order():
    outbox = Outbox(100)
    for seq in (2, 3, 4):
        outbox.add(decided(seq, final=results(("T", True, seq))))
    assert [one.next_seq for one in outbox.take(1.0, 1)] == [2, 3, 4]


def test_take_gives_nothing_when_nothing_waits():
    outbox = Outbox(100)
    assert outbox.take(0.001, 1) == []
    assert outbox.is_empty


def test_it_is_empty_only_when_what_was_taken_is_done():
    outbox = Outbox(100)
    outbox.add(decided(2))
    assert not outbox.is_empty
    outbox.take(0.001, 1)
    assert not outbox.is_empty
    outbox.done()
    assert outbox.is_empty


def test_add_blocks_until_rows_are_taken():
    outbox = Outbox(2)
    outbox.add(decided(2, final=results(("A", True, 1), ("B", True, 1))))
    added = threading.Event()
    thread = threading.Thread(target=lambda: (outbox.add(decided(3)), added.set()))
    thread.start()
    assert not added.wait(0.05)
    outbox.take(0.001, 1)
    assert added.wait(PATIENCE_S)
    thread.join()


def test_close_wakes_who_waits():
    outbox = Outbox(1)
    outbox.add(decided(2, final=results(("A", True, 1))))
    thread = threading.Thread(target=lambda: outbox.add(decided(3)))
    thread.start()
    outbox.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_it_says_whether_a_revision_is_not_yet_written():
    outbox = Outbox(100)
    assert not outbox.has_revisions
    outbox.add(decided(2, revised=results(("A", True, 2))))
    assert outbox.has_revisions
    outbox.take(0.001, 1)
    assert outbox.has_revisions
    outbox.done()
    assert not outbox.has_revisions


def test_a_flush_takes_the_last_positions_and_the_last_row_of_a_transaction():
    flush = assemble(
        CLAIM,
        [
            decided(2, replacing=results(("A", False, 0), ("B", False, 0))),
            decided(3),
            decided(4, replacing=results(("A", True, 1)), final=results(("C", True, 1))),
        ],
        first_seq=1,
        number=7,
    )
    assert flush.positions == {("core_txns", 0): 4}
    assert (flush.first_seq, flush.next_seq, flush.number) == (1, 4, 7)
    assert sorted(flush.replacing.select("txn_id", "final").rows()) == [("A", True), ("B", False)]
    assert flush.final["txn_id"].to_list() == ["C"]
    assert flush.events.is_empty()


def test_a_taker_is_woken_when_enough_waits():
    outbox = Outbox(100)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(outbox.take(PATIENCE_S, 2)))
    thread.start()
    outbox.add(decided(2, final=results(("A", True, 1), ("B", True, 1))))
    thread.join(PATIENCE_S)
    eventually(lambda: taken)
