"""How long from Kafka's append of a transaction's last event to a Socket.IO client that sees the verdict.

    RECON_TEST_CLIENT=true recon up
    python -m tests.load.latency --events-per-s 5000 --seconds 30

Kafka stamps each event when it appends it (LogAppendTime), the feed carries the last stamp of each transaction, and all
clocks are this machine's. Only verdicts that wait for nothing count: all sources there, no leg pending. It starts
`recon produce` itself; with --events-per-s 0 it measures what runs already.
"""

# ruff: noqa: T201 - a script that reports
from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from cluster.endpoints import Endpoints
from cluster.settings import get_settings
from tests.load.common import Heard, Tokens, listen, session_for, told

SECONDS_MAX = 300
EVENTS_PER_S_MAX = 100_000
WARM_UP_S = 5.0


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run; returns the figures."""
    endpoints = Endpoints.load(Path(arguments.state_dir))
    assert endpoints.api is not None
    tokens = Tokens(endpoints)
    await tokens.refresh()
    heard = Heard()
    whole_ms: list[float] = []
    after_decision_ms: list[float] = []
    omitted = 0
    measuring = False

    def on_event(event: str, data: Any) -> None:
        nonlocal omitted
        if event != "verdict" or not measuring:
            return
        now_ms = time.time() * 1_000
        omitted += data["omitted"]
        for result in data["results"]:
            waits = result["missing_sources"] or any(leg["status"] == "PENDING" for leg in result["legs"].values())
            if result["final"] and not waits:
                whole_ms.append(now_ms - result["last_arrival"])
                after_decision_ms.append(now_ms - result["decided_at"])

    producer = None
    async with session_for(endpoints) as http:
        listeners = [
            asyncio.ensure_future(
                listen(
                    http, endpoints.api.url, tokens.of(number), ["verdict"], heard, on_event if number == 0 else _deaf
                )
            )
            for number in range(arguments.sockets)
        ]
        if arguments.events_per_s:
            rate = arguments.events_per_s / len(endpoints.sources)
            command = ["produce", "--rate", f"{rate:.0f}", "--duration", f"{arguments.seconds + WARM_UP_S + 5:.0f}"]
            producer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cluster.cli", *command, "--breaks", arguments.breaks),
                stdout=asyncio.subprocess.DEVNULL,
                env={**_environment(), "RECON_STATE_DIR": str(endpoints.state_dir)},
            )
        await asyncio.sleep(WARM_UP_S)
        measuring = True
        await asyncio.sleep(arguments.seconds)
        measuring = False
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    if producer is not None:
        producer.terminate()
        await producer.wait()
    print(told("Kafka append to client", whole_ms))
    print(told("decision to client", after_decision_ms))
    print(f"{len(whole_ms) / arguments.seconds:.0f} verdicts/s seen, {omitted / arguments.seconds:.0f}/s only counted")
    return {"whole_ms": whole_ms, "after_decision_ms": after_decision_ms}


def _deaf(event: str, data: Any) -> None:
    del event, data


def _environment() -> dict[str, str]:
    import os  # noqa: PLC0415 - only the child needs it

    return dict(os.environ)


def main() -> None:
    """Parse, bound, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", default=str(get_settings().state_dir))
    parser.add_argument("--events-per-s", type=float, default=5_000, help="over all sources")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--sockets", type=int, default=1, help="one measures, the others only listen")
    parser.add_argument("--breaks", default="none", help="as for `recon produce`")
    arguments = parser.parse_args()
    if not 0 < arguments.seconds <= SECONDS_MAX or not 0 <= arguments.events_per_s <= EVENTS_PER_S_MAX:
        parser.error(f"at most {SECONDS_MAX} s and {EVENTS_PER_S_MAX} events/s")
    if not asyncio.run(run(arguments))["whole_ms"]:
        raise SystemExit("no verdict was seen")


if __name__ == "__main__":
    main()
