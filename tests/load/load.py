"""Load on the service of a running local stack: live sockets and requests at a steady rate, with p50 and p99.

    RECON_TEST_CLIENT=true recon up
    python -m tests.load.load --sockets 500 --requests-per-s 200 --seconds 30

Requests follow a schedule, and a late start counts as latency: a slow service cannot hide behind a waiting client. The
feed is fed by synthetic flushes on its own channel, or by whatever the pipeline does with --flushes-per-s 0. Bounded in
count and time, and only this machine is contacted.
"""

# ruff: noqa: T201 - a script that reports
from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import redis.asyncio
import uvloop

from cluster.endpoints import Endpoints
from cluster.settings import get_settings
from tests.load.common import Heard, Tokens, listen, paced, session_for, told

SOCKETS_MAX = 1_000
REQUESTS_PER_S_MAX = 1_000
SECONDS_MAX = 300
REQUEST_CONNECTIONS = 64
STOP_S = 10
CONNECTS_PER_S = 40  # below the service's rate for one address

PATHS = (
    "/transactions?limit=50",
    "/transactions?verdict=MISMATCHED&limit=50",
    "/transactions?verdict=MISMATCHED&sort=-amount_minor&limit=50",
    "/summary",
    "/exceptions?limit=50",
    "/series?metric=verdict.",
    "/sources",
    "/exceptions/buckets",
)

PUBLISH = """
local seq = redis.call('incr', KEYS[1])
redis.call('xadd', KEYS[2], 'maxlen', '~', 5000, seq .. '-0', 'd', ARGV[1])
redis.call('publish', KEYS[3], seq .. ' ' .. ARGV[1])
return seq
"""


def synthetic_flush(results: int) -> str:
    """A flush as a matcher would publish it."""
    leg = {"amount_minor": 12_345, "currency": "EUR", "status": "SUCCESS", "event_time": 1_764_000_000_000}
    rows = [
        {
            "txn_id": f"LOAD{number:012}",
            "revision": 1,
            "verdict": "MISMATCHED",
            "final": True,
            "breaks": ["AMOUNT"],
            "missing_sources": [],
            "late_sources": [],
            "legs": {"CORE": leg, "GATEWAY": leg, "MOBILE": leg},
            "currency": "EUR",
            "amount_minor": 12_345,
            "spread_minor": 5,
            "first_arrival": 1_764_000_000_000,
            "last_arrival": 1_764_000_000_000,
            "decided_at": 1_764_000_000_000,
            "rules_version": 1,
        }
        for number in range(results)
    ]
    return json.dumps(
        {"shard": 0, "flush": 0, "at": round(time.time() * 1_000), "omitted": 0, "counts": {}, "results": rows}
    )


async def publish(endpoints: Endpoints, per_s: float, results: int, seconds: float) -> int:
    """Synthetic flushes at a steady rate."""
    client = redis.asyncio.Redis(**endpoints.redis.connect_kwargs())
    keys = ("recon:feed:seq", "recon:feed", "recon:verdicts")

    async def one(_number: int, _due: float) -> None:
        await client.eval(PUBLISH, 3, *keys, synthetic_flush(results))  # type: ignore[misc]

    await paced(per_s, seconds, one)
    await client.aclose()
    return int(per_s * seconds)


@dataclass
class SocketReport:
    """What the sockets' process has to say at the end."""

    held: int
    lost: int
    heard: Heard
    cpu_s: float


async def hold_sockets(endpoints: Endpoints, count: int, control: Connection, *, merge: bool) -> None:
    """Open the sockets, say so, and listen until told to stop; then report.

    In a process of its own: a flush arrives at all sockets at once, and requests would wait behind it in one loop.
    """
    assert endpoints.api is not None
    tokens = Tokens(endpoints)
    await tokens.refresh()
    heard = Heard()

    def on_event(event: str, data: Any) -> None:
        if event == "verdict":
            heard.delays_ms.append(time.time() * 1_000 - data["at"])

    sockets: list[asyncio.Task[None]] = []
    async with session_for(endpoints) as http:
        for number in range(count):
            topics = ["verdict", "summary", "incident"]
            listening = listen(http, endpoints.api.url, tokens.of(number), topics, heard, on_event, merge=merge)
            sockets.append(asyncio.ensure_future(listening))
            await asyncio.sleep(1 / CONNECTS_PER_S)
        await asyncio.sleep(3)
        held = sum(not task.done() for task in sockets)
        heard.delays_ms.clear()
        heard.events = heard.bytes = 0
        cpu = time.process_time()
        control.send(held)
        await asyncio.get_running_loop().run_in_executor(None, control.recv)
        cpu = time.process_time() - cpu
        lost = held - sum(not task.done() for task in sockets)
        for task in sockets:
            task.cancel()
        await asyncio.gather(*sockets, return_exceptions=True)
    control.send(SocketReport(held, lost, heard, cpu))


