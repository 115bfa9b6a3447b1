"""`recon migrate`: bring the database to the newest migration; safe to run twice and from two places."""

from __future__ import annotations

import typer

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.database import run
from cluster.endpoints import Endpoints
from cluster.migrate import MigrationChangedError, apply
from cluster.settings import read_settings

console = SafeConsole()
errors = SafeConsole(stderr=True)


def migrate() -> None:
    """Apply the migrations that the database does not have yet. Exit 1 when an applied one reads differently now."""
    endpoints = Endpoints.load(read_settings().state_dir)
    try:
        applied = run(apply(endpoints.postgres.connect_kwargs("owner")))
    except MigrationChangedError as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.FINDING) from None
    for name in applied:
        console.print(styled("[green]✓[/] {}", name))
    if not applied:
        console.print(styled("[dim]nothing to do: the database is at the newest migration[/]"))
