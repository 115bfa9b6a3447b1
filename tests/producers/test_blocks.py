"""The load: encoded by the block to the ordinary writer's bytes, and honest about what it leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.blocks import BlockEncoder, EventBlock, hex_digits, varints
from producers.emission import Event
from producers.preload import Load, LoadGenerator
from producers.wire import Encoder
from schemas.events import Status

START_MS = 1_790_000_000_000
CURRENCIES = ["EUR", "JPY", "KWD"]
ACCOUNTS = ["DE89370400440532013000", "DE89370400440532013001"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
            st.one_of(st.integers(0, 200), st.integers(0, 10**15)),
            st.integers(0, len(CURRENCIES) - 1),
            st.sampled_from(list(Status)),
            st.integers(946_684_800_000, 4_102_444_800_000),
            st.integers(0, len(ACCOUNTS) - 1),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 2**31 - 1),
)
def test_a_block_has_the_very_bytes_of_the_ordinary_writer(rows, schema_id):
    txn, event, amount, currency, status, event_time, account = zip(*rows, strict=True)
    block = EventBlock(
        txn=np.array(txn, dtype=np.uint64),
        event=np.array(event, dtype=np.uint64),
        amount_minor=np.array(amount, dtype=np.int64),
        currency=np.array(currency, dtype=np.intp),
        status=np.array(status, dtype=np.uint8),
        event_time=np.array(event_time, dtype=np.int64),
        account=np.array(account, dtype=np.intp),
    )
    values, keys = BlockEncoder(schema_id, 1, b"G-", CURRENCIES, ACCOUNTS).encode(block)
    ordinary = Encoder(schema_id)
    for index, value in enumerate(values):
        same = Event(
            f"G-{event[index]:016X}",
            f"TX{txn[index]:016X}",
            "GATEWAY",
            amount[index],
            CURRENCIES[currency[index]],
            status[index],
            event_time[index],
            ACCOUNTS[account[index]],
        )
        assert value == ordinary.encode(same)
        assert keys[index] == same.txn_id.encode()


@given(st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=8))
def test_varints_are_as_short_as_they_can_be(values):
    octets, used = varints(np.array(values, dtype=np.int64))
    for value, row, mask in zip(values, octets, used, strict=True):
        zigzag = value << 1
        decoded = sum((int(byte) & 0x7F) << (7 * at) for at, byte in enumerate(row[mask]))
        assert decoded == zigzag
        assert mask.sum() == max(1, -(-zigzag.bit_length() // 7))


def test_ids_are_sixteen_digits():
    ids = np.array([0, 255, 2**64 - 1], dtype=np.uint64)
    assert [bytes(row).decode() for row in hex_digits(ids)] == ["0" * 16, "0" * 14 + "FF", "F" * 16]


def test_texts_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        BlockEncoder(1, 0, b"C-", CURRENCIES, ["short", "longer"])


def load_rows(load):
    generator = LoadGenerator(load, 3, START_MS)
    chunks = list(generator.chunks())
    return generator, chunks


def test_a_load_is_in_order_and_leaves_out_what_it_says():
    load = Load(transactions=45_000, seed=3)
    generator, chunks = load_rows(load)
    times = np.concatenate([rows.block.event_time for rows in chunks])
    assert (np.diff(times) >= 0).all()
    txn = np.concatenate([rows.block.txn for rows in chunks])
    _, legs = np.unique(txn, return_counts=True)
    assert len(legs) == 45_000
    assert (legs == 2).sum() == generator.missing == 3 * 45_000 - len(txn)
    assert 0.015 < generator.missing / 45_000 < 0.025
    assert 0.025 < generator.mismatched / 45_000 < 0.035


def test_mismatches_are_as_many_as_it_says_and_legs_lie_within_the_spread():
    load = Load(transactions=5_000, seed=4, missing_share=0.0, mismatch_share=0.3)
    generator, chunks = load_rows(load)
    by_txn = {}
    for rows in chunks:
        block = rows.block
        columns = (block.txn, block.amount_minor, block.currency, block.status, block.event_time)
        for txn, *leg, moment in zip(*(column.tolist() for column in columns), strict=True):
            by_txn.setdefault(txn, []).append((tuple(leg), moment))
    apart = sum(len({leg for leg, _ in legs}) > 1 for legs in by_txn.values())
    assert apart == generator.mismatched
    spans = [max(at for _, at in legs) - min(at for _, at in legs) for legs in by_txn.values()]
    assert max(spans) <= load.leg_spread_ms


def test_the_same_seed_gives_the_same_load():
    (_, first), (_, second) = load_rows(Load(2_000, seed=9)), load_rows(Load(2_000, seed=9))
    for one, other in zip(first, second, strict=True):
        assert (one.block.txn == other.block.txn).all()
        assert (one.block.amount_minor == other.block.amount_minor).all()
