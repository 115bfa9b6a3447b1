"""`recon config`: checks, shows and describes the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, one_line
from cluster.configuration import chosen_reconciliation, config_path, read_config
from sources.config.models import ReconciliationConfig, ReconConfig, SourceConfig
from sources.config.problems import InvalidConfigError, closest
from sources.config.reading import json_schema, read_paths

app = typer.Typer(no_args_is_help=True, help="The configuration recon.yaml: what is reconciled, from which sources.")
console = SafeConsole()
errors = SafeConsole(stderr=True)

FILE = Annotated[
    Path | None,
    typer.Argument(help="The configuration; left out: RECON_CONFIG, else recon.yaml here, else what is built in."),
]


def load(file: Path | None) -> ReconConfig:
    """The configuration, or the end of the command with all that is wrong with it."""
    try:
        return read_config(config_path(file))
    except InvalidConfigError as error:
        fail(*error.lines)


def load_source(
    file: Path | None, reconciliation: str | None, name: str
) -> tuple[ReconciliationConfig, SourceConfig, Path]:
    """A reconciliation, one of its sources and where its relative paths begin, or the end of the command."""
    config = load(file)
    try:
        chosen = chosen_reconciliation(config, reconciliation)
    except InvalidConfigError as error:
        fail(*error.lines)
    if name not in chosen.sources:
        fail(f"reconciliation {chosen.name} has no source {name!r}; {closest(name, chosen.sources)}")
    return chosen, chosen.sources[name], Path(config.file).parent if config.file else Path()


def fail(*messages: str, code: ExitCode = ExitCode.USAGE) -> NoReturn:
    """End the command: the configuration or an argument is wrong. Each message is a line, whatever it holds."""
    for message in messages:
        errors.print(one_line(message), style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def check(
    file: FILE = None,
    as_json: Annotated[bool, typer.Option("--json", help="The problems as data.")] = False,
) -> None:
    """Check the configuration as a whole. Exit 0: it can be used. Exit 2: it cannot, and every mistake is named."""
    path = config_path(file)
    try:
        config = read_config(path)
    except InvalidConfigError as error:
        if not as_json:
            fail(*error.lines)
        problems = [
            {"file": error.file, "line": one.line, "column": one.column, "at": one.where, "what": one.what}
            | {"right": one.right}
            for one in error.problems
        ]
        print(json.dumps({"ok": False, "problems": problems}, indent=2))
        raise typer.Exit(ExitCode.USAGE) from error
    if as_json:
        print(json.dumps({"ok": True, "problems": []}, indent=2))
        return
    sources = sum(len(one.sources) for one in config.reconciliations.values())
    what = f"{len(config.reconciliations)} reconciliations, {sources} sources"
    console.print(f"{path or 'built-in configuration'}: fine: {what}", highlight=False, soft_wrap=True)


@app.command()
def show(
    file: FILE = None,
    as_json: Annotated[bool, typer.Option("--json", help="The configuration as data.")] = False,
) -> None:
    """Show what is in force: reconciliations, their sources, and where each field is read from."""
    config = load(file)
    if as_json:
        print(json.dumps(_as_data(config), indent=2))
        return
    for name, one in config.reconciliations.items():
        heading = Text.assemble((name, "bold"), f"  {one.shape}, joined by {', '.join(one.key)}")
        console.print(heading)
        table = Table("source", "reads", "format", "expected", "paths", box=None, pad_edge=False, header_style="dim")
        for source in one.sources.values():
            table.add_row(*(Text(cell) for cell in _row(source)))
        console.print(table)
        rules = one.rules
        said = f"window {rules.match_window_ms:,} ms, time tolerance {rules.time_tolerance_ms:,} ms"
        console.print(Text(said, "dim"))


@app.command()
def schema() -> None:
    """Print the JSON Schema of recon.yaml, for editors."""
    print(json.dumps(json_schema(), indent=2))


def _row(source: SourceConfig) -> tuple[str, ...]:
    place = f"file {source.path}" if source.is_file else f"topic {source.topic}"
    form = source.format if source.envelope == "none" else f"{source.format} in {source.envelope}"
    paths = ", ".join(read_paths(source.fields, source.where)) if source.fields else "canonical records"
    return source.name, place, form, "yes" if source.expected else "no", paths


def _as_data(config: ReconConfig) -> dict[str, object]:
    return {
        "file": config.file or None,
        "default": config.default.name,
        "reconciliations": {
            name: {
                "shape": one.shape,
                "key": list(one.key),
                "compared_attributes": list(one.compared_attributes),
                "sources": {
                    source.name: {
                        "topic": source.topic,
                        "path": source.path,
                        "format": source.format,
                        "envelope": source.envelope,
                        "expected": source.expected,
                        "identity": source.identity,
                        "negative": source.negative,
                        "paths": read_paths(source.fields, source.where) if source.fields else None,
                    }
                    for source in one.sources.values()
                },
                "rules": one.rule_set().to_json(),
            }
            for name, one in config.reconciliations.items()
        },
    }
