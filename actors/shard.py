"""MatcherShard: owns a range of key groups; takes batches, runs the core, has a second thread write what it decided.

A plain class: actors/remote.py makes it an actor, tests drive it directly. Two threads touch it. The caller's thread
(one at a time) runs `push`: admit, recall, step, check, spill. The flush thread takes whole flushes from the outbox,
writes each in one ledger transaction, tells the feed, and moves `committed_seq` on.

What makes a repeat harmless: a batch says which offsets [start, stop) it covers. What lies below the shard's position
was taken before and is dropped; a start above it would lose events and is refused, whole. The positions are written in
the same transaction as the rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
import structlog

from actors.matching import state as core
from actors.matching.frames import EVENT_SCHEMA, RESULT_SCHEMA, empty
from actors.outbox import Decided, Outbox, assemble
from actors.ports import (
    LOG_SCHEMA,
    NO_LOGGED,
    AlreadyDecidedError,
    Batch,
    Feed,
    Flush,
    Ledger,
    SpillStore,
    TopicPartition,
)
from schemas.errors import FencedError, GapError, TransientError
from schemas.events import SourceSpec
from schemas.rules import RULES_AGE_MS_MAX, Rulebook

UNFLUSHED_FLUSHES_MAX: Final = 2  # one is written, one is made
_FLUSH_TIMES_KEPT: Final = 512
_NEVER_MS: Final = 1 << 62
# An event's place in the log. A seq alone may occur twice: in two key groups that had an owner each before.
_PLACE: Final = ("key_group", "seq")
# Most batches of a quiet pipeline bring nothing but watermarks, several a second.
_NONE_ARRIVED: Final = empty(core.PENDING_SCHEMA)


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Limits of one shard; the unit is each name's last word."""

    key_group_from: int
    key_group_to: int
    owner: str
    flush_interval_ms: int = 50  # how long a decision may wait for company while there is little
    busy_rows: int = 5_000  # a flush of this many rows means there is much, and the next waits longer:
    busy_flush_interval_ms: int = 400  # a transaction's fixed cost is worth sharing
    flush_rows: int = 60_000  # rows that start a flush at once
    unflushed_rows_max: int = (
        0  # rows decided and not written; beyond it readers wait; 0: UNFLUSHED_FLUSHES_MAX flushes
    )
    busy_batch_rows: int = 1_000  # a batch of this many rows means a backlog or a rush, in which age says little
    idle_flush_interval_ms: int = 1_000  # positions, watermarks and rules are exchanged this often without work
    pending_rows_max: int = 200_000  # events of open transactions in memory; beyond it the oldest spill
    spill_age_ms: int = 10_000  # an open transaction this old spills
    check_age_ms: int = 1_000  # an open transaction this old is looked up: decided before?
    show_age_ms: int = 5_000  # an open transaction this old is shown as PENDING
    housekeeping_interval_ms: int = 250  # how often checks and spills are considered
    retry_interval_ms: int = 500  # between attempts to write a flush that PostgreSQL did not take


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What a shard says of itself. Times in ms, rates per second."""

    name: str
    key_group_from: int
    key_group_to: int
    epoch: int
    pid: int
    pending_rows: int
    spilled_txns: int
    unflushed_rows: int
    flushes: int
    flush_ms_p50: int
    flush_ms_p99: int
    last_flush_ms: int
    events: int
    redeliveries: int
    final: int
    revised: int
    degraded: str


class MatcherShard:
    """One owner of the key groups [key_group_from, key_group_to)."""

    def __init__(
        self,
        options: ShardOptions,
        sources: Sequence[SourceSpec],
        ledger: Ledger,
        make_spill: Callable[[Any], SpillStore],
        feed: Feed,
        on_fault: Callable[[BaseException], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Claim the range (which fences any earlier owner), read back what is open, start the flush thread.

        `on_fault` is called, once and from either thread, when going on could write something wrong: fenced, or a bug.
        """
        self._options = options
        self._sources = tuple(sources)
        self._ledger = ledger
        self._feed = feed
        self._on_fault = on_fault
        self._now_ms = now_ms
        self._log = structlog.get_logger(__name__).bind(shard=options.owner)
        self._claim = ledger.claim(options.key_group_from, options.key_group_to, options.owner)
        self._spill = make_spill(self._claim)
        self._degraded = ""
        self._ages = core.Ages(check_ms=options.check_age_ms, show_ms=options.show_age_ms)
        self._rulebook = Rulebook(ledger.rule_sets())
        self._rules_read_ms = now_ms()
        self._positions: dict[TopicPartition, int] = dict(self._claim.positions)
        self._watermarks: dict[TopicPartition, int] = {}
        self._partitions: dict[str, int] = {}
        self._next_seq = self._claim.next_seq
        self._committed_seq = self._claim.next_seq
        self._committed_positions = dict(self._positions)
        self._flushed = self._claim.flushes
        self._last_flush_ms = 0
        self._flush_times_ms: deque[int] = deque(maxlen=_FLUSH_TIMES_KEPT)
        self._housekept_ms = 0
        self._counts = {"events": 0, "redeliveries": 0, "final": 0, "revised": 0}
        self._outbox = Outbox(options.unflushed_rows_max or UNFLUSHED_FLUSHES_MAX * options.flush_rows)
        self._clear_spill()
        self._flushed_low_seq = self._claim.low_seq
        self._state = core.State(self._restore(self._claim), empty(core.SPILLED_SCHEMA))
        self._busy = False
        self._skipped: Sequence[Decided] = ()
        self._stopping = threading.Event()
        self._faulted: BaseException | None = None
        self._thread = threading.Thread(target=self._flush_forever, name="flush", daemon=True)
        self._thread.start()

    # -- what readers and the supervisor call --------------------------------------------------------------------------

    def push(self, batch: Batch) -> dict[TopicPartition, int]:
        """Take a batch; gives the positions that are safe in the ledger for the batch's partitions.

        Raises GapError when the batch starts above the shard's position: nothing was taken, go back to it.
        """
        self._raise_fault()
        try:
            events, letters = self._admit(batch)
            self._take(batch, events, letters)
        except GapError:
            raise
        except BaseException as error:
            self._fault(error)
            raise
        return {(r.topic, r.partition): self._committed_positions.get((r.topic, r.partition), -1) for r in batch.ranges}

    def positions(self) -> dict[TopicPartition, int]:
        """Where each partition's next batch must start at the latest, as admitted by this owner."""
        self._raise_fault()
        return dict(self._positions)

    def committed_positions(self) -> dict[TopicPartition, int]:
        """Positions as they are in the ledger."""
        return dict(self._committed_positions)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything admitted and decided is in the ledger. False when the time ran out."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._raise_fault()
            if self._outbox.is_empty and self._committed_positions == self._positions:
                return True
            time.sleep(0.01)
        return False

    def status(self) -> ShardStatus:
        """A snapshot for people; read without a lock, so the numbers may be a batch apart."""
        times = sorted(self._flush_times_ms) or [0]
        return ShardStatus(
            name=self._options.owner,
            key_group_from=self._options.key_group_from,
            key_group_to=self._options.key_group_to,
            epoch=self._claim.epoch,
            pid=os.getpid(),
            pending_rows=len(self._state.pending),
            spilled_txns=len(self._state.spilled),
            unflushed_rows=self._outbox.rows_waiting,
            flushes=self._flushed,
            flush_ms_p50=times[len(times) // 2],
            flush_ms_p99=times[min(len(times) - 1, len(times) * 99 // 100)],
            last_flush_ms=self._last_flush_ms,
            degraded=self._degraded,
            **self._counts,
        )

    def close(self) -> None:
        """Stop the flush thread after what it is writing, let the ledger go. What waits is left to the next owner."""
        self._stopping.set()
        self._outbox.close()
        self._thread.join()
        self._ledger.close()

    # -- a batch's way through -----------------------------------------------------------------------------------------

    def _admit(self, batch: Batch) -> tuple[pl.DataFrame, list[Any]]:
        """The part of a batch that is new. Raises GapError before anything is changed."""
        events, letters = batch.events, list(batch.dead_letters)
        for covered in batch.ranges:
            key = (covered.topic, covered.partition)
            position = self._positions.get(key, covered.log_start)
            if covered.start > position:
                raise GapError(covered.topic, covered.partition, position, covered.start)
        for covered in batch.ranges:
            key = (covered.topic, covered.partition)
            position = self._positions.get(key, covered.start)
            if covered.start < position:
                repeated = (
                    pl.col("source").is_in(self._source_ids(covered.topic))
                    & (pl.col("partition") == covered.partition)
                    & (pl.col("offset") < position)
                )
                events = events.filter(~repeated)
                letters = [one for one in letters if (one.topic, one.partition) != key or one.offset >= position]
            self._positions[key] = max(position, covered.stop)
        for topic, count in batch.partition_counts.items():
            # Partitions are only ever added, and readers hear of that one after the other.
            self._partitions[topic] = max(count, self._partitions.get(topic, 0))
        for key, watermark in batch.watermarks_ms.items():
            self._watermarks[key] = max(watermark, self._watermarks.get(key, 0))
        return events, letters

    def _take(self, batch: Batch, events: pl.DataFrame, letters: list[Any]) -> None:
        now = self._now_ms()
        self._refresh_rules(batch)
        count = len(events)
        self._busy = count >= self._options.busy_batch_rows
        logged, arrived = NO_LOGGED, _NONE_ARRIVED
        if count:
            seqs = pl.int_range(self._next_seq, self._next_seq + count, dtype=pl.Int64, eager=True)
            logged = events.hstack([seqs.alias("seq")]).select(LOG_SCHEMA.keys())
            arrived = core.open_events(logged, now)
        self._next_seq += count
        self._counts["events"] += count
        if self._state.spilled.height:
            arrived = pl.concat([arrived, self._recall(arrived)])
        result = core.step(self._state, arrived, self._rules(), self._ages, now)
        self._state = result.state
        self._counts["redeliveries"] += len(result.redeliveries)
        self._counts["final"] += len(result.final) + int(result.replacing["final"].sum())
        self._emit(
            events=logged,
            redeliveries=result.redeliveries,
            final=result.final,
            replacing=result.replacing,
            dead_letters=letters,
        )
        if now - self._housekept_ms >= self._options.housekeeping_interval_ms:
            self._housekept_ms = now
            self._check(now)
            self._spill_some(now)

    def _emit(self, **frames: Any) -> None:
        decided = Decided(
            positions=dict(self._positions),
            watermarks_ms=dict(zip((s.name for s in self._sources), self._source_watermarks(), strict=True)),
            next_seq=self._next_seq,
            low_seq=self._state.low_seq(self._next_seq),
            **frames,
        )
        self._outbox.add(decided)

    def _rules(self) -> core.Rules:
        return core.Rules(self._rulebook, self._sources, self._source_watermarks())

    def _source_watermarks(self) -> list[int]:
        """Per source the lowest watermark over its partitions; 0 until each of them was heard of."""
        watermarks: list[int] = []
        for source in self._sources:
            count = self._partitions.get(source.topic, 0)
            heard = [self._watermarks.get((source.topic, partition), 0) for partition in range(count)]
            watermarks.append(min(heard, default=0))
        return watermarks

    def _source_ids(self, topic: str) -> list[int]:
        return [index for index, source in enumerate(self._sources) if source.topic == topic]

    def _refresh_rules(self, batch: Batch) -> None:
        """Never judge an event by rules that were read more than RULES_AGE_MS_MAX before it arrived."""
        latest = max(batch.watermarks_ms.values(), default=0)
        if not batch.events.is_empty():
            newest = batch.events["arrival"].max()
            latest = max(latest, newest if isinstance(newest, int) else 0)
        while latest >= self._rules_read_ms + RULES_AGE_MS_MAX:
            started = self._now_ms()
            try:
                self._rulebook = Rulebook(self._ledger.rule_sets())
                self._rules_read_ms = max(started, latest - RULES_AGE_MS_MAX + 1)
            except TransientError as error:
                self._log.warning("rules_unavailable", error=str(error))
                time.sleep(self._options.retry_interval_ms / 1000)

    # -- transactions that were decided before -------------------------------------------------------------------------

    def _check(self, now: int) -> None:
        """Look old open transactions up; those decided before become revisions."""
        if self._outbox.has_revisions:
            return
        # Only what was checked may spill, so under memory pressure age counts too.
        by_age = not self._busy or len(self._state.pending) > self._options.pending_rows_max // 2
        doubtful = core.unchecked(
            self._state, self._ages, now, self._committed_seq, self._source_watermarks(), by_age=by_age
        )
        if doubtful.is_empty():
            return
        try:
            decided = self._ledger.decided(doubtful)
            rows = self._state.pending.clear()
            if len(decided):
                stored = self._ledger.events_of(decided)
                self._state, rows = core.take(self._state, decided["txn_id"])
        except TransientError as error:
            self._log.warning("check_postponed", error=str(error))
            return
        self._state = core.mark_checked(self._state, doubtful["txn_id"])
        if rows.is_empty():
            return
        decided, stored = self._with_all_events(decided, stored)
        events = pl.concat([stored, rows.select(EVENT_SCHEMA.keys())]).unique(_PLACE)
        events = events.filter(pl.col("txn_id").is_in(decided["txn_id"].implode()))
        results, redeliveries = core.revise(events, self._rules())
        revised, superseded = changed_results(results, decided)
        self._counts["redeliveries"] += len(redeliveries)
        self._counts["revised"] += len(revised)
        self._emit(redeliveries=redeliveries, revised=revised, superseded=superseded)

    def _with_all_events(self, decided: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Results whose events are all still in the log. The others keep their verdict: retention made it final."""
        places = decided.select("txn_id", seq="event_seqs").explode("seq")
        gone = places.join(stored.select("txn_id", "seq"), on=["txn_id", "seq"], how="anti")["txn_id"].unique()
        if gone.is_empty():
            return decided, stored
        whole = ~pl.col("txn_id").is_in(gone.implode())
        self._log.warning("revision_impossible_past_retention", transactions=len(gone))
        decided = decided.filter(whole)
        return decided, stored.filter(pl.col("txn_id").is_in(decided["txn_id"].implode()))

    # -- spill ---------------------------------------------------------------------------------------------------------

    def _recall(self, arrived: pl.DataFrame) -> pl.DataFrame:
        """Spilled rows that this step needs. A store that lost or withholds them costs a rebuild from the ledger."""
        hits, due = core.recalls(self._state, arrived, self._source_watermarks())
        if hits.is_empty() and not due:
            return arrived.clear()
        names = arrived.select("hash", "txn_id").unique().join(hits, on="hash")
        wanted = {int(bucket): rows["txn_id"].to_list() for (bucket,), rows in names.group_by("bucket")}
        gone = self._state.spilled.filter(
            pl.col("hash").is_in(names["hash"].implode()) | (pl.col("closes_at") // core.SPILL_BUCKET_MS).is_in(due)
        )
        try:
            rows = self._spill.take(wanted, due)
            self._degraded = ""
        except TransientError as error:
            self._degrade(error)
            rows = arrived.clear()
        # What a failed call left behind is not in the index, and must not come back beside the row in memory.
        rows = rows.join(gone, on=["hash", "closes_at"], how="semi")
        self._state = core.forget_spilled(self._state, names["hash"], due)
        # A false hit of the hash finds no field and looks like a loss; a rebuild is right then too, and very rare.
        if len(rows) < gone["rows"].sum():
            return self._rebuild(arrived)
        return rows

    def _rebuild(self, arrived: pl.DataFrame) -> pl.DataFrame:
        """Read every open transaction back from the ledger, once it knows all that was ever admitted and decided."""
        self._log.warning("spill_lost_rebuilding", pending=len(self._state.pending))
        while not self._outbox.is_empty:  # a decision or a mark may be on its way without a new event
            self._raise_fault()
            time.sleep(0.005)
        known = pl.concat([self._state.pending.select(_PLACE), arrived.select(_PLACE)])
        self._clear_spill()
        claim = replace(self._claim, low_seq=min(self._state.low_seq(self._next_seq), self._flushed_low_seq))
        while True:
            try:
                restored = self._restore(claim)
                break
            except TransientError as error:
                self._log.warning("rebuild_waits", error=str(error))
                time.sleep(self._options.retry_interval_ms / 1000)
        self._state = replace(self._state, spilled=empty(core.SPILLED_SCHEMA))
        return restored.join(known, on=_PLACE, how="anti")

    def _spill_some(self, now: int) -> None:
        options = self._options
        # In a rush everything is old by the clock, and soon done; then only the bound on rows counts.
        age_ms = _NEVER_MS if self._busy else options.spill_age_ms
        state, rows = core.choose_spill(self._state, options.pending_rows_max, age_ms, now, self._committed_seq)
        if rows.is_empty():
            return
        try:
            self._spill.put(rows)
            self._state = state
            self._degraded = ""
        except TransientError as error:
            self._degrade(error)

    def _degrade(self, error: TransientError) -> None:
        if not self._degraded:
            self._log.warning("spill_unavailable_keeping_in_memory", error=str(error))
        self._degraded = str(error)

    def _clear_spill(self) -> None:
        try:
            self._spill.clear()
        except TransientError as error:
            self._degrade(error)

    # -- from the ledger -----------------------------------------------------------------------------------------------

    def _restore(self, claim: Any) -> pl.DataFrame:
        """Open events, as the ledger has them, as pending rows that are due at the next step and evaluated there."""
        events, provisional = self._ledger.open_events(claim)
        rows = core.open_events(events, self._now_ms())
        published = provisional.select("txn_id", shown="breaks")
        return (
            rows.join(published, on="txn_id", how="left")
            .with_columns(published=pl.coalesce("shown", "published"), closes_at=pl.lit(0, pl.Int64))
            .select(core.PENDING_SCHEMA.keys())
        )

    # -- the flush thread ----------------------------------------------------------------------------------------------

    def _flush_forever(self) -> None:
        options = self._options
        first_seq = self._claim.next_seq
        idle_since = 0
        busy = False
        try:
            while not self._stopping.is_set():
                wait_ms = options.busy_flush_interval_ms if busy else options.flush_interval_ms
                taken = self._outbox.take(wait_ms / 1000, options.flush_rows)
                now = self._now_ms()
                rows = sum(decided.rows for decided in taken)
                busy = rows >= options.busy_rows
                moved = bool(taken or self._skipped) and now - idle_since >= options.idle_flush_interval_ms
                if not rows and not moved:
                    self._skip(taken)
                    continue
                idle_since = now
                flush = assemble(self._claim, [*self._skipped, *taken], first_seq, self._flushed + 1)
                self._skipped = []
                self._write(flush)
                first_seq = flush.next_seq
        except BaseException as error:  # noqa: BLE001 (whatever it is, this shard must not go on)
            self._fault(error)

    def _skip(self, taken: Sequence[Decided]) -> None:
        """Nothing but positions and watermarks moved; the last of them stands for all."""
        self._skipped = [*taken[-1:]] or list(self._skipped)
        self._outbox.done()

    def _write(self, flush: Flush) -> None:
        """Write one flush, however often it takes. Raises FencedError when another owner exists."""
        started = time.monotonic()
        while True:
            try:
                flushed = self._ledger.flush(flush, self._sources, self._now_ms())
                break
            except TransientError as error:
                self._log.warning("flush_postponed", flush=flush.number, error=str(error))
                if self._stopping.wait(self._options.retry_interval_ms / 1000):
                    return
            except AlreadyDecidedError as error:
                flush = self._as_revisions(flush, error.decided)
        self._claim = replace(self._claim, audit_seq=flushed.audit_seq, audit_hash=flushed.audit_hash)
        self._flushed = flush.number
        self._flushed_low_seq = flush.low_seq
        self._rulebook = Rulebook(flushed.rule_sets)
        self._rules_read_ms = max(self._rules_read_ms, self._now_ms() - int((time.monotonic() - started) * 1000))
        self._committed_positions = dict(flush.positions)
        self._committed_seq = flush.next_seq
        self._outbox.done()
        self._last_flush_ms = self._now_ms()
        self._flush_times_ms.append(int((time.monotonic() - started) * 1000))
        self._feed.publish(self._claim, flush.number, flushed.changed, self._sources)

    def _as_revisions(self, flush: Flush, decided: pl.DataFrame) -> Flush:
        """The same flush with these transactions recomputed from all their events, over what the ledger has of them."""
        ids = decided["txn_id"]
        is_decided = pl.col("txn_id").is_in(ids.implode())
        claims = pl.concat([flush.final, flush.replacing, flush.revised]).filter(is_decided)
        while True:
            try:
                stored = self._ledger.decided(decided)
                places = pl.concat([claims, stored]).select("key_group", "event_seqs")
                events = self._ledger.events_of(places)
                break
            except TransientError as error:
                self._log.warning("revision_postponed", error=str(error))
                time.sleep(self._options.retry_interval_ms / 1000)
        wanted = claims["event_seqs"].explode()
        fresh = flush.events.filter(pl.col("seq").is_in(wanted.implode())).select(EVENT_SCHEMA.keys())
        results, redeliveries = core.revise(pl.concat([events, fresh]).unique(_PLACE), self._rules())
        known = results["txn_id"].is_in(stored["txn_id"].implode())
        whole, _ = self._with_all_events(stored, events)
        revised, superseded = changed_results(results.filter(pl.col("txn_id").is_in(whole["txn_id"].implode())), whole)
        return replace(
            flush,
            final=flush.final.filter(~is_decided),
            # Two results of one transaction in one flush; a provisional row may be there, so not by COPY.
            replacing=pl.concat([flush.replacing.filter(~is_decided), results.filter(~known)]),
            revised=pl.concat([flush.revised.filter(~is_decided), revised]),
            superseded=pl.concat([flush.superseded.filter(~is_decided), superseded]),
            redeliveries=pl.concat([flush.redeliveries, redeliveries.select(EVENT_SCHEMA.keys())]).unique(_PLACE),
        )

    # -- faults --------------------------------------------------------------------------------------------------------

    def _fault(self, error: BaseException) -> None:
        if self._faulted is not None:
            return
        self._faulted = error
        self._stopping.set()
        self._outbox.close()
        fenced = isinstance(error, FencedError)
        self._log.error("shard_stops", fenced=fenced, error=f"{type(error).__name__}: {error}", exc_info=not fenced)
        self._on_fault(error)

    def _raise_fault(self) -> None:
        if self._faulted is not None:
            raise RuntimeError("this shard has stopped") from self._faulted


def changed_results(results: pl.DataFrame, before: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Revisions that differ from what the ledger has, and what it has of just those (RESULT_SCHEMA both)."""
    told = ["verdict", "revision", "breaks", "missing", "late", "legs"]
    old = before.select("txn_id", *(pl.col(name).alias(f"old_{name}") for name in [*told, "event_seqs"]))
    joined = results.join(old, on="txn_id", how="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"old_{name}")) for name in told)
    differs |= pl.col("event_seqs").list.sort() != pl.col("old_event_seqs").list.sort()
    revised = joined.filter(differs).select(RESULT_SCHEMA.keys())
    return revised, before.filter(pl.col("txn_id").is_in(revised["txn_id"].implode()))
