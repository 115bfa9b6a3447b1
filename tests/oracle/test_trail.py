"""The hash chains: what breaks a link, and what an anchor shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli.dlq import hex_dump
from cluster.dead_letters import LetterId
from cluster.oracle.trail import ChainWalk
from schemas.audit import GENESIS, AuditEntry, entry_hash

AT = datetime(2026, 11, 24, 12, 0, 0, 123_456, tzinfo=UTC)


def chain(name="shard-0", length=10):
    rows, previous = [], GENESIS
    for seq in range(1, length + 1):
        entry = AuditEntry(AT, "shard-0", "flush", "key_groups", "0-64", {"flush": seq, "names": ["é", None, True]})
        digest = entry_hash(name, seq, entry, previous)
        rows.append(
            {
                "chain": name,
                "seq": seq,
                "occurred_at": AT,
                "actor": entry.actor,
                "action": entry.action,
                "object_type": entry.object_type,
                "object_id": entry.object_id,
                "request_id": "",
                "source_ip": "",
                "details": json.dumps(entry.details),
                "prev_hash": previous,
                "hash": digest,
            }
        )
        previous = digest
    return rows


def walk(rows):
    found = ChainWalk()
    for row in rows:
        found.follow(row)
    return found


def test_a_true_chain_has_no_fault():
    rows = chain()
    found = walk(rows)
    found.check_anchor("shard-0", 10, rows[-1]["hash"])
    assert found.faults == []
    assert found.entries == {"shard-0": 10}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("occurred_at", AT.replace(microsecond=123_457)),
        ("actor", "somebody"),
        ("action", "flush2"),
        ("object_type", "x"),
        ("object_id", "0-63"),
        ("request_id", "x"),
        ("source_ip", "127.0.0.1"),
        ("details", '{"flush": 5, "names": ["é", null, false]}'),
        ("hash", b"\1" * 32),
        ("prev_hash", b"\1" * 32),
    ],
)
def test_any_changed_value_breaks_the_chain_at_that_entry(column, value):
    rows = chain()
    rows[4][column] = value
    found = walk(rows)
    assert [(fault.chain, fault.seq) for fault in found.faults] == [("shard-0", 5)]


def test_a_removed_entry_and_one_slipped_in_are_named():
    rows = chain()
    (gap,) = walk([*rows[:3], *rows[4:]]).faults
    assert (gap.seq, "1 entries are gone" in gap.what) == (5, True)
    (extra,) = walk([*rows[:3], rows[3], {**rows[3]}, *rows[4:]]).faults
    assert extra.seq == 4


def test_an_entry_from_another_chain_does_not_fit():
    rows = chain()
    rows[4] = {**chain("shard-64")[4], "chain": "shard-0"}
    assert walk(rows).faults[0].seq == 5


def test_chains_are_followed_apart():
    first, second = chain("shard-0"), chain("shard-64")
    second[2]["actor"] = "x"
    assert [fault.chain for fault in walk([*first, *second]).faults] == ["shard-64"]


@pytest.mark.parametrize(
    ("kept", "anchor", "what"),
    [(8, 10, "cut off"), (10, 8, "beyond its anchor"), (0, 10, "cut off")],
    ids=["cut-off", "appended", "emptied"],
)
def test_an_end_that_is_not_at_its_anchor_is_named(kept, anchor, what):
    rows = chain()
    found = walk(rows[:kept])
    found.check_anchor("shard-0", anchor, rows[anchor - 1]["hash"])
    assert what in found.faults[0].what


def test_a_rewritten_chain_does_not_fit_its_anchor():
    found = walk(chain("shard-0", 10))
    found.check_anchor("shard-0", 10, b"\1" * 32)
    assert "not the anchor's" in found.faults[0].what


@given(st.text(min_size=1), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_the_place_of_a_dead_letter_reads_back_as_written(topic, partition, offset):
    place = LetterId(topic, partition, offset)
    assert LetterId.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "core_txns", "core_txns:1", "core_txns:x:1", "core_txns:1:x"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        LetterId.parse(text)


def test_bytes_are_shown_as_hex_and_text():
    assert hex_dump(None) == "(null: a tombstone)"
    assert hex_dump(b"") == "(no bytes)"
    assert hex_dump(b"\0EUR\xff").split() == ["0", "00", "45", "55", "52", "ff", ".EUR."]
    assert "88 bytes more" in hex_dump(b"x" * 600)
