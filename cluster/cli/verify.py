"""`recon verify`: the ledger against the log, judged by code that shares nothing with the engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.status import Status
from rich.table import Table

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.endpoints import Endpoints
from cluster.oracle.differences import Findings
from cluster.oracle.ledger import snapshot
from cluster.oracle.planted import compare_planted
from cluster.oracle.verification import (
    SETTLE_MS_DEFAULT,
    WAIT_S_DEFAULT,
    Access,
    NothingToVerifyError,
    Patience,
    Report,
    Verification,
)
from cluster.settings import get_settings
from producers.manifest import read_manifest

SHOWN_DEFAULT = 20

console = SafeConsole()
errors = SafeConsole(stderr=True)


def verify(
    wait_s: Annotated[
        float, typer.Option(help="How long to wait for the pipeline to reach the log's end and for windows to close.")
    ] = WAIT_S_DEFAULT,
    settle_ms: Annotated[
        int, typer.Option(help="A decision is due this long after a record's arrival or a window's close.")
    ] = SETTLE_MS_DEFAULT,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Check too that everything a run planted was found.", exists=True, dir_okay=False),
    ] = None,
    database: Annotated[str | None, typer.Option(help="Another database on the same server.")] = None,
    show: Annotated[int, typer.Option(help="How many differences to list.")] = SHOWN_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as data.")] = False,
) -> None:
    """Read the topics from the beginning, judge every transaction anew, and compare with the database row by row.

    Exit 0: no difference. Exit 1: differences, listed. Exit 3: it could not be done, or there was nothing to compare.
    """
    endpoints = Endpoints.load(get_settings().state_dir)
    access = Access(
        kafka=endpoints.kafka.client_config("reader"),
        registry=endpoints.registry.client_config("reader"),
        postgres=endpoints.postgres.connect_kwargs("api", database),
        sources=endpoints.source_specs(),
    )
    try:
        with Status("verifying", console=errors) as status:
            report = asyncio.run(_verify(access, Patience(wait_s, settle_ms), status))
            planted = None if manifest is None else asyncio.run(_planted(access, manifest))
    except NothingToVerifyError as error:
        _fail(str(error), as_json=as_json)
    except (OSError, asyncpg.PostgresError) as error:
        _fail(f"PostgreSQL: {error}", as_json=as_json)
    except ValueError as error:
        _fail(str(error), as_json=as_json)
    if as_json:
        outcome = report.to_json(show)
        if planted is not None:
            outcome["planted"] = planted.to_json(show)
            outcome["clean"] = report.clean and planted.total == 0
        print(json.dumps(outcome, indent=2))
    else:
        _print(report, planted, show)
    if not report.clean or (planted is not None and planted.total):
        raise typer.Exit(ExitCode.FINDING)


async def _verify(access: Access, patience: Patience, status: Status) -> Report:
    return await Verification(access, patience, status.update).run()


async def _planted(access: Access, path: Path) -> Findings:
    findings = Findings()
    async with snapshot(access.postgres) as ledger:
        await compare_planted(read_manifest(path), ledger, findings)
    if not findings.compared:
        raise NothingToVerifyError(f"{path} lists no planted transaction")
    return findings


def _fail(message: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"clean": None, "error": message}))
    errors.print(f"recon: {message}", style="red", highlight=False)
    raise typer.Exit(ExitCode.NOT_READY)


def _print(report: Report, planted: Findings | None, show: int) -> None:
    compared = report.findings.compared
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("compared")
    table.add_column("rows", justify="right")
    table.add_column("values", justify="right")
    rows: list[tuple[str, int, int | None]] = [
        ("event log", compared["raw_events"], compared["raw_event_values"]),
        ("final results", compared["final_results"], compared["result_values"]),
        ("dead letters", compared["dead_letters"], compared["dead_letter_values"]),
        ("positions", compared["positions"], None),
        ("counters", compared["counters"], None),
    ]
    for name, count, values in rows:
        table.add_row(name, f"{count:,}", "" if values is None else f"{values:,}")
    console.print(
        f"{report.log_records:,} records in the log, {report.set_aside:,} of them to be set aside, "
        f"{report.skipped:,} to be skipped; "
        f"{report.elapsed_s:.1f} s, compared {report.rounds} time(s)",
        highlight=False,
    )
    console.print(table)
    for name, why in (
        ("open", "transactions whose window is still open"),
        ("recent", "transactions with events too new to be due"),
        ("older_than_log", "rows older than what Kafka still holds"),
        ("retired", "records of days that retention dropped from the database"),
    ):
        if compared[name]:
            console.print(styled("[yellow]not judged: {} {}[/]", f"{compared[name]:,}", why), highlight=False)
    _print_findings(report.findings, show)
    if planted is not None:
        total = sum(planted.compared.values())
        console.print(f"{total:,} planted transactions of {len(planted.compared)} kinds looked for", highlight=False)
        _print_findings(planted, show)


def _print_findings(findings: Findings, show: int) -> None:
    if findings.total == 0:
        console.print(styled("[green]✓ no difference[/]"))
        return
    console.print(styled("[red]✗ {} differences[/]", f"{findings.total:,}"), highlight=False)
    counts: list[tuple[str, Any]] = sorted(findings.by_kind.items())
    for kind, count in counts:
        console.print(f"  {kind}: {count:,}", highlight=False)
    for difference in findings.first(show):
        console.print(f"  - {difference}", highlight=False, markup=False, soft_wrap=True)
