"""Compares the ledger with the log, one range of key groups at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from cluster.oracle.differences import Findings
from cluster.oracle.judge import Judgement, Seen, judge
from cluster.oracle.ledger import Checkpoint, Ledger
from cluster.oracle.log import Extent, Position, RecordId, SetAsideRecord, Spool, digest
from schemas.events import KEY_GROUPS, STATUS_NAMES, SourceSpec, key_group_of
from schemas.rules import Rulebook
from schemas.verdicts import Verdict, break_names, source_names

NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Frame:
    """What holds for a whole comparison. Times in ms.

    Everything that arrived before `settled_ms` has had time to be decided; a transaction with newer events is recent:
    only its log rows are compared, and that it was not decided too early. Nothing has arrived after `now_ms`, so that
    no window that closes later can be known to have closed.
    """

    sources: tuple[SourceSpec, ...]
    rulebook: Rulebook
    checkpoints: Sequence[Checkpoint]
    extents: Mapping[Position, Extent]
    settled_ms: int
    now_ms: int
    retired_until: date | None = None  # UTC day; retention took what was written up to it, so arrived before its end

    @property
    def is_trimmed(self) -> bool:
        """Whether Kafka or retention has let go of some of the events, so that log and ledger hold different ones."""
        return self.retired_until is not None or any(extent.low > 0 for extent in self.extents.values())

    def positions(self, key_group: int) -> Mapping[Position, int]:
        """How far the owner of a key group has read; nothing when it has no owner."""
        for checkpoint in self.checkpoints:
            if key_group in checkpoint.groups:
                return checkpoint.positions
        return {}


def compare_checkpoints(frame: Frame, findings: Findings) -> None:
    """Ranges cover all key groups once, and no position is beyond the end of its partition or behind it."""
    owned = Counter(group for checkpoint in frame.checkpoints for group in checkpoint.groups)
    for group in range(KEY_GROUPS):
        if owned[group] != 1:
            findings.differ("checkpoints.range", f"key group {group}", "one owner", f"{owned[group]}")
    for checkpoint in frame.checkpoints:
        name = f"range {checkpoint.groups.start}-{checkpoint.groups.stop - 1}"
        findings.compared["checkpoints"] += 1
        for position, offset in checkpoint.positions.items():
            extent = frame.extents.get(position)
            findings.compared["positions"] += 1
            if extent is None:
                findings.differ("checkpoints.position", f"{name} {_place(position)}", "no such partition", offset)
            elif offset > extent.high:
                findings.differ("checkpoints.position", f"{name} {_place(position)}", f"<= {extent.high}", offset)


def _place(position: Position) -> str:
    return f"{position[0]}[{position[1]}]"


def _record(identity: RecordId) -> str:
    return f"{identity[0]}[{identity[1]}]@{identity[2]}"


@dataclass(slots=True)
class _Bucket:
    """One range of key groups while it is compared."""

    frame: Frame
    findings: Findings
    events: dict[RecordId, Seen] = field(default_factory=dict)
    by_txn: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    low_seq_of_open: dict[str, int] = field(default_factory=dict)
    oldest_arrival: int = NEVER_MS
    trimmed: set[str] = field(default_factory=set)  # transactions with events older than the log still holds

    def load(self, events: Iterable[Seen]) -> None:
        """Keep the events that the ledger should hold by now: those below the owner's position."""
        topics = [source.topic for source in self.frame.sources]
        positions = [self.frame.positions(group) for group in range(KEY_GROUPS)]
        for event in events:
            topic = topics[event.source]
            if event.offset < positions[key_group_of(event.txn_id)].get((topic, event.partition), 0):
                self.events[topic, event.partition, event.offset] = event
                self.by_txn[event.txn_id].append(event)


async def compare_bucket(frame: Frame, ledger: Ledger, spool: Spool, bucket: int, findings: Findings) -> None:
    """Compare event_log, redeliveries and results of one bucket."""
    groups = spool.buckets[bucket]
    state = _Bucket(frame, findings, oldest_arrival=spool.oldest_arrival)
    state.load(spool.events(bucket))
    watermarks = [frame.settled_ms] * len(frame.sources)
    judgements = {
        txn_id: judge(events, frame.rulebook, frame.sources, watermarks) for txn_id, events in state.by_txn.items()
    }
    await _compare_raw(state, ledger, groups)
    await _compare_results(state, ledger, groups, judgements)
    _compare_low_seq(state, groups)


