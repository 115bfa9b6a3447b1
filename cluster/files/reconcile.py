"""Runs the engine's core over files: rows in, one result a transaction out. Nothing is pending in a file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from actors.matching.decide import decide
from actors.matching.frames import EVENT_SCHEMA, empty
from actors.matching.totals import TOTALS_SCHEMA
from cluster.files.reading import ColumnMap, RejectedRow, Row, UnusableFileError, read_rows
from cluster.files.values import looks_rounded
from schemas.events import SOURCES_MAX, SourceSpec, key_group_of
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
    accepted: int  # of all sources
    rejects: list[RejectedRow]
    warnings: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)  # rows that are not the source's, by reason

    @property
    def repeated(self) -> int:
        """Rows that repeat an event id of their source."""
        return self.accepted - int(self.results["event_seqs"].list.len().sum() or 0)

    @property
    def compared(self) -> int:
        """Transactions of which two sources or more tell."""
        return int((self.results["present"].bitwise_count_ones() > 1).sum())

    @property
    def names(self) -> list[str]:
        """Names of the sources in order of their ids."""
        return [source.name for source in self.sources]


PROGRESS_ROWS = 20_000  # between two words on how far it is
CHUNK_ROWS = 50_000  # of Python objects at a time; the rest is packed in frames
PARTS = 16  # of the transactions, by key group: judged one after the other, which bounds memory


class Parts:
    """Events of all files in frames, each in the part of its transaction."""

    def __init__(self) -> None:
        self._chunks: list[list[pl.DataFrame]] = [[] for _ in range(PARTS)]

    def add(self, events: pl.DataFrame) -> None:
        """Take events, which have `key_group`."""
        parts = events.with_columns(part=pl.col("key_group") % PARTS)
        for key, rows in parts.partition_by("part", as_dict=True, include_key=False).items():
            self._chunks[int(key[0])].append(rows)

    def judged(self, judge: Callable[[pl.DataFrame], pl.DataFrame], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The results of all parts by txn_id. `judge` sees one part after the other, each let go once it was judged.

        Without events it sees an empty frame of `schema`, so that the results have their columns.
        """
        results = []
        for index, chunks in enumerate(self._chunks):
            self._chunks[index] = []
            if chunks:
                results.append(judge(pl.concat(chunks)))
        return pl.concat(results or [judge(empty(dict(schema)))]).sort("txn_id")


_COLUMNS: Final = {name: dtype for name, dtype in EVENT_SCHEMA.items() if name != "attributes"}


class _Rows:
    """Rows of all files, packed into frames as they come."""

    def __init__(self) -> None:
        self._parts = Parts()
        self._columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
        self.count = 0

    def add(self, source_id: int, row: Row, base: int) -> None:
        """Take a row. `base` is added to its line: the rows of a source's later file come after those before."""
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
        columns["offset"].append(base + row.line)
        if len(columns["seq"]) >= CHUNK_ROWS:
            self._pack()

    def parts(self) -> Parts:
        """All of them."""
        self._pack()
        return self._parts

    def _pack(self) -> None:
        frame = pl.DataFrame(self._columns, schema=_COLUMNS).with_columns(attributes=pl.lit(None, pl.String))
        self._columns = {name: [] for name in _COLUMNS}
        self._parts.add(frame)


READABLE_ROWS: Final = 50_000
"""How many results are made readable at a time."""


def looks_rounded_warning(file: str, count: int, first: str, txn_id: str) -> str:
    """What is said of a file whose ids look rounded. `first` says where the first of them stands."""
    return (
        f"{file}: {count} ids look like numbers that a spreadsheet has rounded, the first in {first}: {txn_id}; "
        "different payments may share one"
    )


def refuse_too_many(sources: int) -> None:
    """Raise UnusableFileError for more sources than can be compared."""
    if sources > SOURCES_MAX:
        raise UnusableFileError(f"{sources} sources; at most {SOURCES_MAX} are compared at once")


def reconcile(
    files: Sequence[SourceFile],
    rules: RuleSet,
    optional: Iterable[str] = (),
    on_row: Callable[[Path, int], None] = lambda _path, _row: None,
) -> Reconciliation:
    """Match the rows of all files. Raises UnusableFileError for a file that cannot be read at all.

    Several files may belong to one source. The rules' expected sources are those of the files, less `optional`.
    `on_row` is told now and then how many rows more of which file were read.
    """
    names = list(dict.fromkeys(file.source for file in files))
    left_out = set(optional)
    if unknown := left_out - set(names):
        raise UnusableFileError(f"no file of source {', '.join(sorted(unknown))}")
    expected = tuple(name for name in names if name not in left_out)
    if not expected:
        raise UnusableFileError("at least one source must be expected")
    refuse_too_many(len(names))
    if len({name.lower() for name in names}) != len(names):  # as the Kelvin sign and K: their columns would be one
        raise UnusableFileError(f"two sources would have columns of one name: {', '.join(names)}")
    sources = tuple(SourceSpec(name, name.lower(), name in expected) for name in names)
    applied = RuleSet.from_json(rules.version, 0, {**rules.to_json(), "expected_sources": list(expected)})
    columns, rejects = _Rows(), list[RejectedRow]()
    rows = dict.fromkeys(names, 0)
    last = dict.fromkeys(names, 0)
    warnings: list[str] = []
    for file in files:
        rounded: list[Row] = []
        source_id = names.index(file.source)
        base = last[file.source]
        for number, row in enumerate(read_rows(file.path, file.mapping), start=1):
            if number % PROGRESS_ROWS == 0:
                on_row(file.path, PROGRESS_ROWS)
            if isinstance(row, RejectedRow):
                rejects.append(row)
            else:
                columns.add(source_id, row, base)
                last[file.source] = max(last[file.source], base + row.line)
                rows[file.source] += 1
                if looks_rounded(row.txn_id):
                    rounded.append(row)
        if rounded:
            first = rounded[0]
            warnings.append(looks_rounded_warning(file.path.name, len(rounded), f"line {first.line}", first.txn_id))
    closed = [ALL_READ_MS] * len(sources)
    book = Rulebook([applied])
    results = columns.parts().judged(lambda part: decide(part, book, sources, closed), EVENT_SCHEMA)
    return Reconciliation(sources, applied, results, rows, columns.count, rejects, warnings)


