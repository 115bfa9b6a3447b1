"""The records of a topic as events: what its sources' encodings, envelopes and mappings make of them.

A topic may feed several sources of a reconciliation, told apart by `where`. Every record comes back exactly once: as an
event of one source, as a reject with its reason, or as skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.errors import DeadLetterReason
from sources.config.models import ReconciliationConfig, SourceConfig
from sources.config.reading import read_paths
from sources.ingested import IngestedDecoder, IngestedRecords
from sources.mapping.apply import MAPPED_SCHEMA, NO_ID, NOT_OURS, SourceMapping, cannot_be_ids, packed_attributes
from wire import debezium
from wire.avro_columns import ColumnTexts
from wire.decoding import Decoder
from wire.messages import DETAIL_CHARACTERS_MAX, Messages, Reject, Values
from wire.records import ColumnRecords, NestedRecords, Records, bytes_text

# What a topic's events look like. `row` is the message's index in the batch, `source` the number of its source.
STREAMED_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),
    "source": pl.UInt8(),
    "event_id": pl.String(),
    "txn_id": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "status": pl.UInt8(),
    "event_time": pl.Int64(),
    "account_id": pl.String(),
    "original_txn_id": pl.String(),
    "attributes": pl.String(),
}

DELETED: Final = "deleted"
"""Why a record is skipped that says that a row is gone."""

_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one topic, their places in the log (partition and offset), and when they arrived in ms since 1970."""

    messages: Messages
    partitions: _Rows
    offsets: _Rows
    arrivals_ms: _Rows


@dataclass(slots=True)
class Streamed:
    """A batch after reading: events (STREAMED_SCHEMA, in order of row), rejects and counts of what was skipped."""

    events: pl.DataFrame
    rejects: list[Reject] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A source of a topic: its configuration, its number, and the decoder of its encoding and envelope."""

    config: SourceConfig
    number: int
    decoder: Decoder | IngestedDecoder
    mapping: SourceMapping

    @classmethod
    def of(
        cls, reconciliation: ReconciliationConfig, name: str, number: int, decoder: Decoder | IngestedDecoder
    ) -> StreamSource:
        """A source by its name. Raises ValueError for one without a mapping."""
        return cls(reconciliation.sources[name], number, decoder, SourceMapping.of(reconciliation, name))


@dataclass(slots=True)
class _Taken:
    """What one source makes of a batch."""

    events: pl.DataFrame
    rejects: list[Reject]
    unread: list[Reject]
    skipped: Counter[str]


class TopicReader:
    """Reads the records of one topic for all sources that it feeds."""

    def __init__(self, topic: str, sources: Sequence[StreamSource]) -> None:
        if not sources:
            raise ValueError(f"topic {topic} feeds no source")
        self._topic = topic
        self._sources = tuple(sources)
        paths = {path for source in sources for path in _read_paths(source.config)}
        self._beside = frozenset(path for path in paths if path.startswith("$"))
        self._wanted = frozenset(paths) - self._beside

    def read(self, batch: Batch) -> Streamed:
        """Every message once. Raises RegistryUnavailableError; nothing is judged then."""
        decoded: dict[int, Values] = {}
        found = []
        for source in self._sources:
            key = id(source.decoder)
            if key not in decoded:
                decoded[key] = source.decoder.decode(batch.messages, self._wanted)
            found.append(self._taken(source, batch, decoded[key]))
        if len(found) == 1:
            only = found[0]
            return Streamed(only.events, [*only.unread, *only.rejects], only.skipped)
        return _of_several(found, len(batch.messages.values), [source.config.name for source in self._sources])

    def _taken(self, source: StreamSource, batch: Batch, values: Values) -> _Taken:
        skipped = Counter(values.skipped)
        messages = batch.messages
        events, rejects = [], []
        for part in [*_nested(values, skipped), *(_Part(rows, columns=texts) for rows, texts in values.blocks)]:
            rows = np.array(part.rows, dtype=np.int64)
            numbers = pl.Series("row", rows, dtype=pl.Int64)
            around = _around(messages, part.rows, self._beside)

            def raw(index: int, rows: _Rows = rows) -> bytes:
                return messages.values[int(rows[index])] or b""

            records: Records
            if source.config.is_file:
                records = IngestedRecords(part.values, numbers, raw, around)
            elif part.columns is None:
                records = NestedRecords(part.values, numbers, raw, around=around)
            else:
                records = ColumnRecords(part.columns, numbers, raw, around)
            mapped = source.mapping.apply(records, pl.Series(batch.arrivals_ms[rows], dtype=pl.Int64))
            skipped.update(mapped.skipped)
            rejects += [Reject(one.row, one.reason, one.detail[:DETAIL_CHARACTERS_MAX]) for one in mapped.rejects]
            streamed, bad = self._streamed(source, batch, part, mapped.events)
            events.append(streamed)
            rejects += bad
        if len(events) == 1:
            return _Taken(events[0], rejects, values.rejects, skipped)
        return _Taken(pl.concat([empty_events(), *events]).sort("row"), rejects, values.rejects, skipped)

    def _streamed(
        self, source: StreamSource, batch: Batch, part: _Part, events: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[Reject]]:
        """Mapped events with their source, their id and their attributes; rejects for ids that cannot be stored."""
        at = events["row"].to_numpy()
        place = pl.format(
            "{}[{}]@{}", pl.lit(self._topic), pl.Series(batch.partitions[at]), pl.Series(batch.offsets[at])
        )
        event_ids = [pl.col("event_id"), place]
        identities = self._identities(source, batch, part)
        if identities is not None:
            told = pl.Series("told", [identities[index] for index in events["index"]], dtype=pl.String)
            event_ids.insert(1, pl.lit(told))
        streamed = events.with_columns(
            source=pl.lit(source.number, pl.UInt8),
            event_id=pl.coalesce(event_ids),
            attributes=packed_attributes(events),
        ).select(pl.col(name).cast(dtype) for name, dtype in STREAMED_SCHEMA.items())
        return (streamed, []) if identities is None else _with_good_ids(streamed)

    def _identities(self, source: StreamSource, batch: Batch, part: _Part) -> Sequence[str | None] | None:
        """What identifies each record of a part beside its place; None where nothing does."""
        if source.config.fields is not None and source.config.fields.event_id is not None:
            return None
        if source.config.identity == "row":
            keys = batch.messages.keys
            return [debezium.row_key(keys[row] if keys else None, source.config.format) for row in part.rows]
        return part.identities or None


def _with_good_ids(events: pl.DataFrame) -> tuple[pl.DataFrame, list[Reject]]:
    """Events whose id can be stored, and rejects for the others."""
    bad = cannot_be_ids(events["event_id"])
    if not bad.any():
        return events, []
    rejects = [Reject(row, DeadLetterReason.BAD_ID, f"event_id: {NO_ID}") for row in events.filter(bad)["row"]]
    return events.filter(~bad), rejects


def _read_paths(source: SourceConfig) -> list[str]:
    """The paths that a mapping reads, of the record and beside it."""
    return [] if source.fields is None else read_paths(source.fields, source.where)


@dataclass(frozen=True, slots=True)
class _Part:
    """Records of a batch that were decoded alike: as nested values, or as columns."""

    rows: Sequence[int]
    values: Sequence[object] = ()
    identities: Sequence[str] = ()
    columns: ColumnTexts | None = None


def _nested(values: Values, skipped: Counter[str]) -> list[_Part]:
    """What was decoded record by record, deleted rows left out and counted."""
    if not values.rows and values.blocks:
        return []
    deleted = [operation == debezium.DELETE for operation in values.operations]
    if not any(deleted):
        return [_Part(values.rows, values.values, values.identities)]
    skipped[DELETED] += sum(deleted)
    kept = [index for index, gone in enumerate(deleted) if not gone]
    return [_Part([values.rows[index] for index in kept], [values.values[index] for index in kept])]


def _around(messages: Messages, rows: Sequence[int], paths: frozenset[str]) -> dict[str, pl.Series]:
    """Kafka's own values of each record, by path."""
    found: dict[str, pl.Series] = {}
    for path in paths:
        read = _beside(messages, path)
        found[path] = pl.Series(path, [read(row) for row in rows], dtype=pl.String)
    return found