RAW_FIELDS = (
    "key_group",
    "source",
    "txn_id",
    "event_id",
    "amount_minor",
    "currency",
    "status",
    "event_time",
    "arrival",
    "account_id",
    "original_txn_id",
    "redelivery",
    "attributes",
)


async def _compare_raw(state: _Bucket, ledger: Ledger, groups: range) -> None:
    findings, frame = state.findings, state.frame
    topic_of = {source.name: source.topic for source in frame.sources}
    seqs: set[tuple[int, int]] = set()
    next_seq = {group: checkpoint.next_seq for checkpoint in frame.checkpoints for group in checkpoint.groups}
    async for row in ledger.raw_events(groups):
        findings.compared["raw_events"] += 1
        findings.tally[f"events.{row['source']}"] += 1
        findings.tally["redelivery"] += row["redelivery"]
        topic = topic_of.get(row["source"], f"?{row['source']}")
        identity = (topic, row["kafka_partition"], row["kafka_offset"])
        event = state.events.get(identity)
        if event is None:
            extent = frame.extents.get((topic, row["kafka_partition"]))
            if extent is not None and row["kafka_offset"] < extent.low:
                findings.compared["older_than_log"] += 1
                state.trimmed.add(row["txn_id"])
            else:
                findings.differ("raw_events.alien", _record(identity), "no such accepted record", row["txn_id"])
            continue
        if event.stored_seq:
            findings.differ("raw_events.repeated", _record(identity), "once", f"again as seq {row['seq']}")
            continue
        event.stored_seq = row["seq"]
        if (row["key_group"], row["seq"]) in seqs:
            findings.differ("raw_events.seq", _record(identity), "a seq of its own", row["seq"])
        seqs.add((row["key_group"], row["seq"]))
        if row["seq"] >= next_seq.get(row["key_group"], NEVER_MS):
            findings.differ("checkpoints.next_seq", _record(identity), f"above {row['seq']}", "not above")
        _compare_raw_row(findings, identity, event, frame.sources[event.source].name, row)
    for identity, event in state.events.items():
        if not event.stored_seq and frame.retired_until is not None and _day(event.arrival) <= frame.retired_until:
            findings.compared["retired"] += 1
            state.trimmed.add(event.txn_id)
        elif not event.stored_seq:
            findings.differ("raw_events.missing", _record(identity), event.txn_id, "no row")


