"""Checks that every final result, replaced ones included, is what the flush that decided it wrote.

One pass in order of time over `results` and `result_history` together, beside the entries of the flushes: rows of one
moment and key group belong to one flush, and their digests must be the ones in its entry. A row of no flush was slipped
in. What was decided before the ledger's baseline has one digest per key group instead.

Rows that are not final are replaced without a trace, so each has a digest of its own, of which the newest counts.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from cluster.oracle.copied import RESULT_COLUMNS, ResultRow, RowSplitter
from cluster.oracle.trail_report import Fault, TrailReport, iso
from cluster.oracle.trail_store import Place, TrailStore, VouchedFlush
from schemas.events import key_group_of
from schemas.queries import named_queries

SQL: Final = named_queries("cluster.oracle", "trail.sql")
_FINAL_RESULTS: Final = (
    f"select * from (select {RESULT_COLUMNS} from results where final"  # noqa: S608
    f" union all select {RESULT_COLUMNS} from result_history where final) r"
)
_SHOWN_RESULTS: Final = f"select {RESULT_COLUMNS} from results where not final"  # noqa: S608
SHOWN_ASKED_ROWS: Final = 5_000  # in one question
SUSPECTS_MAX: Final = 100  # flushes whose rows are looked at one by one; of more it is only said that they differ


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the ledger held when the trail began to cover results: by key group the number of rows and their digest."""

    place: Place
    at_us: int
    decided_to_us: int
    results: Mapping[str, tuple[int, str]]

    @classmethod
    def of(cls, place: Place, at_us: int, details: Mapping[str, Any]) -> Baseline:
        """From the details of its entry."""
        results = {str(group): (int(count), str(digest)) for group, (count, digest) in details["results"].items()}
        return cls(place, at_us, int(details["decided_to_us"]), results)


@dataclass(slots=True)
class _Found:
    """Rows of one flush as they are found, new ones and those over others apart."""

    flush: VouchedFlush
    new: Any = field(default_factory=hashlib.sha256)
    over: Any = field(default_factory=hashlib.sha256)
    news: int = 0
    overs: int = 0
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = set(self.flush.details.get("overwriting", ()))

    def take(self, row: ResultRow) -> None:
        if row.txn_id in self.names:
            self.over.update(row.data)
            self.overs += 1
        else:
            self.new.update(row.data)
            self.news += 1

    def fits(self) -> bool:
        details = self.flush.details
        return (self.news, self.overs) == (details["final"], len(self.names)) and (
            _hex(self.new, self.news) == details["results_sha256"]
            and _hex(self.over, self.overs) == details["overwriting_sha256"]
        )


def _hex(digest: Any, rows: int) -> str:
    return digest.hexdigest() if rows else ""


@dataclass(slots=True)
class Suspects:
    """What the pass could not make fit, to be looked at row by row."""

    flushes: list[VouchedFlush] = field(default_factory=list)
    strays: list[ResultRow] = field(default_factory=list)  # of no flush
    groups: list[int] = field(default_factory=list)  # whose baseline does not fit
    shown: list[tuple[ResultRow, Place]] = field(default_factory=list)  # not final, and not what was shown


