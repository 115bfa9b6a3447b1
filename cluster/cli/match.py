"""`recon match`: reconciles files with the engine's own core, without any service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole
from cluster.files.reading import FIELDS, ColumnMap, UnusableFileError
from cluster.files.reconcile import Reconciliation, SourceFile, check_output, readable, reconcile, write
from cluster.files.report import for_terminal, summarize, to_markdown
from cluster.files.values import TIME_UNITS, BadValueError, currency_code
from schemas.errors import InvalidRulesError
from schemas.events import DEFAULT_SOURCES, Status
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT, RuleSet, Tolerance

console = SafeConsole()
errors = SafeConsole(stderr=True)


def match(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files named after their source, as in core.csv. CSV, Parquet, JSON lines."),
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
    Exit 1: there are mismatches or rejected rows. Exit 2: a file cannot be read, or lacks a column.
    """
    try:
        chosen = _files(files or [], source or [], _map(column or [], status or [], currency, time_unit, decimal_comma))
        default, by_currency = _tolerances(tolerance or [])
        rules = RuleSet(
            match_window_ms=match_window_ms,
            time_tolerance_ms=time_tolerance_ms,
            default_tolerance=default,
            tolerances=by_currency,
        )
        if out is not None:
            check_output(out)
        outcome = reconcile(chosen, rules, [name.upper() for name in optional or []])
    except (UnusableFileError, BadValueError, InvalidRulesError, OSError) as error:
        _fail(str(error))
    if out is not None:
        write(readable(outcome), out)
    if outcome.rejects:
        _write_rejects(outcome, rejects)
    summary = summarize(outcome)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(to_markdown(outcome, summary), encoding="utf-8")
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
    if summary.mismatched or summary.rejected:
        raise typer.Exit(ExitCode.FINDING)


Maps = dict[str, ColumnMap]  # by source name; "" is for all others


def _map(columns: list[str], statuses: list[str], currency: str | None, time_unit: str, decimal_comma: bool) -> Maps:
    if time_unit not in TIME_UNITS:
        _fail(f"--time-unit {time_unit!r} is not one of {', '.join(TIME_UNITS)}")
    words = {}
    for text in statuses:
        word, _, name = text.partition("=")
        if name.upper() not in Status.__members__:
            _fail(f"--status {text!r}: {name!r} is not one of {', '.join(Status.__members__)}")
        words[word.strip()] = Status[name.upper()]
    by_source: dict[str, dict[str, str]] = {"": {}}
    for text in columns:
        left, separator, name = text.partition("=")
        source, _, field = left.rpartition(":")
        if not separator or field not in FIELDS:
            _fail(f"--map {text!r} is not FIELD=COLUMN; fields: {', '.join(FIELDS)}")
        by_source.setdefault(source.upper(), {})[field] = name
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
        name, separator, file = text.partition("=")
        if not separator or not name or not file:
            _fail(f"--source {text!r} is not NAME=FILE")
        pairs.append((name.upper(), Path(file)))
    if len({name for name, _ in pairs}) < 2:
        _fail("files of at least two sources are needed")
    return [SourceFile(name, path, maps.get(name, maps[""])) for name, path in pairs]


def _tolerances(texts: list[str]) -> tuple[Tolerance, dict[str, Tolerance]]:
    found: dict[str, Tolerance] = {}
    for text in texts:
        name, separator, amount = text.rpartition("=")
        key = currency_code(name) if separator else ""
        digits = amount.removesuffix("bp")
        if not digits.isdigit():
            _fail(f"--tolerance {text!r} is not [CURRENCY=]MINOR or [CURRENCY=]BPSbp")
        before = found.get(key, Tolerance())
        found[key] = (
            Tolerance(before.absolute_minor, int(digits))
            if amount.endswith("bp")
            else Tolerance(int(digits), before.bps)
        )
    default = found.pop("", Tolerance())
    return default, found


def _write_rejects(outcome: Reconciliation, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for reject in outcome.rejects:
            file.write(reject.to_json() + "\n")


def _fail(message: str) -> NoReturn:
    errors.print(f"recon: {message}", style="red", highlight=False)
    raise typer.Exit(ExitCode.USAGE)