def _beside(messages: Messages, path: str) -> Callable[[int], str | None]:
    if path == "$topic":
        return lambda _row: messages.topic
    if path == "$timestamp":
        return lambda row: str(messages.timestamps[row]) if messages.timestamps else None
    if path == "$key":
        return lambda row: _text(messages.keys[row]) if messages.keys else None
    name = path.removeprefix("$headers.")
    return lambda row: _text(messages.header(row, name))


def _text(content: bytes | None) -> str | None:
    return None if content is None else bytes_text(content)


def _of_several(found: Sequence[_Taken], size: int, names: Sequence[str]) -> Streamed:
    """One answer for each message out of what several sources made of it."""
    fits = np.zeros(size, dtype=np.int64)
    for taken in found:
        fits[taken.events["row"].to_numpy()] += 1
        fits[[reject.row for reject in taken.rejects]] += 1
    ambiguous = np.flatnonzero(fits > 1)
    among = f"the record fits more than one of {', '.join(names)}"
    rejects = [Reject(int(row), DeadLetterReason.AMBIGUOUS_SOURCE, among) for row in ambiguous]
    events = []
    for taken in found:
        events.append(taken.events.filter(fits[taken.events["row"].to_numpy()] == 1))
        rejects += [reject for reject in taken.rejects if fits[reject.row] == 1]
    unread: dict[int, Reject] = {}
    for taken in found:
        for reject in taken.unread:
            if fits[reject.row] == 0:
                unread.setdefault(reject.row, reject)
    rejects += unread.values()
    merged = pl.concat(events).sort("row")
    skipped = Counter({NOT_OURS: size - len(merged) - len(rejects)})
    return Streamed(merged, sorted(rejects, key=lambda reject: reject.row), +skipped)


def empty_events() -> pl.DataFrame:
    """No event of STREAMED_SCHEMA."""
    return pl.DataFrame(schema=STREAMED_SCHEMA)


assert set(STREAMED_SCHEMA) - {"source", "attributes"} <= set(MAPPED_SCHEMA)  # noqa: S101
