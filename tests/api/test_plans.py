"""Every list is quick however many rows there are: plans on a filled table, and bounds on the rows they touch.

A plan's cost follows the rows and buffers that it touches, so the proof is a bound on these, which holds for fifty
million rows as for this half million, because every bounded walk stops at its limit.
`tests/load/fill.py` measures the same searches on any number of rows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from api.access import Role
from api.audit_log import AuditLog
from api.caller import Caller
from api.db import Database
from api.desk_feed import DeskFeed
from api.models.exceptions import ExceptionFilter
from api.options import ApiOptions, Limits
from api.routes.transactions import TransactionQuery
from api.services import connect_redis
from api.store.exceptions import ExceptionStore
from api.store.totals import Totals
from api.store.transactions import TransactionStore
from api.store.vocabulary import VocabularyReader
from schemas.events import Status, key_group_of

from .filled import fill

if TYPE_CHECKING:
    from .conftest import Ledger
pytestmark = pytest.mark.stack

ROWS = 400_000
WALK_ROWS = Limits().scan_rows
TOUCHED_MAX = 25_000  # rows that any one statement may read: the walk and a little
BUFFERS_MAX = 2_000  # pages of 8 kB


@pytest.fixture(scope="module", autouse=True)
def _filled(ledger: Ledger) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(**ledger.postgres.connect_kwargs("owner"))
        await fill(connection, ROWS)
        await connection.close()

    ledger.run(run())


class Recorder:
    """Stands in for the pool: runs each statement, and explains it with what it really touched."""

    def __init__(self, options: ApiOptions) -> None:
        self.db = Database(options)
        self.plans: list[tuple[str, dict[str, Any]]] = []
        real = self.db.connection

        def connection() -> Any:
            return _Recorded(real(), self.plans)

        self.db.connection = connection  # type: ignore[method-assign]


class _Recorded:
    def __init__(self, manager: Any, plans: list[tuple[str, dict[str, Any]]]) -> None:
        self._manager = manager
        self._plans = plans

    async def __aenter__(self) -> Any:
        connection = await self._manager.__aenter__()
        plans = self._plans

        class Wrapped:
            async def _explain(self, query: str, arguments: tuple[Any, ...]) -> None:
                if not query.lstrip().lower().startswith(("select", "with", "--")):
                    return
                text = await connection.fetchval(f"explain (analyze, buffers, format json) {query}", *arguments)
                plans.append((query, json.loads(text)[0]["Plan"]))

            async def fetch(self, query: str, *arguments: Any) -> Any:
                await self._explain(query, arguments)
                return await connection.fetch(query, *arguments)

            async def fetchrow(self, query: str, *arguments: Any) -> Any:
                await self._explain(query, arguments)
                return await connection.fetchrow(query, *arguments)

            async def fetchval(self, query: str, *arguments: Any) -> Any:
                return await connection.fetchval(query, *arguments)

            async def execute(self, query: str, *arguments: Any) -> Any:
                return await connection.execute(query, *arguments)

        return Wrapped()

    async def __aexit__(self, *error: object) -> Any:
        return await self._manager.__aexit__(*error)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def check(plans: list[tuple[str, dict[str, Any]]]) -> None:
    """No walk over a whole table, no sort of more than a page's worth of rows, few rows and few pages."""
    assert plans
    for query, plan in plans:
        for node in nodes(plan):
            touched = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            if node["Node Type"] == "Seq Scan":
                assert node["Relation Name"] not in {"results", "event_blocks", "audit_logs"}, query
            assert touched <= TOUCHED_MAX, (node["Node Type"], touched, query)
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= BUFFERS_MAX, query


SEARCHES: dict[str, dict[str, Any]] = {
    "everything": {},
    "matched": {"verdict": "MATCHED"},
    "mismatches": {"verdict": "MISMATCHED"},
    "mismatches by amount": {"verdict": "MISMATCHED", "sort": "-amount_minor"},
    "mismatches by spread": {"verdict": "MISMATCHED", "sort": "-spread_minor"},
    "pending": {"verdict": "PENDING"},
    "a kind": {"break": ["CURRENCY"]},
    "a kind and a currency that hardly meet": {"break": ["CURRENCY"], "currency": "KWD"},
    "a missing source": {"missing_source": "MOBILE"},
    "nothing at all": {"currency": "XCD"},
    "one exact amount": {"amount_min": 777_777, "amount_max": 777_777},
    "late ones, of which there are none": {"late": True},
    "a time range": {"since": 1_767_225_600_000, "until": 1_767_225_700_000},
    "amounts of mismatches in a time range": {
        "verdict": "MISMATCHED",
        "sort": "-amount_minor",
        "since": 1_767_225_600_000,
        "until": 1_767_225_601_000,
    },
    "an id": {"q": "FILL000000000100"},
    "the beginning of ids": {"q": "FILL0000001*"},
}


