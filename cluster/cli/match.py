"""`recon match`: reconciles files with the engine's own core, without any service."""

from __future__ import annotations

import difflib
import gc
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn, Self

import typer
from rich.markup import escape
from rich.progress import Progress

from cluster.cli.config import fail
from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, visible
from cluster.configuration import chosen_reconciliation, read_config
from cluster.files.configured import files_of, reconcile_configured, with_expected
from cluster.files.reading import AUTO_ENCODING, FIELDS, ColumnMap, UnusableFileError, row_count
from cluster.files.reconcile import (
    Reconciliation,
    SourceFile,
    check_output,
    check_places,
    check_sources,
    readable,
    reconcile,
    replacing,
    write,
)
from cluster.files.report import for_terminal, summarize, to_markdown
from cluster.files.values import TIME_UNITS, BadValueError, currency_code
from schemas.errors import InvalidRulesError
from schemas.events import DEFAULT_SOURCES, Status
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT, RuleSet, Tolerance
from sources.config.problems import InvalidConfigError

GC_OBJECTS = 500_000  # between two collections
TOLERANCE_DIGITS_MAX = 20  # as text; how much it may be is the rules' to say

console = SafeConsole()
errors = SafeConsole(stderr=True)


def match(  # noqa: PLR0912 - one branch an output
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files named after their source, as in core.csv. CSV, Parquet, JSON lines."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A recon.yaml: what the sources are, where their files lie, how they are read.")
    ] = None,
    reconciliation: Annotated[
        str | None, typer.Option(help="Of several in the configuration; the first if left out.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="NAME=FILE, for any other names and any number.")] = None,
    optional: Annotated[list[str] | None, typer.Option(help="A source that is compared but never missing.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help=f"FIELD=COLUMN or NAME:FIELD=COLUMN. Fields: {', '.join(FIELDS)}. amount is in major units "
            "(12.30), amount_minor in whole minor units (1230).",
        ),
    ] = None,
    status: Annotated[list[str] | None, typer.Option(help="WORD=STATUS, as in CLEARED=SUCCESS.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of files that have no such column.")] = None,
    decimal_comma: Annotated[bool, typer.Option(help="Amounts in major units have a comma: 12,30.")] = False,
    encoding: Annotated[
        str, typer.Option(help="Of CSV files, as in cp1252. auto: UTF-8, or UTF-16 where the file shows it.")
    ] = AUTO_ENCODING,
    trim: Annotated[bool, typer.Option(help="Blanks around ids are no part of them; else ids are exact text.")] = False,
    time_unit: Annotated[str, typer.Option(help=f"Of times that are numbers: {', '.join(TIME_UNITS)}.")] = "ms",
    match_window_ms: Annotated[int, typer.Option(help="A leg that arrives later is late.")] = MATCH_WINDOW_MS_DEFAULT,
    time_tolerance_ms: Annotated[int, typer.Option(help="How far clocks may differ.")] = TIME_TOLERANCE_MS_DEFAULT,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            help="[CURRENCY=]MINOR or [CURRENCY=]BPSbp, as in 5, EUR=10 or JPY=50bp: amounts may differ so much."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Results: .parquet, .csv or .jsonl.")] = None,
    report: Annotated[Path | None, typer.Option(help="A report in Markdown.")] = None,
    rejects: Annotated[Path, typer.Option(help="Where rows go that cannot be taken, with reasons.")] = Path(
        "rejects.jsonl"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The figures as data.")] = False,
) -> None:
    """Reconcile files: the same rules as the live pipeline, no services at all.

    Without an arrival column a row arrives at its event time; all windows have closed. Exit 0: everything agrees.
    Exit 1: there are mismatches or rejected rows, or nothing could be compared. Exit 2: a file cannot be read, or
    lacks a column.
    """
    try:
        if out is not None:
            check_output(out)
        outputs = {"--out": out, "--report": report, "--rejects": rejects}
        if config is not None:
            _refuse_beside_config(context)
            outcome = _by_config(config, reconciliation, source or [], optional or [], outputs)
        else:
            if reconciliation is not None:
                _fail("--reconciliation means nothing without --config")
            maps = _map(column or [], status or [], currency, time_unit, decimal_comma)
            maps = {name: replace(one, encoding=encoding, trim=trim) for name, one in maps.items()}
            chosen = _files(files or [], source or [], maps)
            default, by_currency = _tolerances(tolerance or [])
            rules = RuleSet(
                match_window_ms=match_window_ms,
                time_tolerance_ms=time_tolerance_ms,
                default_tolerance=default,
                tolerances=by_currency,
            )
            check_sources(chosen)
            check_places([file.path for file in chosen], outputs)
            # A million rows are a million short-lived objects, none of which is garbage that only the collector finds.
            gc.set_threshold(GC_OBJECTS)
            with _Progress({file.path: row_count(file.path) for file in chosen} if errors.is_terminal else {}) as bar:
                outcome = reconcile(chosen, rules, [name.upper() for name in optional or []], bar.add)
    except (UnusableFileError, BadValueError, InvalidRulesError, OSError) as error:
        _fail(str(error))
    if out is not None:
        write(readable(outcome), out)
    if outcome.rejects:
        _write_rejects(outcome, rejects)
    else:
        rejects.unlink(missing_ok=True)  # those of an earlier run say nothing about this one
    summary = summarize(outcome)
    if report is not None:
        with replacing(report) as fresh:
            fresh.write_text(to_markdown(outcome, summary), encoding="utf-8", errors="backslashreplace")
    if as_json:
        print(
            json.dumps(
                {
                    "transactions": summary.transactions,
                    "matched": summary.matched,
                    "mismatched": summary.mismatched,
                    "late": summary.late,
                    "rows": summary.rows,
                    "repeated": summary.repeated,
                    "rejected": summary.rejected,
                    "compared": outcome.compared,
                    "skipped": dict(outcome.skipped),
                    "warnings": outcome.warnings,
                    "breaks": dict(summary.breaks),
                    "missing": dict(summary.missing),
                },
                indent=2,
            )
        )
    else:
        console.print(for_terminal(summary, outcome.names))
        for what, path in (("results", out), ("report", report), ("rejects", rejects if outcome.rejects else None)):
            if path is not None:
                console.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    for warning in outcome.warnings:
        errors.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    if not outcome.compared:
        errors.print(
            "recon: nothing was compared: no transaction is told of by two sources", style="red", highlight=False
        )
    if summary.mismatched or summary.rejected or not outcome.compared:
        raise typer.Exit(ExitCode.FINDING)


_BESIDE_CONFIG = frozenset({"config", "reconciliation", "source", "optional", "out", "report", "rejects", "as_json"})


def _refuse_beside_config(context: typer.Context) -> None:
    """Options that say how files are read mean nothing beside a configuration, which says it all."""
    for name in context.params:
        if name not in _BESIDE_CONFIG and str(context.get_parameter_source(name)).endswith("COMMANDLINE"):
            option = {"column": "--map", "files": "files"}.get(name, "--" + name.replace("_", "-"))
            _fail(f"{option} means nothing beside --config; the configuration says it, or --source NAME=FILE")


def _by_config(
    path: Path, name: str | None, given: list[str], optional: list[str], outputs: dict[str, Path | None]
) -> Reconciliation:
    """Match the files that a configuration names."""
    try:
        chosen = chosen_reconciliation(read_config(path), name)
    except InvalidConfigError as error:
        fail(*error.lines)
    files: dict[str, list[str]] = {}
    for text in given:
        source, file = _named_file(text)
        files.setdefault(source, []).append(file)
    chosen = with_expected(chosen, optional)
    found = files_of(chosen, path.parent, files)
    check_places([Path(file.path) for file in found], outputs)
    with _Progress(dict.fromkeys([Path(file.path) for file in found])) as progress:
        return reconcile_configured(chosen, found, on_row=lambda file, rows: progress.add(Path(file), rows))


class _Progress:
    """A bar for each file, on a terminal only. `totals` gives rows by file, None where they are not known."""

    def __init__(self, totals: Mapping[Path, int | None]) -> None:
        self._bar = Progress(console=errors, transient=True, disable=not errors.is_terminal)
        self._tasks = {
            path: self._bar.add_task(escape(visible(path.name)), total=total)
            for path, total in totals.items()
            if errors.is_terminal
        }

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, path: Path, rows: int) -> None:
        """So many rows more were read."""
        if path in self._tasks:
            self._bar.advance(self._tasks[path], rows)


Maps = dict[str, ColumnMap]  # by source name; "" is for all others


def _map(columns: list[str], statuses: list[str], currency: str | None, time_unit: str, decimal_comma: bool) -> Maps:
    if time_unit not in TIME_UNITS:
        _fail(f"--time-unit {time_unit!r} is not one of {', '.join(TIME_UNITS)}")
    words: dict[str, Status] = {}
    for text in statuses:
        word, _, name = text.partition("=")
        if name.upper() not in Status.__members__:
            _fail(f"--status {text!r}: {name!r} is not one of {', '.join(Status.__members__)}")
        key = word.strip().upper()
        if not key:
            _fail(f"--status {text!r} has no word before the =")
        if words.setdefault(key, Status[name.upper()]) is not Status[name.upper()]:
            _fail(f"--status says of {word.strip()!r} that it is {words[key].name} and {name.upper()}")
    by_source: dict[str, dict[str, str]] = {"": {}}
    for text in columns:
        left, separator, name = text.partition("=")
        source, _, field = left.rpartition(":")
        if not separator or field not in FIELDS:
            near = difflib.get_close_matches(field.strip().lower(), FIELDS, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            _fail(f"--map {text!r} is not FIELD=COLUMN{meant}; fields: {', '.join(FIELDS)}")
        if not name.strip():
            _fail(f"--map {text!r} has no column after the =")
        if by_source.setdefault(source.upper(), {}).setdefault(field, name) != name:
            _fail(f"--map says of {left!r} that it is {by_source[source.upper()][field]!r} and {name!r}")
    code = None if currency is None else currency_code(currency)
    return {
        source: ColumnMap({**by_source[""], **own}, words, code, decimal_comma, time_unit)
        for source, own in by_source.items()
    }


def _files(paths: list[Path], named: list[str], maps: Maps) -> list[SourceFile]:
    known = [source.name for source in DEFAULT_SOURCES]
    pairs: list[tuple[str, Path]] = []
    for path in paths:
        if not path.exists():
            _fail(f"{path}: no such file")
        found = [name for name in known if path.stem.upper().startswith(name)]
        if not found:
            _fail(f"{path}: cannot tell whose view this is; say --source NAME={path}")
        pairs.append((found[0], path))
    for text in named:
        name, file = _named_file(text)
        pairs.append((name.upper(), Path(file)))
    names = {name for name, _ in pairs}
    if len(names) < 2:
        _fail("files of at least two sources are needed")
    for name in maps.keys() - names - {""}:
        near = difflib.get_close_matches(name, names, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        _fail(f"--map names source {name}, of which there is no file{meant}; sources: {', '.join(sorted(names))}")
    return [SourceFile(name, path, maps.get(name, maps[""])) for name, path in pairs]


def _named_file(text: str) -> tuple[str, str]:
    """Source and file of a --source."""
    name, separator, file = text.partition("=")
    if not separator or not name or not file:
        _fail(f"--source {text!r} is not NAME=FILE")
    return name, file


def _tolerances(texts: list[str]) -> tuple[Tolerance, dict[str, Tolerance]]:
    found: dict[str, Tolerance] = {}
    said: dict[tuple[str, bool], int] = {}  # by currency, and whether in basis points
    for text in texts:
        name, separator, amount = text.rpartition("=")
        key = currency_code(name) if separator else ""
        digits = amount.removesuffix("bp")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= TOLERANCE_DIGITS_MAX):
            _fail(f"--tolerance {text[:80]!r} is not [CURRENCY=]MINOR or [CURRENCY=]BPSbp")
        before = said.setdefault((key, amount.endswith("bp")), int(digits))
        if before != int(digits):
            _fail(f"--tolerance says of {key or 'all currencies'} that it is {before} and {digits}")
        found[key] = Tolerance(said.get((key, False), 0), said.get((key, True), 0))
    default = found.pop("", Tolerance())
    return default, found


def _write_rejects(outcome: Reconciliation, path: Path) -> None:
    # Half a character is written as the escape that JSON has for it.
    with replacing(path) as fresh, fresh.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for reject in outcome.rejects:
            file.write(reject.to_json() + "\n")


def _fail(message: str) -> NoReturn:
    fail(f"recon: {message}")
