"""The comparison finds nothing in a true ledger, and exactly what was changed in a tampered one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from cluster.oracle.compare import (
    Frame,
    _compare_raw_row,
    compare_bucket,
    compare_checkpoints,
    compare_counters,
    compare_dead_letters,
)
from cluster.oracle.decoding import Decoder
from cluster.oracle.differences import Findings
from cluster.oracle.judge import Seen, judge
from cluster.oracle.ledger import Checkpoint
from cluster.oracle.log import Extent, SetAsideRecord, Spool, bucket_ranges, digest
from cluster.oracle.planted import compare_planted
from cluster.oracle.records import Refused
from producers.plan import Plan, Plant
from producers.scenario import Scenario
from producers.wire import Encoder
from schemas.errors import DeadLetterReason
from schemas.events import DEFAULT_SOURCES, STATUS_NAMES, Status, key_group_of, schema_text
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import break_names

START_MS = 1_790_000_000_000
NEVER = 1 << 60
RULES = Rulebook([RuleSet()])
PLAN = Plan(seed=11, rate=100.0, transactions=400, breaks=dict.fromkeys(Plant, 0.8 / len(Plant)))


class PaperLedger:
    """A ledger that an honest pipeline would have written, as plain rows that a test may falsify."""

    def __init__(self, events, set_aside):
        by_txn = {}
        for seq, event in enumerate(events, start=1):
            by_txn.setdefault(event.txn_id, []).append((seq, event))
        self.raw, self.rows, self.letters = [], [], []
        for txn_id, pairs in by_txn.items():
            found = judge([event for _, event in pairs], RULES, DEFAULT_SOURCES, [NEVER] * 3)
            key_group = key_group_of(txn_id)
            self.raw += [
                {
                    "key_group": key_group,
                    "seq": seq,
                    "txn_id": txn_id,
                    "source": DEFAULT_SOURCES[event.source].name,
                    "event_id": event.event_id,
                    "amount_minor": event.amount_minor,
                    "currency": event.currency,
                    "status": STATUS_NAMES[event.status],
                    "event_time_us": event.event_time * 1000,
                    "arrival_us": event.arrival * 1000,
                    "account_id": event.account_id,
                    "original_txn_id": event.original_txn_id,
                    "kafka_partition": event.partition,
                    "kafka_offset": event.offset,
                    "redelivery": event.redelivery,
                    "attributes": event.stored_attributes,
                }
                for seq, event in pairs
            ]
            self.rows.append(
                {
                    "key_group": key_group,
                    "txn_id": txn_id,
                    "verdict": found.verdict.value,
                    "final": True,
                    "revision": found.revision,
                    "rules_version": found.rules_version,
                    "breaks": sum(kind.mask for kind in found.breaks),
                    "missing": sum(1 << source for source in found.missing),
                    "late": sum(1 << source for source in found.late),
                    "present": sum(1 << leg.source for leg in found.legs),
                    "currency": found.currency,
                    "amount_minor": found.amount_minor,
                    "spread_minor": found.spread_minor,
                    "first_arrival_us": found.first_arrival * 1000,
                    "last_arrival_us": found.last_arrival * 1000,
                    "legs": found.packed_legs,
                    "event_seqs": [seq for seq, event in pairs if not event.redelivery],
                }
            )
        for (topic, partition, offset), (record, payload) in set_aside.items():
            self.letters.append(
                {
                    "topic": topic,
                    "kafka_partition": partition,
                    "kafka_offset": offset,
                    "arrival_us": record.arrival * 1000,
                    "reason": record.reason.value,
                    "key": record.key,
                    "payload": payload,
                }
            )

    async def raw_events(self, groups):
        for row in self.raw:
            if row["key_group"] in groups:
                yield row

    async def results(self, groups):
        for row in self.rows:
            if row["key_group"] in groups:
                yield row

    async def dead_letters(self):
        for row in self.letters:
            yield row

    async def fetch(self, name, *arguments):
        match name:
            case "counters":
                totals = Counter(f"events.{row['source']}" for row in self.raw)
                totals["redelivery"] = sum(row["redelivery"] for row in self.raw)
                totals["dead_letter"] = len(self.letters)
                totals.update(f"verdict.{('PENDING', 'MATCHED', 'MISMATCHED')[row['verdict']]}" for row in self.rows)
                totals.update(f"break.{name}" for row in self.rows for name in break_names(row["breaks"]))
                totals["late"] = sum(row["late"] != 0 for row in self.rows)
                return [{"metric": metric, "n": n} for metric, n in totals.items()]
            case "contract_results":
                names = [source.name for source in DEFAULT_SOURCES]
                return [
                    {
                        "txn_id": row["txn_id"],
                        "verdict": ("PENDING", "MATCHED", "MISMATCHED")[row["verdict"]],
                        "breaks": break_names(row["breaks"]),
                        "missing_sources": [n for i, n in enumerate(names) if row["missing"] >> i & 1],
                        "late_sources": [n for i, n in enumerate(names) if row["late"] >> i & 1],
                        "final": row["final"],
                    }
                    for row in self.rows
                    if row["txn_id"] in arguments[1]
                ]
            case "redelivery_counts":
                counts = Counter(row["txn_id"] for row in self.raw if row["redelivery"])
                return [{"txn_id": txn_id, "n": n} for txn_id, n in counts.items() if txn_id in arguments[1]]
            case "planted_dead_letters":
                return [row for row in self.letters if row["key"] in arguments[0]]
        raise AssertionError(name)


class World:
    """A log on disk and the ledger that an honest pipeline would have made of it."""

    def __init__(self, folder):
        encoder = Encoder(7)
        decoder = Decoder(lambda schema_id: schema_text() if schema_id == 7 else None, DEFAULT_SOURCES)
        offsets = Counter()
        events, payloads, self.planted = [], {}, []
        self.spool = Spool(folder, bucket_ranges(400_000))
        self.spool.__enter__()
        for emission, truth in Scenario(PLAN, START_MS).emissions():
            place = (emission.topic, 0, offsets[emission.topic])
            offsets[emission.topic] += 1
            value = encoder.encode(emission.event, emission.damage)
            arrival = START_MS + emission.at_ms
            try:
                event = decoder.decode(*place, arrival, value)
                events.append(event)
                self.spool.add(event)
            except Refused as refused:
                record = SetAsideRecord(refused.reason, arrival, emission.key, digest(value))
                self.spool.set_aside[place] = record
                payloads[place] = (record, value)
            if truth is not None:
                self.planted.append(truth)
        self.ledger = PaperLedger(events, payloads)
        ends = {(topic, 0): end for topic, end in offsets.items()}
        self.extents = {place: Extent(0, end) for place, end in ends.items()}
        self.checkpoints = [
            Checkpoint(range(64), 1, len(events) + 1, 1, ends),
            Checkpoint(range(64, 128), 1, len(events) + 1, 1, ends),
        ]
        self.settled_ms = self.now_ms = NEVER
        self.retired = None

    async def compare(self):
        findings = Findings()
        frame = Frame(
            DEFAULT_SOURCES, RULES, self.checkpoints, self.extents, self.settled_ms, self.now_ms, self.retired
        )
        compare_checkpoints(frame, findings)
        for bucket in range(len(self.spool.buckets)):
            await compare_bucket(frame, self.ledger, self.spool, bucket, findings)
        await compare_dead_letters(frame, self.ledger, self.spool.set_aside, findings)
        await compare_counters(frame, self.ledger, findings)
        return findings


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.spool.__exit__(None, None, None)


async def test_a_true_ledger_is_clean_and_everything_in_it_was_compared(world):
    findings = await world.compare()
    assert dict(findings.by_kind) == {}
    assert findings.compared["raw_events"] == len(world.ledger.raw) == world.spool.accepted
    assert findings.compared["final_results"] == len(world.ledger.rows) == PLAN.transactions
    assert findings.compared["dead_letters"] == len(world.ledger.letters) == len(world.spool.set_aside)
    assert findings.compared["open"] == findings.compared["recent"] == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("verdict", 0),
        ("revision", 99),
        ("rules_version", 2),
        ("breaks", 127),
        ("missing", 7),
        ("late", 7),
        ("present", 8),
        ("currency", "CLP"),
        ("amount_minor", -5),
        ("spread_minor", -5),
        ("first_arrival_us", 1),
        ("last_arrival_us", 1),
        ("legs", ""),
        ("event_seqs", []),
        ("key_group", -1),
    ],
)
async def test_a_changed_value_in_one_result_is_named(world, column, value):
    row = world.ledger.rows[17]
    group = row["key_group"]
    row[column] = value
    if column == "key_group":  # the stream asks by key group, so a wrong one must still be served to be seen
        row["key_group"] = (group + 1) % 128 if (group + 1) % 128 in world.spool.buckets[0] else 0
    findings = await world.compare()
    kinds = {kind for kind in findings.by_kind if kind.startswith("results.")}
    assert kinds
    named = {example.subject for kind in kinds for example in findings.examples[kind]}
    assert named == {row["txn_id"]}
    if column != "key_group":
        assert kinds == {f"results.{column.removesuffix('_us')}"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("txn_id", "TX-forged"),
        ("event_id", "forged"),
        ("amount_minor", 1_000_000_007),
        ("currency", "CLP"),
        ("status", "UNKNOWN"),
        ("event_time_us", START_MS * 1000 + 1),
        ("arrival_us", START_MS * 1000 + 1),
        ("account_id", "forged"),
        ("original_txn_id", "forged"),
        ("redelivery", None),
    ],
)
async def test_a_changed_value_in_one_logged_event_is_named(world, column, value):
    row = world.ledger.raw[23]
    row[column] = not row["redelivery"] if column == "redelivery" else value
    findings = await world.compare()
    assert dict(findings.by_kind) == {f"raw_events.{column.removesuffix('_us')}": 1}


async def test_a_lost_event_is_named(world):
    lost = world.ledger.raw.pop(5)
    findings = await world.compare()
    assert findings.by_kind["raw_events.missing"] == 1
    assert findings.examples["raw_events.missing"][0].expected == lost["txn_id"]


async def test_an_event_counted_twice_is_named(world):
    world.ledger.raw.append({**world.ledger.raw[5], "seq": world.ledger.raw[5]["seq"] + 10_000})
    assert (await world.compare()).by_kind["raw_events.repeated"] == 1


async def test_an_event_that_was_never_in_the_log_is_named(world):
    world.ledger.raw.append({**world.ledger.raw[5], "kafka_offset": 999_999})
    assert (await world.compare()).by_kind["raw_events.alien"] == 1


async def test_a_lost_result_and_an_invented_one_are_named(world):
    lost = world.ledger.rows.pop(3)
    world.ledger.rows.append({**world.ledger.rows[0], "txn_id": "TX-invented"})
    findings = await world.compare()
    assert findings.examples["results.missing"][0].subject == lost["txn_id"]
    assert findings.examples["results.alien"][0].subject == "TX-invented"


async def test_a_result_that_should_be_final_and_is_not_is_named(world):
    world.ledger.rows[3]["final"] = False
    findings = await world.compare()
    assert findings.by_kind["results.final"] == 1
    assert findings.mendable


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("reason", DeadLetterReason.BAD_ID.value + "?", "dead_letters.reason"),
        ("payload", b"other", "dead_letters.payload"),
        ("payload", None, "dead_letters.payload"),
        ("key", b"other", "dead_letters.key"),
        ("arrival_us", 1, "dead_letters.arrival"),
        ("kafka_offset", 999_999, "dead_letters.alien"),
    ],
)
async def test_a_changed_dead_letter_is_named(world, column, value, kind):
    world.ledger.letters[2][column] = value
    assert (await world.compare()).by_kind[kind] == 1


async def test_a_lost_dead_letter_is_named(world):
    world.ledger.letters.pop(2)
    assert (await world.compare()).by_kind["dead_letters.missing"] == 1


async def test_a_deciding_too_early_is_named_though_it_turned_out_right(world):
    world.settled_ms = world.now_ms = START_MS + 500  # nothing with a missing source can be known yet
    findings = await world.compare()
    assert set(findings.by_kind) == {"results.early"}


async def test_an_open_window_is_open_in_the_ledger_too(world):
    row = next(row for row in world.ledger.rows if row["missing"])
    row["final"] = False
    row["verdict"] = 0
    row["missing"] = 0
    row["breaks"] = 0
    world.settled_ms = row["last_arrival_us"] // 1000 + 1
    findings = await world.compare()
    assert row["txn_id"] not in {example.subject for found in findings.examples.values() for example in found}
    assert findings.compared["open"] == 1


async def test_rows_beyond_a_shards_position_must_not_be_there(world):
    behind = world.checkpoints[0].positions | {("core_txns", 0): 10}
    world.checkpoints[0] = Checkpoint(range(64), 1, 1 << 40, 1, behind)
    assert (await world.compare()).by_kind["raw_events.alien"] > 0


async def test_a_position_beyond_the_end_of_the_log_is_named(world):
    beyond = world.checkpoints[0].positions | {("core_txns", 0): 10**9}
    world.checkpoints[0] = Checkpoint(range(64), 1, 1 << 40, 1, beyond)
    assert (await world.compare()).by_kind["checkpoints.position"] == 1


async def test_key_groups_without_an_owner_are_named(world):
    world.checkpoints[0] = Checkpoint(range(63), 1, 1 << 40, 1, world.checkpoints[0].positions)
    assert (await world.compare()).by_kind["checkpoints.range"] == 1


async def test_recovery_would_lose_an_open_event_below_low_seq(world):
    row = next(row for row in world.ledger.rows if row["missing"])
    row.update(final=False, verdict=0, missing=0, breaks=0)
    world.settled_ms = row["last_arrival_us"] // 1000 + 1
    for index, checkpoint in enumerate(world.checkpoints):
        world.checkpoints[index] = Checkpoint(
            checkpoint.groups, 1, checkpoint.next_seq, checkpoint.next_seq, checkpoint.positions
        )
    assert (await world.compare()).by_kind["checkpoints.low_seq"] == 1


async def test_a_log_that_kafka_has_trimmed_leaves_older_rows_unjudged(world):
    trimmed = min(row["kafka_offset"] for row in world.ledger.raw if row["source"] == "CORE") + 50
    world.extents["core_txns", 0] = Extent(trimmed, world.extents["core_txns", 0].high)
    events = [event for bucket in range(len(world.spool.buckets)) for event in world.spool.events(bucket)]
    kept = [event for event in events if event.source != 0 or event.offset >= trimmed]
    world.spool.events = lambda bucket: (
        event for event in kept if key_group_of(event.txn_id) in world.spool.buckets[bucket]
    )
    for place in [place for place in world.spool.set_aside if place[0] == "core_txns" and place[2] < trimmed]:
        del world.spool.set_aside[place]
    findings = await world.compare()
    assert {kind for kind in findings.by_kind if not kind.startswith("results.alien")} == set()
    assert findings.compared["older_than_log"] >= 50


async def test_everything_planted_is_found_in_a_true_ledger(world):
    findings = Findings()
    await compare_planted(world.planted, world.ledger, findings)
    assert dict(findings.by_kind) == {}
    assert sum(findings.compared.values()) == len(world.planted)
    assert {kind.removeprefix("planted.") for kind in findings.compared} == set(Plant)


@pytest.mark.parametrize("kind", list(Plant))
async def test_a_planted_break_that_was_not_found_is_named(world, kind):
    one = next(planted for planted in world.planted if planted.kind == kind)
    world.ledger.rows = [row for row in world.ledger.rows if row["txn_id"] != one.txn_id]
    findings = Findings()
    await compare_planted(world.planted, world.ledger, findings)
    assert dict(findings.by_kind) == {f"planted.{kind}": 1}


def test_examples_of_every_kind_are_shown_before_many_of_one():
    findings = Findings()
    for number in range(50):
        findings.differ("results.legs", f"T{number}", "a", "b")
    findings.differ("raw_events.missing", "core_txns[0]@1", "T1", "no row")
    shown = findings.first(4)
    assert {difference.kind for difference in shown} == {"results.legs", "raw_events.missing"}
    assert len(shown) == 4


@pytest.mark.parametrize("events", [0, 1, 149_999, 1_500_000, 10**9])
def test_buckets_cover_all_key_groups_once(events):
    groups = [group for bucket in bucket_ranges(events) for group in bucket]
    assert groups == list(range(128))


async def test_days_that_retention_dropped_are_counted_and_not_judged(world):
    row = world.ledger.raw.pop(5)
    world.retired = datetime.fromtimestamp(row["arrival_us"] // 1_000_000, UTC).date()
    findings = await world.compare()
    assert dict(findings.by_kind) == {}
    assert findings.compared["retired"] == 1


def test_another_source_of_the_same_topic_and_other_attributes_are_differences():
    event = Seen(1, "e", "T", 5, "EUR", Status.SUCCESS, START_MS, None, None, START_MS, 0, 7, {"m": "é", "a": "1"})
    row = {
        "key_group": key_group_of("T"),
        "source": "B",
        "txn_id": "T",
        "event_id": "e",
        "amount_minor": 5,
        "currency": "EUR",
        "status": "SUCCESS",
        "event_time_us": START_MS * 1000,
        "arrival_us": START_MS * 1000,
        "account_id": None,
        "original_txn_id": None,
        "redelivery": False,
        "attributes": '{"a":"1","m":"é"}',
    }
    findings = Findings()
    _compare_raw_row(findings, ("t", 0, 7), event, "B", row)
    assert findings.total == 0
    _compare_raw_row(findings, ("t", 0, 7), event, "A", row)
    _compare_raw_row(findings, ("t", 0, 7), event, "B", {**row, "attributes": None})
    _compare_raw_row(findings, ("t", 0, 7), event, "B", {**row, "attributes": '{"m":"é","a":"1"}'})
    assert findings.by_kind == {"raw_events.source": 1, "raw_events.attributes": 2}
