"""`recon audit`: checks the audit trail, and shows its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.status import Status
from rich.table import Table

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.database import run
from cluster.endpoints import Endpoints
from cluster.log_topics import CHAIN as TOPICS_CHAIN
from cluster.oracle.ledger import CONNECT_TIMEOUT_S
from cluster.oracle.trail import SQL, check_trail
from cluster.oracle.trail_file import NotATrailError, check_file
from cluster.oracle.trail_report import TrailReport
from cluster.settings import get_settings
from schemas.covered import BASELINE_CHAIN, SETUP_CHAIN

FAULTS_SHOWN_MAX = 50
BEFORE_RECORDS = {BASELINE_CHAIN, SETUP_CHAIN, TOPICS_CHAIN}  # chains that begin before any record is read

app = typer.Typer(no_args_is_help=True, help="Check the audit trail.")
console = SafeConsole()
wide = console if console.is_terminal else SafeConsole(width=220)  # a pipe has no width: cut nothing short
errors = SafeConsole(stderr=True)

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Another database on the same server.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The outcome as data.")]


@app.command()
def verify(
    digests: Annotated[bool, typer.Option(help="Compare the ledger with what the entries say too.")] = True,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="Check an exported audit.csv instead; needs no stack.", exists=True, dir_okay=False
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow every hash chain to its end and compare it with its anchor; compare the ledger with what entries say.

    With --file the entries of an export are checked: each by its hash, and each against the one before it.
    Exit 0: intact. Exit 1: the first broken link of each chain, and whatever else does not fit. Exit 3: nothing there.
    """
    if file is not None:
        _verify_file(file, as_json=as_json)
        return
    with Status("checking the audit trail", console=errors) as status:
        report = run(_verify(_access(database), status, digests=digests))
    if report.chains.keys() <= BEFORE_RECORDS and not report.faults:
        errors.print("recon: the audit trail is empty: nothing was checked", style="red")
        raise typer.Exit(ExitCode.NOT_READY)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
    if report.faults:
        raise typer.Exit(ExitCode.FINDING)


def _verify_file(path: Path, *, as_json: bool) -> None:
    try:
        report = check_file(path)
    except NotATrailError as error:
        errors.print(f"recon: {error}", style="red", soft_wrap=True)
        raise typer.Exit(ExitCode.USAGE) from None
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        for chain, covered in sorted(report.chains.items()):
            console.print(f"  {chain}: {covered}", highlight=False)
        for fault in report.faults[:FAULTS_SHOWN_MAX]:
            console.print(str(fault), style="red", highlight=False, soft_wrap=True)
        verdict = f"{len(report.faults):,} faults" if report.faults else "every entry follows from its content"
        console.print(f"{report.entries:,} entries: {verdict}", style="red" if report.faults else "green")
    if report.faults:
        raise typer.Exit(ExitCode.FINDING)


async def _verify(access: dict[str, Any], status: Status, *, digests: bool) -> TrailReport:
    connection = await asyncpg.connect(**access, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await check_trail(
                connection, digests=digests, say=lambda count: status.update(f"{count:,} entries followed")
            )
    finally:
        await connection.close()


@app.command()
def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many entries.")] = 20,
    chain: Annotated[str | None, typer.Option(help="Only this chain.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Only about this object, such as a txn_id.")] = None,
    database: DatabaseOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the newest entries, oldest of them first."""

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(**_access(database), timeout=CONNECT_TIMEOUT_S)
        try:
            return list(await connection.fetch(SQL["newest"], lines, chain, action, object_id))
        finally:
            await connection.close()

    rows = run(fetch())[::-1]
    if as_json:
        for row in rows:
            entry = {**row, "occurred_at": row["occurred_at"].isoformat(), "details": json.loads(row["details"])}
            print(json.dumps(entry))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time (UTC)", "chain", "#", "actor", "action", "object"):
        table.add_column(name, justify="right" if name == "#" else "left", no_wrap=True)
    table.add_column("details", no_wrap=True, overflow="ellipsis")
    for row in rows:
        moment = f"{row['occurred_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment, row["chain"], str(row["seq"]), row["actor"], row["action"], row["object_id"], _brief(row))
    wide.print(table)


def _brief(row: asyncpg.Record) -> str:
    details: dict[str, Any] = json.loads(row["details"])
    return " ".join(f"{name}={json.dumps(value)}" for name, value in sorted(details.items()) if value not in ("", []))


def _access(database: str | None) -> dict[str, Any]:
    return Endpoints.load(get_settings().state_dir).postgres.connect_kwargs("api", database)


def _print(report: TrailReport) -> None:
    for chain, entries in sorted(report.chains.items()):
        console.print(f"  {chain}: {entries:,} entries", highlight=False)
    console.print(
        f"{report.entries:,} links followed, {report.anchors} ends compared with their anchors, "
        f"{report.digests:,} digests over {report.digested_events:,} events recomputed",
        highlight=False,
        soft_wrap=True,
    )
    if report.covered_since:
        _print_covered(report)
    if report.retired_digests:
        console.print(
            styled("[yellow]not checked: {} digests of events that retention took[/]", f"{report.retired_digests:,}"),
            highlight=False,
        )
    if report.uncovered_results:
        console.print(
            styled(
                "[yellow]not checked: {} results that an older version of recon wrote[/]",
                f"{report.uncovered_results:,}",
            ),
            highlight=False,
        )
    if not report.faults:
        console.print(styled("[green]✓ the trail is intact[/]"))
        return
    console.print(styled("[red]✗ {} faults[/]", f"{report.fault_count:,}"), highlight=False)
    for fault in report.faults[:FAULTS_SHOWN_MAX]:
        console.print(f"  - {fault}", highlight=False, markup=False, soft_wrap=True)


def _print_covered(report: TrailReport) -> None:
    rows = ", ".join(f"{table} {count:,}" for table, count in sorted(report.covered_rows.items()))
    console.print(
        f"covered: results {report.covered_results:,} (replaced ones included), {rows}", highlight=False, soft_wrap=True
    )
    if report.is_covered_from_start:
        console.print("since the ledger's beginning", highlight=False)
        return
    console.print(
        f"since {report.covered_since}; what was there then, {report.baseline_results:,} results among it, is taken "
        "as it was",
        highlight=False,
        soft_wrap=True,
    )
