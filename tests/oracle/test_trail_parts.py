"""The parts of the trail's check that need no database: rows cut out of a COPY, what entries tell, the pass in time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.adapters import digests
from actors.adapters.copying import encode, result_rows
from actors.matching.frames import RESULT_SCHEMA
from actors.ports import Claim, Flush
from cluster.oracle.copied import RowSplitter
from cluster.oracle.trail import VOUCHED
from cluster.oracle.trail_report import TrailReport
from cluster.oracle.trail_results import Baseline, ResultsPass
from cluster.oracle.trail_store import Place, TrailStore, VouchedFlush, row_key
from schemas.covered import COVERED, ROWS, ROWS_MAX, json_sha256, told
from tests.actors.workbench import A0, event, letter, sent_frame

NOW_MS = A0 + 5_000


def results(*txn_ids, final=True, key_group=3):
    rows = [
        {
            "key_group": key_group,
            "txn_id": txn_id,
            "verdict": 1 if final else 0,
            "final": final,
            "revision": 1,
            "rules_version": 1,
            "breaks": 0,
            "missing": 0,
            "late": 0,
            "present": 7,
            "currency": "EUR",
            "amount_minor": 100 + number,
            "spread_minor": 0,
            "first_arrival": A0,
            "last_arrival": A0 + number,
            "legs": f"0:{number}:EUR:S:1",
            "event_seqs": list(range(number + 1)),
            "waits": 0,
            "closes_at": 0,
        }
        for number, txn_id in enumerate(txn_ids)
    ]
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


def split(copied, sizes=(1 << 30,)):
    splitter, at, found = RowSplitter(), 0, []
    sizes = iter(sizes)
    while at < len(copied):
        size = next(sizes, 1 << 30)
        found += splitter.feed(copied[at : at + size])
        at += size
    return found


@given(st.lists(st.integers(1, 60), max_size=80))
def test_rows_come_out_of_a_copy_whole_however_it_comes_in_pieces(sizes):
    copied = encode(result_rows(results("A", "Bé", "C" * 40), NOW_MS))
    found = split(copied, sizes)
    assert [row.txn_id for row in found] == ["A", "Bé", "C" * 40]
    assert {row.key_group for row in found} == {3}
    assert {row.decided_us for row in found} == {NOW_MS * 1_000}
    assert hashlib.sha256(b"".join(row.data for row in found)).hexdigest() == digests.rows_sha256(copied)


def test_a_copy_of_another_table_is_refused():
    with pytest.raises(ValueError, match="fields"):
        split(encode(pl.DataFrame({"a": [1], "b": ["x"]})))


def test_the_entry_of_a_flush_vouches_for_what_it_writes_in_three_parts():
    new, shown, over = results("N1", "N2"), results("S1", "S2", final=False), results("R1")
    flush = Flush(Claim(0, 64, 1, 1, 1, 0, {}), final=new, replacing=pl.concat([shown, over]), revised=results("R0"))
    copied = encode(result_rows(new, NOW_MS))
    details = digests.result_details(flush, copied, NOW_MS)
    assert details["results_sha256"] == digests.rows_sha256(copied)
    assert details["overwriting"] == ["R0", "R1"]
    both = encode(result_rows(pl.concat([over, results("R0")]), NOW_MS))
    assert details["overwriting_sha256"] == digests.rows_sha256(both)
    alone = {name: digests.rows_sha256(encode(result_rows(shown.filter(txn_id=name), NOW_MS))) for name in ("S1", "S2")}
    assert details["shown"] == alone
    nothing = digests.result_details(Flush(Claim(0, 64, 1, 1, 1, 0, {})), b"", NOW_MS)
    assert nothing == {"results_sha256": "", "overwriting": [], "overwriting_sha256": "", "shown": {}}


def test_letters_and_marks_are_told_one_by_one_in_entries_of_bounded_length():
    events = sent_frame([event(f"T{number}") for number in range(3)]).with_columns(seq=pl.int_range(3, dtype=pl.Int64))
    letters = [letter(1, "core_txns", 0, offset) for offset in range(ROWS_MAX + 1)]
    flush = Flush(Claim(0, 64, 1, 1, 1, 0, {}), redeliveries=events, dead_letters=letters)
    entries = digests.row_entries(flush, datetime(2026, 1, 1, tzinfo=UTC), "shard-0")
    assert [(entry.action, len(next(iter(entry.details[ROWS].values())))) for entry in entries] == [
        ("dead_letters.set_aside", ROWS_MAX),
        ("dead_letters.set_aside", 1),
        ("redeliveries.marked", 3),
    ]
    assert entries[1].details[ROWS]["dead_letters"] == [
        {
            "topic": "core_txns",
            "kafka_partition": 0,
            "kafka_offset": ROWS_MAX,
            "key_group": 1,
            "reason": "malformed",
            "arrival": A0 * 1_000,
            "detail": hashlib.sha256(b"no").hexdigest(),
            "key": hashlib.sha256(b"k").hexdigest(),
            "payload": hashlib.sha256(b"\1").hexdigest(),
            "headers": None,
        }
    ]
    assert entries[2].details[ROWS]["redeliveries"][2]["seq"] == 2


def test_a_row_is_told_in_the_form_of_each_column():
    moment = datetime(2026, 3, 1, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=5)))
    row = {"version": 2, "state": "draft", "created_at": moment, "note": "é", "body": '{"b": 1, "a": [2]}', "other": 1}
    assert told("rule_sets", row) == {
        "version": 2,
        "state": "draft",
        "created_at": 1_772_348_400_000_007,
        "note": hashlib.sha256("é".encode()).hexdigest(),
        "body": hashlib.sha256(b'{"a":[2],"b":1}').hexdigest(),
    }
    assert told("incidents", {"closed_at": None, "detail": None}) == {"closed_at": None, "detail": None}
    assert json_sha256({"a": 1, "b": 2}) == json_sha256({"b": 2, "a": 1}) != json_sha256({"a": 1, "b": 3})


def test_every_key_of_a_covered_table_is_told():
    assert all(set(covered.key) <= set(covered.columns) for covered in COVERED.values())


@pytest.fixture
def store():
    with TrailStore() as made:
        yield made


def tell(store, chain, seq, table, *, action="", actor="", **row):
    return store.take_rows(Place(chain, seq), action, actor, {ROWS: {table: [row]}})


LETTER = {"topic": "core_txns", "kafka_partition": 0, "kafka_offset": 5}
LETTER_KEY = row_key(COVERED["dead_letters"].key, LETTER)


def test_every_form_of_an_event_digest_is_kept_for_its_check(store):
    bounds = {"key_group_from": 0, "key_group_to": 64}
    for number, name in enumerate(VOUCHED):
        store.take_flush(number, Place("shard-0", number), {**bounds, name: "x"})
    assert [list(flush.details)[2:] for flush in store.flushes()] == [[name] for name in VOUCHED]


def test_a_column_comes_from_the_entry_that_told_it_last(store):
    tell(store, "shard-0", 3, "dead_letters", **LETTER, reason="malformed")
    assert store.expected("dead_letters", LETTER_KEY).columns["state"] == ("new", Place("shard-0", 3))
    tell(store, "api", 9, "dead_letters", **LETTER, state="dismissed", state_changed_by="adam")
    found = store.expected("dead_letters", LETTER_KEY).columns
    assert found["reason"] == ("malformed", Place("shard-0", 3))
    assert found["state"] == ("dismissed", Place("api", 9))
    assert found["state_changed_by"] == ("adam", Place("api", 9))


@pytest.mark.parametrize("order", [("dismissed", "replayed"), ("replayed", "dismissed")])
def test_a_replay_is_the_last_thing_that_happens_to_a_letter_whichever_chain_is_walked_first(store, order):
    for seq, state in enumerate(order):
        tell(store, f"api-{seq}", 1, "dead_letters", **LETTER, state=state)
    tell(store, "shard-0", 3, "dead_letters", **LETTER, reason="malformed")
    assert store.expected("dead_letters", LETTER_KEY).columns["state"][0] == "replayed"
    assert store.expected("dead_letters", LETTER_KEY).columns["reason"][0] == "malformed"


def test_an_exception_is_what_its_highest_version_is(store):
    for chain, version, state in (("api", 2, "resolved"), ("api-two", 1, "assigned")):
        tell(store, chain, 1, "exceptions", key_group=1, txn_id="T", version=version, state=state)
    assert store.expected("exceptions", '[1, "T"]').columns["state"] == ("resolved", Place("api", 1))


UNTOUCHED = {
    "state": "open",
    **dict.fromkeys(("assignee", "reason_code", "proposed_by", "resolved_by", "approved_by", "healed_at")),
}
IN_REVIEW = {"state": "in_review", "assignee": "anna", "proposed_by": "anna", "reason_code": "timing"}
APPROVED = {**IN_REVIEW, "state": "resolved", "approved_by": "arno", "resolved_by": "anna"}


def desk(store, *steps):
    """Tell one exception step by step, each as (action, actor, row); gives the fields that are not explained."""
    odd = []
    for number, (action, actor, row) in enumerate(steps, 1):
        told_row = {"key_group": 1, "txn_id": "T", "version": number, **UNTOUCHED, **row}
        faults = tell(store, "api", number, "exceptions", action=f"exception.{action}", actor=actor, **told_row)
        odd += [(fault.seq, fault.field) for fault in faults]
    return odd


@pytest.mark.parametrize(
    ("steps", "odd"),
    [
        ([("propose", "anna", IN_REVIEW), ("approve", "arno", APPROVED)], []),
        ([("propose", "anna", IN_REVIEW), ("reject", "arno", {"state": "in_review", "assignee": "anna"})], []),
        ([("assign", "anna", {"state": "assigned", "assignee": "arno"}), ("unassign", "arno", {})], []),
        ([("start_review", "anna", {"state": "in_review", "assignee": "anna"}), ("reopened", "recon", {})], []),
        ([("healed", "recon", {"state": "resolved", "reason_code": "healed", "healed_at": 5})], []),
        # A proposal that nobody made, approved in good faith.
        ([("approve", "arno", APPROVED)], [(1, "assignee"), (1, "reason_code"), (1, "proposed_by")]),
        ([("propose", "arno", IN_REVIEW)], [(1, "proposed_by")]),
        ([("propose", "anna", IN_REVIEW), ("approve", "adam", APPROVED)], [(2, "approved_by")]),
        (
            [("propose", "anna", IN_REVIEW), ("approve", "arno", {**APPROVED, "proposed_by": "adam"})],
            [(2, "proposed_by")],
        ),
        (
            [("propose", "anna", IN_REVIEW), ("assign", "arno", {**IN_REVIEW, "reason_code": "healed"})],
            [(2, "reason_code")],
        ),
    ],
    ids=["approved", "rejected", "unassigned", "reopened", "healed", "forged", "in-a-name", "other", "maker", "reason"],
)
def test_only_what_an_act_changes_may_differ_from_what_was_told_before(store, steps, odd):
    assert desk(store, *steps) == odd


def test_a_version_that_was_not_told_shows(store):
    row = {"key_group": 1, "txn_id": "T", **UNTOUCHED, "state": "assigned", "assignee": "anna"}
    assert tell(store, "api", 1, "exceptions", action="exception.assign", actor="anna", version=1, **row) == []
    (fault,) = tell(store, "api", 2, "exceptions", action="exception.assign", actor="anna", version=3, **row)
    assert (fault.field, "from 1 to 3" in fault.what) == ("version", True)


def test_rules_that_were_changed_before_they_were_activated_show(store):
    draft = {"version": 2, "state": "draft", "body": "x", "created_by": "anna", "activated_by": None}
    assert tell(store, "api", 1, "rule_sets", action="rules.draft", actor="anna", **draft) == []
    active = {**draft, "state": "active", "activated_by": "adam", "body": "y"}
    (fault,) = tell(store, "api", 2, "rule_sets", action="rules.activate", actor="adam", **active)
    assert (fault.table, fault.row, fault.field) == ("rule_sets", "version=2", "body")


def test_rows_that_nobody_asked_for_are_left_over(store):
    tell(store, "api", 1, "people", username="anna", role="analyst")
    tell(store, "api", 2, "people", username="arno", role="analyst")
    store.expected("people", '["anna"]')
    ((key, row),) = store.unseen("people")
    assert (key, row.last) == ('["arno"]', Place("api", 2))
    assert store.expected("people", '["nobody"]') is None


def test_what_is_not_in_the_form_of_rows_is_left_alone(store):
    for details in ({}, {ROWS: None}, {ROWS: {"unknown": [{}]}}, {ROWS: {"people": "x"}}):
        assert store.take_rows(Place("api", 1), "", "", details) == []
    assert list(store.unseen("people")) == []


def vouched(at_ms, rows, *, seq=1, groups=(0, 64), over=(), **changes):
    copied = encode(result_rows(rows, at_ms))
    is_over = pl.col("txn_id").is_in(list(over))
    details = {
        "key_group_from": groups[0],
        "key_group_to": groups[1],
        "final": len(rows) - len(over),
        "results_sha256": digests.rows_sha256(encode(result_rows(rows.filter(~is_over), at_ms))),
        "overwriting": sorted(over),
        "overwriting_sha256": digests.rows_sha256(encode(result_rows(rows.filter(is_over), at_ms))) if over else "",
        **changes,
    }
    return VouchedFlush(at_ms * 1_000, Place(f"shard-{groups[0]}", seq), details), split(copied)


def passed(flushes, rows, baseline=None):
    report = TrailReport()
    walk = ResultsPass(iter(flushes), baseline, report)
    for row in rows:
        walk.take(row)
    return walk.finish(), report


def test_rows_are_matched_with_the_flushes_that_wrote_them():
    first, rows = vouched(NOW_MS, results("A", "B", "C"), over=["B"])
    second, more = vouched(NOW_MS, results("X", key_group=80), groups=(64, 128))
    third, rest = vouched(NOW_MS + 1, results("D"), seq=2)
    suspects, report = passed([first, second, third], [*rows, *more, *rest])
    assert (suspects.flushes, suspects.strays, report.faults, report.covered_results) == ([], [], [], 5)


def test_a_flush_whose_rows_are_gone_changed_or_more_is_a_suspect():
    first, rows = vouched(NOW_MS, results("A", "B"))
    second, more = vouched(NOW_MS + 1, results("C"), seq=2)
    other = split(encode(result_rows(results("C").with_columns(breaks=pl.lit(4, pl.Int16)), NOW_MS + 1)))
    for seen, suspected in (
        (rows, [second]),
        (more, [first]),
        ([rows[0], *more], [first]),
        ([*rows, *other], [second]),
        ([*rows, *more, *other], [second]),
        ([], [first, second]),
    ):
        suspects, _ = passed([first, second], seen)
        assert suspects.flushes == suspected
    assert passed([first, second], [*rows, *more])[0].flushes == []


def test_a_row_of_no_flush_is_a_stray():
    first, rows = vouched(NOW_MS, results("A"))
    stray = split(encode(result_rows(results("B"), NOW_MS + 7)))
    elsewhere = split(encode(result_rows(results("C", key_group=70), NOW_MS)))
    suspects, _ = passed([first], [*rows, *elsewhere, *stray])
    assert [row.txn_id for row in suspects.strays] == ["C", "B"]
    assert suspects.flushes == []


def test_what_was_there_at_the_baseline_is_taken_by_key_group_and_flushes_of_before_do_not_count():
    old = split(encode(result_rows(results("A", "B"), NOW_MS)))
    digest = hashlib.sha256(b"".join(row.data for row in old)).hexdigest()
    baseline = Baseline(Place("baseline", 1), 0, NOW_MS * 1_000, {"3": (2, digest)})
    before, _ = vouched(NOW_MS - 1, results("Z"))
    after, rows = vouched(NOW_MS + 1, results("C"))
    suspects, report = passed([before, after], [*old, *rows], baseline)
    assert (suspects.flushes, suspects.groups) == ([], [])
    assert (report.covered_results, report.baseline_results) == (3, 2)
    assert passed([after], [old[0], *rows], baseline)[0].groups == [3]


def test_rows_of_an_older_version_are_counted_apart():
    flush, rows = vouched(NOW_MS, results("A", "B"))
    bare = VouchedFlush(flush.at_us, flush.place, {"key_group_from": 0, "key_group_to": 64, "final": 2})
    suspects, report = passed([bare], rows)
    assert (suspects.flushes, report.uncovered_results, report.covered_results) == ([], 2, 0)
