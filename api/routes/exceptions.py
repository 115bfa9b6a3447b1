"""The exceptions desk."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response
from pydantic import ConfigDict, Field

from api.answers import as_json
from api.models.common import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, BreakName, Person, TxnId
from api.models.exceptions import (
    BulkApply,
    BulkPreview,
    BulkRequest,
    BulkResult,
    Comment,
    ExceptionAction,
    ExceptionBuckets,
    ExceptionDetail,
    ExceptionFilter,
    ExceptionPage,
    ExceptionSort,
    NewComment,
)
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep
from schemas.verdicts import Break

router = guarded_router("/exceptions", "exceptions")
people_router = guarded_router("/people", "exceptions")


class ExceptionQuery(ExceptionFilter):
    """Filters, order and page."""

    model_config = ConfigDict(strict=False)

    breaks: list[BreakName] = Field(
        default_factory=list, max_length=len(Break), alias="break", description="Any of these kinds."
    )
    sort: Annotated[
        ExceptionSort | None,
        Field(
            description="`-updated_at`, the last change, is the order of buckets that people have touched when none is "
            "given, and the only one of `resolved`; elsewhere it is `-decided_at`."
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT
    cursor: Annotated[str | None, Field(max_length=1_024)] = None


@router.get("", operation_id="listExceptions", summary="Search exceptions", response_model=ExceptionPage)
async def list_exceptions(
    query: Annotated[ExceptionQuery, Query()], services: ServicesDep, caller: CallerDep
) -> Response:
    """A page of exceptions. Without a bucket: all that is not resolved."""
    page = await services.exceptions.search(query, caller, sort=query.sort, limit=query.limit, cursor=query.cursor)
    return as_json(page)


@router.get("/buckets", operation_id="getExceptionBuckets", summary="Counts by bucket")
async def get_exception_buckets(services: ServicesDep, caller: CallerDep) -> ExceptionBuckets:
    """Counts for the desk's tabs, from running totals."""
    return await services.exceptions.buckets(caller)


@router.post("/bulk/preview", operation_id="previewBulkAction", summary="What a bulk action would touch")
async def preview_bulk_action(body: BulkRequest, services: ServicesDep, caller: CallerDep) -> BulkPreview:
    """Count and money, and the token that binds the action to this very set."""
    return await services.exceptions.preview(body, caller)


@router.post("/bulk", operation_id="applyBulkAction", summary="Act on all that a filter finds")
async def apply_bulk_action(body: BulkApply, services: ServicesDep, caller: CallerDep) -> BulkResult:
    """All or nothing; 409 when the set is no longer what the preview showed."""
    return await services.exceptions.apply(body, caller)


@router.get("/{txn_id:segment}", operation_id="getException", summary="One exception with its history")
async def get_exception(txn_id: Annotated[TxnId, Path()], services: ServicesDep, caller: CallerDep) -> ExceptionDetail:
    """The exception, its comments, its steps, and what the caller may do now."""
    return await services.exceptions.detail(txn_id, caller)


@router.post("/{txn_id:segment}/actions", operation_id="actOnException", summary="Assign, review, resolve, approve")
async def act_on_exception(
    txn_id: Annotated[TxnId, Path()], body: ExceptionAction, services: ServicesDep, caller: CallerDep
) -> ExceptionDetail:
    """One step. Resolving above the four-eyes threshold proposes it; a second person approves or rejects."""
    return await services.exceptions.act(txn_id, body, caller)


@router.post(
    "/{txn_id:segment}/comments", operation_id="addExceptionComment", summary="Comment on an exception", status_code=201
)
async def add_exception_comment(
    txn_id: Annotated[TxnId, Path()], body: NewComment, services: ServicesDep, caller: CallerDep
) -> Comment:
    """Comments are kept for ever and cannot be edited."""
    return await services.exceptions.comment(txn_id, body, caller)


@people_router.get("", operation_id="listPeople", summary="Who can be assigned")
async def list_people(services: ServicesDep) -> list[Person]:
    """Analysts and admins who have signed in before."""
    return await services.people.assignable()
