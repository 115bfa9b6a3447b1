"""`recon bench`: how fast the whole pipeline is here, beside a bare COPY of the same rows."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from cluster.benchmark import Outcome, bench_settings, run
from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, styled
from cluster.settings import read_settings
from schemas.errors import ReconError

TRANSACTIONS_DEFAULT = 500_000  # 1.49 million events

console = SafeConsole()
errors = SafeConsole(stderr=True)


def bench(
    transactions: Annotated[int, typer.Option(min=1_000, help="How many; each has about three events.")] = (
        TRANSACTIONS_DEFAULT
    ),
    keep: Annotated[bool, typer.Option(help="Leave the benchmark's stack running.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as data.")] = False,
) -> None:
    """Preload the topics of a stack of its own, replay them through the pipeline, verify, and copy the rows bare.

    Exit 0: measured and verified. Exit 1: the outcome was wrong. Exit 3: it could not be measured.
    """
    settings = bench_settings(read_settings())
    try:
        outcome = run(settings, transactions, lambda text: errors.print(styled("[dim]bench[/] {}", text)), keep=keep)
    except ReconError as error:
        errors.print(f"recon: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.NOT_READY) from None
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    else:
        show(outcome)
    if not outcome.verified:
        raise typer.Exit(ExitCode.FINDING)


def show(outcome: Outcome) -> None:
    """The figures as a person reads them."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    million = outcome.events / 1e6
    table.add_row("replayed", f"{outcome.events:,} events", f"{outcome.transactions:,} transactions")
    table.add_row("pipeline", f"{outcome.events_per_s:,.0f} events/s", f"{outcome.elapsed_s:.1f} s")
    for count, rate in outcome.copy_events_per_s.items():
        table.add_row(f"bare COPY x{count}", f"{rate:,.0f} events/s", "the same rows, a row an event, prepared")
    table.add_row("ratio", f"{outcome.copy_ratio:.2f}", "pipeline over the fastest of them")
    for count, rate in outcome.stored_copy_events_per_s.items():
        table.add_row(f"bare blocks x{count}", f"{rate:,.0f} events/s", "the same blocks as they are stored, prepared")
    table.add_row("ratio", f"{outcome.stored_copy_ratio:.2f}", "pipeline over the fastest of them")
    for name, seconds in sorted(outcome.cpu_s.items(), key=lambda item: -item[1]):
        table.add_row(f"CPU {name}", f"{seconds:.1f} s", f"{seconds / million:.2f} µs an event")
    table.add_row("engine CPU", f"{outcome.engine_cpu_s:.1f} s", "readers, shards, supervisor, Ray")
    table.add_row("peak memory", f"{outcome.peak_rss_mib:,} MiB", "our own processes, shared pages split")
    verdict = (
        styled("[green]verified[/]") if outcome.verified else styled("[red]{} differences[/]", outcome.differences)
    )
    table.add_row("outcome", verdict, "every row against the oracle")
    console.print(table)
