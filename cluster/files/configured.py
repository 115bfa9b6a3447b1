"""Reconciles files as a `recon.yaml` describes them, with the engine's own core."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from actors.matching.decide import decide
from actors.matching.frames import CURRENCY, EVENT_SCHEMA
from actors.matching.totals import ITEM_SCHEMA, Sides, SumTooLargeError, decide_totals
from cluster.files.reading import RejectedRow, UnusableFileError
from cluster.files.reconcile import ALL_READ_MS, Parts, Reconciliation, looks_rounded_warning, refuse_too_many
from cluster.files.values import looks_rounded
from schemas.events import SourceSpec, key_group_of
from schemas.rules import Rulebook, RuleSet
from sources.config.models import ReconciliationConfig, SourceConfig
from sources.config.reading import told_apart
from sources.files import errors
from sources.files.opening import STDIN, expand, open_file
from sources.files.options import FileOptions
from sources.files.statements import Statement, StatementKey
from sources.ingested import DIGEST_CHARACTERS
from sources.mapping.apply import SourceMapping, packed_attributes
from sources.mapping.texts import constant
from wire.records import BadPathError, Records

_BY_SUFFIX: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}


@dataclass(frozen=True, slots=True)
class ConfiguredFile:
    """One file of a source, as it will be read."""

    source: SourceConfig
    path: str
    options: FileOptions


def files_of(
    reconciliation: ReconciliationConfig, folder: Path, given: Mapping[str, Sequence[str]]
) -> list[ConfiguredFile]:
    """The files of every source, in the order of the configuration.

    Args:
        reconciliation: what is reconciled.
        folder: where relative paths of the configuration begin.
        given: by source name, files to read in place of the configured ones. They begin at the working folder.

    Raises UnusableFileError for a source without files.
    """
    if unknown := set(given) - set(reconciliation.sources):
        known = ", ".join(reconciliation.sources)
        raise UnusableFileError(f"reconciliation {reconciliation.name} has no source {min(unknown)}; there are {known}")
    found: list[ConfiguredFile] = []
    for name, source in reconciliation.sources.items():
        if name in given:
            paths = [path for pattern in given[name] for path in _expanded(pattern)]
        elif source.path is not None:
            paths = _expanded(source.path if source.path == STDIN else str(folder / source.path))
        else:
            raise UnusableFileError(
                f"source {name} reads topic {source.topic}; say --source {name}=FILE to match files"
            )
        found += [ConfiguredFile(source, path, _options(source, path)) for path in paths]
    if sum(file.path == STDIN for file in found) > 1:
        raise UnusableFileError("standard input is one file, and several sources name it")
    _refuse_agreement_with_itself(found)
    return found


def _refuse_agreement_with_itself(files: Sequence[ConfiguredFile]) -> None:
    """Refuse one file as the view of two sources, unless each takes other rows of it. Raises UnusableFileError."""
    taken: dict[Path, list[ConfiguredFile]] = {}
    for file in files:
        for other in taken.setdefault(Path(file.path).resolve(), []):
            if other.source.name != file.source.name and not told_apart(other.source, file.source):
                raise UnusableFileError(
                    f"{file.path} is read as {other.source.name} and as {file.source.name}; a file agrees with itself"
                )
        taken[Path(file.path).resolve()].append(file)


def _expanded(pattern: str) -> list[str]:
    try:
        return expand(pattern)
    except errors.UnusableFileError as error:
        raise UnusableFileError(str(error)) from error


def _options(source: SourceConfig, path: str) -> FileOptions:
    """How a file is read: as configured, or, for a file in place of a topic, by its suffix."""
    if source.file is not None:
        return source.file
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() not in {".gz", ".zip", ".zst"}]
    form = _BY_SUFFIX.get(suffixes[-1] if suffixes else "")
    if form is None:
        right = ", ".join(sorted(_BY_SUFFIX))
        raise UnusableFileError(
            f"{path}: source {source.name} reads a topic; a file in its place ends in one of {right}"
        )
    if source.envelope != "none":
        raise UnusableFileError(f"source {source.name} has envelope {source.envelope}, which files do not have")
    return FileOptions(format=form)  # type: ignore[arg-type]


def reconcile_configured(
    reconciliation: ReconciliationConfig,
    files: Sequence[ConfiguredFile],
    now_ms: int | None = None,
    on_row: Callable[[str, int], None] = lambda _path, _rows: None,
) -> Reconciliation:
    """Match the rows of all files. Raises UnusableFileError for a file that must be set aside as a whole.

    All rows arrive at one time, now: when a bank's file came says nothing of when its payments were made, so nothing is
    late here. `now_ms` is that time in milliseconds since 1970. `on_row` is told how many rows more of which file were
    read.
    """
    arrival = int(time.time() * 1000) if now_ms is None else now_ms
    sources = source_specs(reconciliation)
    rules = reconciliation.rule_set()
    reading = _Reading(reconciliation, arrival, _labels(files))
    for file in files:
        for rows in reading.read(file):
            on_row(file.path, rows)
    judge, schema = _judge(reconciliation, rules, sources)
    try:
        results = reading.parts.judged(judge, schema)
    except SumTooLargeError as error:
        raise UnusableFileError(str(error)) from error
    return Reconciliation(
        sources, rules, results, reading.rows, reading.count, reading.rejects, reading.warnings, reading.skipped
    )


def _judge(
    reconciliation: ReconciliationConfig, rules: RuleSet, sources: Sequence[SourceSpec]
) -> tuple[Callable[[pl.DataFrame], pl.DataFrame], dict[str, pl.DataType]]:
    """What the reconciliation's shape makes of events, and the columns that it needs."""
    totals = reconciliation.totals
    if totals is None:
        closed = [ALL_READ_MS] * len(sources)
        book = Rulebook([rules])
        named = bool(rules.compared_attributes)
        return lambda events: decide(events, book, sources, closed, named=named), EVENT_SCHEMA
    numbers = {source.name: number for number, source in enumerate(sources)}
    left, right = (frozenset(numbers[name] for name in side) for side in (totals.left, totals.right))
    sides = Sides(left, right, totals.relation, totals.fees)
    return lambda events: decide_totals(events, rules, sources, sides), ITEM_SCHEMA


