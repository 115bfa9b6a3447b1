"""What surrounds every request: id, body limit, security headers, counts, HEAD. Plain ASGI: streams stay streams."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import MetricSet
from api.models.common import Problem
from api.paths import path_as_sent
from api.problems import MEDIA_TYPE, InvalidError, ProblemError, TooLargeError
from schemas.metrics import HTTP_REQUESTS, HTTP_SECONDS

log = structlog.get_logger("api.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def security_headers(sign_in_origin: str) -> dict[str, str]:
    """Headers for every answer. The dashboard may talk to this origin and the sign-in service, and to nobody else."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",  # component libraries set style attributes
        "img-src": "'self' data:",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "connect-src": f"'self' {sign_in_origin}".strip(),
        "frame-src": f"'self' {sign_in_origin}".strip(),  # keycloak-js checks the session in a hidden frame
        "frame-ancestors": "'self'",
        "form-action": f"'self' {sign_in_origin}".strip(),
        "base-uri": "'none'",
        "object-src": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Strict-Transport-Security": "max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


class Surround:
    """The outermost layer of the REST app."""

    def __init__(self, app: ASGIApp, *, headers: dict[str, str], body_bytes: int, metrics: MetricSet) -> None:
        self._app = app
        self._headers = headers
        self._body_bytes = body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        answered: dict[str, Any] = {"status": 500, "begun": False}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
                answered["begun"] = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await (send_head if scope["method"] == "HEAD" else send)(message)

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if message.get("more_body"):
                    raise _HeadSentError
            else:
                await send(message)

        inner = _routed(scope)
        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                await self._refuse(with_headers, request_id, InvalidError, "Text must not contain NUL.")
                return
            await self._limited(inner, receive, with_headers, request_id, answered)
        except _HeadSentError:
            pass  # nothing more is wanted of the handler
        finally:
            route = inner.get("route")
            operation = getattr(route, "operation_id", None) or "other"
            seconds = time.perf_counter() - started
            self._metrics[HTTP_REQUESTS].labels(operation, str(answered["status"])).inc()
            self._metrics[HTTP_SECONDS].labels(operation).observe(seconds)
            log.debug(
                "request",
                operation=operation,
                status=answered["status"],
                ms=round(seconds * 1_000, 1),
                request_id=request_id,
            )

    async def _limited(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, answered: dict[str, Any]
    ) -> None:
        """Refuse a body over the limit: at once when it says so, else as soon as it is seen."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._body_bytes:
            await self._refuse(send, request_id, TooLargeError, f"At most {self._body_bytes} bytes.")
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._body_bytes:
                raise _BodyTooLargeError
            return message

        async def gated(message: Message) -> None:
            # The framework makes its own answer of an error while it reads the body; ours replaces it.
            if seen <= self._body_bytes or answered["begun"]:
                await send(message)

        with contextlib.suppress(_BodyTooLargeError):
            await self._app(scope, counted, gated)
        if seen > self._body_bytes and not answered["begun"]:
            await self._refuse(send, request_id, TooLargeError, f"At most {self._body_bytes} bytes.")

    async def _refuse(self, send: Send, request_id: str, refusal: type[ProblemError], detail: str) -> None:
        problem = Problem(
            type=f"/problems/{refusal.kind}",
            title=refusal.title,
            status=refusal.status,
            detail=detail,
            request_id=request_id,
        )
        body = problem.model_dump_json().encode()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _routed(scope: Scope) -> Scope:
    """The scope by which routes are chosen: HEAD is a GET whose body is left out, and the API's paths are as sent."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    path = path_as_sent(scope) if scope["path"].startswith("/api/") else scope["path"]
    return {**scope, "method": method, "path": path}


class _HeadSentError(Exception):
    """The answer to a HEAD is complete; ends a handler that would go on streaming."""


class _BodyTooLargeError(Exception):
    """The body went over the limit while it was read."""


def _request_id(scope: Scope) -> str:
    """The caller's id when it is harmless, else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
