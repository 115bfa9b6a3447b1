"""Transactions: search, count, export, one in full."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.answers import as_json
from api.csvs import stream_csv
from api.models.audit import AuditList
from api.models.common import (
    PAGE_ROWS_DEFAULT,
    PAGE_ROWS_MAX,
    BreakName,
    Count,
    CurrencyCode,
    QueryShape,
    TimeBound,
    TxnId,
    VerdictName,
)
from api.models.transactions import TransactionDetail, TransactionPage, TransactionSort
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep
from schemas.verdicts import Break

router = guarded_router("/transactions", "transactions")


class TransactionFilter(QueryShape):
    """Filters; everything left out matches all."""

    verdict: VerdictName | None = None
    breaks: list[BreakName] = Field(
        default_factory=list,
        max_length=len(Break),
        alias="break",
        description="Any of these kinds, among mismatches; with `verdict=PENDING` among provisional breaks.",
    )
    source: Annotated[str | None, Field(max_length=64, description="A source that has spoken.")] = None
    missing_source: Annotated[str | None, Field(max_length=64)] = None
    late: Annotated[bool | None, Field(description="A leg arrived after the window.")] = None
    final: bool | None = None
    currency: CurrencyCode | None = None
    amount_min: Annotated[int | None, Field(ge=0, le=10**15, description="Minor units, largest leg.")] = None
    amount_max: Annotated[int | None, Field(ge=0, le=10**15)] = None
    since: Annotated[TimeBound | None, Field(description="Decided at or after.")] = None
    until: Annotated[TimeBound | None, Field(description="Decided before.")] = None
    q: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=256,
            description="A transaction id, or with a trailing `*` its first characters (four at least); "
            "the order is then by txn_id.",
        ),
    ] = None


class TransactionQuery(TransactionFilter):
    """Filters, order and page."""

    sort: Annotated[
        TransactionSort,
        Field(
            description="Orders by amount or spread need `verdict=MISMATCHED`, and compare currencies as the page's "
            "`amount_order` says; `txn_id` needs `q`."
        ),
    ] = "-decided_at"
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT
    cursor: Annotated[str | None, Field(max_length=1_024)] = None


@router.get("", operation_id="listTransactions", summary="Search transactions", response_model=TransactionPage)
async def list_transactions(query: Annotated[TransactionQuery, Query()], services: ServicesDep) -> Response:
    """A page of transactions that match all filters. The order is stable while new results arrive."""
    page = await services.transactions.search(query, sort=query.sort, limit=query.limit, cursor=query.cursor)
    return as_json(page)


@router.get("/count", operation_id="countTransactions", summary="Count transactions without scanning them")
async def count_transactions(query: Annotated[TransactionFilter, Query()], services: ServicesDep) -> Count:
    """As many as the list and the export of these filters hold: exact, or bounded where that takes long."""
    return await services.transactions.count(query)


@router.get(
    "/export",
    operation_id="exportTransactions",
    summary="Export transactions as CSV",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV, UTF-8, CRLF"}},
)
async def export_transactions(
    query: Annotated[TransactionFilter, Query()], services: ServicesDep, caller: CallerDep
) -> StreamingResponse:
    """Rows newest first, streamed. Cells that a spreadsheet would run as a formula are defused with an apostrophe."""
    rows = services.transactions.export(query)
    return await stream_csv(services.exports, caller, rows, "transactions.csv")


@router.get(
    "/{txn_id:segment}",
    operation_id="getTransaction",
    summary="One transaction in full",
    response_model=TransactionDetail,
)
async def get_transaction(txn_id: Annotated[TxnId, Path()], services: ServicesDep, caller: CallerDep) -> Response:
    """Legs side by side with differing fields marked, raw events, revisions, and the rules that judged it."""
    return as_json(await services.transactions.detail(txn_id, masked=not caller.sees_accounts))


@router.get("/{txn_id:segment}/audit", operation_id="getTransactionAudit", summary="The audit trail of one transaction")
async def get_transaction_audit(txn_id: Annotated[TxnId, Path()], services: ServicesDep) -> AuditList:
    """Who did or saw what with this transaction, newest first, at most 200 entries."""
    return await services.trail.of_object(txn_id)
