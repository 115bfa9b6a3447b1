"""`recon up`, `down`, `status` and `doctor`: the local stack by hand."""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cluster.activation import Configuration
from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.configuration import config_path
from cluster.endpoints import Endpoints, StackNotUpError
from cluster.settings import read_settings
from cluster.stack.joined import open_stack
from cluster.stack.stack import Plan, ServiceStatus
from schemas.errors import ReconError
from sources.config.problems import InvalidConfigError

if TYPE_CHECKING:
    from types import TracebackType

_MARKS = {
    "ready": ("✓", "green"),
    "up": ("✓", "green"),
    "ok": ("✓", "green"),
    "stopped": ("✓", "green"),
    "kept": ("!", "yellow"),  # as it was before: it could not be made anew
    "skipped": ("-", "dim"),
    "down": ("-", "dim"),
    "warning": ("!", "yellow"),
    "crashed": ("✗", "red"),
    "failing": ("✗", "red"),
    "failed": ("✗", "red"),
}

# What fits a terminal of each list in the pipeline's status; `--json` has all of it.
_COLUMNS = {
    "actors": ["name", "kind", "pid", "restarts", "heartbeat_age_ms", "trouble"],
    "shards": ["name", "epoch", "events", "events_per_s", "pending_rows", "spilled_txns", "flush_ms_p50", "degraded"],
    "sources": ["name", "topic", "expected", "events", "events_per_s", "lag", "silent"],
}

console = SafeConsole()
errors = SafeConsole(stderr=True)


class Steps:
    """Shows services starting or stopping, with download bars below; plain lines where there is no terminal."""

    def __init__(self, out: Console) -> None:
        self._console = out
        self._rows: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self.downloads = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=out,
        )
        self._live = Live(self, console=out, refresh_per_second=8, transient=False) if out.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state and stop."""
        if self._live is not None:
            self._live.stop()

    def report(self, name: str, state: str, seconds: float) -> None:
        """Take note of a step; see `cluster.stack.stack.Report`."""
        with self._lock:
            self._rows[name] = (state, seconds)
        if self._live is None and state in _MARKS:
            self._console.print(_row_text(name, state, seconds))

    def __rich__(self) -> Group:
        """The picture of this moment."""
        with self._lock:
            rows = list(self._rows.items())
        lines: list[Any] = [
            _row_text(name, state, seconds)
            if state in _MARKS
            else Spinner("dots", text=f"{name:<10} {state}", style="cyan")
            for name, (state, seconds) in rows
        ]
        return Group(*lines, self.downloads) if self.downloads.tasks else Group(*lines)


def _row_text(name: str, state: str, seconds: float) -> Text:
    mark, style = _MARKS[state]
    took = f" {seconds:6.1f} s" if seconds else ""
    return Text.assemble((mark, style), f" {name:<10} ", (f"{state:<8}", style), (took, "dim"))


def up(
    pipeline: Annotated[bool, typer.Option(help="Start Ray and the pipeline; without, only the services.")] = True,
    keycloak: Annotated[
        bool, typer.Option(help="Start Keycloak; without it there is no API either: nobody could log in.")
    ] = True,
    api: Annotated[bool, typer.Option(help="Start the API, the live feed and the dashboard.")] = True,
    reconciliation: Annotated[str | None, typer.Option(help="Which of recon.yaml's, where it has several.")] = None,
) -> None:
    """Start the local stack: Kafka, registry, PostgreSQL, Redis, Keycloak, Ray, and the pipeline on it.

    Safe to repeat: what runs with the same settings is left alone. The first time some 350 MB are downloaded. The
    configuration (RECON_CONFIG, else recon.yaml in the working folder) is put in force; a changed one is a new version.
    """
    settings = read_settings()
    configuration = _configuration(reconciliation)
    with Steps(console) as steps:
        stack = open_stack(settings, steps.report, steps.downloads, configuration)
        endpoints = stack.up(Plan(keycloak=keycloak, ray=pipeline, pipeline=pipeline, api=pipeline and api))
    for note in stack.notes:
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)
    console.print(_endpoints_table(endpoints))
    console.print(
        styled(
            "[dim]Passwords and client settings:[/] recon status --json   [dim](kept in {})[/]",
            settings.state_dir / "endpoints.json",
        ),
        soft_wrap=True,
    )


def _configuration(name: str | None) -> Configuration | None:
    """What the configuration's file says; None where there is none. Ends with exit 2 for one that cannot be run."""
    path = config_path()
    if path is None:
        if name is not None:
            errors.print(f"recon: there is no recon.yaml that could have a reconciliation {name}", style="red")
            raise typer.Exit(ExitCode.USAGE)
        return None
    try:
        return Configuration.load(path, name)
    except InvalidConfigError as error:
        said = str(error)
    except ReconError as error:
        said = f"{path} cannot be run: {error}"
    errors.print(Text(f"recon: {said}", style="red"), highlight=False, soft_wrap=True)
    raise typer.Exit(ExitCode.USAGE)


