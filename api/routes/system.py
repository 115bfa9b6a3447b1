"""Health, readiness, metrics, and the dashboard's configuration."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api.models.common import Shape
from api.routing import ERROR_RESPONSES, GuardedRoute
from api.state import ServicesDep

router = APIRouter(tags=["system"])
metrics_router = APIRouter(tags=["system"], route_class=GuardedRoute, responses=dict(ERROR_RESPONSES))


class Health(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """Whether requests can be served, and what is missing."""

    ready: bool
    not_ready: list[str] = Field(description="Parts without which requests fail: postgres, signing_keys.")
    degraded: list[str] = Field(
        description="Parts without which answers are older or thinner: redis, pipeline, keycloak"
    )


class DashboardConfig(Shape):
    """Where to sign in."""

    keycloak_url: str
    realm: str
    client_id: str
    api_base: str = "/api/v1"
    socket_path: str = "/socket.io"
    ray_dashboard_url: str = ""


@router.get("/healthz", operation_id="getHealth", summary="The process answers")
async def get_health() -> Health:
    """Nothing else is asked: a database that is down must not get the process restarted."""
    return Health()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Whether requests can be served",
    responses={503: {"model": Readiness, "description": "Not ready; names what is missing"}},
    response_model=Readiness,
)
async def get_readiness(services: ServicesDep) -> Response:
    """Names the parts that do not answer."""
    readiness = Readiness(**await services.readiness())
    return JSONResponse(readiness.model_dump(), status_code=200 if readiness.ready else 503)


@router.get("/config.json", operation_id="getConfig", summary="What the dashboard needs before sign-in")
async def get_config(services: ServicesDep) -> DashboardConfig:
    """So that one bundle fits every environment."""
    public = services.options.public
    return DashboardConfig(
        keycloak_url=public.keycloak_url,
        realm=public.realm,
        client_id=public.client_id,
        ray_dashboard_url=public.ray_dashboard_url,
    )


@metrics_router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Prometheus metrics of every replica",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format"}
    },
)
async def get_metrics(request: Request, services: ServicesDep) -> Response:
    """Needs a token as everything else does; Prometheus can fetch one by client credentials."""
    del request
    return Response(await services.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
