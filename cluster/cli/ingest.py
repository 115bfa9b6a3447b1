"""`recon ingest`: a file's rows into the running pipeline, exactly once."""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cluster.cli.config import console, errors, fail, load_source
from cluster.cli.exit_codes import ExitCode
from cluster.endpoints import Endpoints, StackNotUpError
from cluster.files.configured import files_of
from cluster.files.reading import UnusableFileError
from cluster.ingestion import ChangedStatementError, Ingested, Ingestion, IngestionBusyError
from cluster.settings import read_settings
from schemas.errors import TransientError
from sources.config.models import ReconciliationConfig
from sources.files import errors as file_errors
from sources.files.opened import OpenedFile
from sources.files.opening import STDIN, open_file
from sources.files.options import FileOptions

WATCH_INTERVAL_S = 5.0
SETTLED_S = 2.0  # a file that was changed a moment ago may still be written


def ingest(
    name: Annotated[str, typer.Argument(help="The source.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Files; left out: those of the configuration.")] = None,
    config: Annotated[Path | None, typer.Option(help="The configuration.")] = None,
    reconciliation: Annotated[str | None, typer.Option(help="Of several; the first if left out.")] = None,
    watch: Annotated[bool, typer.Option(help="Go on: take new files as they come, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of data for each file.")] = False,
) -> None:
    """Append a file's rows to the log, from which the pipeline reads them like any source's records.

    A file is there as a whole or not at all, and once, whoever dies meanwhile: the same file again is nothing, and
    after a crash the same command finishes the job. Exit 0: all rows are in. Exit 1: rows were set aside as dead
    letters. Exit 2: a file or the configuration cannot be used; nothing of the file is in. Exit 3: no stack answers.
    """
    chosen, source, folder = load_source(config, reconciliation, name)
    if not source.is_file:
        fail(f"source {name} reads topic {source.topic}; recon ingest is for sources with path:")
    given = {name: [str(file) for file in files]} if files else {}
    try:
        endpoints = Endpoints.load(read_settings().state_dir)
        outcomes = asyncio.run(_run(endpoints, chosen, name, folder, given, watch=watch, as_json=as_json))
    except (StackNotUpError, TransientError, OSError) as error:
        fail(f"recon: {error}", code=ExitCode.NOT_READY)
    except (UnusableFileError, file_errors.UnusableFileError, ChangedStatementError, IngestionBusyError) as error:
        fail(f"recon: {error}")
    except KeyboardInterrupt:
        return
    if any(outcome.rejected for outcome in outcomes):
        raise typer.Exit(ExitCode.FINDING)


async def _run(
    endpoints: Endpoints,
    reconciliation: ReconciliationConfig,
    name: str,
    folder: Path,
    given: dict[str, list[str]],
    *,
    watch: bool,
    as_json: bool,
) -> list[Ingested]:
    source = reconciliation.sources[name]
    outcomes = []
    seen: dict[str, float] = {}
    async with Ingestion(
        endpoints.postgres.connect_kwargs("owner"),
        endpoints.kafka.client_config("producer"),
        endpoints.kafka.client_config("reader"),
        reconciliation.name,
        source,
        f"cli:{getpass.getuser()}",
    ) as ingestion:
        while True:
            for path, options in _files(reconciliation, name, folder, given, watching=watch):
                if watch and not _is_new(path, seen):
                    continue
                outcome = await _one(ingestion, path, options, shows=not as_json)
                outcomes.append(outcome)
                if as_json:
                    print(json.dumps(asdict(outcome)), flush=True)
                else:
                    console.print(_line(outcome), markup=False, highlight=False, soft_wrap=True)
            if not watch:
                return outcomes
            await asyncio.sleep(WATCH_INTERVAL_S)


def _files(
    reconciliation: ReconciliationConfig, name: str, folder: Path, given: dict[str, list[str]], *, watching: bool
) -> Sequence[tuple[str, FileOptions]]:
    """Paths and how they are read. While watching, no file at all is nothing."""
    try:
        only = replace(reconciliation, sources={name: reconciliation.sources[name]})
        return [(file.path, file.options) for file in files_of(only, folder, given)]
    except UnusableFileError:
        if watching:
            return []
        raise


def _is_new(path: str, seen: dict[str, float]) -> bool:
    """Whether a file has changed since it was last looked at, and is not being written at the moment."""
    changed = Path(path).stat().st_mtime
    if seen.get(path) == changed or time.time() - changed < SETTLED_S:
        return False
    seen[path] = changed
    return True


async def _one(ingestion: Ingestion, path: str, options: FileOptions, *, shows: bool) -> Ingested:
    if path == STDIN:
        raise UnusableFileError("standard input cannot be ingested: a file must be there again after a crash")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True, disable=not shows) as progress:
        task = progress.add_task(Path(path).name, total=None)
        with _opened(path, options) as opened:
            return await ingestion.ingest(opened, lambda rows: progress.advance(task, rows))


def _opened(path: str, options: FileOptions) -> OpenedFile:
    return open_file(Path(path).open("rb"), Path(path).name, options)


def _line(outcome: Ingested) -> str:
    if outcome.outcome == "known":
        return f"{outcome.name}: is in the log already"
    done = "was in the log already, after a crash" if outcome.outcome == "recovered" else "ingested"
    statements = f", {outcome.known_statements} statements known" if outcome.known_statements else ""
    return f"{outcome.name}: {done}: {outcome.rows:,} rows, {outcome.rejected:,} set aside{statements}"