def source_specs(reconciliation: ReconciliationConfig) -> tuple[SourceSpec, ...]:
    """The sources as the core knows them: numbered in the order of the configuration."""
    refuse_too_many(len(reconciliation.sources))
    return tuple(
        SourceSpec(name, source.topic or source.path or name, source.expected)
        for name, source in reconciliation.sources.items()
    )


def _labels(files: Sequence[ConfiguredFile]) -> dict[str, str]:
    """What people are told of each path: the file's name, or the whole path where two files have one name."""
    paths = {file.path for file in files}
    names = Counter(Path(path).name for path in paths)
    labels = {path: path if names[Path(path).name] > 1 else Path(path).name for path in paths}
    return {path: "standard input" if path == STDIN else label for path, label in labels.items()}


@dataclass(slots=True)
class _File:
    """A file while it is read.

    `base` is added to its row numbers: the rows of a source's later file come after those of the files before.
    """

    source: str
    path: str
    label: str
    digest: str
    base: int
    last_row: int = 0
    rounded: int = 0
    first_rounded: tuple[int, str] | None = None


class _Reading:
    """Reads file after file into events, packed by part of the transactions."""

    def __init__(self, reconciliation: ReconciliationConfig, arrival_ms: int, labels: Mapping[str, str]) -> None:
        self.count = 0
        self.rows = dict.fromkeys(reconciliation.sources, 0)
        self.rejects: list[RejectedRow] = []
        self.skipped: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.parts = Parts()
        self._reconciliation = reconciliation
        self._arrival_ms = arrival_ms
        self._labels = labels
        self._beside = {"item_id": pl.String(), "fee_minor": pl.Int64()} if reconciliation.totals else {}
        self._numbers = {name: number for number, name in enumerate(reconciliation.sources)}
        self._bases = dict.fromkeys(reconciliation.sources, 0)
        self._digests: dict[str, dict[str, str]] = {}  # by digest and source, the file
        self._statements: dict[str, dict[StatementKey, tuple[str, str]]] = {}

    def read(self, file: ConfiguredFile) -> Iterator[int]:
        """Take a file's rows; gives the number of rows of each batch."""
        label = self._labels[file.path]
        source = file.source.name
        try:
            with stream_of(file.path) as stream, open_file(stream, label, file.options) as opened:
                if not self._is_new(file.source, opened.digest, label):
                    return
                self.warnings.extend(opened.notes)
                known = self._known_statements(source, opened.statements, label)
                mapping = SourceMapping.of(self._reconciliation, source) if file.source.fields else None
                if mapping is None:
                    raise UnusableFileError(f"source {source} has canonical Avro records; {label} has none")
                reading = _File(source, file.path, label, opened.digest, self._bases[source])
                told = self._told
                for records in opened.batches(known):
                    self._take(records, mapping, reading)
                    self._take_rejects(opened.rejects, label)
                    yield len(records.rows)
                self._take_rejects(opened.rejects, label)
                self.skipped.update(opened.skipped)
                self._end(reading)
                if self._told == told and not known:
                    self.warnings.append(f"{label} has no rows")
        except errors.UnusableFileError as error:
            raise UnusableFileError(str(error)) from error
        except BadPathError as error:
            raise UnusableFileError(f"{label}: source {source}: {error}") from error

    def _is_new(self, source: SourceConfig, digest: str, label: str) -> bool:
        """The same file twice is nothing, whatever it is called. As the view of two sources it agrees with itself."""
        before = self._digests.setdefault(digest, {})
        if source.name in before:
            self.warnings.append(f"{label} has the content of {before[source.name]} and was not read again")
            return False
        for name, other in before.items():
            if not told_apart(self._reconciliation.sources[name], source):
                self.warnings.append(
                    f"{label} of {source.name} has the content of {other} of {name}: it proves nothing"
                )
        before[source.name] = label
        return True

    def _known_statements(self, source: str, statements: Sequence[Statement], label: str) -> list[StatementKey]:
        """Which of a file's statements came in a file before. One that came with other content is refused."""
        seen = self._statements.setdefault(source, {})
        own: dict[StatementKey, tuple[str, str]] = {}
        known = []
        for statement in statements:
            key, digest = statement.key, statement.digest
            own[key] = digest, label
            if key not in seen:
                continue
            if seen[key][0] != digest:
                raise UnusableFileError(f"{label}: {statement} has other content than in {seen[key][1]}")
            if key not in known:
                known.append(key)
                self.warnings.append(f"{label}: {statement} came in {seen[key][1]} too and was not read again")
        seen.update({key: one for key, one in own.items() if key not in known})
        return known

    def _take(self, records: Records, mapping: SourceMapping, file: _File) -> None:
        mapped = mapping.apply(records, constant(self._arrival_ms, len(records.rows), pl.Int64()))
        self.skipped.update(mapped.skipped)
        for reject in mapped.rejects:
            self.rejects.append(RejectedRow(file.label, reject.row, reject.detail, raw_text(records.raw(reject.index))))
        events = mapped.events
        if events.is_empty():
            return
        for row, txn_id in events.select("row", "txn_id").iter_rows():
            if looks_rounded(txn_id):
                file.rounded += 1
                file.first_rounded = file.first_rounded or (row, txn_id)
        place = pl.format("{}:{}", pl.lit(file.digest[:DIGEST_CHARACTERS]), pl.col("row"))
        groups = pl.Series("key_group", [key_group_of(txn) for txn in events["txn_id"]], dtype=pl.Int16)
        frame = events.with_columns(
            key_group=groups,
            seq=pl.int_range(self.count + 1, self.count + 1 + len(events), dtype=pl.Int64),
            source=pl.lit(self._numbers[file.source], pl.UInt8),
            event_id=pl.coalesce("event_id", place),
            currency=pl.col("currency").cast(CURRENCY),
            arrival=pl.lit(self._arrival_ms, pl.Int64),
            partition=pl.lit(self._numbers[file.source], pl.Int32),
            offset=pl.col("row") + file.base,
            attributes=packed_attributes(events),
        )
        frame = frame.select(pl.col(name).cast(dtype) for name, dtype in {**EVENT_SCHEMA, **self._beside}.items())
        self.count += len(frame)
        self.rows[file.source] += len(frame)
        file.last_row = max(file.last_row, int(events["row"].max()))  # type: ignore[arg-type]
        self.parts.add(frame)

    @property
    def _told(self) -> int:
        """How many rows were taken, set aside or passed over."""
        return self.count + len(self.rejects) + self.skipped.total()

    def _end(self, file: _File) -> None:
        """The next file of the source begins behind this one."""
        self._bases[file.source] = file.base + file.last_row
        if file.first_rounded is not None:
            row, txn_id = file.first_rounded
            self.warnings.append(looks_rounded_warning(file.label, file.rounded, f"row {row}", txn_id))

    def _take_rejects(self, rejects: list[errors.RejectedRow], name: str) -> None:
        for reject in rejects:
            self.rejects.append(RejectedRow(name, reject.row, reject.reason, raw_text(reject.raw)))
        rejects.clear()


def stream_of(path: str) -> BinaryIO:
    """A file's bytes, or those of standard input. Raises UnusableFileError for a file that cannot be opened."""
    try:
        return sys.stdin.buffer if path == STDIN else Path(path).open("rb")
    except OSError as error:
        raise UnusableFileError(f"{path}: {error.strerror}") from error


def raw_text(raw: bytes) -> str:
    """A row's bytes as text; what is no UTF-8 is written as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def with_expected(reconciliation: ReconciliationConfig, optional: Sequence[str]) -> ReconciliationConfig:
    """The reconciliation, with these sources not waited for. Raises UnusableFileError for an unknown one."""
    unknown = [name for name in optional if name not in reconciliation.sources]
    if unknown:
        raise UnusableFileError(f"--optional {unknown[0]}: reconciliation {reconciliation.name} has no such source")
    chosen = {
        name: replace(source, expected=source.expected and name not in optional)
        for name, source in reconciliation.sources.items()
    }
    if not any(source.expected for source in chosen.values()):
        raise UnusableFileError("at least one source must be expected")
    return replace(reconciliation, sources=chosen)
