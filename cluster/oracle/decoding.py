"""One record of the log, read message by message: an accepted event, or the reason why it is none.

Without a configuration every topic has recon's own events of its source. With one, a record is read by the version in
force at its arrival, as `recon.yaml` says:

1. A topic that the version does not name is skipped.
2. Every source of the topic is asked. One fits when the record can be decoded for it and its `where` holds.
3. Two fit: AMBIGUOUS_SOURCE. One fits: its event, or the reason why it is none. None fits: the reason of the first
   source that could not decode it; if all could, the record is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from cluster.oracle import canonical
from cluster.oracle.canonical import Canonical, Owner
from cluster.oracle.judge import Seen
from cluster.oracle.mapping import configuration, events
from cluster.oracle.mapping.bodies import Bodies, Opened, Registered, RegistryLookup, Schemas
from cluster.oracle.mapping.configuration import Reconciliation, Source
from cluster.oracle.mapping.events import Event
from cluster.oracle.records import LogRecord, Refused, Skipped
from schemas.errors import DeadLetterReason, ReconError, RegistryUnavailableError
from schemas.events import SourceSpec

HTTP_NOT_FOUND = 404
REFERENCES_MAX = 100  # schemas that one schema may refer to, directly or through others


class UnknownSourceError(ReconError):
    """A configuration names a source that has no number in the ledger, so no event of it can be compared."""

    def __init__(self, version: int, source: str) -> None:
        self.version = version
        self.source = source
        super().__init__(
            f"version {version} of the configuration names source {source}, which the ledger does not know"
        )


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the configuration, as the ledger has it. `body` is the text of the whole `recon.yaml`.

    `schemas` is the content of each file that a `schema:` of it names; of Protobuf a compiled set of descriptors.
    """

    number: int
    effective_from_ms: int
    reconciliation: str
    body: str
    schemas: Mapping[str, bytes]


@contextmanager
def registry_lookup(config: dict[str, Any]) -> Iterator[RegistryLookup]:
    """A lookup that asks the registry. Raises RegistryUnavailableError when it gives no answer."""
    with SchemaRegistryClient(config) as client:

        def lookup(schema_id: int) -> Registered | None:
            try:
                found = client.get_schema(schema_id)
                references: dict[tuple[str, int], tuple[str, str]] = {}
                _collect(client, found.references or (), references)
            except SchemaRegistryError as error:
                if error.http_status_code == HTTP_NOT_FOUND:
                    return None
                raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
            except Exception as error:  # whatever the HTTP client raises when nobody answers
                raise RegistryUnavailableError(f"schema {schema_id}: {error!r}") from error
            # Registered and empty is something else than not registered.
            return Registered(
                found.schema_str or "",
                tuple(text for _, text in references.values()),
                tuple(name for name, _ in references.values()),
                found.schema_type,
            )

        yield lookup


def _collect(
    client: SchemaRegistryClient, wanted: Sequence[Any], found: dict[tuple[str, int], tuple[str, str]]
) -> None:
    """Add the schemas that are referred to, the deepest first."""
    for reference in wanted:
        place = (reference.subject, reference.version)
        if place in found or len(found) >= REFERENCES_MAX:
            continue
        schema = client.get_version(*place).schema
        found[place] = ("", "")  # met again below, it is not asked for again
        _collect(client, schema.references or (), found)
        del found[place]
        found[place] = (str(reference.name), schema.schema_str or "")


class _Reader(Protocol):
    """How the records of one source are read."""

    @property
    def source(self) -> int:
        """Its number in the ledger."""

    def open(self, record: LogRecord) -> Any:
        """The record, decoded. Raises Refused, and Skipped for what carries no event."""

    def fits(self, record: LogRecord, opened: Any) -> bool:
        """Whether the source's conditions hold."""

    def make(self, record: LogRecord, opened: Any) -> Event:
        """The event. Raises Refused."""


@dataclass(frozen=True, slots=True)
class _CanonicalReader:
    """A source of recon's own events. `config` is None where there is no configuration."""

    source: int
    owner: Owner
    reader: Canonical
    config: Source | None = None

    def open(self, record: LogRecord) -> canonical.Written:
        return self.reader.open(record.value)

    def fits(self, record: LogRecord, opened: canonical.Written) -> bool:
        if self.config is None or not self.config.where:
            return True
        return events.fits(self.config, record, Opened(canonical.holds_tree(opened)))

    def make(self, record: LogRecord, opened: canonical.Written) -> Event:
        return canonical.make(self.owner, record, opened)


