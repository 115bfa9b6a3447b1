"""Pending transactions between batches: what is carried, what is emitted, what may be forgotten.

The state is plain data: a frame of the events of open transactions and an index of those that were spilled. `step`
takes it, a batch and the watermarks, and gives the next state and what to write. The time comes in as `now_ms`.

    batch + touched pending + due pending -> decide -> final   -> results, forgotten
                                                    -> open    -> carried; published once it shows a break or is old
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from actors.matching.decide import collected, decide, drop_redeliveries, row_source_ids
from actors.matching.frames import EVENT_SCHEMA, NO_EVENTS, NO_RESULTS, RESULT_SCHEMA, empty, leg_columns
from schemas.events import SourceSpec
from schemas.rules import Rulebook

UNPUBLISHED: Final = -1
CHUNKS_MAX: Final = 4  # of the pending frame
SPILL_BUCKET_MS: Final = 1_000  # spilled transactions are kept together by the second in which their window closes

# What is carried with every pending event beside EVENT_SCHEMA. `hash` finds a transaction's rows (a false hit is
# harmless: rows are grouped by txn_id); `published` is the breaks mask of the provisional result that was emitted;
# `checked` says that the ledger knew no final result, `suspect` that it shows a break so far; `waits` 0 means that the
# next step is to look at it.
PENDING_SCHEMA: Final[dict[str, pl.DataType]] = {
    **EVENT_SCHEMA,
    "bit": pl.Int32(),
    "leg": pl.String(),
    "hash": pl.UInt64(),
    "seen_ms": pl.Int64(),
    "closes_at": pl.Int64(),
    "waits": pl.Int32(),
    "published": pl.Int16(),
    "checked": pl.Boolean(),
    "suspect": pl.Boolean(),
}
SPILLED_SCHEMA: Final[dict[str, pl.DataType]] = {
    "hash": pl.UInt64(),
    "closes_at": pl.Int64(),
    "waits": pl.Int32(),
    "low_seq": pl.Int64(),
    "rows": pl.UInt32(),
}


@dataclass(frozen=True, slots=True)
class State:
    """Open transactions of one shard: in memory (`pending`) and elsewhere (`spilled`, one row a transaction)."""

    pending: pl.DataFrame
    spilled: pl.DataFrame

    @classmethod
    def empty(cls) -> State:
        """No open transaction."""
        return cls(empty(PENDING_SCHEMA), empty(SPILLED_SCHEMA))

    def low_seq(self, next_seq: int) -> int:
        """The lowest seq that a new owner must read again: every event below it belongs to a final result."""
        lows = (self.pending["seq"].min(), self.spilled["low_seq"].min())
        return min([next_seq, *(low for low in lows if isinstance(low, int))])


@dataclass(frozen=True, slots=True)
class Rules:
    """What a step judges by: rule sets, the configured sources, and per source id the watermark in ms."""

    rulebook: Rulebook
    sources: Sequence[SourceSpec]
    watermarks: Sequence[int]

    @property
    def row_ids(self) -> frozenset[int]:
        """Ids of the sources whose events are states of rows."""
        return row_source_ids(self.rulebook, self.sources)


@dataclass(frozen=True, slots=True)
class Ages:
    """When an open transaction deserves attention. Milliseconds since the shard first saw it."""

    check_ms: int = 1_000  # ask the ledger whether it was decided long ago
    show_ms: int = 5_000  # publish it as PENDING, breaks or not


@dataclass(frozen=True, slots=True)
class Step:
    """What one step emits. Frames of results have RESULT_SCHEMA."""

    state: State
    final: pl.DataFrame  # decided, and never published before: written by COPY
    replacing: pl.DataFrame  # decided after a provisional row, or a provisional row itself: written by upsert
    redeliveries: pl.DataFrame  # EVENT_SCHEMA


def open_events(events: pl.DataFrame, now_ms: int) -> pl.DataFrame:
    """Events (EVENT_SCHEMA) as rows of the pending frame, not yet evaluated."""
    return collected(
        events.lazy().select(
            *EVENT_SCHEMA,
            *leg_columns(),
            hash=pl.col("txn_id").hash(),
            seen_ms=pl.lit(now_ms, pl.Int64),
            closes_at=pl.lit(0, pl.Int64),
            waits=pl.lit(0, pl.Int32),
            published=pl.lit(UNPUBLISHED, pl.Int16),
            checked=pl.lit(value=False),
            suspect=pl.lit(value=False),
        )
    )


def step(state: State, arrived: pl.DataFrame, rules: Rules, ages: Ages, now_ms: int) -> Step:
    """Take in `arrived` (PENDING_SCHEMA: new events and recalled ones), decide what can be decided.

    Rows whose window has closed for all sources they wait for, and rows old enough to be shown, are looked at too.
    """
    pending = state.pending
    if pending.is_empty() and arrived.is_empty():
        return Step(state, NO_RESULTS, NO_RESULTS, NO_EVENTS)
    touched, resting = _split(pending, _awake(arrived, rules, ages, now_ms))
    rows = pl.concat([touched, arrived]) if len(touched) else arrived
    if rows.is_empty():
        return Step(state, NO_RESULTS, NO_RESULTS, NO_EVENTS)
    rows, redeliveries = _split_redeliveries(rows, rules)
    results = _with_fate(decide(rows, rules.rulebook, rules.sources, rules.watermarks, _CARRIED), ages, now_ms)
    kept = _still_open(rows, results)
    return Step(
        replace(state, pending=_compact(pl.concat([resting, kept]) if len(resting) else kept)),
        _of_fate(results, _Fate.NEW),
        pl.concat([_of_fate(results, _Fate.REPLACING), _of_fate(results, _Fate.SHOWN)]),
        redeliveries.select(EVENT_SCHEMA.keys()) if len(redeliveries) else NO_EVENTS,
    )


class _Fate(enum.IntEnum):
    """What becomes of a transaction that a step looked at."""

    NEW = 0  # final, never shown before
    REPLACING = 1  # final, over a provisional row
    SHOWN = 2  # open, and shown as it looks now
    OPEN = 3


# What a transaction carries from its rows' earlier steps.
_CARRIED: Final[Mapping[str, pl.Expr]] = {
    "seen_ms": pl.col("seen_ms").min(),
    "published": pl.col("published").max(),
    "checked": pl.col("checked").any(),
}


def _awake(arrived: pl.DataFrame, rules: Rules, ages: Ages, now_ms: int) -> pl.Expr:
    """Pending rows to look at: due, to be shown for their age, or of a transaction that `arrived` touches."""
    awake = _to_show(ages, now_ms) | is_due(rules.watermarks)
    return awake if arrived.is_empty() else awake | pl.col("hash").is_in(arrived["hash"].implode())


def _to_show(ages: Ages, now_ms: int) -> pl.Expr:
    return (pl.col("published") == UNPUBLISHED) & pl.col("checked") & (pl.col("seen_ms") <= now_ms - ages.show_ms)


def _split(rows: pl.DataFrame, condition: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that meet a condition, and the others."""
    if rows.is_empty():
        return rows, rows
    met = rows.select(condition).to_series()
    count = met.sum()
    if not count:
        return rows.clear(), rows
    return (rows, rows.clear()) if count == len(rows) else (rows.filter(met), rows.filter(~met))


