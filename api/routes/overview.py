"""How the whole is doing: summary, series, sources, pipeline, incidents, and who is asking."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from api.access import allowed_operations
from api.models.common import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, TimeBound
from api.models.overview import IncidentPage, Me, Pipeline, Series, SourceList, Summary
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep

router = guarded_router("", "overview")


@router.get("/me", operation_id="getMe", summary="Who is calling")
async def get_me(caller: CallerDep) -> Me:
    """The caller as the token says, and what the role may do."""
    return Me(
        username=caller.username,
        name=caller.name,
        role=caller.role.label,  # type: ignore[arg-type]  # labels are the literal's values, tested
        subject=caller.subject,
        token_expires=caller.expires_s * 1_000,
        allowed=allowed_operations(caller.role),
    )


@router.get("/summary", operation_id="getSummary", summary="Counts and money at risk")
async def get_summary(
    services: ServicesDep,
    window_ms: Annotated[int, Query(ge=60_000, le=7 * 86_400_000, description="Rounded up to minutes.")] = 3_600_000,
) -> Summary:
    """Is it healthy, and what needs attention."""
    return await services.overview.summary(window_ms)


@router.get("/series", operation_id="getSeries", summary="Counts over time")
async def get_series(
    services: ServicesDep,
    since: Annotated[TimeBound | None, Query(description="One hour ago by default.")] = None,
    until: Annotated[TimeBound | None, Query(description="Now by default.")] = None,
    step_ms: Annotated[
        int | None, Query(ge=60_000, le=86_400_000, description="A multiple of 60,000; chosen when left out.")
    ] = None,
    metric: Annotated[
        list[Annotated[str, Query(max_length=64)]],
        Query(
            max_length=20, description="Metric names or prefixes, as in `verdict.` or `events.CORE`; all when left out."
        ),
    ] = [],  # noqa: B006 - FastAPI copies defaults
) -> Series:
    """Counts per step. At most 2,000 points."""
    return await services.overview.series(since, until, step_ms, metric)


@router.get("/sources", operation_id="listSources", summary="Rate, lag, watermark and silence by source")
async def list_sources(services: ServicesDep) -> SourceList:
    """The configured sources as the pipeline last saw them."""
    return await services.overview.sources()


@router.get("/pipeline", operation_id="getPipeline", summary="Actors, partitions, shards")
async def get_pipeline(services: ServicesDep) -> Pipeline:
    """The pipeline as its supervisor reports it each second."""
    return await services.overview.pipeline()


@router.get("/incidents", operation_id="listIncidents", summary="What went wrong, and when it was over")
async def list_incidents(
    services: ServicesDep,
    open_only: bool = False,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
) -> IncidentPage:
    """Incidents, newest first."""
    return await services.overview.incidents(open_only=open_only, limit=limit, cursor=cursor)
