"""Names what was changed in results whose digest does not fit: the row, the field, and what the log says instead.

A digest tells that one of a flush's rows differs, not which. The events of the log are vouched for by digests of their
own, and so are the rules; so each of the flush's transactions is judged again from its events, by the oracle. Where
retention has dropped the events, the entries about mismatches and revisions still tell the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from cluster.oracle.judge import Judgement, Seen, judge
from cluster.oracle.trail_report import Fault, TrailReport, iso
from cluster.oracle.trail_results import Baseline, Suspects
from cluster.oracle.trail_store import TrailStore, VouchedFlush
from schemas.errors import InvalidRulesError
from schemas.events import SourceSpec, Status, key_group_of
from schemas.queries import named_queries
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import Verdict, break_mask

ROWS_LOOKED_AT_MAX: Final = 5_000  # of one flush or key group, the ones with a chance to be named
GONE_NAMED_MAX: Final = 100
_CLOSED: Final = 1 << 62  # a watermark past every window: what is final was decided
_UNKNOWN: Final = "no such transaction"
SQL = named_queries("cluster.oracle", "trail.sql")


@dataclass(frozen=True, slots=True)
class _Case:
    """A result as it is stored; `is_current` unless a revision has replaced it."""

    row: asyncpg.Record
    is_current: bool

    @property
    def name(self) -> str:
        return f"key_group={self.row['key_group']} txn_id={self.row['txn_id']}"

    @property
    def table(self) -> str:
        return "results" if self.is_current else "result_history"


class Naming:
    """Looks at rows one by one. Reads only."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], store: TrailStore, report: TrailReport) -> None:
        self._connection = connection
        self._store = store
        self._report = report
        self._rulebook: Rulebook | None = None
        self._sources: tuple[SourceSpec, ...] = ()
        self._gone: set[str] = set()  # said to be gone already

    async def name_all(self, suspects: Suspects, baseline: Baseline | None) -> None:
        """Add a fault for everything that does not fit, as near to the row and field as can be told."""
        if not (suspects.flushes or suspects.strays or suspects.groups or suspects.shown):
            return
        await self._read_rules()
        if suspects.flushes or suspects.groups:
            await self._name_gone(suspects, baseline)
        for row in suspects.strays:
            what = f"no flush of key group {row.key_group} decided anything at {iso(row.decided_us)}"
            is_elsewhere = key_group_of(row.txn_id) != row.key_group
            self._report.add(Fault("", 0, what, "results", row.name, "key_group" if is_elsewhere else "decided_at"))
        for flush in suspects.flushes:
            await self._name_flush(flush)
        for group in suspects.groups:
            assert baseline is not None  # noqa: S101 - there are no groups without one
            await self._name_group(group, baseline)
        for row, place in suspects.shown[:ROWS_LOOKED_AT_MAX]:
            before = self._report.fault_count
            for case in await self._cases("shown_now", row.key_group, row.txn_id):
                await self._name_case(case, place.chain, place.seq, {})
            if self._report.fault_count == before:
                what = "is not what this flush showed"
                self._report.add(Fault(place.chain, place.seq, what, "results", row.name, "decided_at"))

    async def _name_gone(self, suspects: Suspects, baseline: Baseline | None) -> None:
        """Transactions that are decided by the place of their events in the log, and have no result."""
        for row in await self._connection.fetch(SQL["without_result"], GONE_NAMED_MAX):
            group, name = row["key_group"], f"key_group={row['key_group']} txn_id={row['txn_id']}"
            place = next((flush.place for flush in suspects.flushes if group in flush.groups), None)
            if place is None and baseline is not None:
                place = baseline.place
            if place is not None:
                self._gone.add(row["txn_id"])
                self._report.add(Fault(place.chain, place.seq, "was decided, but its result is gone", "results", name))

    async def _name_flush(self, flush: VouchedFlush) -> None:
        place, details = flush.place, flush.details
        at = f"decided_at={iso(flush.at_us)}"
        cases = await self._cases("decided_then", flush.at_us, flush.groups.start, flush.groups.stop)
        told = await self._told(flush)
        before = self._report.fault_count
        for case in cases[:ROWS_LOOKED_AT_MAX]:
            shown = self._store.shown(case.row["txn_id"])
            if shown is not None and shown[1] == place:
                what = "is True, but this flush showed it as open"
                self._report.add(Fault(place.chain, place.seq, what, case.table, case.name, "final"))
            else:
                await self._name_case(case, place.chain, place.seq, told)
        vouched = details["final"] + len(details["overwriting"])
        present = {case.row["txn_id"] for case in cases} | self._gone
        lost = {name for name in (*told, *details["overwriting"]) if name not in present}
        for name in sorted(lost)[:GONE_NAMED_MAX]:
            row = f"key_group={key_group_of(name)} txn_id={name}"
            self._report.add(Fault(place.chain, place.seq, "its result of this flush is gone", "results", row))
        if len(cases) > vouched and self._report.fault_count == before:
            what = f"{vouched} rows were decided then, but {len(cases)} are there"
            names = " ".join(case.row["txn_id"] for case in cases if case.row["txn_id"] not in told)[:500]
            self._report.add(Fault(place.chain, place.seq, what, "results", f"{at} txn_id={names}", "decided_at"))
        if self._report.fault_count == before and not self._gone:
            what = f"one of the {vouched} rows that this flush decided is not what it wrote, or is gone"
            self._report.add(Fault(place.chain, place.seq, what, "results", at))

    async def _name_group(self, group: int, baseline: Baseline) -> None:
        place = baseline.place
        cases = await self._cases("decided_until", baseline.decided_to_us, group)
        before = self._report.fault_count
        for case in cases[:ROWS_LOOKED_AT_MAX]:
            await self._name_case(case, place.chain, place.seq, {})
        count = baseline.results.get(str(group), (0, ""))[0]
        if self._report.fault_count == before and not self._gone:
            what = f"the results of this key group from before the baseline ({count} then) are not what they were"
            self._report.add(Fault(place.chain, place.seq, what, "results", f"key_group={group}"))

    async def _cases(self, query: str, *arguments: object) -> list[_Case]:
        rows = await self._connection.fetch(SQL[query], *arguments)
        return [_Case(row, row["is_current"]) for row in rows]

    async def _told(self, flush: VouchedFlush) -> dict[str, dict[str, Any]]:
        """What the entries that follow the flush's own say of its mismatches and revisions, by transaction."""
        rows = await self._connection.fetch(SQL["told_with"], flush.place.chain, flush.place.seq)
        return {row["object_id"]: json.loads(row["details"]) for row in rows}

    async def _read_rules(self) -> None:
        rows = await self._connection.fetch(SQL["rules_in_force"])
        try:
            self._rulebook = Rulebook(
                [RuleSet.from_json(row["version"], row["from_ms"], json.loads(row["body"])) for row in rows]
            )
        except (InvalidRulesError, ValueError, KeyError, TypeError):
            self._rulebook = None  # they were tampered with, which is said elsewhere
        sources = await self._connection.fetch(SQL["sources"])
        self._sources = tuple(SourceSpec(row["name"], row["topic"], row["expected"]) for row in sources)

    async def _name_case(self, case: _Case, chain: str, seq: int, told: Mapping[str, Mapping[str, Any]]) -> None:
        """Say which fields of one result are not what its events, or the entries about it, say."""
        row = case.row
        differences = await self._from_events(case)
        if differences is None:
            differences = self._from_entry(row, told.get(row["txn_id"]))
        for name, (found, expected) in differences.items():
            what = f"is {found!r}, but its events give {expected!r}"
            self._report.add(Fault(chain, seq, what, case.table, case.name, name))

    async def _from_events(self, case: _Case) -> dict[str, tuple[Any, Any]] | None:
        """Fields that differ from the judgement of the row's events; None when the events cannot be asked."""
        row = case.row
        own_group = key_group_of(row["txn_id"])
        if own_group != row["key_group"]:
            is_known = await self._connection.fetch(SQL["events_named"], own_group, row["txn_id"])
            return {"key_group": (row["key_group"], own_group)} if is_known else {"txn_id": (row["txn_id"], _UNKNOWN)}
        if self._rulebook is None or row["event_seqs"] is None:
            return None
        own = await self._connection.fetch(SQL["events_of"], row["key_group"], row["event_seqs"])
        events = [_seen(one) for one in own if one["txn_id"] == row["txn_id"]]
        first = self._differences(row, events) if len(events) == len(row["event_seqs"]) else None
        if first == {}:
            return {}
        second = await self._from_every_event(row)
        if second is None or (first is not None and (not case.is_current or len(first) < len(second))):
            return first
        return second

    async def _from_every_event(self, row: asyncpg.Record) -> dict[str, tuple[Any, Any]] | None:
        """The same by all events of the row's id in its key group: perhaps the places of its own were changed."""
        found = await self._connection.fetch(SQL["events_named"], row["key_group"], row["txn_id"])
        if not found:
            return None if self._report.dropped_events else {"txn_id": (row["txn_id"], _UNKNOWN)}
        events = [_seen(one) for one in found]
        differences = self._differences(row, events)
        seqs = sorted(one.stored_seq for one in events if not one.redelivery)
        if differences is not None and seqs != sorted(row["event_seqs"]):
            differences["event_seqs"] = (sorted(row["event_seqs"]), seqs)
        return differences

    def _differences(self, row: asyncpg.Record, events: list[Seen]) -> dict[str, tuple[Any, Any]] | None:
        if not events or self._rulebook is None:
            return None
        watermark = _CLOSED if row["final"] else 0
        judged = judge(events, self._rulebook, self._sources, [watermark] * len(self._sources))
        return {name: (row[name], value) for name, value in _stored(judged).items() if row[name] != value}

    @staticmethod
    def _from_entry(row: asyncpg.Record, said: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
        """Fields that differ from what an entry about the transaction says."""
        if said is None:
            return {}
        expected = {
            "verdict": Verdict[said["verdict"]].value,
            "breaks": break_mask(said["breaks"]),
            "revision": said["revision"],
            "rules_version": said["rules_version"],
        }
        return {name: (row[name], value) for name, value in expected.items() if row[name] != value}


def _seen(row: asyncpg.Record) -> Seen:
    return Seen(
        source=row["source"],
        event_id=row["event_id"],
        txn_id=row["txn_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        status=Status(row["status"]),
        event_time=row["event_time_ms"],
        account_id="",
        original_txn_id=None,
        arrival=row["arrival_ms"],
        partition=row["kafka_partition"],
        offset=row["kafka_offset"],
        attributes=json.loads(row["attributes"]) if row["attributes"] else {},
        stored_seq=row["seq"],
    )


def _stored(judged: Judgement) -> dict[str, Any]:
    """A judgement as the columns of its row; times in microseconds."""
    return {
        "verdict": judged.verdict.value,
        "final": judged.final,
        "revision": judged.revision,
        "rules_version": judged.rules_version,
        "breaks": sum(kind.mask for kind in judged.breaks),
        "missing": sum(1 << source for source in judged.missing),
        "late": sum(1 << source for source in judged.late),
        "present": sum(1 << leg.source for leg in judged.legs),
        "currency": judged.currency,
        "amount_minor": judged.amount_minor,
        "spread_minor": judged.spread_minor,
        "first_arrival": judged.first_arrival * 1000,
        "last_arrival": judged.last_arrival * 1000,
        "legs": judged.packed_legs,
    }
