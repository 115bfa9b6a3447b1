"""Runs the engine's core over files: rows in, one result a transaction out. Nothing is pending in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from actors.matching.decide import decide
from actors.matching.frames import EVENT_SCHEMA
from cluster.files.reading import ColumnMap, RejectedRow, Row, UnusableFileError, read_rows
from schemas.events import SourceSpec, key_group_of
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import Verdict, break_names, source_names, unpack_legs

ALL_READ_MS = 1 << 60  # a file is read to its end: every window has closed


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file and the source whose view it is."""

    source: str
    path: Path
    mapping: ColumnMap = field(default_factory=ColumnMap)


@dataclass(slots=True)
class Reconciliation:
    """The outcome. `results` has RESULT_SCHEMA, one row a transaction."""

    sources: tuple[SourceSpec, ...]
    rules: RuleSet
    results: pl.DataFrame
    rows: dict[str, int]  # accepted, by source
    repeated: int  # rows that repeat an event id of their source
    rejects: list[RejectedRow]

    @property
    def names(self) -> list[str]:
        """Names of the sources in order of their ids."""
        return [source.name for source in self.sources]


class _Columns:
    """Events of all files as growing columns."""

    def __init__(self) -> None:
        self._columns: dict[str, list[object]] = {name: [] for name in EVENT_SCHEMA}
        self.count = 0

    def add(self, source_id: int, row: Row) -> None:
        self.count += 1
        columns = self._columns
        columns["key_group"].append(key_group_of(row.txn_id))
        columns["seq"].append(self.count)
        columns["txn_id"].append(row.txn_id)
        columns["source"].append(source_id)
        columns["event_id"].append(row.event_id)
        columns["amount_minor"].append(row.amount_minor)
        columns["currency"].append(row.currency)
        columns["status"].append(int(row.status))
        columns["event_time"].append(row.event_time)
        columns["arrival"].append(row.arrival)
        columns["partition"].append(source_id)
        columns["offset"].append(row.line)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self._columns, schema=EVENT_SCHEMA)


def reconcile(files: Sequence[SourceFile], rules: RuleSet, optional: Iterable[str] = ()) -> Reconciliation:
    """Match the rows of all files. Raises UnusableFileError for a file that cannot be read at all.

    Several files may belong to one source. The rules' expected sources are those of the files, less `optional`.
    """
    names = list(dict.fromkeys(file.source for file in files))
    left_out = set(optional)
    if unknown := left_out - set(names):
        raise UnusableFileError(f"no file of source {', '.join(sorted(unknown))}")
    expected = tuple(name for name in names if name not in left_out)
    if not expected:
        raise UnusableFileError("at least one source must be expected")
    sources = tuple(SourceSpec(name, name.lower(), name in expected) for name in names)
    applied = RuleSet.from_json(rules.version, 0, {**rules.to_json(), "expected_sources": list(expected)})
    columns, rejects = _Columns(), list[RejectedRow]()
    rows = dict.fromkeys(names, 0)
    for file in files:
        source_id = names.index(file.source)
        for row in read_rows(file.path, file.source, file.mapping):
            if isinstance(row, RejectedRow):
                rejects.append(row)
            else:
                columns.add(source_id, row)
                rows[file.source] += 1
    results = decide(columns.frame(), Rulebook([applied]), sources, [ALL_READ_MS] * len(sources)).sort("txn_id")
    distinct = int(results["event_seqs"].list.len().sum() or 0)
    return Reconciliation(sources, applied, results, rows, columns.count - distinct, rejects)


def readable(outcome: Reconciliation) -> pl.DataFrame:
    """Results for people and spreadsheets: words for masks, one set of columns per source."""
    names = outcome.names
    results = outcome.results
    legs = [unpack_legs(packed, names) for packed in results["legs"]]
    columns: dict[str, list[object]] = {
        "txn_id": results["txn_id"].to_list(),
        "verdict": [Verdict(code).name for code in results["verdict"]],
        "breaks": [break_names(mask) for mask in results["breaks"]],
        "missing_sources": [source_names(mask, names) for mask in results["missing"]],
        "late_sources": [source_names(mask, names) for mask in results["late"]],
        "currency": results["currency"].cast(pl.String).to_list(),
        "amount_minor": results["amount_minor"].to_list(),
        "spread_minor": results["spread_minor"].to_list(),
    }
    schema: dict[str, pl.DataType] = {
        "txn_id": pl.String(),
        "verdict": pl.String(),
        "breaks": pl.List(pl.String()),
        "missing_sources": pl.List(pl.String()),
        "late_sources": pl.List(pl.String()),
        "currency": pl.String(),
        "amount_minor": pl.Int64(),
        "spread_minor": pl.Int64(),
    }
    kinds: Mapping[str, pl.DataType] = {
        "amount_minor": pl.Int64(),
        "currency": pl.String(),
        "status": pl.String(),
        "event_time": pl.Int64(),
    }
    for name in names:
        for part, dtype in kinds.items():
            column = f"{name.lower()}_{part}"
            columns[column] = [leg[name][part] if name in leg else None for leg in legs]
            schema[column] = dtype
    times = [f"{name.lower()}_event_time" for name in names]
    return pl.DataFrame(columns, schema=schema).with_columns(pl.col(times).cast(pl.Datetime("ms", "UTC")))


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write readable results in the format of the suffix. Raises UnusableFileError for another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix.lower():
        case ".parquet" | ".pq":
            frame.write_parquet(path)
        case ".csv":
            flat = frame.with_columns(pl.col(pl.List(pl.String)).list.join(" "))
            flat.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
        case ".jsonl" | ".ndjson":
            frame.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).write_ndjson(path)
        case suffix:
            raise UnusableFileError(f"{path.name}: {suffix or 'no suffix'} is not one of .parquet, .csv, .jsonl")


def check_output(path: Path) -> None:
    """Refuse a suffix before the work is done rather than after. Raises UnusableFileError."""
    if path.suffix.lower() not in {".parquet", ".pq", ".csv", ".jsonl", ".ndjson"}:
        raise UnusableFileError(f"{path.name}: {path.suffix or 'no suffix'} is not one of .parquet, .csv, .jsonl")
