"""The command line `recon`. Commands are imported when they are used, so that help is quick and parts stay apart."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import traceback
from importlib import metadata
from typing import Annotated

import typer

from cluster.cli.exit_codes import ExitCode
from schemas.errors import ReconError

# Command -> where it lives ("module:function" or "module:typer app") and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("cluster.cli.stack:up", "Start the local stack and the pipeline."),
    "down": ("cluster.cli.stack:down", "Drain the pipeline and stop everything that `up` started."),
    "status": ("cluster.cli.stack:status", "Show every service and endpoint."),
    "doctor": ("cluster.cli.stack:doctor", "Explain what is wrong and how to mend it."),
    "demo": ("cluster.cli.demo:demo", "Run three simulated banks' systems and watch the verdicts."),
    "produce": ("cluster.cli.produce:produce", "Publish simulated events with planted breaks."),
    "match": ("cluster.cli.match:match", "Reconcile files, without any service."),
    "config": ("cluster.cli.config:app", "Check and show recon.yaml."),
    "source": ("cluster.cli.source:app", "See what a source's mapping makes of real records."),
    "ingest": ("cluster.cli.ingest:ingest", "Bring a file into the running pipeline, exactly once."),
    "verify": ("cluster.cli.verify:verify", "Compare the results with an independent reading of the log."),
    "audit": ("cluster.cli.audit:app", "Check the audit trail."),
    "dlq": ("cluster.cli.dlq:app", "List and replay dead letters."),
    "topics": ("cluster.cli.topics:app", "Go on after a topic was made anew or lost records."),
    "rules": ("cluster.cli.rules:app", "Show and change the rules."),
    "bench": ("cluster.cli.bench:bench", "Measure the pipeline on this machine."),
    "chaos": ("cluster.cli.chaos:chaos", "Break parts on purpose and verify the results."),
    "login": ("cluster.cli.login:login", "Log in to the API from the command line."),
    "migrate": ("cluster.cli.migrate:migrate", "Bring the database to the newest migration."),
    "retention": ("cluster.cli.retention:retention", "Drop partitions of raw events that are past their time."),
}


_EXIT_CODES = "Exit codes: 0 fine, 1 differences found, 2 wrong usage, 3 environment not ready."


def build(selected: str | None) -> typer.Typer:
    """The command line with one command imported and the others by name and help only."""
    app = typer.Typer(
        name="recon",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        epilog=_EXIT_CODES,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        _version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
    ) -> None:
        """Real-time transaction reconciliation: three event streams in, one proven verdict out."""

    for name, (target, summary) in COMMANDS.items():
        if name == selected:
            _attach(app, name, target, summary)
        else:
            app.command(name, help=summary)(_never_run)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"recon {metadata.version('recon')}")
        raise typer.Exit


def _attach(app: typer.Typer, name: str, target: str, summary: str) -> None:
    module_name, attribute = target.split(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        app.command(name, help=summary, context_settings=_ANY_ARGUMENTS)(_not_installed)
        return
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, help=summary)
    else:
        app.command(name)(found)


_ANY_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True}


def _not_installed(context: typer.Context) -> None:
    print(f"recon: `{context.info_name}` is not part of this installation", file=sys.stderr)
    raise typer.Exit(ExitCode.NOT_READY)


def _never_run() -> None:
    """Stands in for a command in the list of commands."""


def _is_usage(error: Exception) -> bool:
    """Whether it is the caller's to put right: a variable of the environment that cannot be what it is."""
    from cluster.settings import InvalidSettingsError  # noqa: PLC0415 - slow to import, and seldom needed

    return isinstance(error, InvalidSettingsError)


def main() -> None:
    """Run `recon` with this process's arguments; what is not ready becomes one line and an exit code.

    With --json the line is on stdout too, as `{"error": ...}`.
    """
    arguments = sys.argv[1:]
    selected = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        build(selected)(prog_name="recon")
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # Typer leaves with 1, which means differences here
            sys.exit(ExitCode.NOBODY_READS)
        raise
    except (ReconError, OSError) as error:
        if "--json" in arguments:
            with contextlib.suppress(OSError):  # it may be stdout that is full
                print(json.dumps({"error": str(error)}), flush=True)
        from cluster.cli.terminal import one_line  # noqa: PLC0415 - slow to import, and seldom needed

        for line in getattr(error, "problems", None) or [error]:
            print(f"recon: {one_line(line)}", file=sys.stderr)
        sys.exit(ExitCode.USAGE if _is_usage(error) else ExitCode.NOT_READY)
    except Exception:  # noqa: BLE001 - Python would exit with 1, which here means that differences were found
        traceback.print_exc()
        sys.exit(ExitCode.BUG)