def _with_fate(results: pl.DataFrame, ages: Ages, now_ms: int) -> pl.DataFrame:
    """Add each transaction's `fate`, and what its rows carry on if it stays open."""
    # A missing leg is declared only after the ledger was asked; the unique key would catch it, at a rollback's cost.
    final = pl.col("final") & ((pl.col("waits") == 0) | pl.col("checked"))
    # Nothing provisional before the ledger was asked, or it could come on top of a final result.
    news = (pl.col("breaks") != pl.col("published")) & ((pl.col("breaks") != 0) | (pl.col("published") != UNPUBLISHED))
    told = pl.col("checked") & news
    shows = ~pl.col("final") & (told | _to_show(ages, now_ms))
    fate = (
        pl.when(final & (pl.col("published") == UNPUBLISHED))
        .then(_Fate.NEW.value)
        .when(final)
        .then(_Fate.REPLACING.value)
        .when(shows)
        .then(_Fate.SHOWN.value)
        .otherwise(_Fate.OPEN.value)
    )
    return results.with_columns(
        fate=fate.cast(pl.UInt8),
        published=pl.when(shows).then(pl.col("breaks")).otherwise(pl.col("published")),
        suspect=pl.col("breaks") != 0,
    )


def _of_fate(results: pl.DataFrame, fate: _Fate) -> pl.DataFrame:
    """Results (RESULT_SCHEMA) of one fate."""
    of_fate = results["fate"] == fate.value
    if not of_fate.any():
        return NO_RESULTS
    return collected(results.lazy().filter(of_fate).select(RESULT_SCHEMA.keys()))


