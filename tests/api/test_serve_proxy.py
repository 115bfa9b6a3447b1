"""The service behind Ray Serve's own HTTPS proxy, as a Serve config file may ask for it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from cluster.endpoints import Endpoints
from cluster.settings import Settings

from .conftest import Tokens
from .test_serve import flush, listening, until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore"),  # Ray warns of its own matters
]


@pytest.fixture(scope="module")
def proxied(stack_settings: Settings, running_stack: Any) -> Iterator[Endpoints]:
    """One replica that only Serve's proxy reaches."""
    from cluster import serve_app  # noqa: PLC0415 - only these modules need Ray
    from cluster.stack.stack import Plan  # noqa: PLC0415

    endpoints = running_stack.up(Plan(ray=True, pipeline=False, api=True))
    serve_app.stop(stack_settings, endpoints)
    serve_app.start(stack_settings, endpoints, direct=False)
    yield endpoints
    serve_app.stop(stack_settings, endpoints)


async def test_requests_and_sockets_pass_the_proxy(proxied: Endpoints, tokens: Tokens) -> None:
    assert proxied.api is not None
    context = ssl.create_default_context(cafile=str(proxied.api.ca_file))
    headers = {"Authorization": f"Bearer {tokens('adam')}"}
    async with (
        httpx.AsyncClient(base_url=proxied.api.url, verify=context, headers=headers, trust_env=False) as http,
        listening(proxied, tokens("vera"), topics=["verdict"]) as (_, heard),
    ):
        assert (await http.get("/api/v1/transactions", timeout=30)).status_code == 200
        assert (await http.get("/api/v1/me", timeout=30)).json()["username"] == "adam"
        one = (await http.get("/api/v1/transactions/2026%2F11", timeout=30)).json()
        assert (one["status"], one["detail"]) == (404, "There is no such transaction.")  # the path came as it was sent
        head = await http.head("/api/v1/me", timeout=30)
        assert (head.status_code, head.content) == (200, b"")
        sent = flush(proxied)
        await until(lambda: [data["seq"] for event, data in heard if event == "verdict"] == [sent])
    with redis.Redis(**proxied.redis.connect_kwargs()) as client:
        async with listening(proxied, tokens("vera")) as (socket, heard):
            # What `recon down` says first. A drained replica takes nobody any more, so this comes last.
            client.publish("recon:desk", json.dumps({"event": "drain", "data": {}}))
            await until(lambda: ("bye", {"reason": "draining"}) in heard)
            await until(lambda: not socket.connected)