def down(
    wipe: Annotated[bool, typer.Option(help="Delete the state folder too: every event, verdict and password.")] = False,
) -> None:
    """Drain the pipeline, then stop everything that `up` started, also what a crash left behind."""
    settings = read_settings()
    was_there = settings.state_dir.is_dir()
    with Steps(console) as steps:
        running = open_stack(settings, steps.report).down(wipe=wipe)
    if not running:
        console.print(styled("[dim]nothing was running in {}[/]", settings.state_dir))
    if wipe and was_there:
        console.print(styled("[dim]deleted {}[/]", settings.state_dir))


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Every endpoint with the client settings that reach it, passwords included.")
    ] = False,
) -> None:
    """Show every service, whether it answers, and where it is. Exit 3 when the stack is not up."""
    settings = read_settings()
    stack = open_stack(settings)
    services = stack.status()
    if api := stack.api_status():
        services.append(api)
    pipeline = stack.pipeline_status()
    try:
        endpoints: Endpoints | None = stack.endpoints()
    except StackNotUpError:
        endpoints = None
    needed = {"kafka", "registry", "postgres", "redis"}
    is_up = endpoints is not None and all(s.state == "up" for s in services if s.name in needed or s.state != "down")
    if as_json:
        content: dict[str, Any] = {} if endpoints is None else endpoints.model_dump(mode="json")
        content |= {"up": is_up, "services": [asdict(service) for service in services], "pipeline": pipeline}
        print(json.dumps(content, indent=2, default=str))
    else:
        console.print(_services_table(services))
        if pipeline:
            console.print(*_pipeline_tables(pipeline), sep="\n")
        if endpoints is not None:
            console.print()
            console.print(_endpoints_table(endpoints))
    if not is_up:
        raise typer.Exit(ExitCode.NOT_READY)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The findings as data.")] = False,
) -> None:
    """Say what is wrong with this machine or the stack, and how to mend it. Exit 3 when something stands in the way."""
    from cluster.stack.doctor import examine  # noqa: PLC0415 - slow to import

    findings = examine(read_settings())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(width=1)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for finding in findings:
            mark, style = _MARKS[finding.level]
            text = Text(finding.message)
            if finding.remedy:
                text.append(f"\n→ {finding.remedy}", style="cyan")
            table.add_row(Text(mark, style=style), finding.subject, text)
        console.print(table)
    if any(finding.level == "failed" for finding in findings):
        raise typer.Exit(ExitCode.NOT_READY)


def _services_table(services: list[ServiceStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("", "left"), ("service", "left"), ("state", "left"), ("address", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("pid", "up for", "MiB"):
        table.add_column(name, justify="right")
    table.add_column("problem", style="red")
    for service in services:
        mark, style = _MARKS[service.state]
        table.add_row(
            Text(mark, style=style),
            service.name,
            Text(service.state, style=style),
            service.address,
            str(service.pid or ""),
            "" if service.uptime_s is None else str(dt.timedelta(seconds=round(service.uptime_s))),
            "" if service.memory_mib is None else f"{service.memory_mib:.0f}",
            service.problem or "",
        )
    return table


def _pipeline_tables(pipeline: dict[str, Any]) -> list[Table]:
    """A line of plain values, and one table for each list of things: actors, shards, sources (partitions are many)."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column()
    tables = [facts]
    for name, value in pipeline.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            if name == "partitions":
                lag = sum(int(partition.get("lag", 0)) for partition in value)
                facts.add_row("partitions", f"{len(value)}, {lag:,} events behind")
            else:
                tables.append(_things_table(name, value))
        elif isinstance(value, str | int | float) and not name.startswith("at"):
            facts.add_row(name, str(value))
    return tables


def _things_table(kind: str, things: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = _COLUMNS.get(kind) or [key for key in things[0] if not key.endswith("_ms")]
    for column in columns:
        numeric = isinstance(things[0].get(column), int | float)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left")
    for thing in things:
        table.add_row(*("" if thing.get(column) in ("", None) else f"{thing[column]}" for column in columns))
    return table


def _endpoints_table(endpoints: Endpoints) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    rows = [
        ("Kafka", endpoints.kafka.bootstrap_servers, ", ".join(source.topic for source in endpoints.sources)),
        ("registry", endpoints.registry.url, "schema registry"),
        ("PostgreSQL", endpoints.postgres.dsn("app").split("@")[1].split("?")[0], "sslmode=verify-full"),
        ("Redis", endpoints.redis.url, ""),
    ]
    if endpoints.keycloak is not None:
        rows.append(
            (
                "Keycloak",
                endpoints.keycloak.issuer,
                "users: " + ", ".join(f"{name} ({user.role})" for name, user in endpoints.keycloak.users.items()),
            )
        )
    if endpoints.ray is not None:
        rows.append(
            ("Ray", endpoints.ray.dashboard_url or endpoints.ray.address, f"token in {endpoints.ray.token_file}")
        )
    if endpoints.api is not None:
        rows.append(("dashboard", endpoints.api.url, "API under /api/v1"))
    for row in rows:
        table.add_row(*row)
    return table
