"""The guarded route: sign-in, role, rate and audit happen here, once, for every operation of the API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

import api.paths  # noqa: F401 - its convertor must be known before a route is written
from api.access import ACCESS, Access
from api.audit_log import audit_entry
from api.caller import Caller
from api.csvs import Download
from api.models.common import FieldProblem
from api.problems import InvalidError, NotAllowedError, NotSignedInError
from api.services import Services

LIST_PARAMETERS = frozenset({"break", "metric"})  # may be repeated

_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code, text in {
        400: "Not an HTTP request that can be read",
        401: "No valid token",
        403: "The role does not suffice",
        404: "No such object",
        409: "Stale version, or the state does not allow it",
        413: "Body too large",
        422: "Not valid",
        429: "Too many requests",
        503: "A dependency does not answer, or the audit trail takes no entries",
    }.items()
}


async def authorize(request: Request, operation: str) -> Caller:
    """Verify the bearer token and the role for an operation, and count the request.

    Raises NotSignedInError, NotAllowedError, TooManyError or, when no signing keys are known, UnavailableError.
    """
    services: Services = request.app.state.services
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    source_ip = request.client.host if request.client else ""
    if scheme.lower() != "bearer" or not token:
        services.rates.take(f"ip:{source_ip}")
        raise NotSignedInError("Send `Authorization: Bearer <token>`.")
    try:
        caller = await services.verifier.verify(token.strip(), request_id=request.state.request_id, source_ip=source_ip)
    except NotSignedInError:
        services.rates.take(f"ip:{source_ip}")
        raise
    services.rates.take(caller.subject)
    request.state.caller = caller
    if caller.role < ACCESS[operation].role:
        await services.audit.write(audit_entry(caller, "access.denied", "operation", operation, {}))
        raise NotAllowedError(f"{operation} needs the role {ACCESS[operation].role.label}.")
    await services.people.seen(caller)
    return caller


def _query_details(request: Request) -> dict[str, Any]:
    """The query as sent, bounded: an auditor sees what was asked for. Cursors are left out, they repeat the filter."""
    pairs = [(key, value[:200]) for key, value in request.query_params.multi_items() if key != "cursor"]
    return {"query": dict(pairs[:30])} if pairs else {}


async def _record_read(request: Request, caller: Caller, operation: str, access: Access) -> None:
    services: Services = request.app.state.services
    object_id = next(iter(request.path_params.values()), "")
    entry = audit_entry(caller, operation, access.reads, str(object_id)[:300], _query_details(request))
    await services.audit.write(entry)  # raises AuditUnavailableError: then the answer is not given


def _refuse_repeated(request: Request) -> None:
    """A parameter given twice means two things; which one wins differs between us and whatever stands before us."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen and name not in LIST_PARAMETERS:
            raise InvalidError(errors=[FieldProblem(where=f"query.{name[:64]}", problem="is given more than once")])
        seen.add(name)


class GuardedRoute(APIRoute):
    """A route that nobody reaches without a role, and whose reads are in the audit trail before they are answered."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler: authorise first, so that not even the body is parsed for strangers."""
        handler = super().get_route_handler()
        operation = self.operation_id or ""
        access = ACCESS[operation]  # a route without a line in the table fails here, at start

        async def guarded(request: Request) -> Response:
            caller = await authorize(request, operation)
            _refuse_repeated(request)
            response = await handler(request)
            if access.reads and response.status_code < 400:
                try:
                    await _record_read(request, caller, operation, access)
                except BaseException:
                    if isinstance(response, Download):
                        await response.close()
                    raise
            return response

        return guarded


ERROR_RESPONSES = _ERRORS


def guarded_router(prefix: str, tag: str) -> APIRouter:
    """A router under /api/v1 whose routes are all guarded."""
    return APIRouter(
        prefix=f"/api/v1{prefix}", tags=[tag], route_class=GuardedRoute, responses=dict(_ERRORS), redirect_slashes=False
    )
