"""`recon produce`: publishes a seeded scenario of all sources, with planted breaks and a manifest of them."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.endpoints import Endpoints
from cluster.oracle.ledger import snapshot
from cluster.settings import get_settings
from producers.connection import Connection
from producers.emitter import DeliveryError, EmitReport, Emitter, ProducerNotReadyError, ready_producer
from producers.manifest import ManifestWriter
from producers.plan import LATE_MARGIN_MS_DEFAULT, SHARE_DEFAULT, InvalidPlanError, Plan, Plant, parse_breaks
from producers.preload import Load, preload
from producers.scenario import Scenario
from producers.script import StopFlag
from producers.wire import SchemaNotRegisteredError, encoders
from schemas.events import key_group_of
from schemas.places import ENDPOINTS_FILE
from schemas.rules import RuleSet

SEED_MAX = 1_000_000_000
NEVER_MS = 1 << 60
REPEATED = (
    "This scenario was published here before. The same events come again with the times of this run, so their "
    "transactions will show DUPLICATE. For new transactions give --run NAME, another seed, or none."
)

console = SafeConsole()
errors = SafeConsole(stderr=True)


def rules_in_force(endpoints: Endpoints) -> RuleSet | None:
    """The newest rule set in the ledger, or None when there is no database to ask."""

    async def ask() -> RuleSet:
        async with snapshot(endpoints.postgres.connect_kwargs("api")) as ledger:
            return (await ledger.rulebook()).at(NEVER_MS)

    try:
        return asyncio.run(ask())
    except (OSError, asyncpg.PostgresError):
        return None


def produce(
    rate: Annotated[float, typer.Option(help="Transactions a second; each is reported by every source.")] = 100.0,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed and options give the same scenario, ids included. Default: a new one."),
    ] = None,
    run: Annotated[str, typer.Option(metavar="NAME", help="Any text: the same scenario as new transactions.")] = "",
    duration: Annotated[float, typer.Option(min=0.1, help="Length of the scenario in seconds.")] = 30.0,
    transactions: Annotated[int | None, typer.Option(min=1, help="How many, instead of rate times duration.")] = None,
    breaks: Annotated[
        list[str] | None,
        typer.Option(
            help="What to plant, each at least once: all, none, or kinds with shares of the transactions, as in "
            f"amount=0.01,missing=0.02. Without a share: {SHARE_DEFAULT}. Default: all. Kinds: {', '.join(Plant)}."
        ),
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Write every planted transaction and its truth here.")] = None,
    match_window_ms: Annotated[int | None, typer.Option(help="Window to plan around; default: the rules'.")] = None,
    time_tolerance_ms: Annotated[
        int | None, typer.Option(help="Tolerance to plan around; default: the rules'.")
    ] = None,
    late_margin_ms: Annotated[
        int, typer.Option(help="How long after the window a late event leaves.")
    ] = LATE_MARGIN_MS_DEFAULT,
    flat_out: Annotated[
        bool, typer.Option(help="As fast as possible, for load: 2 % missing, 3 % mismatching, no manifest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as data.")] = False,
) -> None:
    """Publish simulated events of all sources, with planted breaks. Ctrl-C ends the run in order.

    Late events leave after the match window, so a run lasts that much longer than its scenario.
    """
    try:
        asked = Plan(  # before anything is looked up: what is wrong here is wrong on every stack
            seed=int(time.time() * 1000) % SEED_MAX if seed is None else seed,
            rate=rate,
            transactions=_count(rate, duration) if transactions is None else transactions,
            breaks=parse_breaks(breaks or ["all"]),
            late_margin_ms=late_margin_ms,
            run=run,
        )
        state_dir = get_settings().state_dir
        endpoints = Endpoints.load(state_dir)
        endpoints.refuse_simulation()
        connection = Connection.read(state_dir / ENDPOINTS_FILE)
        rules = rules_in_force(endpoints) or RuleSet()
        plan = replace(
            asked,
            match_window_ms=match_window_ms or rules.match_window_ms,
            time_tolerance_ms=rules.time_tolerance_ms if time_tolerance_ms is None else time_tolerance_ms,
            sources=connection.sources,
        )
    except InvalidPlanError as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None
    repeated = not flat_out and seed is not None and _published_before(endpoints, plan)
    if repeated:
        errors.print(REPEATED, style="yellow", highlight=False)
    try:
        summary = _flat_out(connection, plan) if flat_out else _publish(connection, plan, manifest)
        summary["repeated"] = repeated
    except DeliveryError as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.FINDING) from None
    except (SchemaNotRegisteredError, ProducerNotReadyError) as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.NOT_READY) from None
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary)


def _count(rate: float, duration: float) -> int:
    """Transactions of a scenario. Raises InvalidPlanError where rate times duration is no number."""
    if not math.isfinite(rate * duration):
        raise InvalidPlanError(f"{rate} transactions a second for {duration} s is no number of transactions")
    return max(1, round(rate * duration))


def _published_before(endpoints: Endpoints, plan: Plan) -> bool:
    """Whether the ledger knows this scenario's first transaction."""
    first = next(Scenario(plan, 0).transactions()).txn_id

    async def ask() -> bool:
        async with snapshot(endpoints.postgres.connect_kwargs("api")) as ledger:
            return bool(await ledger.fetch("contract_results", [key_group_of(first)], [first]))

    try:
        return asyncio.run(ask())
    except (OSError, asyncpg.PostgresError):
        return False