def readable(outcome: Reconciliation) -> pl.DataFrame:
    """Results for people and spreadsheets: words for masks, one set of columns per source.

    A part after the other: legs as Python objects take thirty times the room that they have in a frame.
    """
    parts = list(outcome.results.iter_slices(READABLE_ROWS)) or [outcome.results]
    return pl.concat([_readable(part, outcome.names) for part in parts])


def _readable(results: pl.DataFrame, names: list[str]) -> pl.DataFrame:
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
    if "differing" in results.columns:
        columns["differing_attributes"] = results["differing"].to_list()
        schema["differing_attributes"] = pl.List(pl.String())
    for name in TOTALS_SCHEMA:
        if name in results.columns:
            columns[name] = results[name].to_list()
            schema[name] = TOTALS_SCHEMA[name]
    times = [f"{name.lower()}_event_time" for name in names]
    return pl.DataFrame(columns, schema=schema).with_columns(pl.col(times).cast(pl.Datetime("ms", "UTC")))


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write readable results in the format of the suffix, whole or not at all.

    Raises UnusableFileError for another format.
    """
    with replacing(path) as fresh:
        _write(frame, fresh, path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` once the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


# What a spreadsheet takes for a formula. An apostrophe before it makes it text.
_FORMULA = r"^[=+\-@\t\r]"
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"


def _as_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Text that no spreadsheet takes for a formula and no terminal for a command; Parquet and JSON keep it as it is."""
    for name in [name for name, dtype in frame.schema.items() if dtype == pl.String]:
        text = pl.col(name)
        safe = pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)
        frame = frame.with_columns(safe.str.replace_all(_CONTROL, "\ufffd").alias(name))
    return frame


def _write(frame: pl.DataFrame, path: Path, named: Path) -> None:
    check_output(named)
    with path.open("wb") as file:  # by name, polars takes none that is not UTF-8
        match named.suffix.lower():
            case ".csv":
                flat = frame.with_columns(pl.col(pl.List(pl.String)).list.join(" "))
                _as_cells(flat).write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
            case ".jsonl" | ".ndjson":
                frame.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).write_ndjson(file)
            case _:
                frame.write_parquet(file)


def check_sources(files: Sequence[SourceFile]) -> None:
    """Refuse one file as the view of two sources: it would agree with itself. Raises UnusableFileError."""
    taken: list[SourceFile] = []
    for file in files:
        for other in taken:
            if other.source != file.source and _is_same(file.path, other.path):
                raise UnusableFileError(
                    f"{file.path} is given as {other.source} and as {file.source}; a file agrees with itself"
                )
        taken.append(file)


def _is_same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


def check_places(inputs: Sequence[Path], outputs: Mapping[str, Path | None]) -> None:
    """Refuse outputs that would do harm before anything is read. Raises UnusableFileError.

    That is over a file that is read, two into one file, and over what is no file, such as a folder or /dev/null:
    outputs are replaced or removed, not written into.
    """
    taken: list[tuple[str, Path]] = [("an input", path) for path in inputs]
    for option, path in outputs.items():
        if path is None:
            continue
        for what, other in taken:
            if _is_same(path, other):
                raise UnusableFileError(f"{option} {path} is {what} too ({other}); nothing was read or written")
        if path.exists() and not path.is_file():
            raise UnusableFileError(f"{option} {path} is there and is no file; nothing was read or written")
        folder = next(place for place in path.absolute().parents if place.exists())
        if not folder.is_dir():
            raise UnusableFileError(f"{option} {path}: {folder} is no folder; nothing was read or written")
        taken.append((option, path))


def check_output(path: Path) -> None:
    """Refuse a suffix before the work is done rather than after. Raises UnusableFileError."""
    if path.suffix.lower() not in {".parquet", ".pq", ".csv", ".jsonl", ".ndjson"}:
        raise UnusableFileError(f"{path.name}: {path.suffix or 'no suffix'} is not one of .parquet, .csv, .jsonl")