def store(recorder: Recorder) -> TransactionStore:
    vocabulary = VocabularyReader(recorder.db)
    return TransactionStore(recorder.db, vocabulary, Totals(recorder.db), Limits())


@pytest.mark.parametrize("query", SEARCHES.values(), ids=SEARCHES.keys())
async def test_a_search_touches_few_rows(query: dict[str, Any], options: ApiOptions) -> None:
    recorder = Recorder(options)
    try:
        made = TransactionQuery.model_validate(query)
        await store(recorder).search(made, sort=made.sort, limit=50, cursor=None)
        await store(recorder).count(made)
        check(recorder.plans)
    finally:
        await recorder.db.close()


async def test_one_transaction_touches_a_handful_of_rows(options: ApiOptions, ledger: Ledger) -> None:
    ledger.add("plan-1")
    assert key_group_of("plan-1") >= 0
    recorder = Recorder(options)
    try:
        await store(recorder).detail("plan-1", masked=True)
        check(recorder.plans)
        assert all(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60 for _, plan in recorder.plans)
    finally:
        await recorder.db.close()


EXCEPTIONS: dict[str, dict[str, Any]] = {
    "all open": {},
    "open": {"bucket": "open"},
    "largest": {"sort": "-amount_minor"},
    "critical": {"severity": "critical"},
    "resolved": {"bucket": "resolved"},
    "mine": {"bucket": "mine"},
    "the largest of mine": {"bucket": "mine", "sort": "-amount_minor"},
    "the largest of a severity": {"severity": "low", "sort": "-amount_minor"},
    "awaiting me": {"bucket": "awaiting_me"},
    "a kind in a currency": {"breaks": ["STATUS"], "currency": "CHF"},
    "somebody's": {"assignee": "anna"},
}


@pytest.mark.parametrize("query", EXCEPTIONS.values(), ids=EXCEPTIONS.keys())
async def test_the_desk_touches_few_rows(query: dict[str, Any], options: ApiOptions) -> None:
    recorder = Recorder(options)
    redis = connect_redis(options)
    caller = Caller("s", "anna", "", Role.ANALYST, 0, "c")
    desk = ExceptionStore(
        recorder.db,
        VocabularyReader(recorder.db),
        Totals(recorder.db),
        AuditLog(recorder.db, Limits()),
        DeskFeed(redis, options.redis_prefix),
    )
    sort = query.get("sort")
    made = ExceptionFilter.model_validate({key: value for key, value in query.items() if key != "sort"})
    try:
        await desk.search(made, caller, sort=sort, limit=50, cursor=None)
        await desk.buckets(caller)
        check(recorder.plans)
    finally:
        await recorder.db.close()
        await redis.aclose()


async def test_a_rare_row_is_found_by_going_on(options: ApiOptions, ledger: Ledger) -> None:
    """The only row of a currency lies at the far end: pages are short, and the search comes there."""
    ledger.add("rare-1", {"CORE": (5, "ISK", Status.SUCCESS)}, decided_at=datetime(2025, 12, 31, tzinfo=UTC))
    db = Database(options)
    search = TransactionStore(db, VocabularyReader(db), Totals(db), Limits())
    query = TransactionQuery.model_validate({"currency": "ISK"})
    cursor, found, pages = None, [], 0
    try:
        while True:
            page = await search.search(query, sort="-decided_at", limit=50, cursor=cursor)
            found += [item.txn_id for item in page.items]
            pages += 1
            cursor = page.next_cursor
            if cursor is None:
                break
            assert page.searched_to is not None
        assert found == ["rare-1"]
        assert pages <= ROWS // WALK_ROWS + 2
    finally:
        await db.close()