def sockets_process(state_dir: str, count: int, control: Connection, merge: bool) -> None:
    """Where the sockets' process begins."""
    uvloop.run(hold_sockets(Endpoints.load(Path(state_dir)), count, control, merge=merge))


async def send_requests(endpoints: Endpoints, per_s: float, seconds: float) -> tuple[list[float], Counter[str]]:
    """Requests on a schedule: latencies in ms from when each was due, and counts by status."""
    assert endpoints.api is not None
    url = endpoints.api.url
    tokens = Tokens(endpoints)
    await tokens.refresh()
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    async with session_for(endpoints, REQUEST_CONNECTIONS) as http:

        async def get(path: str, number: int) -> tuple[int, bytes]:
            headers = {"Authorization": f"Bearer {tokens.of(number)}"}
            async with http.get(f"{url}/api/v1{path}", headers=headers) as answer:
                return answer.status, await answer.read()

        _, body = await get("/transactions?limit=200", 0)
        known = [item["txn_id"] for item in orjson.loads(body).get("items", ())]

        async def request(number: int, due: float) -> None:
            one = known and number % 4 == 0
            path = f"/transactions/{known[number % len(known)]}" if one else PATHS[number % len(PATHS)]
            try:
                status, _ = await get(path, number)
                statuses[str(status)] += 1
            except (TimeoutError, OSError) as error:
                statuses[type(error).__name__] += 1
            latencies.append((time.perf_counter() - due) * 1_000)

        await paced(per_s, seconds, request)
    return latencies, statuses


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the figures."""
    endpoints = Endpoints.load(Path(arguments.state_dir))
    processes = multiprocessing.get_context("spawn")
    control, theirs = processes.Pipe()
    listener = processes.Process(
        target=sockets_process,
        args=(arguments.state_dir, arguments.sockets, theirs, arguments.merge),
        daemon=True,
    )
    listener.start()
    loop = asyncio.get_running_loop()
    held = await loop.run_in_executor(None, control.recv)
    refused = arguments.sockets - held
    started, cpu = time.perf_counter(), time.process_time()
    feeding = publish(endpoints, arguments.flushes_per_s, arguments.results, arguments.seconds)
    asking = send_requests(endpoints, arguments.requests_per_s, arguments.seconds)
    flushes, (latencies, statuses) = await asyncio.gather(feeding, asking)
    await asyncio.sleep(2)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    control.send("stop")
    report: SocketReport = await loop.run_in_executor(None, control.recv)
    listener.join(STOP_S)
    heard = report.heard
    print(f"{held} sockets held, {refused} refused, {report.lost} lost; {arguments.seconds:.0f} s")
    print(told("requests", latencies), f" at {len(latencies) / arguments.seconds:.0f}/s", dict(statuses))
    print(told("flush to socket", heard.delays_ms))
    print(
        f"live: {heard.events / took:.0f} events/s, {heard.bytes / took / 1e6:.1f} MB/s to all sockets;"
        f" {flushes} flushes; {heard.resyncs} resyncs, {heard.byes} byes"
    )
    print(
        f"this script used {cpu / took:.0%} of a core to ask and {report.cpu_s / took:.0%} to listen:"
        " above some 80 % its own queue is part of the latencies"
    )
    ok = statuses["200"] == len(latencies) and not refused and not report.lost and not heard.byes
    return {"ok": ok, "requests_ms": latencies, "delays_ms": heard.delays_ms}


def main() -> None:
    """Parse, bound, run. Exit 1 when a request failed or a socket was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", default=str(get_settings().state_dir))
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--requests-per-s", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--flushes-per-s", type=float, default=2)
    parser.add_argument("--results", type=int, default=20, help="results in each synthetic flush")
    parser.add_argument("--merge", action="store_true", help="sockets take merged flushes, as the dashboard's do")
    arguments = parser.parse_args()
    if (
        not 0 <= arguments.sockets <= SOCKETS_MAX
        or not 0 < arguments.requests_per_s <= REQUESTS_PER_S_MAX
        or not 0 < arguments.seconds <= SECONDS_MAX
    ):
        parser.error(f"at most {SOCKETS_MAX} sockets, {REQUESTS_PER_S_MAX} requests/s, {SECONDS_MAX} s")
    raise SystemExit(0 if uvloop.run(run(arguments))["ok"] else 1)


if __name__ == "__main__":
    main()