def _day(arrival_ms: int) -> date:
    return datetime.fromtimestamp(arrival_ms // 1000, UTC).date()


def _compare_raw_row(findings: Findings, identity: RecordId, event: Seen, source: str, row: asyncpg.Record) -> None:
    expected = (
        key_group_of(event.txn_id),
        source,
        event.txn_id,
        event.event_id,
        event.amount_minor,
        event.currency,
        STATUS_NAMES[event.status],
        event.event_time * 1000,
        event.arrival * 1000,
        event.account_id,
        event.original_txn_id,
        event.redelivery,
        event.stored_attributes,
    )
    found = (
        row["key_group"],
        row["source"],
        row["txn_id"],
        row["event_id"],
        row["amount_minor"],
        row["currency"],
        row["status"],
        row["event_time_us"],
        row["arrival_us"],
        row["account_id"],
        row["original_txn_id"],
        row["redelivery"],
        row["attributes"],
    )
    findings.compared["raw_event_values"] += len(expected)
    if expected != found:
        for name, left, right in zip(RAW_FIELDS, expected, found, strict=True):
            if left != right:
                findings.differ(f"raw_events.{name}", f"{_record(identity)} {event.txn_id}", left, right)


async def _compare_results(state: _Bucket, ledger: Ledger, groups: range, judgements: dict[str, Judgement]) -> None:
    findings = state.findings
    found: set[str] = set()
    async for row in ledger.results(groups):
        findings.compared["results"] += 1
        txn_id = row["txn_id"]
        if row["final"]:
            _tally(findings, row)
        if txn_id in state.trimmed:
            continue
        expected = judgements.get(txn_id)
        if expected is None and row["first_arrival_us"] < state.oldest_arrival * 1000 and state.frame.is_trimmed:
            findings.compared["older_than_log"] += 1
            continue
        if expected is None:
            findings.differ("results.alien", txn_id, "no such transaction in the log", Verdict(row["verdict"]).name)
            continue
        found.add(txn_id)
        _compare_result(state, expected, row)
    for txn_id, expected in judgements.items():
        if txn_id in state.trimmed or txn_id in found:
            continue
        state.low_seq_of_open[txn_id] = min(event.stored_seq for event in state.by_txn[txn_id])
        if expected.last_arrival >= state.frame.settled_ms:
            findings.compared["recent"] += 1
        elif expected.final:
            findings.differ("results.missing", txn_id, expected.verdict.name, "no row")
        else:
            findings.compared["open"] += 1


def _tally(findings: Findings, row: asyncpg.Record) -> None:
    findings.tally[f"verdict.{Verdict(row['verdict']).name}"] += 1
    findings.tally.update(f"break.{name}" for name in break_names(row["breaks"]))
    findings.tally["late"] += row["late"] != 0


def _compare_result(state: _Bucket, expected: Judgement, row: asyncpg.Record) -> None:
    findings, frame = state.findings, state.frame
    txn_id = expected.txn_id
    recent = expected.last_arrival >= frame.settled_ms
    if not row["final"]:
        state.low_seq_of_open[txn_id] = min(event.stored_seq for event in state.by_txn[txn_id])
        if recent:
            findings.compared["recent"] += 1
        elif expected.final:
            findings.differ("results.final", txn_id, f"final {expected.verdict.name}", "not final")
        else:
            findings.compared["open"] += 1
        if row["verdict"] != Verdict.PENDING or row["missing"]:
            findings.differ("results.provisional", txn_id, "PENDING, none missing", Verdict(row["verdict"]).name)
        return
    if not expected.final:
        if expected.close >= frame.now_ms:
            findings.differ("results.early", txn_id, f"open until {expected.close} ms", f"final at {frame.now_ms} ms")
            return
        # The window has just closed: the ledger may know that already, so judge it as closed.
        never = [NEVER_MS] * len(frame.sources)
        expected = judge(state.by_txn[txn_id], frame.rulebook, frame.sources, never)
    if recent:
        findings.compared["recent"] += 1  # a revision may still be on its way
        return
    _compare_final(state, expected, row)


def _mask(ids: Iterable[int]) -> int:
    return sum(1 << index for index in ids)


RESULT_FIELDS = (
    "key_group",
    "verdict",
    "revision",
    "rules_version",
    "breaks",
    "missing",
    "late",
    "present",
    "currency",
    "amount_minor",
    "spread_minor",
    "first_arrival",
    "last_arrival",
    "legs",
    "event_seqs",
)


def _compare_final(state: _Bucket, expected: Judgement, row: asyncpg.Record) -> None:
    findings = state.findings
    events = state.by_txn[expected.txn_id]
    wanted = (
        key_group_of(expected.txn_id),
        expected.verdict.value,
        expected.revision,
        expected.rules_version,
        _mask(expected.breaks),
        _mask(expected.missing),
        _mask(expected.late),
        _mask(leg.source for leg in expected.legs),
        expected.currency,
        expected.amount_minor,
        expected.spread_minor,
        expected.first_arrival * 1000,
        expected.last_arrival * 1000,
        expected.packed_legs,
        sorted(event.stored_seq for event in events if not event.redelivery),
    )
    found = (
        row["key_group"],
        row["verdict"],
        row["revision"],
        row["rules_version"],
        row["breaks"],
        row["missing"],
        row["late"],
        row["present"],
        row["currency"],
        row["amount_minor"],
        row["spread_minor"],
        row["first_arrival_us"],
        row["last_arrival_us"],
        row["legs"],
        sorted(row["event_seqs"]),
    )
    findings.compared["final_results"] += 1
    findings.compared["result_values"] += len(wanted)
    if wanted == found:
        return
    names = [source.name for source in state.frame.sources]
    for name, left, right in zip(RESULT_FIELDS, wanted, found, strict=True):
        if left != right:
            findings.differ(
                f"results.{name}", expected.txn_id, readable(name, left, names), readable(name, right, names)
            )


def readable(name: str, value: Any, sources: Sequence[str]) -> str:
    """A stored value in the words of the contract."""
    match name:
        case "verdict":
            return Verdict(value).name
        case "breaks":
            return ",".join(break_names(value)) or "none"
        case "missing" | "late" | "present":
            return ",".join(source_names(value, sources)) or "none"
        case _:
            return str(value)


def _compare_low_seq(state: _Bucket, groups: range) -> None:
    """Recovery reads from low_seq on, so no open transaction may have an event below it."""
    low = {group: checkpoint.low_seq for checkpoint in state.frame.checkpoints for group in checkpoint.groups}
    for txn_id, seq in state.low_seq_of_open.items():
        group = key_group_of(txn_id)
        if group in groups and seq and seq < low.get(group, 0):
            state.findings.differ("checkpoints.low_seq", txn_id, f"<= {seq}", low[group])


async def compare_dead_letters(
    frame: Frame, ledger: Ledger, set_aside: Mapping[RecordId, SetAsideRecord], findings: Findings
) -> None:
    """Every record that must be set aside is there once, for the right reason and with its bytes.

    Which range of key groups owns such a record is the engine's affair, so it must be there once all ranges are past
    it, and must not be there while none is.
    """
    found: set[RecordId] = set()
    async for row in ledger.dead_letters():
        findings.compared["dead_letters"] += 1
        findings.tally["dead_letter"] += 1
        identity = (row["topic"], row["kafka_partition"], row["kafka_offset"])
        expected = set_aside.get(identity)
        if identity in found:
            findings.differ("dead_letters.repeated", _record(identity), "once", "again")
            continue
        found.add(identity)
        if expected is None:
            extent = frame.extents.get((row["topic"], row["kafka_partition"]))
            if extent is not None and row["kafka_offset"] < extent.low:
                findings.compared["older_than_log"] += 1
            else:
                findings.differ("dead_letters.alien", _record(identity), "an acceptable record", row["reason"])
            continue
        findings.compared["dead_letter_values"] += 4
        if row["reason"] != expected.reason.value:
            findings.differ("dead_letters.reason", _record(identity), expected.reason.value, row["reason"])
        if digest(row["payload"]) != expected.payload_digest:
            findings.differ("dead_letters.payload", _record(identity), "the record's bytes", "others")
        if row["key"] != expected.key:
            findings.differ("dead_letters.key", _record(identity), expected.key, row["key"])
        if row["arrival_us"] != expected.arrival * 1000:
            findings.differ("dead_letters.arrival", _record(identity), expected.arrival * 1000, row["arrival_us"])
    for identity, expected in set_aside.items():
        topic, partition, offset = identity
        reached = [checkpoint.positions.get((topic, partition), 0) for checkpoint in frame.checkpoints]
        if identity not in found and reached and offset < min(reached):
            findings.differ("dead_letters.missing", _record(identity), expected.reason.value, "no row")


async def compare_counters(frame: Frame, ledger: Ledger, findings: Findings) -> None:
    """The ledger's counters add up to its own rows. Call it last: it needs what the other comparisons tallied.

    Events that are gone from log and ledger alike stay counted, so a trimmed log leaves only the results to compare.
    """
    totals = {row["metric"]: row["n"] for row in await ledger.fetch("counters")}
    for metric in sorted({*totals, *findings.tally}):
        if frame.is_trimmed and not metric.startswith(("verdict.", "break.", "late")):
            continue
        findings.compared["counters"] += 1
        if totals.get(metric, 0) != findings.tally[metric]:
            findings.differ("stats_by_minute", metric, findings.tally[metric], totals.get(metric, 0))
