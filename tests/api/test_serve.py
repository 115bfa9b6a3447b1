"""The service on Ray Serve: HTTPS by the proxy, two replicas each, a replica's death, draining, the command line."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import redis
import socketio

from cluster.endpoints import Endpoints
from cluster.settings import Settings
from tests.listening import open_to_others

from .conftest import Tokens

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore"),  # Ray warns of its own matters
]

PUBLISH = """
local seq = redis.call('incr', KEYS[1])
redis.call('xadd', KEYS[2], 'maxlen', '~', 5000, seq .. '-0', 'd', ARGV[1])
redis.call('publish', KEYS[3], seq .. ' ' .. ARGV[1])
return seq
"""


@pytest.fixture(scope="module")
def served(stack_settings: Settings, running_stack: Any) -> Iterator[Endpoints]:
    """The stack with Ray and two replicas of both applications; no pipeline."""
    from cluster import serve_app  # noqa: PLC0415 - only this module needs Ray
    from cluster.stack.stack import Plan, Stack  # noqa: PLC0415

    del running_stack
    settings = stack_settings.model_copy(update={"api_replicas": 2})
    made = Stack(settings)
    endpoints = made.up(Plan(ray=True, pipeline=False, api=True))
    yield endpoints
    serve_app.stop(settings, endpoints)


@pytest.fixture
def http(served: Endpoints, tokens: Tokens) -> Iterator[httpx.Client]:
    assert served.api is not None
    context = ssl.create_default_context(cafile=str(served.api.ca_file))
    headers = {"Authorization": f"Bearer {tokens('adam')}"}
    with httpx.Client(base_url=served.api.url, verify=context, headers=headers, trust_env=False, timeout=30) as client:
        yield client


def flush(endpoints: Endpoints) -> int:
    """Publish a flush as the matchers do."""
    with redis.Redis(**endpoints.redis.connect_kwargs()) as client:
        keys = ("recon:feed:seq", "recon:feed", "recon:verdicts")
        body = {"shard": 0, "flush": 1, "at": 0, "omitted": 0, "counts": {}, "results": []}
        return int(client.eval(PUBLISH, 3, *keys, json.dumps(body)))  # type: ignore[arg-type]


@asynccontextmanager
async def listening(endpoints: Endpoints, token: str, **auth: Any) -> AsyncIterator[tuple[Any, list[Any]]]:
    """A connected client and what it hears."""
    assert endpoints.api is not None
    heard: list[Any] = []
    context = ssl.create_default_context(cafile=str(endpoints.api.ca_file))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        deadline = time.monotonic() + 30
        while True:  # another test may have taken a replica away a moment ago
            client = socketio.AsyncClient(http_session=session, reconnection=False)
            client.on("*", lambda event, data=None: heard.append((event, data)))
            client.on("feed.mark", lambda _data: True)
            try:
                await client.connect(
                    endpoints.api.url, auth={"token": token, **auth}, transports=["websocket"], wait_timeout=20
                )
                break
            except socketio.exceptions.ConnectionError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.5)
        await until(lambda: any(event == "hello" for event, _ in heard))
        yield client, heard
        await client.disconnect()


async def until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def replicas() -> list[str]:
    """Names of the replica actors."""
    import ray  # noqa: PLC0415

    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    return sorted(name for name in names if name.startswith("SERVE_REPLICA::recon-api#"))


def living() -> set[str]:
    """Names of the replicas in metrics, which show for a while also those that another test had or killed."""
    return {name.rpartition("#")[2] for name in replicas()}


def kill(name: str) -> None:
    import ray  # noqa: PLC0415

    ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)


def test_it_speaks_https_with_the_local_ca_and_nothing_else(served: Endpoints, http: httpx.Client) -> None:
    assert http.get("/readyz").json()["ready"] is True
    assert http.get("/api/v1/me").json()["username"] == "adam"
    assert http.get("/api/v1/transactions").status_code == 200
    assert served.api is not None
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{served.api.host}:{served.api.port}/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.api.url}/healthz", trust_env=False)  # without our CA


def test_serve_too_listens_on_loopback_only(served: Endpoints, running_stack: Any) -> None:
    del served
    assert open_to_others(running_stack) == []


def test_both_replicas_answer_and_metrics_show_both(served: Endpoints, http: httpx.Client) -> None:
    assert served.api is not None
    context = ssl.create_default_context(cafile=str(served.api.ca_file))
    for _ in range(20):  # each on a connection of its own, for the kernel deals out connections
        httpx.get(f"{served.api.url}/healthz", verify=context, trust_env=False)
    time.sleep(6)  # replicas leave their metrics every five seconds
    seen = set(re.findall(r'getHealth",replica="(\w+)"', http.get("/metrics").text))
    assert len(seen & living()) == 2


async def test_sockets_do_not_hold_up_requests_and_all_hear_all(
    served: Endpoints, http: httpx.Client, tokens: Tokens
) -> None:
    from contextlib import AsyncExitStack  # noqa: PLC0415

    async with AsyncExitStack() as sockets:
        clients = [
            await sockets.enter_async_context(listening(served, tokens("vera"), topics=["verdict"])) for _ in range(12)
        ]
        assert (await asyncio.to_thread(http.get, "/api/v1/summary")).status_code == 200
        sent = [flush(served) for _ in range(5)]
        for _, heard in clients:
            await until(lambda heard=heard: [data["seq"] for event, data in heard if event == "verdict"] == sent)
    await asyncio.sleep(6)
    text = (await asyncio.to_thread(http.get, "/metrics")).text
    seen = set(re.findall(r'recon_live_feed_messages_total\{replica="(\w+)"\} [1-9]', text))
    assert len(seen & living()) == 2


async def test_a_dead_live_replica_is_replaced_and_its_clients_resume(served: Endpoints, tokens: Tokens) -> None:
    await until(lambda: len(replicas()) == 2, 60)
    before = replicas()
    async with listening(served, tokens("vera"), topics=["verdict"]) as (one, _heard):
        for name in before[:1]:
            kill(name)
        for name in before[1:]:
            await asyncio.sleep(0.2)
            kill(name)
        await until(lambda: not one.connected, 30)
    last = flush(served) - 1
    await until(lambda: len(set(replicas()) - set(before)) == 2, 60)
    missed = flush(served)
    deadline = time.monotonic() + 60
    while True:
        try:
            async with listening(served, tokens("vera"), topics=["verdict"], last_seq=last) as (_, heard):
                await until(lambda: [data["seq"] for event, data in heard if event == "verdict"] == [last + 1, missed])
            break
        except (socketio.exceptions.ConnectionError, AssertionError):
            assert time.monotonic() < deadline


def test_a_dead_rest_replica_is_not_noticed_for_long(http: httpx.Client) -> None:
    before = replicas()
    kill(before[0])
    failed = 0
    began = time.monotonic()
    while time.monotonic() - began < 10:
        try:
            failed += http.get("/api/v1/me").status_code != 200
        except httpx.HTTPError:
            failed += 1
        time.sleep(0.05)
    assert failed <= 3
    deadline = time.monotonic() + 60
    while len(replicas()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert http.get("/readyz").status_code == 200


def recon(served: Endpoints, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on this stack."""
    import os  # noqa: PLC0415

    environment = {**os.environ, "RECON_STATE_DIR": str(served.state_dir)}
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_rules_by_the_command_line(served: Endpoints, tokens: Tokens, tmp_path: Path) -> None:
    def by(user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / user
        file.write_text(tokens(user))
        return recon(served, "rules", *arguments, "--token-file", str(file))

    body = tmp_path / "rules.json"
    body.write_text(json.dumps({"match_window_ms": 20_000}))
    drafted = by("adam", "draft", str(body), "--note", "shorter", "--json")
    version = str(json.loads(drafted.stdout)["version"])
    backtest = by("adam", "backtest", version)
    assert backtest.returncode in {0, 1}  # 1: something of another test's would be judged otherwise
    assert "judged" in backtest.stdout
    alone = by("adam", "activate", version)
    assert (alone.returncode, "somebody else" in alone.stderr) == (3, True)
    assert "applies from" in by("ada", "activate", version).stdout
    assert version in by("ada", "list").stdout
    assert by("vera", "list").returncode == 3
    signed_out = recon(served, "rules", "list")
    assert (signed_out.returncode, "recon login" in signed_out.stderr) == (3, True)


def test_signing_in_by_the_device_flow(served: Endpoints) -> None:
    """Keycloak's real pages, filled in as a browser would."""
    from cluster.cli.login import device_flow, read_claims, save_session, session_token  # noqa: PLC0415

    keycloak = served.keycloak
    assert keycloak is not None
    context = ssl.create_default_context(cafile=str(keycloak.ca_file))

    def confirm(text: str) -> None:
        address = re.search(r"https://\S+", text)
        assert address is not None
        login = keycloak.users["adam"]
        with httpx.Client(verify=context, trust_env=False, follow_redirects=True, timeout=30) as browser:
            page = browser.get(address[0])
            form = _form(page.text)
            page = browser.post(form[0], data=form[1] | {"username": login.user, "password": login.password})
            form = _form(page.text)
            done = browser.post(
                form[0] if form[0].startswith("http") else keycloak.url + form[0], data=form[1] | {"accept": "Yes"}
            )
            assert done.status_code == 200

    answer = device_flow(keycloak, confirm, sleep=lambda _seconds: time.sleep(1))
    assert read_claims(answer["access_token"])["preferred_username"] == "adam"
    save_session(served.state_dir, answer | {"expires_in": 0})  # so that it has to be renewed
    assert (served.state_dir / "cli-session.json").stat().st_mode & 0o777 == 0o600
    assert session_token(served, served.state_dir) != answer["access_token"]
    assert recon(served, "rules", "list", "--json").returncode == 0
    assert recon(served, "login", "--logout").returncode == 0
    assert recon(served, "rules", "list").returncode == 3


def _form(page: str) -> tuple[str, dict[str, str]]:
    """Address and hidden fields of the page's form."""
    from html import unescape  # noqa: PLC0415

    action = re.search(r'<form[^>]*action="([^"]+)"', page)
    assert action is not None, page[:2_000]
    hidden = re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page)
    return unescape(action[1]), {name: unescape(value) for name, value in hidden}


def test_the_config_file_names_what_exists() -> None:
    import importlib  # noqa: PLC0415

    import yaml  # noqa: PLC0415
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    from cluster.serve_app import ServeArgs  # noqa: PLC0415

    text = (Path(__file__).parents[2] / "deploy" / "serve_config.yaml").read_text(encoding="utf-8")
    config = ServeDeploySchema.model_validate(yaml.safe_load(text))
    for application in config.applications:
        module, name = application.import_path.split(":")
        assert callable(getattr(importlib.import_module(module), name))
        ServeArgs.model_validate(application.args)