def _publish(connection: Connection, plan: Plan, path: Path | None) -> dict[str, Any]:
    stop = StopFlag()
    previous = {number: signal.signal(number, stop.raise_it) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        topics = [source.topic for source in plan.sources]
        by_topic = encoders(connection.registry, topics)
        producer = ready_producer(connection.kafka, topics)
        start_ms = int(time.time() * 1000)
        with closing(producer), ManifestWriter(path, plan, start_ms) as manifest, _bar(plan) as progress:
            task = progress.add_task("publishing", total=plan.transactions * len(plan.sources))
            emitter = Emitter(
                producer,
                by_topic,
                frozenset(source.name for source in plan.sources),
                manifest.add,
                start_ms,
            )

            def show(report: EmitReport) -> None:
                progress.update(task, completed=report.total)

            report = emitter.run(Scenario(plan, start_ms).emissions(), stop=stop, on_progress=show)
            totals = {
                "sent": dict(report.sent),
                "behind_ms_max": report.behind_ms_max,
                "stopped": report.stopped,
                "elapsed_s": round(report.elapsed_s, 1),
            }
            manifest.summary(**totals)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return {
        "seed": plan.seed,
        "run": plan.run,
        "transactions": plan.transactions,
        "records": report.total,
        **totals,
        "planted": dict(sorted(manifest.counts.items())),
        "manifest": None if path is None else str(path),
        "timely": report.behind_ms_max < min(plan.late_margin_ms, plan.match_window_ms // 2),
    }


def _flat_out(connection: Connection, plan: Plan) -> dict[str, Any]:
    with _bar(plan) as progress:
        task = progress.add_task("publishing", total=plan.transactions * len(plan.sources))
        loaded = preload(
            connection,
            Load(plan.transactions, zlib.crc32(f"{plan.seed}|{plan.run}".encode()) if plan.run else plan.seed),
            lambda done: progress.update(task, completed=done),
        )
    return {
        "seed": plan.seed,
        "run": plan.run,
        "transactions": plan.transactions,
        "records": loaded.total,
        "sent": dict(loaded.records),
        "elapsed_s": round(loaded.elapsed_s, 1),
        "records_per_s": round(loaded.records_per_s),
        "planted": {"missing": loaded.missing, "mismatched": loaded.mismatched},
    }


def _bar(plan: Plan) -> Progress:
    return Progress(
        TextColumn(f"seed {plan.seed}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def _show(summary: dict[str, Any]) -> None:
    console.print(
        styled(
            "seed [bold]{}[/]: {} records of {} transactions in {} s",
            summary["seed"],
            f"{summary['records']:,}",
            f"{summary['transactions']:,}",
            summary["elapsed_s"],
        ),
        highlight=False,
    )
    if "records_per_s" in summary:
        console.print(f"{summary['records_per_s']:,} records a second", highlight=False)
    if summary["planted"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("planted")
        table.add_column("transactions", justify="right")
        for kind, count in summary["planted"].items():
            table.add_row(kind, f"{count:,}")
        console.print(table)
    if summary.get("manifest"):
        console.print(f"manifest: {summary['manifest']}", highlight=False, soft_wrap=True)
    if not summary.get("timely", True):
        console.print(
            styled(
                "[yellow]a record arrived {} ms after its moment: what was planted around the "
                "edge of the window may have come out differently[/]",
                summary["behind_ms_max"],
            ),
            highlight=False,
        )
