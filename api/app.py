"""The REST app."""

from __future__ import annotations

from fastapi import FastAPI

from api import problems
from api.openapi import document
from api.routes import audit, deadletters, exceptions, overview, rules, system, transactions


def bare_app() -> FastAPI:
    app = FastAPI(title="recon", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    for module in (overview, transactions, exceptions, rules, deadletters, audit, system):
        app.include_router(module.router)
    app.include_router(exceptions.people_router)
    app.include_router(system.metrics_router)
    problems.install(app)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app
