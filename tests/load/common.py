"""What the load scripts share: tokens, a lean Socket.IO client, percentiles. Only 127.0.0.1 is ever contacted."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from cluster.endpoints import Endpoints

USERS = ("vera", "anna", "arno", "adam", "ada")
Clock = Callable[[], float]


def only_loopback(url: str) -> None:
    """Refuse to load anything but this machine."""
    host = urlsplit(url).hostname or ""
    for info in socket.getaddrinfo(host, None):
        if not ipaddress.ip_address(info[4][0]).is_loopback:
            raise SystemExit(f"{host} is not this machine")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(name: str, values: Sequence[float], unit: str = "ms") -> str:
    """One line of a report."""
    marks = " ".join(f"p{round(share * 100)} {percentile(values, share):.1f}" for share in (0.5, 0.9, 0.99))
    return f"{name}: n {len(values)}  {marks}  max {max(values, default=float('nan')):.1f} {unit}"


def session_for(endpoints: Endpoints, connections: int = 0) -> aiohttp.ClientSession:
    """An HTTPS session that trusts the stack's CA, with a limit on connections if there is one."""
    assert endpoints.api is not None
    only_loopback(endpoints.api.url)
    context = ssl.create_default_context(cafile=str(endpoints.api.ca_file))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=connections))


class Tokens:
    """Access tokens of the demonstration users, renewed while the load runs. Needs the client recon-test."""

    def __init__(self, endpoints: Endpoints) -> None:
        assert endpoints.keycloak is not None
        only_loopback(endpoints.keycloak.url)
        self._keycloak = endpoints.keycloak
        self._context = ssl.create_default_context(cafile=str(endpoints.keycloak.ca_file))
        self._tokens: dict[str, str] = {}
        self._at = float("-inf")

    async def refresh(self) -> None:
        """Get new ones when the old ones are three minutes old."""
        if time.monotonic() - self._at < 180:
            return
        client = self._keycloak.clients.get("recon-test")
        if client is None:
            raise SystemExit("start the stack with RECON_TEST_CLIENT=true: load needs tokens without a browser")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._context)) as http:
            for user in USERS:
                login = self._keycloak.users[user]
                form = {
                    "grant_type": "password",
                    "client_id": client.client_id,
                    "client_secret": client.secret or "",
                    "username": login.user,
                    "password": login.password,
                }
                async with http.post(f"{self._keycloak.issuer}/protocol/openid-connect/token", data=form) as answer:
                    self._tokens[user] = (await answer.json())["access_token"]
        self._at = time.monotonic()

    def of(self, number: int) -> str:
        """The token of the user whose turn it is."""
        return self._tokens[USERS[number % len(USERS)]]


@dataclass
class Heard:
    """What all sockets heard together."""

    events: int = 0
    bytes: int = 0
    delays_ms: list[float] = field(default_factory=list)
    resyncs: int = 0
    byes: int = 0
    closed: int = 0


Listen = Callable[[str, Any], Awaitable[None] | None]


async def listen(
    http: aiohttp.ClientSession,
    url: str,
    token: str,
    topics: list[str],
    heard: Heard,
    on_event: Listen,
    *,
    merge: bool = False,
) -> None:
    """One socket until it is cancelled or closed: Engine.IO 4 and Socket.IO 5 as far as a listener needs them."""
    address = url.replace("https://", "wss://") + "/socket.io/?EIO=4&transport=websocket"
    async with http.ws_connect(address, max_msg_size=0) as ws:
        await ws.receive_str()  # the open packet
        await ws.send_str("40" + json.dumps({"token": token, "topics": topics, "merge": merge}))
        async for message in ws:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            text: str = message.data
            heard.bytes += len(text)
            if text == "2":
                await ws.send_str("3")
            elif text.startswith("44"):
                raise ConnectionRefusedError(text)
            elif text.startswith("42"):
                start = text.index("[")
                event, data = (*orjson.loads(text[start:]), None)[:2]
                if start > 2:  # an acknowledgement is asked for
                    await ws.send_str(f"43{text[2:start]}[]")
                heard.events += 1
                heard.resyncs += event == "resync"
                heard.byes += event == "bye"
                done = on_event(event, data)
                if done is not None:
                    await done
    heard.closed += 1


async def paced(per_s: float, seconds: float, work: Callable[[int, float], Awaitable[None]]) -> None:
    """Start work on a schedule, whether or not earlier work is done; `work` gets its number and its due time."""
    started = time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()
    for number in range(int(per_s * seconds)):
        due = started + number / per_s
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        task = asyncio.ensure_future(work(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
