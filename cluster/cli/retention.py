"""`recon retention`: what the log holds by day, and dropping what is past keeping."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cluster.cli.terminal import SafeConsole, styled
from cluster.database import run
from cluster.endpoints import Endpoints
from cluster.retention import apply
from cluster.settings import read_settings

console = SafeConsole()


def retention(
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Days to keep; default: RECON_RAW_EVENTS_RETENTION_DAYS.")
    ] = None,
    drop: Annotated[bool, typer.Option(help="Drop; without it only say what would be dropped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The days as data.")] = False,
) -> None:
    """Drop days of the event log that are past keeping. Results, revisions and the audit trail stay.

    A day that holds an event of an open transaction is held back.
    """
    settings = read_settings()
    endpoints = Endpoints.load(settings.state_dir)
    keep = settings.raw_events_retention_days if keep_days is None else keep_days
    days = run(apply(endpoints.postgres.connect_kwargs("owner"), keep, dry_run=not drop))
    if as_json:
        print(json.dumps([asdict(day) for day in days], default=str, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in (("day", "left"), ("events", "right"), ("MiB", "right"), ("outcome", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for day in days:
        table.add_row(str(day.day), f"{day.events:,}", f"{day.size_bytes / 2**20:,.1f}", day.outcome)
    console.print(table if days else styled("[dim]the log has no day yet[/]"))
