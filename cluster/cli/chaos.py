"""`recon chaos`: breaks the running local stack by a seeded plan, under traffic, and verifies every verdict."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.status import Status

from cluster import pipeline
from cluster.chaos import CALM_S, WARM_UP_S, Fault, Saboteur, Step, Traffic, plan_faults, verified
from cluster.cli.exit_codes import ExitCode
from cluster.cli.produce import rules_in_force
from cluster.cli.terminal import SafeConsole, styled
from cluster.endpoints import Endpoints
from cluster.oracle.verification import NothingToVerifyError, Patience, Report
from cluster.settings import read_settings
from cluster.stack.joined import NotOursError
from cluster.stack.stack import Stack
from producers.emitter import DeliveryError
from producers.plan import Plan, parse_breaks
from schemas.errors import ReconError
from schemas.rules import RuleSet

SEED_MAX = 1_000_000_000
SHOWN = 20
LATE_MARGIN_MS = 1_000

console = SafeConsole()
errors = SafeConsole(stderr=True)


def chaos(
    seconds: Annotated[
        float, typer.Option(min=WARM_UP_S + CALM_S, help="How long traffic and faults go on; then the windows close.")
    ] = 60.0,
    seed: Annotated[int | None, typer.Option(help="The same seed and options give the same plan and traffic.")] = None,
    faults: Annotated[
        list[str] | None, typer.Option(help=f"Kinds, separated by commas, or all: {', '.join(Fault)}.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=2_000.0, help="Transactions a second.")] = 100.0,
    wait_s: Annotated[float, typer.Option(help="How long the pipeline may take to catch up afterwards.")] = 180.0,
    as_json: Annotated[bool, typer.Option("--json", help="Plan, steps and outcome as data.")] = False,
) -> None:
    """Break parts of the running local stack by a seeded plan while traffic flows, then verify every verdict.

    Exit 0: the ledger agrees with the log. Exit 1: differences. Exit 3: there is no running stack, or a part did not
    come back.
    """
    kinds = _kinds(faults or ["all"])
    chosen = int(time.time() * 1000) % SEED_MAX if seed is None else seed
    settings = read_settings()
    if settings.ray_address:
        raise NotOursError("chaos breaks the local stack only, and RECON_RAY_ADDRESS names a cluster")
    endpoints = Endpoints.load(settings.state_dir)
    endpoints.refuse_simulation()
    steps = plan_faults(chosen, seconds, kinds)
    out = errors if as_json else console
    out.print(styled("seed [bold]{}[/]: {} faults in {} s", chosen, len(steps), f"{seconds:.0f}"), highlight=False)
    try:
        saboteur = Saboteur(Stack(settings), settings, endpoints, chosen)
        pipeline.status(settings, endpoints)  # there has to be something to break
        done = _break(saboteur, steps, _traffic(endpoints, chosen, rate, seconds), out)
        with Status("verifying", console=errors) as status:
            report = asyncio.run(verified(endpoints, Patience(wait_s), status.update))
    except (NothingToVerifyError, OSError, asyncpg.PostgresError) as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.NOT_READY) from None
    except DeliveryError as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.FINDING) from None
    if as_json:
        plan = [asdict(step) for step in steps]
        print(json.dumps({"seed": chosen, "plan": plan, "done": done, **report.to_json(SHOWN)}, indent=2))
    else:
        _show(report)
    if not report.clean:
        raise typer.Exit(ExitCode.FINDING)


def _kinds(texts: list[str]) -> list[Fault]:
    """The named kinds of fault, each once. Ends the command when one does not exist."""
    words = [word.strip().lower() for text in texts for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in {*Fault, "all"}]
    if unknown or not words:
        errors.print(f"recon: no such fault: {', '.join(unknown) or '-'}; known: {', '.join(Fault)}, all", style="red")
        raise typer.Exit(ExitCode.USAGE)
    return list(Fault) if "all" in words else [fault for fault in Fault if fault in words]


def _traffic(endpoints: Endpoints, seed: int, rate: float, seconds: float) -> Traffic:
    rules = rules_in_force(endpoints) or RuleSet()
    plan = Plan(
        seed=seed,
        rate=rate,
        transactions=max(1, round(rate * seconds)),
        breaks=parse_breaks(["all=0.01"]),
        match_window_ms=rules.match_window_ms,
        time_tolerance_ms=rules.time_tolerance_ms,
        late_margin_ms=LATE_MARGIN_MS,
        sources=endpoints.source_specs(),
    )
    return Traffic(endpoints, plan)


def _break(saboteur: Saboteur, steps: list[Step], traffic: Traffic, out: Console) -> list[dict[str, Any]]:
    """Do the plan's steps at their times; give what was done. Raises ReconError when a part does not come back."""
    done: list[dict[str, Any]] = []
    began = time.monotonic()
    traffic.start()
    try:
        for step in steps:
            time.sleep(max(0.0, step.at_s - (time.monotonic() - began)))
            at_s = round(time.monotonic() - began, 1)
            try:
                what = saboteur.do(step.fault)
            except ReconError as error:
                out.print(styled("{} s  [red]✗[/] {}: {}", f"{at_s:6.1f}", step.fault, error), highlight=False)
                raise
            out.print(f"{at_s:6.1f} s  {what}", highlight=False)
            done.append({"at_s": at_s, "fault": step.fault.value, "what": what})
        out.print(f"{time.monotonic() - began:6.1f} s  no more faults; the traffic ends", highlight=False)
    finally:
        sent = traffic.join() if len(done) == len(steps) else traffic.stop()
    out.print(f"{sent.total:,} records published", highlight=False)
    return done


def _show(report: Report) -> None:
    compared = report.findings.compared
    console.print(
        f"{report.log_records:,} records judged anew, {compared['final_results']:,} final results compared in "
        f"{report.elapsed_s:.1f} s",
        highlight=False,
    )
    if report.clean:
        console.print(styled("[green]✓ no difference[/]"))
        return
    console.print(styled("[red]✗ {} differences[/]", f"{report.findings.total:,}"), highlight=False)
    for difference in report.findings.first(SHOWN):
        console.print(f"  - {difference}", highlight=False, markup=False, soft_wrap=True)
