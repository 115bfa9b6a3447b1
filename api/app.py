"""The REST app: routes, errors, limits, and the dashboard's files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.types import Lifespan

from api import problems
from api.dashboard import Dashboard, Files
from api.middleware import Surround, security_headers
from api.openapi import document
from api.options import ApiOptions
from api.routes import audit, deadletters, exceptions, overview, rules, system, transactions
from api.services import Ports, Services
from api.version import API_VERSION

ROUTERS = (
    overview.router,
    transactions.router,
    exceptions.router,
    exceptions.people_router,
    rules.router,
    deadletters.router,
    audit.router,
    system.router,
    system.metrics_router,
)


def bare_app(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The routes without anything behind them: enough to draw the OpenAPI document."""
    app = FastAPI(
        title="recon",
        version=API_VERSION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, [route for router in ROUTERS for route in router.routes])
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's own way to replace it
    return app


def build_rest(services: Services, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The app on services that somebody else starts and stops."""
    options = services.options
    app = bare_app(lifespan)
    app.state.services = services
    if options.dashboard_dir is not None:
        app.routes.append(Files("/", Dashboard(options.dashboard_dir), name="dashboard"))
    parts = urlsplit(options.public.keycloak_url)
    app.add_middleware(
        Surround,
        headers=security_headers(f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""),
        body_bytes=options.limits.body_bytes,
        metrics=services.metric_set,
    )
    return app


def build_app(options: ApiOptions, ports: Ports | None = None) -> FastAPI:
    """The whole app; its services start and stop with its lifespan."""
    services = Services(options, ports or Ports())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        await services.start()
        try:
            yield
        finally:
            await services.stop()

    return build_rest(services, lifespan)