@dataclass(frozen=True, slots=True)
class _MappedReader:
    """A source with a mapping."""

    source: int
    config: Source
    fields: configuration.Fields
    key: tuple[str, ...]
    bodies: Bodies

    def open(self, record: LogRecord) -> Opened:
        return self.bodies.open(record)

    def fits(self, record: LogRecord, opened: Opened) -> bool:
        return events.fits(self.config, record, opened)

    def make(self, record: LogRecord, opened: Opened) -> Event:
        return events.make(self.config, self.fields, self.key, record, opened)


@dataclass(frozen=True, slots=True)
class _Reading:
    """From a moment on, the readers of each topic, in the order of the file."""

    effective_from_ms: int
    by_topic: Mapping[str, Sequence[_Reader]]


class Decoder:
    """Reads records as events of the configured sources."""

    def __init__(self, lookup: RegistryLookup, sources: Sequence[SourceSpec], versions: Sequence[Version] = ()) -> None:
        """`sources` are the ledger's, by number. Raises UnknownSourceError."""
        self._schemas = Schemas(lookup)
        self._own = Canonical(lookup)
        self._any = Canonical(lookup, any_source=True)
        self.versions = tuple(versions)
        self.topics = list(dict.fromkeys(source.topic for source in sources if source.topic))
        self._numbers = {source.name: number for number, source in enumerate(sources)}
        self._readings = [self._built_in(sources)]
        for version in sorted(versions, key=lambda one: (one.effective_from_ms, one.number)):
            self._readings.append(self._configured(version))
            self.topics += [topic for topic in self._readings[-1].by_topic if topic not in self.topics]

    def decode(
        self,
        topic: str,
        partition: int,
        offset: int,
        arrival: int,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Seen:
        """The accepted event. Raises Refused with the reason, and Skipped when it is neither event nor mistake."""
        record = LogRecord(topic, partition, offset, arrival, value, key, headers)
        reader, opened = self._fitting(record)
        event = reader.make(record, opened)
        return Seen(
            source=reader.source,
            event_id=event.event_id,
            txn_id=event.txn_id,
            amount_minor=event.amount_minor,
            currency=event.currency,
            status=event.status,
            event_time=event.event_time,
            account_id=event.account_id,
            original_txn_id=event.original_txn_id,
            arrival=arrival,
            partition=partition,
            offset=offset,
            attributes=event.attributes,
        )

    def _fitting(self, record: LogRecord) -> tuple[_Reader, Any]:
        """The one source that a record fits, and the record as decoded for it."""
        readers = self._at(record.arrival).by_topic.get(record.topic, ())
        fitting: list[tuple[_Reader, Any]] = []
        undecoded: list[Refused] = []
        for reader in readers:
            try:
                opened = reader.open(record)
                if reader.fits(record, opened):
                    fitting.append((reader, opened))
            except Skipped:
                continue
            except Refused as refused:
                undecoded.append(refused)
        if len(fitting) > 1:
            raise Refused(DeadLetterReason.AMBIGUOUS_SOURCE, f"{len(fitting)} sources of {record.topic}")
        if fitting:
            return fitting[0]
        if undecoded:
            raise undecoded[0]
        raise Skipped(f"no source of {record.topic} takes it" if readers else f"{record.topic} is not configured")

    def _at(self, arrival: int) -> _Reading:
        """The version in force at an arrival: the last that began before it or then."""
        return [one for one in self._readings if one.effective_from_ms <= arrival][-1]

    def _built_in(self, sources: Sequence[SourceSpec]) -> _Reading:
        """Of a ledger without a configuration: recon's own events of the sources that our schema can name."""
        named = [(number, one) for number, one in enumerate(sources) if one.name in canonical.SYMBOLS["source"]]
        return _Reading(0, {one.topic: [_CanonicalReader(number, Owner(one.name), self._own)] for number, one in named})

    def _configured(self, version: Version) -> _Reading:
        found = configuration.read(version.body, version.reconciliation, version.schemas)
        by_topic: dict[str, list[_Reader]] = {}
        for source in found.sources:
            if source.name not in self._numbers:
                raise UnknownSourceError(version.number, source.name)
            by_topic.setdefault(source.topic, []).append(self._reader(found, source))
        return _Reading(version.effective_from_ms, by_topic)

    def _reader(self, found: Reconciliation, source: Source) -> _Reader:
        number = self._numbers[source.name]
        if source.fields is None:
            others = found.names - {one.name for one in found.sources if one.topic == source.topic}
            owner = Owner(source.name, others, found.key, source.negative)
            return _CanonicalReader(number, owner, self._any, source)
        bodies = Bodies(source, self._schemas, found.schemas)
        return _MappedReader(number, source, source.fields, found.key, bodies)
