"""The audit trail: search, export, verify."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.csvs import stream_csv
from api.models.audit import AuditPage, ChainList, VerifyReport, VerifyRequest
from api.models.common import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, QueryShape, TimeBound
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep

router = guarded_router("/audit", "audit")


class AuditFilter(QueryShape):
    """Filters; everything left out matches all."""

    actor: Annotated[str | None, Field(max_length=128)] = None
    action: Annotated[str | None, Field(max_length=64)] = None
    object_id: Annotated[str | None, Field(max_length=300)] = None
    chain: Annotated[str | None, Field(max_length=64)] = None
    since: TimeBound | None = None
    until: TimeBound | None = None


class AuditQuery(AuditFilter):
    """Filters and page."""

    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT
    cursor: Annotated[str | None, Field(max_length=1_024)] = None


@router.get("", operation_id="searchAudit", summary="Search the audit trail")
async def search_audit(query: Annotated[AuditQuery, Query()], services: ServicesDep) -> AuditPage:
    """Newest first."""
    return await services.trail.search(query, limit=query.limit, cursor=query.cursor)


@router.get(
    "/export",
    operation_id="exportAudit",
    summary="Export the audit trail as CSV",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV, UTF-8, CRLF"}},
)
async def export_audit(
    query: Annotated[AuditFilter, Query()], services: ServicesDep, caller: CallerDep
) -> StreamingResponse:
    """Every field that the hash covers, so that the chain can be verified elsewhere."""
    return await stream_csv(services.exports, caller, services.trail.export(query), "audit.csv")


@router.get("/chains", operation_id="listAuditChains", summary="The chains and how far each is verified")
async def list_audit_chains(services: ServicesDep) -> ChainList:
    """One chain per matcher shard, one for this service."""
    return await services.trail.chains()


@router.post("/verify", operation_id="verifyAudit", summary="Recompute the hash chains")
async def verify_audit(body: VerifyRequest, services: ServicesDep, caller: CallerDep) -> VerifyReport:
    """Goes on from the last verified entry; bounded by time, so call again while `complete` is false."""
    return await services.trail.verify(from_start=body.from_start, by=caller)
