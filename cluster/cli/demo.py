"""`recon demo`: everything up, three simulated systems running, verdicts arriving on the screen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from cluster.cli.exit_codes import ExitCode
from cluster.cli.produce import rules_in_force
from cluster.cli.stack import Steps
from cluster.cli.terminal import SafeConsole, styled
from cluster.demo import DEMO_WINDOW_MS, LATE_MARGIN_MS, Traffic, Watcher, addresses, draw
from cluster.endpoints import Endpoints
from cluster.oracle.differences import Findings
from cluster.oracle.ledger import snapshot
from cluster.oracle.planted import compare_planted
from cluster.oracle.verification import Access, NothingToVerifyError, Patience, Report, Verification
from cluster.settings import Settings, read_settings
from cluster.stack.joined import open_stack
from cluster.stack.stack import Plan
from producers.manifest import read_manifest
from schemas.errors import ReconError
from schemas.rules import RuleSet

RATE_DEFAULT = 60.0  # transactions a second: modest, and every kind of break shows within seconds
ROUND_S = 120.0  # without an end, the scenario is renewed this often under another seed
SETTLE_S = 12.0  # what a bounded run keeps back for starting, flushing and verifying
SCENARIO_S_MIN = 10.0
LOOK_S = 0.5
SHOWN_PER_KIND = 3

console = SafeConsole()


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=20.0, help="End by itself after about this long and check what was planted.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1.0, max=2_000.0, help="Transactions a second.")] = RATE_DEFAULT,
    seed: Annotated[int, typer.Option(help="The scenario.")] = 7,
    api: Annotated[bool, typer.Option(help="Start Keycloak, the API and the dashboard too.")] = True,
) -> None:
    """Start the stack, run the three producers with planted breaks, and show the verdicts as they arrive.

    Without --seconds it runs until Ctrl-C and leaves the stack up. With it: exit 0 when everything planted was found
    and the ledger agrees with the log, 1 when not; what it started is stopped.
    """
    os.environ.setdefault("RECON_MATCH_WINDOW_MS", str(DEMO_WINDOW_MS))  # for a new ledger; an old one keeps its rules
    settings = read_settings()
    with Steps(console) as steps:
        stack = open_stack(settings, steps.report, steps.downloads)
        was_up = any(service.state == "up" for service in stack.status())
        endpoints = stack.up(Plan(keycloak=api, api=api))
    endpoints.refuse_simulation()
    ok = False
    try:
        ok = _bounded(settings, endpoints, rate, seed, seconds) if seconds else _endless(endpoints, rate, seed)
    finally:
        if seconds and not was_up:
            with Steps(console) as steps:
                open_stack(settings, steps.report).down()
    if not ok:
        raise typer.Exit(ExitCode.FINDING)


def _endless(endpoints: Endpoints, rate: float, seed: int) -> bool:
    """Round after round until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    footer = Text("Ctrl-C stops the producers and leaves the stack up; `recon down` stops it.", "dim")
    console.print(addresses(endpoints))
    try:
        for number in range(sys.maxsize):
            traffic = _traffic(endpoints, rate, ROUND_S, seed + number, None)
            _show(endpoints, traffic, footer, began, ROUND_S)
    except KeyboardInterrupt:
        console.print()
    console.print(addresses(endpoints))
    console.print(styled("[dim]The stack is still up; stop it with[/] recon down"))
    return True


def _bounded(settings: Settings, endpoints: Endpoints, rate: float, seed: int, seconds: float) -> bool:
    """One scenario that fits, then proof that everything it planted was found."""
    began = time.monotonic()
    window_ms = (rules_in_force(endpoints) or RuleSet()).match_window_ms
    scenario_s = max(SCENARIO_S_MIN, seconds - window_ms / 1000 - LATE_MARGIN_MS / 1000 - SETTLE_S)
    manifest = settings.state_dir / f"demo-{int(time.time())}.jsonl"
    traffic = _traffic(endpoints, rate, scenario_s, seed, manifest)
    footer = Text(f"{scenario_s:.0f} s of traffic, then the late ones, then a check of everything planted\n", "dim")
    delivered = _show(endpoints, traffic, footer, began, None)
    with console.status("checking every verdict against the log"):
        try:
            report, planted = asyncio.run(_check(endpoints, manifest))
        except (NothingToVerifyError, ReconError, OSError) as error:
            console.print(styled("[red]✗[/] {}", error))
            return False
    console.print(addresses(endpoints))
    _say(planted.total == 0, f"{sum(planted.compared.values()):,} planted breaks looked for", planted)
    _say(report.clean, f"{report.log_records:,} records of the log judged anew and compared", report.findings)
    if not delivered:
        console.print(styled("[red]✗[/] a producer failed; see {}", settings.state_dir / "logs" / "producers.log"))
    return delivered and report.clean and planted.total == 0


def _say(fine: bool, what: str, findings: Findings) -> None:
    console.print(styled("[green]✓[/] {}", what) if fine else styled("[red]✗[/] {}: {} differ", what, findings.total))
    for examples in findings.examples.values():
        for difference in examples[:SHOWN_PER_KIND]:
            console.print(f"    {difference}", highlight=False, soft_wrap=True)


def _traffic(endpoints: Endpoints, rate: float, seconds: float, seed: int, manifest: Path | None) -> Traffic:
    rules = rules_in_force(endpoints) or RuleSet()
    return Traffic(endpoints, rate, seconds, seed, rules.match_window_ms, rules.time_tolerance_ms, manifest)


def _show(endpoints: Endpoints, traffic: Traffic, footer: Text, began: float, round_s: float | None) -> bool:
    """Run the producers and redraw until they end, or until the next round is due (its late ones go on meanwhile)."""
    watcher = Watcher(endpoints)
    traffic.start()
    until = None if round_s is None else time.monotonic() + round_s
    try:
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            while traffic.running() and (until is None or time.monotonic() < until):
                live.update(draw(watcher.look(), footer, time.monotonic() - began))
                time.sleep(LOOK_S)
            live.update(draw(watcher.look(), footer, time.monotonic() - began))
    finally:
        fine = traffic.stop()
    return fine


async def _check(endpoints: Endpoints, manifest: Path) -> tuple[Report, Findings]:
    access = Access(
        kafka=endpoints.kafka.client_config("reader"),
        registry=endpoints.registry.client_config("reader"),
        postgres=endpoints.postgres.connect_kwargs("api"),
        sources=endpoints.source_specs(),
    )
    report = await Verification(access, Patience(), lambda _: None).run()
    planted = Findings()
    async with snapshot(access.postgres) as ledger:
        await compare_planted(read_manifest(manifest), ledger, planted)
    return report, planted
