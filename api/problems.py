"""Errors as RFC 9457 problem details: every refusal is one class here, and every response body has one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from api.models.common import FieldProblem, Problem
from schemas.errors import ReconError

log = structlog.get_logger("api")

MEDIA_TYPE = "application/problem+json"


class ProblemError(ReconError):
    """Something the API refuses. The class names the kind; `detail` is for people and never holds data of others."""

    status = 500
    kind = "internal"
    title = "The service failed"

    def __init__(
        self, detail: str = "", *, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(detail or self.title)


class NotSignedInError(ProblemError):
    """No token, or one that does not hold."""

    status, kind, title = 401, "not-signed-in", "Sign in first"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="recon", error="invalid_token"'})


class NotAllowedError(ProblemError):
    """The token holds, the role does not suffice."""

    status, kind, title = 403, "not-allowed", "Your role does not allow this"


class NotFoundError(ProblemError):
    """No such object."""

    status, kind, title = 404, "not-found", "Not found"


class StaleVersionError(ProblemError):
    """Somebody changed it in the meantime."""

    status, kind, title = 409, "stale-version", "It has changed since you read it"


class ConflictError(ProblemError):
    """The state of the object does not allow the change."""

    status, kind, title = 409, "conflict", "Its state does not allow this"


class StillRefusedError(ProblemError):
    """The pipeline would set the record aside again."""

    status, kind, title = 409, "still-refused", "It would be set aside again"


class SecondPersonError(ProblemError):
    """Maker and checker must differ."""

    status, kind, title = 409, "second-person", "A second person must do this"


class InvalidError(ProblemError):
    """The request cannot be understood."""

    status, kind, title = 422, "invalid-request", "The request is not valid"


class TooLargeError(ProblemError):
    """The body is larger than the limit."""

    status, kind, title = 413, "too-large", "The request body is too large"


class TooManyError(ProblemError):
    """The caller is over the rate."""

    status, kind, title = 429, "too-many-requests", "Slow down"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Try again in {retry_after_s} s.", headers={"Retry-After": str(retry_after_s)})


class UnavailableError(ProblemError):
    """A dependency does not answer; the same request may succeed later."""

    status, kind, title = 503, "unavailable", "Try again later"

    def __init__(self, detail: str = "", retry_after_s: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class AuditUnavailableError(UnavailableError):
    """The audit entry could not be stored, so the data is not shown."""

    kind, title = "audit-unavailable", "Not shown: the audit trail does not take entries"


_BY_STATUS: dict[int, type[ProblemError]] = {
    401: NotSignedInError,
    403: NotAllowedError,
    404: NotFoundError,
    413: TooLargeError,
    422: InvalidError,
    503: UnavailableError,
}


def respond(request: Request, status: int, kind: str, title: str, detail: str = "", **extra: Any) -> Response:
    """A problem as a response."""
    headers: Mapping[str, str] = extra.get("headers") or {}
    problem = Problem(
        type=f"/problems/{kind}",
        title=title,
        status=status,
        detail=detail,
        request_id=getattr(request.state, "request_id", ""),
        errors=extra.get("errors") or [],
    )
    return JSONResponse(problem.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers))


def respond_to(request: Request, error: ProblemError) -> Response:
    """A refusal as a response."""
    return respond(
        request, error.status, error.kind, error.title, error.detail, errors=error.errors, headers=error.headers
    )


def _methods(request: Request, routes: Sequence[BaseRoute]) -> set[str]:
    """All methods that the request's path has, over all routes; a route of exactly this path hides patterns.

    A path that no route has is a file's.
    """
    found = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    exact = [route for route in found if route.path == request.scope["path"]]
    methods = {method for route in exact or found for method in route.methods or ()} or {"GET"}
    return methods | {"HEAD"} if "GET" in methods else methods


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error of the app in the one shape. `routes` are all that the app includes."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101 - registered for this class only
        return respond_to(request, error)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
        # The rejected input is left out on purpose: it may be large or secret.
        problems = [
            FieldProblem(where=".".join(str(part) for part in item["loc"]), problem=str(item["msg"]))
            for item in error.errors()[:20]
        ]
        return respond_to(request, InvalidError("See `errors`.", errors=problems))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
        known = _BY_STATUS.get(error.status_code)
        kind = known.kind if known else f"http-{error.status_code}"
        title = known.title if known else str(error.detail)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(request, routes)))
        return respond(request, error.status_code, kind, title, headers=headers)

    async def on_nul(request: Request, error: Exception) -> Response:
        log.info("nul_refused", request_id=getattr(request.state, "request_id", ""), error=str(error))
        return respond_to(request, InvalidError("Text must not contain NUL."))

    async def on_bug(request: Request, error: Exception) -> Response:
        log.error("request_failed", request_id=getattr(request.state, "request_id", ""), exc_info=error)
        return respond(request, 500, "internal", ProblemError.title)

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(asyncpg.CharacterNotInRepertoireError, on_nul)  # PostgreSQL's word for it
    app.add_exception_handler(Exception, on_bug)