def _still_open(rows: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """Rows (PENDING_SCHEMA) of the transactions that stay open."""
    is_open = results["fate"] >= _Fate.SHOWN.value
    if not is_open.any():
        return rows.clear()
    carry = ["seen_ms", "closes_at", "waits", "published", "checked", "suspect"]
    still_open = results.lazy().filter(is_open).select("txn_id", *carry)
    return collected(rows.lazy().drop(carry).join(still_open, on="txn_id").select(PENDING_SCHEMA.keys()))


def _compact(pending: pl.DataFrame) -> pl.DataFrame:
    """The same rows in few chunks. Every step adds one, filters keep them all, and each costs every later operation."""
    return pending.rechunk() if pending.n_chunks() > CHUNKS_MAX else pending


def is_due(watermarks: Sequence[int]) -> pl.Expr:
    """Rows whose window has closed for every source that their transaction waits for."""
    due = pl.lit(value=True)
    for index, watermark in enumerate(watermarks):
        due &= (pl.col("waits") & (1 << index) == 0) | (pl.col("closes_at") < watermark)
    return due


def _split_redeliveries(rows: pl.DataFrame, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Distinct rows and redeliveries; only rows whose event_id occurs twice are looked at closely."""
    doubtful = rows["event_id"].is_duplicated()
    if not doubtful.any():
        return rows, rows.clear()
    distinct, redeliveries = drop_redeliveries(rows.filter(doubtful), rules.row_ids)
    return pl.concat([rows.filter(~doubtful), distinct]), redeliveries


def unchecked(
    state: State, ages: Ages, now_ms: int, committed_seq: int, watermarks: Sequence[int], *, by_age: bool
) -> pl.DataFrame:
    """Open transactions (key_group, txn_id) to ask the ledger about: those that look forgotten.

    Old enough; and unless age alone counts (`by_age`), showing a break, or waiting for sources that have been read well
    past the transaction's own arrival. In a backlog everything is old, and to look everything up would feed on itself.
    Only rows below `committed_seq`: everything decided before them is in the ledger by then, so a "no" stays true.
    """
    if state.pending.is_empty():
        return state.pending.select("key_group", "txn_id")
    passed = pl.lit(value=True)
    for index, watermark in enumerate(watermarks):
        passed &= (pl.col("waits") & (1 << index) == 0) | (pl.col("arrival") + ages.check_ms < watermark)
    old = pl.col("seen_ms") <= now_ms - ages.check_ms
    return (
        state.pending.filter(
            ~pl.col("checked") & old & (pl.lit(by_age) | pl.col("suspect") | passed) & (pl.col("seq") < committed_seq)
        )
        .select("key_group", "txn_id")
        .unique()
    )


def mark_checked(state: State, txn_ids: pl.Series) -> State:
    """The ledger knows no final result for these transactions, so they are what they seem: open.

    The next step looks at them again, for from now on they may be shown.
    """
    newly = ~pl.col("checked") & pl.col("txn_id").is_in(txn_ids.implode())
    return replace(
        state,
        pending=state.pending.with_columns(
            checked=pl.col("checked") | newly, waits=pl.when(newly).then(0).otherwise(pl.col("waits"))
        ),
    )


def take(state: State, txn_ids: pl.Series) -> tuple[State, pl.DataFrame]:
    """Remove these transactions and give their rows: they were decided before and go the slow path."""
    taken = state.pending.select(pl.col("txn_id").is_in(txn_ids.implode())).to_series()
    return replace(state, pending=state.pending.filter(~taken)), state.pending.filter(taken)


def choose_spill(
    state: State, rows_max: int, age_ms: int, now_ms: int, committed_seq: int
) -> tuple[State, pl.DataFrame]:
    """Rows to spill, oldest first: all older than `age_ms`, and as many as bring memory under `rows_max`.

    Only checked and committed rows go, for a spill that is lost is read back from the ledger; none that the next step
    is to look at. Transactions go whole.
    """
    pending = state.pending
    oldest = pending["seen_ms"].min()
    if len(pending) <= rows_max and not (isinstance(oldest, int) and oldest <= now_ms - age_ms):
        return state, pending.clear()
    able = pl.col("checked") & (pl.col("waits") != 0) & (pl.col("seq") < committed_seq)
    whole = pending.group_by("txn_id").agg(able=able.all(), seen_ms=pl.col("seen_ms").min(), n=pl.len())
    able_ids = whole.filter("able").sort("seen_ms")
    surplus = len(pending) - rows_max
    chosen = able_ids.filter(
        (pl.col("seen_ms") <= now_ms - age_ms) | (pl.col("n").cum_sum() - pl.col("n") < max(surplus, 0))
    )
    if chosen.is_empty():
        return state, pending.clear()
    rest, spill = take(state, chosen["txn_id"])
    index = spill.group_by("txn_id").agg(
        pl.col("hash").first(),
        pl.col("closes_at").first(),
        pl.col("waits").first(),
        low_seq=pl.col("seq").min(),
        rows=pl.len(),
    )
    return replace(rest, spilled=pl.concat([state.spilled, index.select(SPILLED_SCHEMA.keys())])), spill


def recalls(state: State, arrived: pl.DataFrame, watermarks: Sequence[int]) -> tuple[pl.DataFrame, list[int]]:
    """What must come back before a step: (hash, bucket) of transactions that `arrived` touches, and due buckets."""
    if state.spilled.is_empty():
        return empty({"hash": pl.UInt64(), "bucket": pl.Int64()}), []
    bucket = pl.col("closes_at") // SPILL_BUCKET_MS
    due = state.spilled.filter(is_due(watermarks)).select(bucket=bucket).to_series().unique().to_list()
    hits = state.spilled.filter(pl.col("hash").is_in(arrived["hash"].implode()) & ~bucket.is_in(due))
    return hits.select("hash", bucket=bucket), due


def forget_spilled(state: State, hashes: pl.Series, buckets: Sequence[int]) -> State:
    """The index without the transactions that came back."""
    bucket = pl.col("closes_at") // SPILL_BUCKET_MS
    back = pl.col("hash").is_in(hashes.implode()) | bucket.is_in(list(buckets))
    return replace(state, spilled=state.spilled.filter(~back))


def revise(events: pl.DataFrame, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Results and redeliveries of transactions that were decided before, from all their events (EVENT_SCHEMA).

    Decided stays decided: the window was found closed once, so no watermark is asked again.
    """
    distinct, redeliveries = drop_redeliveries(events, rules.row_ids)
    closed = [2**62] * len(rules.sources)
    return decide(distinct, rules.rulebook, rules.sources, closed), redeliveries
