"""What must hold: at every commit, and at the end. A failure raises BrokenError, which ends the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from actors.adapters.memory import MemoryCheckpoint
from actors.ports import Flush, TopicPartition
from cluster.oracle.judge import Judgement, Seen, judge
from schemas.events import Status, key_group_of, key_group_of_position
from schemas.rules import Rulebook
from tests.actors.workbench import in_words, judged_in_words
from tests.simulation.history import SOURCES

if TYPE_CHECKING:
    from tests.simulation.world import Record, World


class BrokenError(AssertionError):
    """Something that must hold does not."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise BrokenError(what)


class Checks:
    """Looks at everything that the pipeline does to the outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told: dict[str, tuple[int, bool]] = {}
        self.every_result_is_told = True

    # -- at every commit -----------------------------------------------------------------------------------------------

    def before_flush(self, flush: Flush) -> MemoryCheckpoint | None:
        row = self._world.database.checkpoints.get(flush.claim.key_group_from)
        if row is None:
            return None
        return MemoryCheckpoint(
            row.key_group_to,
            row.epoch,
            row.next_seq,
            row.low_seq,
            row.flushes,
            row.positions,
            row.watermarks_ms,
            row.audit_seq,
            row.audit_hash,
        )

    def after_flush(self, flush: Flush, before: MemoryCheckpoint | None) -> None:
        """Called between the tasks' turns, with the flush just committed, or found committed before."""
        try:
            self._after_flush(flush, before)
        except BrokenError as error:
            self._world.scheduler.fail(error)
            raise

    def _after_flush(self, flush: Flush, before: MemoryCheckpoint | None) -> None:
        must(before is not None, "a flush for key groups that nobody has")
        assert before is not None
        must(before.epoch == flush.claim.epoch, f"an owner of epoch {flush.claim.epoch} wrote in epoch {before.epoch}")
        if before.flushes == flush.number:
            return
        must(flush.first_seq == before.next_seq, f"seqs begin at {flush.first_seq}, not at {before.next_seq}")
        seqs = flush.events["seq"].to_list()
        must(seqs == list(range(flush.first_seq, flush.next_seq)), f"a flush's seqs are {seqs}, to {flush.next_seq}")
        must(flush.claim.audit_seq == before.audit_seq, "the audit chain forks")
        must(flush.claim.audit_hash == before.audit_hash, "the audit chain's hash forks")
        for key, at in before.positions.items():
            must(flush.positions.get(key, -1) >= at, f"the position of {key} goes back from {at}")
        self._watermarks_are_true(flush)
        self._nothing_is_decided_early(flush)
        self._open_events_stay_in_reach(flush)

    def _watermarks_are_true(self, flush: Flush) -> None:
        """No record that this shard has not taken lies before a watermark."""
        reached = [flush.watermarks_ms[source.name] for source in SOURCES]
        for record in self._world.records:
            if record.may_be_lost or record.stamp_ms >= reached[record.write.source]:
                continue
            key, offset = self._world.place(record)
            taken = offset is not None and offset < flush.positions.get(key, 0)
            must(
                taken,
                f"the watermark of {SOURCES[record.write.source].name} is {reached[record.write.source]}, and {key}"
                f" offset {offset}, which arrived at {record.stamp_ms}, is above the position",
            )

    def _nothing_is_decided_early(self, flush: Flush) -> None:
        """A final result is final by the oracle too, by the events that are stored and the watermarks of its flush."""
        reached = [flush.watermarks_ms[source.name] for source in SOURCES]
        rulebook = Rulebook(self._world.database.rule_sets)
        for row in [*flush.final.iter_rows(named=True), *flush.replacing.iter_rows(named=True)]:
            if not row["final"] or row["txn_id"] in self._world.sealed:
                continue
            seen = [_as_seen(self._world.database.events[row["key_group"], seq]) for seq in row["event_seqs"]]
            must(judge(seen, rulebook, SOURCES, reached).final, f"{row['txn_id']} was decided early, at {reached}")

    def _open_events_stay_in_reach(self, flush: Flush) -> None:
        """A new owner reads from low_seq: below it nothing may be open."""
        database = self._world.database
        mine = range(flush.claim.key_group_from, flush.claim.key_group_to)
        held = {(key[0], seq) for key, row in database.results.items() if row["final"] for seq in row["event_seqs"]}
        for place, row in database.events.items():
            if place[0] in mine and place[1] < flush.low_seq and row["txn_id"] not in self._world.sealed:
                must(
                    place in held or place in database.redeliveries,
                    f"{row['txn_id']}'s event {place} is open and lies below low_seq {flush.low_seq}",
                )

    def on_told(self, changed: pl.DataFrame) -> None:
        """Results told to people: only what is committed."""
        results = self._world.database.results
        for row in changed.iter_rows(named=True):
            stored = results.get((row["key_group"], row["txn_id"]))
            told = (row["revision"], row["final"])
            if stored is None or (stored["revision"], stored["final"]) < told:
                self._world.scheduler.fail(BrokenError(f"{row['txn_id']} {told} was told and is not committed"))
                return
            self._told[row["txn_id"]] = told

    def on_commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Positions told to Kafka: only what every shard has in the ledger."""
        rows = self._world.database.checkpoints.values()
        for key, at in positions.items():
            safe = min((row.positions.get(key, -1) for row in rows), default=-1)
            if at > safe:
                self._world.scheduler.fail(BrokenError(f"{key} is committed at {at}, the ledger is at {safe}"))

    # -- at the end ----------------------------------------------------------------------------------------------------

    def at_end(self) -> None:
        """The ledger says of every transaction what the oracle says, and holds every record once."""
        world, database = self._world, self._world.database
        stored = {
            (SOURCES[row["source"]].topic, row["partition"], row["offset"]): place
            for place, row in database.events.items()
        }
        must(len(stored) == len(database.events), "a record is stored twice")
        letters = {(one.topic, one.partition, one.offset) for one in database.dead_letters.values()}
        by_txn: dict[str, list[tuple[Record, tuple[int, int]]]] = {}
        known: set[Any] = set()
        for record in world.records:
            key, offset = world.place(record)
            where = (*key, offset)
            if record.write.marker:
                continue
            if world.passed_over(record):
                must(where not in stored and where not in letters, f"{where} is of no configured topic at its arrival")
                continue
            if record.write.damaged:
                must(where in letters or record.may_be_lost, f"the damaged record {where} was not set aside")
                known.add(where)
                continue
            if where not in stored:
                must(record.may_be_lost or record.dropped, f"{record.write.txn_id}'s record {where} is not stored")
                continue
            known.add(where)
            by_txn.setdefault(record.write.txn_id, []).append((record, stored[where]))
        must(set(stored) | letters <= known, f"stored without being written: {(set(stored) | letters) - known}")
        rulebook = Rulebook(database.rule_sets)
        never = [1 << 60] * len(SOURCES)
        repeats: set[tuple[int, int]] = set()
        judged: dict[str, Judgement] = {}
        for txn_id, found in by_txn.items():
            if txn_id in world.sealed:
                continue
            seen = [self._seen(record) for record, _ in found]
            judged[txn_id] = expected = judge(seen, rulebook, SOURCES, never)
            places = dict(zip(map(id, seen), (place for _, place in found), strict=True))
            repeats |= {places[id(one)] for one in seen if one.redelivery}
            distinct = sorted(places[id(one)][1] for one in seen if not one.redelivery)
            self._as_judged(txn_id, expected, distinct)
        marked = {place for place, txn_id in database.redeliveries.items() if txn_id not in world.sealed}
        must(marked == repeats, f"redeliveries are {sorted(marked)}, not {sorted(repeats)}")
        extra = {key[1] for key in database.results} - set(judged) - world.sealed
        must(not extra, f"results of nothing: {extra}")
        self._sealed_keep_their_verdict()
        self._nothing_missing_was_invented(judged)
        must(not self.untold(), f"not told: {self.untold()}")

    def untold(self) -> list[str]:
        """Transactions whose latest result was not told. A shard that ends between commit and telling excuses all."""
        if not self.every_result_is_told:
            return []
        stored = {txn_id: (row["revision"], row["final"]) for (_, txn_id), row in self._world.database.results.items()}
        return [txn_id for txn_id, latest in stored.items() if self._told.get(txn_id) != latest]

    def _seen(self, record: Record) -> Seen:
        (_, partition), offset = self._world.place(record)
        assert offset is not None
        return record.seen(partition, offset)

    def _as_judged(self, txn_id: str, expected: Judgement, distinct: list[int]) -> None:
        row = self._world.database.results.get((key_group_of(txn_id), txn_id))
        must(row is not None, f"{txn_id} has no result; it should be {judged_in_words(expected)}")
        assert row is not None
        must(in_words(row) == judged_in_words(expected), f"{txn_id}: {in_words(row)}; {judged_in_words(expected)}")
        for name in ("rules_version", "first_arrival", "last_arrival", "amount_minor", "spread_minor"):
            must(row[name] == getattr(expected, name), f"{txn_id}: {name} {row[name]}; {getattr(expected, name)}")
        must(row["legs"] == expected.packed_legs, f"{txn_id}: legs {row['legs']}; {expected.packed_legs}")
        must(sorted(row["event_seqs"]) == distinct, f"{txn_id}: events {sorted(row['event_seqs'])}; {distinct}")

    def _sealed_keep_their_verdict(self) -> None:
        """What lost events to the ledger's retention keeps the verdict that it had, or got by what was under way."""
        for txn_id, before in self._world.verdicts_at_retention.items():
            row = self._world.database.results[key_group_of(txn_id), txn_id]
            must(
                row["final"]
                and row["revision"] >= before["revision"]
                and set(before["event_seqs"]) <= set(row["event_seqs"]),
                f"{txn_id} was {in_words(before)} when its events were dropped, and is {in_words(row)}",
            )

    def _nothing_missing_was_invented(self, judged: Mapping[str, Judgement]) -> None:
        for flush in self._world.database.flushes:
            for frame in (flush.final, flush.replacing, flush.revised):
                if frame.is_empty() or not frame["missing"].max():
                    continue
                for row in frame.filter("final").iter_rows(named=True):
                    if row["missing"] and row["txn_id"] in judged:
                        self._is_missing(row, judged[row["txn_id"]])

    def _is_missing(self, row: Mapping[str, Any], expected: Judgement) -> None:
        for record in self._world.records:
            write = record.write
            must(
                not (
                    write.txn_id == row["txn_id"]
                    and row["missing"] >> write.source & 1
                    and record.stamp_ms <= expected.close
                    and not record.may_be_lost
                    and not self._world.passed_over(record)
                ),
                f"{SOURCES[write.source].name} was called missing in {row['txn_id']}",
            )


def _as_seen(row: Mapping[str, Any]) -> Seen:
    """An event of the ledger as the oracle takes it."""
    return Seen(
        source=row["source"],
        event_id=row["event_id"],
        txn_id=row["txn_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        status=Status(row["status"]),
        event_time=row["event_time"],
        account_id=row["account_id"],
        original_txn_id=row["original_txn_id"],
        arrival=row["arrival"],
        partition=row["partition"],
        offset=row["offset"],
    )


def owner_of(record: Record, partition: int, kafka_offset: int) -> int:
    """Key group of a record."""
    if record.write.damaged:
        return key_group_of_position(partition, kafka_offset)
    return key_group_of(record.write.txn_id)