class ResultsPass:
    """The pass over the final results. Feed it rows in order, then `finish`."""

    def __init__(self, flushes: Iterator[VouchedFlush], baseline: Baseline | None, report: TrailReport) -> None:
        self._flushes = flushes
        self._next = next(flushes, None)
        self._baseline = baseline
        self._report = report
        self._at_us = -1
        self._open: list[_Found] = []
        self._old: defaultdict[int, Any] = defaultdict(hashlib.sha256)
        self._old_rows: defaultdict[int, int] = defaultdict(int)
        self.suspects = Suspects()

    def take(self, row: ResultRow) -> None:
        """The next row."""
        if self._baseline is not None and row.decided_us <= self._baseline.decided_to_us:
            self._old[row.key_group].update(row.data)
            self._old_rows[row.key_group] += 1
            return
        if row.decided_us != self._at_us:
            self._go_to(row.decided_us)
        for found in self._open:
            if row.key_group in found.flush.groups:
                found.take(row)
                return
        if len(self.suspects.strays) < SUSPECTS_MAX:
            self.suspects.strays.append(row)
        else:
            self._report.add(Fault("", 0, "no flush decided it", "results", row.name))

    def _go_to(self, at_us: int) -> None:
        """Close what is open, then what lies between, then open the flushes of this moment."""
        self._close()
        self._at_us = at_us
        while self._next is not None and self._next.at_us <= at_us:
            found = _Found(self._next)
            if self._next.at_us == at_us:
                self._open.append(found)
            else:
                self._judge(found)
            self._next = next(self._flushes, None)

    def _close(self) -> None:
        for found in self._open:
            self._judge(found)
        self._open = []

    def _judge(self, found: _Found) -> None:
        flush = found.flush
        if self._baseline is not None and flush.at_us <= self._baseline.decided_to_us:
            return
        if "results_sha256" not in flush.details:
            self._report.uncovered_results += found.news
        elif found.fits():
            self._report.covered_results += found.news + found.overs
        elif len(self.suspects.flushes) < SUSPECTS_MAX:
            self.suspects.flushes.append(flush)
        else:
            self._report.add(_unlike(flush))

    def finish(self) -> Suspects:
        """After the last row."""
        self._go_to(1 << 62)
        self._close()
        self._judge_baseline()
        return self.suspects

    def _judge_baseline(self) -> None:
        baseline = self._baseline
        if baseline is None:
            return
        for group in {*map(int, baseline.results), *self._old_rows}:
            count, digest = baseline.results.get(str(group), (0, ""))
            if (count, digest) == (self._old_rows[group], _hex(self._old[group], self._old_rows[group])):
                self._report.covered_results += count
                self._report.baseline_results += count
            else:
                self.suspects.groups.append(group)


def _unlike(flush: VouchedFlush) -> Fault:
    rows = f"decided_at={iso(flush.at_us)}"
    what = "the rows that this flush decided are not what it wrote"
    return Fault(flush.place.chain, flush.place.seq, what, "results", rows)


async def final_results(connection: asyncpg.Connection[Any]) -> str:
    """The query of all final results, replaced ones included, by moment, key group and id.

    Ids are in the order of their bytes, as the engine sorts them. Where that is the database's own order, the indexes
    have it and nothing is sorted; elsewhere it has to be.
    """
    is_own = await connection.fetchval(SQL["orders_by_bytes"])
    return f"{_FINAL_RESULTS} order by decided_at, key_group, txn_id" + ("" if is_own else ' collate "C"')


async def check_results(
    connection: asyncpg.Connection[asyncpg.Record],
    store: TrailStore,
    baseline: Baseline | None,
    report: TrailReport,
) -> Suspects:
    """Check final results, then those that are not final. Gives what does not fit, for `trail_naming`."""
    walk = ResultsPass(store.flushes(), baseline, report)
    await _stream(connection, await final_results(connection), walk.take)
    suspects = walk.finish()
    await _check_shown(connection, store, baseline, report, suspects)
    return suspects


async def _check_shown(
    connection: asyncpg.Connection[asyncpg.Record],
    store: TrailStore,
    baseline: Baseline | None,
    report: TrailReport,
    suspects: Suspects,
) -> None:
    """Rows that are not final are as their newest flush showed them, and none was removed."""

    def take(row: ResultRow) -> None:
        if baseline is not None and row.decided_us <= baseline.decided_to_us:
            return
        known = store.shown(row.txn_id)
        if known is None:
            what = "is not final, and no flush showed it so"
            report.add(Fault("", 0, what, "results", row.name, "final"))
        elif known[0] == hashlib.sha256(row.data).hexdigest():
            report.covered_shown += 1
        else:
            suspects.shown.append((row, known[1]))

    await _stream(connection, _SHOWN_RESULTS, take)
    for part in store.every_shown(SHOWN_ASKED_ROWS):
        groups, names = [key_group_of(txn_id) for txn_id, _ in part], [txn_id for txn_id, _ in part]
        there = {row["txn_id"] for row in await connection.fetch(SQL["with_result"], groups, names)}
        for txn_id, place in part:
            if txn_id not in there:
                row = f"key_group={key_group_of(txn_id)} txn_id={txn_id}"
                report.add(Fault(place.chain, place.seq, "was shown, but it is gone", "results", row))


async def _stream(
    connection: asyncpg.Connection[asyncpg.Record], query: str, take: Callable[[ResultRow], None]
) -> None:
    splitter = RowSplitter()

    async def output(data: bytes) -> None:
        for row in splitter.feed(data):
            take(row)

    await connection.copy_from_query(query, output=output, format="binary")
