"""The demonstration: three simulated systems on a running stack, and what the ledger says of them as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import redis
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import producers
from actors.adapters.redis import connect
from cluster.endpoints import Endpoints
from schemas.money import format_minor
from schemas.places import ENDPOINTS_FILE
from schemas.verdicts import Break

SCRIPTS: Final = ("core_producer.py", "gateway_producer.py", "mobile_producer.py")
LEAD_MS: Final = 2_000  # the three scripts start together this long from now
LATE_MARGIN_MS: Final = 1_000
STOP_TIMEOUT_S: Final = 15.0
LAST_BREAKS: Final = 8
DEMO_WINDOW_MS: Final = 10_000  # short, so that missing and late ones are seen within a minute

_STATS: Final = "select metric, sum(n)::bigint as n from stats_by_minute group by metric"
_LAST: Final = """
select txn_id, verdict_name(verdict) as verdict, break_names(breaks) as breaks, source_names(missing) as missing,
       source_names(late) as late, currency, amount_minor, spread_minor, decided_at
from results where verdict = 2 order by decided_at desc, key_group desc, txn_id desc limit $1
"""


@dataclass(slots=True)
class Traffic:
    """The three producers' processes, started together on one seeded scenario."""

    endpoints: Endpoints
    rate: float
    seconds: float
    seed: int
    match_window_ms: int
    time_tolerance_ms: int
    manifest: Path | None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start the scripts; each knows the whole scenario and publishes its own part."""
        folder = Path(producers.__file__).parent
        start_ms = int(time.time() * 1000) + LEAD_MS
        log = self.endpoints.state_dir / "logs" / "producers.log"
        common = [
            f"--rate={self.rate}",
            f"--duration={self.seconds}",
            f"--seed={self.seed}",
            f"--run=demo-{start_ms}",  # a second demonstration on the same ledger is not redeliveries of the first
            f"--match-window-ms={self.match_window_ms}",
            f"--time-tolerance-ms={self.time_tolerance_ms}",
            f"--late-margin-ms={LATE_MARGIN_MS}",
            f"--start-ms={start_ms}",
            f"--endpoints={self.endpoints.state_dir / ENDPOINTS_FILE}",
        ]
        with log.open("ab") as out:
            for index, script in enumerate(SCRIPTS):
                manifest = [f"--manifest={self.manifest}"] if self.manifest and index == 0 else []
                command = [sys.executable, str(folder / script), *common, *manifest]
                self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True))

    def running(self) -> bool:
        """Whether any script still publishes."""
        return any(process.poll() is None for process in self.processes)

    def stop(self) -> bool:
        """Let them end in order. Whether every one of them ended well."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        ended = []
        for process in self.processes:
            try:
                ended.append(process.wait(STOP_TIMEOUT_S) == 0)
            except subprocess.TimeoutExpired:
                process.kill()
                ended.append(False)
        self.processes = []
        return all(ended)


@dataclass(slots=True)
class Picture:
    """What the screen shows at one moment."""

    counts: Mapping[str, int] = field(default_factory=dict)
    last: list[Any] = field(default_factory=list)
    pipeline: Mapping[str, Any] = field(default_factory=dict)


class Watcher:
    """Asks the ledger and the supervisor's snapshot for what is new."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._redis = connect(endpoints.redis.connect_kwargs())

    def look(self) -> Picture:
        """The picture of this moment; what does not answer is left out."""
        picture = Picture()
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            picture.counts, picture.last = asyncio.run(self._ask())
        with contextlib.suppress(redis.RedisError):
            snapshot = self._redis.get("recon:pipeline")
            picture.pipeline = orjson.loads(snapshot) if isinstance(snapshot, bytes) else {}
        return picture

    async def _ask(self) -> tuple[dict[str, int], list[Any]]:
        connection = await asyncpg.connect(**self._endpoints.postgres.connect_kwargs("api"), timeout=5.0)
        try:
            counts = {row["metric"]: row["n"] for row in await connection.fetch(_STATS)}
            return counts, await connection.fetch(_LAST, LAST_BREAKS)
        finally:
            await connection.close()


def draw(picture: Picture, footer: Text, elapsed_s: float) -> Group:
    """The screen: sources, verdicts by kind, last breaks, and where to go from here."""
    sources = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column, justify in (("source", "left"), ("events", "right"), ("events/s", "right"), ("lag", "right")):
        sources.add_column(column, justify=justify)  # type: ignore[arg-type]
    for source in picture.pipeline.get("sources", []):
        sources.add_row(source["name"], f"{source['events']:,}", f"{source['events_per_s']:,.0f}", f"{source['lag']:,}")
    counts = picture.counts
    verdicts = Table(box=None, pad_edge=False, show_header=False, expand=True)
    verdicts.add_column()
    verdicts.add_column(justify="right")
    verdicts.add_row(Text("✓ MATCHED", "green"), f"{counts.get('verdict.MATCHED', 0):,}")
    verdicts.add_row(Text("≠ MISMATCHED", "red"), f"{counts.get('verdict.MISMATCHED', 0):,}")
    for kind in Break:
        verdicts.add_row(f"    {kind.name}", f"{counts.get(f'break.{kind.name}', 0):,}")
    for name, label in (("late", "late"), ("redelivery", "redelivered"), ("dead_letter", "dead letters")):
        verdicts.add_row(Text(f"    {label}", "dim"), Text(f"{counts.get(name, 0):,}", "dim"))
    breaks = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column in ("decided", "transaction", "breaks", "amount"):
        breaks.add_column(column, no_wrap=True, justify="right" if column == "amount" else "left")
    for row in picture.last:
        what = ", ".join(row["breaks"]) + (f" ({', '.join(row['missing'])})" if row["missing"] else "")
        breaks.add_row(
            f"{row['decided_at'].astimezone():%H:%M:%S}",
            row["txn_id"],
            Text(what, "red"),
            format_minor(row["amount_minor"], row["currency"]),
        )
    top = Table.grid(expand=True, padding=(0, 1))
    top.add_column(ratio=3)
    top.add_column(ratio=2)
    top.add_row(
        Group(
            Panel(sources, title="sources", title_align="left", border_style="dim"),
            Panel(breaks, title="last breaks", title_align="left", border_style="dim"),
        ),
        Panel(verdicts, title=f"verdicts after {elapsed_s:.0f} s", title_align="left", border_style="dim"),
    )
    return Group(top, footer)


def addresses(endpoints: Endpoints) -> Table:
    """Where to look and how to log in."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if endpoints.api is not None:
        table.add_row("dashboard", endpoints.api.url)
        table.add_row("API", f"{endpoints.api.url}/api/v1  (OpenAPI: /api/v1/openapi.json)")
    if endpoints.ray is not None:
        table.add_row("Ray", f"{endpoints.ray.dashboard_url}  (token: {endpoints.ray.token_file})")
    if endpoints.keycloak is not None:
        table.add_row("Keycloak", f"{endpoints.keycloak.url}  ({_login(endpoints.keycloak.admin)})")
        for name, user in endpoints.keycloak.users.items():
            table.add_row(f"log in as {name}", _login(user))
    table.add_row("CA certificate", str(endpoints.kafka.ca_file))
    table.add_row("everything else", "recon status --json")
    return table


def _login(user: Any) -> str:
    return f"{user.user} / {user.password}"
