"""Transactions: search, count, export, one in full."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api import cursors
from api.db import Database
from api.differences import amount_tolerance, differences
from api.masking import mask_account
from api.models.common import Count, FieldProblem
from api.models.transactions import (
    AppliedRules,
    RawEvent,
    Revision,
    TransactionDetail,
    TransactionPage,
    TransactionRow,
)
from api.options import Limits
from api.problems import InvalidError, NotFoundError
from api.queries import queries
from api.severity import breaks_of, verdict_of
from api.store.amounts import AmountKey, AmountWalk, amount_order, amounts_page, encode_place, read_place
from api.store.search import (
    MISMATCH_SCAN_ROWS,
    MISMATCHES,
    Filters,
    Walk,
    count_walk,
    read_cursor,
    walk_page,
)
from api.store.totals import Totals
from api.store.vocabulary import Vocabulary, VocabularyReader
from api.store.worth import WorthOrder
from api.times import millis, millis_or_none
from schemas.events import key_group_of
from schemas.exchange import NO_RATES, ExchangeRates
from schemas.verdicts import Verdict, break_mask

if TYPE_CHECKING:
    from api.routes.transactions import TransactionFilter

PREFIX_CHARS_MIN = 4
PREFIX_COUNT_ROWS = 150  # times 128 key groups is what one step of a count may touch
COUNT_BUDGET_S = 0.4  # a count that takes longer says how far it came
EXPORT_BATCH_ROWS = 2_000
_LAST_CHARACTER = "\U0010ffff"


class TransactionStore:
    """Reads results and what belongs to them."""

    def __init__(
        self,
        db: Database,
        vocabulary: VocabularyReader,
        totals: Totals,
        limits: Limits,
        rates: ExchangeRates = NO_RATES,
    ) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._totals = totals
        self._limits = limits
        self._rates = rates

    async def search(self, query: TransactionFilter, *, sort: str, limit: int, cursor: str | None) -> TransactionPage:
        """A page. Raises InvalidError for a sort or cursor that does not fit the filters."""
        vocabulary = await self._vocabulary.get()
        digest = cursors.search_digest("transactions", query.model_dump(exclude={"limit", "cursor"}), sort)
        query = selected(query)
        if query.q is not None:
            return await self._by_id(query, vocabulary, digest, limit=limit, cursor=cursor)
        key = sort.removeprefix("-")
        if key == "txn_id":
            problem = FieldProblem(where="query.sort", problem="txn_id needs q")
            raise InvalidError("This order is not possible.", errors=[problem])
        if key != "decided_at":
            return await self._by_amount(query, vocabulary, sort=sort, limit=limit, cursor=cursor)
        walk = self._walk(query, descending=sort.startswith("-"))
        found = await walk_page(
            self._db, walk, _filters(query, vocabulary), limit=limit, position=read_cursor(cursor, digest)
        )
        return TransactionPage(
            items=await self._rows(found.rows, vocabulary),
            next_cursor=None if found.next_position is None else cursors.encode(digest, found.next_position),
            searched_to=found.searched_to,
        )

    async def _by_amount(
        self, query: TransactionFilter, vocabulary: Vocabulary, *, sort: str, limit: int, cursor: str | None
    ) -> TransactionPage:
        """Mismatches by amount or spread, currencies by their worth."""
        if query.verdict != "MISMATCHED":
            problem = FieldProblem(where="query.sort", problem="orders by amount or spread need verdict=MISMATCHED")
            raise InvalidError("This order is not possible.", errors=[problem])
        digest = cursors.search_digest(
            "transactions", query.model_dump(exclude={"limit", "cursor"}), sort, self._rates.fingerprint
        )
        key: AmountKey = "amount_minor" if sort.endswith("amount_minor") else "spread_minor"
        walk = AmountWalk(
            key,
            WorthOrder(self._rates, descending=sort.startswith("-")),
            currency=query.currency,
            since_us=None if query.since is None else query.since * 1_000,
            until_us=None if query.until is None else query.until * 1_000,
        )
        filters = _filters(query, vocabulary)
        found = await amounts_page(self._db, walk, filters, limit=limit, after=read_place(cursor, digest))
        return TransactionPage(
            items=await self._rows(found.rows, vocabulary),
            next_cursor=encode_place(digest, found.next_place),
            amount_order=amount_order(self._rates, found.currencies),
        )

    def _walk(self, query: TransactionFilter, *, descending: bool = True) -> Walk:
        base, scan = "true", self._limits.scan_rows
        if query.verdict == "MISMATCHED":
            base, scan = MISMATCHES, MISMATCH_SCAN_ROWS
        elif query.verdict == "PENDING":
            base, scan = f"r.verdict = {Verdict.PENDING.value}", MISMATCH_SCAN_ROWS
        return Walk(
            descending=descending,
            base=base,
            since_us=None if query.since is None else query.since * 1_000,
            until_us=None if query.until is None else query.until * 1_000,
            scan_rows=scan,
        )

    async def _rows(self, rows: Sequence[Any], vocabulary: Vocabulary) -> list[TransactionRow]:
        mismatched = [row for row in rows if row["verdict"] == Verdict.MISMATCHED]
        touched: dict[str, Any] = {}
        if mismatched:
            exceptions = await self._db.fetch(
                queries("transactions")["exceptions_of"],
                [row["key_group"] for row in mismatched],
                [row["txn_id"] for row in mismatched],
            )
            touched = {row["txn_id"]: row for row in exceptions}
        return [vocabulary.transaction(row, touched.get(row["txn_id"])) for row in rows]

    async def _by_id(
        self, query: TransactionFilter, vocabulary: Vocabulary, digest: str, *, limit: int, cursor: str | None
    ) -> TransactionPage:
        """One id, or ids that start alike, in order of the id; the other filters are applied to what is found."""
        text = query.q or ""
        sql = queries("transactions")
        rows: Sequence[Any]
        more = False
        if not text.endswith("*"):
            row = await self._db.fetchrow(sql["one"], key_group_of(text), text)
            rows = [row] if row is not None else []
        else:
            prefix = text.rstrip("*")
            if len(prefix) < PREFIX_CHARS_MIN:
                problem = FieldProblem(where="query.q", problem=f"at least {PREFIX_CHARS_MIN} characters before the *")
                raise InvalidError("The search is too wide.", errors=[problem])
            after = cursors.decode(cursor, digest, (str,))[0] if cursor else ""
            rows = await self._db.fetch(sql["by_prefix"], prefix, prefix + _LAST_CHARACTER, limit + 1, after)
            more = len(rows) > limit
            rows = rows[:limit]
        last = rows[-1]["txn_id"] if more else None
        kept = [row for row in rows if _keeps(query, row, vocabulary)]
        return TransactionPage(
            items=await self._rows(kept, vocabulary),
            next_cursor=None if last is None else cursors.encode(digest, [last]),
        )

    async def count(self, query: TransactionFilter) -> Count:
        """From running totals, else counted for as long as the budget lasts: then by what it is bounded."""
        vocabulary = await self._vocabulary.get()
        query = selected(query)
        given = {key for key, value in query.model_dump().items() if value not in (None, [])}
        if given <= {"verdict"}:
            return Count(value=await self._population(query), relation="exact")
        if query.q is not None:
            return await self._count_by_id(query)
        counted = await count_walk(
            self._db,
            replace(self._walk(query), scan_rows=self._limits.scan_rows),
            _filters(query, vocabulary),
            budget_s=COUNT_BUDGET_S,
        )
        if counted.is_whole:
            return Count(value=counted.found, relation="exact")
        rest = max(0, await self._population(query) - counted.looked_at)
        return Count(value=counted.found, relation="at_least", at_most=counted.found + rest)

    async def _population(self, query: TransactionFilter) -> int:
        """All transactions of the verdict that is asked for, or of any, from the running totals."""
        totals = await self._totals.verdicts()
        names = [query.verdict] if query.verdict else [verdict.name for verdict in Verdict]
        return max(0, sum(totals.get(name, 0) for name in names))

    async def _count_by_id(self, query: TransactionFilter) -> Count:
        """As many as there are of those whose ids start alike, page by page."""
        value, cursor, started = 0, None, time.monotonic()
        while True:
            page = await self.search(query, sort="txn_id", limit=PREFIX_COUNT_ROWS, cursor=cursor)
            value += len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return Count(value=value, relation="exact")
            if time.monotonic() - started > COUNT_BUDGET_S:
                return Count(value=value, relation="at_least")

    async def export(self, query: TransactionFilter) -> AsyncGenerator[list[list[object]]]:
        """Batches of cells, the heading first; at most `export_rows`. Each batch is a statement of its own."""
        vocabulary = await self._vocabulary.get()
        query = selected(query)
        _filters(query, vocabulary)  # raises before anything is answered
        if query.q is not None:
            async for batch in self._export_by_id(query, vocabulary):
                yield batch
            return
        yield [_heading(vocabulary)]
        walk, left = self._walk(query), self._limits.export_rows
        position: list[Any] | None = None
        while left > 0:
            found = await walk_page(
                self._db,
                walk,
                _filters(query, vocabulary),
                limit=min(EXPORT_BATCH_ROWS, left),
                position=position,
            )
            rows = await self._rows(found.rows, vocabulary)
            if rows:
                yield [_cells(row, vocabulary) for row in rows]
            left -= len(rows)
            position = found.next_position
            if position is None:
                return

    async def _export_by_id(
        self, query: TransactionFilter, vocabulary: Vocabulary
    ) -> AsyncGenerator[list[list[object]]]:
        """The rows whose ids start alike, in order of the id, page by page."""
        left = self._limits.export_rows
        cursor: str | None = None
        while left > 0:
            limit = min(EXPORT_BATCH_ROWS, left)
            page = await self.search(query, sort="txn_id", limit=limit, cursor=cursor)
            cells = [_cells(row, vocabulary) for row in page.items]
            yield cells if cursor else [_heading(vocabulary), *cells]
            left -= limit
            cursor = page.next_cursor
            if cursor is None:
                return

    async def detail(self, txn_id: str, *, masked: bool) -> TransactionDetail:
        """One transaction in full. Raises NotFoundError."""
        vocabulary = await self._vocabulary.get()
        sql = queries("transactions")
        group = key_group_of(txn_id)
        async with self._db.connection() as connection:
            result = await connection.fetchrow(sql["one"], group, txn_id)
            if result is None:
                raise NotFoundError("There is no such transaction.")
            repeats = await connection.fetch(sql["redeliveries"], group, txn_id)
            seqs = {*result["event_seqs"], *(row["seq"] for row in repeats)}
            events = await connection.fetch(
                sql["events"],
                group,
                sorted(seqs),
                result["first_arrival"],
                max([result["last_arrival"] + timedelta(milliseconds=1), *(row["arrival"] for row in repeats)]),
                txn_id,
            )
            history = await connection.fetch(sql["history"], group, txn_id)
        redelivered = {row["seq"] for row in repeats}
        row = (await self._rows([result], vocabulary))[0]
        rules, legs = vocabulary.rule_set(result["rules_version"]), vocabulary.legs(result["legs"])
        return TransactionDetail(
            result=row,
            differences=differences(legs, rules, row.breaks),
            events=_events(events, redelivered, vocabulary, masked=masked),
            revisions=[_revision(result, vocabulary), *(_revision(old, vocabulary) for old in history)],
            rules=AppliedRules(
                version=rules.version,
                match_window_ms=rules.match_window_ms,
                time_tolerance_ms=rules.time_tolerance_ms,
                amount_tolerance_minor=amount_tolerance(rules, legs),
                expected_sources=list(rules.expected_sources),
                window_closes=row.first_arrival + rules.match_window_ms,
            ),
            related=sorted({event["original_txn_id"] for event in events if event["original_txn_id"]}),
        )


def selected(query: TransactionFilter) -> TransactionFilter:
    """The query as list, count and export all take it: breaks and missing sources are looked for among mismatches."""
    if query.verdict is None and (query.missing_source or query.breaks):
        return query.model_copy(update={"verdict": "MISMATCHED"})
    return query


def _filters(query: TransactionFilter, vocabulary: Vocabulary) -> Filters:
    filters = Filters()
    if query.verdict is not None:
        filters.add("r.verdict = {}::smallint", Verdict[query.verdict].value)
    if query.breaks:
        filters.add("r.breaks & {}::smallint <> 0", break_mask(query.breaks))
    if query.source is not None:
        filters.add("r.present & {}::smallint <> 0", vocabulary.source_mask(query.source))
    if query.missing_source is not None:
        filters.add("r.missing & {}::smallint <> 0", vocabulary.source_mask(query.missing_source))
    if query.late is not None:
        filters.add("(r.late <> 0) = {}::boolean", query.late)
    if query.final is not None:
        filters.add("r.final = {}::boolean", query.final)
    if query.currency is not None:
        filters.add("r.currency = {}::text", query.currency)
    if query.amount_min is not None:
        filters.add("r.amount_minor >= {}::bigint", query.amount_min)
    if query.amount_max is not None:
        filters.add("r.amount_minor <= {}::bigint", query.amount_max)
    return filters


def _keeps(query: TransactionFilter, row: Any, vocabulary: Vocabulary) -> bool:
    """The same filters on a row in hand."""
    decided = millis(row["decided_at"])
    return (
        (query.verdict is None or row["verdict"] == Verdict[query.verdict])
        and (not query.breaks or bool(row["breaks"] & break_mask(query.breaks)))
        and (query.source is None or bool(row["present"] & vocabulary.source_mask(query.source)))
        and (query.missing_source is None or bool(row["missing"] & vocabulary.source_mask(query.missing_source)))
        and (query.late is None or bool(row["late"]) == query.late)
        and (query.final is None or row["final"] == query.final)
        and (query.currency is None or row["currency"] == query.currency)
        and (query.amount_min is None or row["amount_minor"] >= query.amount_min)
        and (query.amount_max is None or row["amount_minor"] <= query.amount_max)
        and (query.since is None or decided >= query.since)
        and (query.until is None or decided < query.until)
    )


def _events(events: Sequence[Any], redelivered: set[int], vocabulary: Vocabulary, *, masked: bool) -> list[RawEvent]:
    topics = {source.name: source.topic for source in vocabulary.sources}
    ordered = sorted(events, key=lambda event: (event["arrival"], event["seq"]))
    return [
        RawEvent(
            seq=event["seq"],
            source=event["source"],
            topic=topics.get(event["source"], ""),
            event_id=event["event_id"],
            amount_minor=event["amount_minor"],
            currency=event["currency"],
            status=event["status"],
            event_time=millis(event["event_time"]),
            arrival=millis(event["arrival"]),
            account_id=mask_account(event["account_id"]) if masked else event["account_id"],
            original_txn_id=event["original_txn_id"],
            kafka_partition=event["kafka_partition"],
            kafka_offset=event["kafka_offset"],
            redelivery=event["seq"] in redelivered,
        )
        for event in ordered
    ]


def _revision(row: Any, vocabulary: Vocabulary) -> Revision:
    return Revision(
        revision=row["revision"],
        verdict=verdict_of(row["verdict"]),
        final=row["final"],
        breaks=breaks_of(row["breaks"]),
        missing_sources=vocabulary.named(row["missing"]),
        late_sources=vocabulary.named(row["late"]),
        legs=vocabulary.legs(row["legs"]),
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        spread_minor=row["spread_minor"],
        rules_version=row["rules_version"],
        decided_at=millis(row["decided_at"]),
        replaced_at=millis_or_none(row.get("replaced_at")),
    )


_LEG_CELLS = ("amount_minor", "currency", "status", "event_time")


def _heading(vocabulary: Vocabulary) -> list[object]:
    return [
        *("txn_id", "verdict", "breaks", "missing_sources", "late_sources", "final", "revision", "rules_version"),
        *("currency", "amount_minor", "spread_minor", "first_arrival_ms", "decided_at_ms", "severity"),
        *("exception_state", "assignee"),
        *(f"{name.lower()}_{cell}" for name in vocabulary.names for cell in _LEG_CELLS),
    ]


def _cells(row: TransactionRow, vocabulary: Vocabulary) -> list[object]:
    cells: list[object] = [
        row.txn_id,
        row.verdict,
        " ".join(row.breaks),
        " ".join(row.missing_sources),
        " ".join(row.late_sources),
        str(row.final).lower(),
        row.revision,
        row.rules_version,
        row.currency,
        row.amount_minor,
        row.spread_minor,
        row.first_arrival,
        row.decided_at,
        row.severity or "",
        row.exception_state or "",
        row.assignee or "",
    ]
    for name in vocabulary.names:
        leg = row.legs.get(name)
        cells += [getattr(leg, cell) if leg else "" for cell in _LEG_CELLS]
    return cells
