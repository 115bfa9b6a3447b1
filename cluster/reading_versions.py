"""How readers read: the ledger's versions of the configuration, with the registry's schemas behind them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg

from actors.adapters.registry import RegistryLookup, SchemaCache, avro_schema, protobuf_schema
from actors.readings import CanonicalTopic, Reading, Readings
from schemas.errors import ReconError, StoreUnavailableError
from schemas.events import SourceSpec
from schemas.queries import named_queries
from sources.config.field_grammar import CANONICAL
from sources.config.models import ReconciliationConfig, SourceConfig
from sources.config.reading import parse, read_paths
from sources.ingested import IngestedDecoder, files_topic
from sources.streams import StreamSource, TopicReader
from wire.avro_schema import BadSchemaError
from wire.avro_schema import parse as parse_avro
from wire.decoding import BareAvro, BareProtobuf, Decoder, Encoding, FramedAvro, FramedProtobuf, JsonEncoding
from wire.json_values import quoted_names
from wire.protobuf_values import BadProtobufError, ProtobufSchema

_SQL: Final = named_queries("schemas", "sql/configurations.sql")
CONNECT_TIMEOUT_S: Final = 10.0


class UnusableSchemaError(ReconError):
    """A schema file of the configuration that its source cannot be read by."""


class Lookups:
    """Schemas of the registry, by what they are read as. Connections are made when first used."""

    def __init__(self, registry: Mapping[str, Any]) -> None:
        """`registry` is SchemaRegistryClient's configuration."""
        self._registry = registry
        self._made: dict[object, RegistryLookup[Any]] = {}

    def events(self, names: tuple[str, ...] | None) -> SchemaCache:
        """Records of recon's own form; `names` are the configured sources."""
        found = self._made.get(names)
        if not isinstance(found, SchemaCache):
            found = self._made[names] = SchemaCache(self._registry, names=names)
        return found

    def avro(self) -> RegistryLookup[Any]:
        """Avro of any shape."""
        return self._of("avro", avro_schema)

    def protobuf(self) -> RegistryLookup[Any]:
        """Protobuf of any shape."""
        return self._of("protobuf", protobuf_schema)

    def close(self) -> None:
        """Let all connections go."""
        for lookup in self._made.values():
            lookup.close()

    def _of(self, kind: str, read: Any) -> RegistryLookup[Any]:
        if kind not in self._made:
            self._made[kind] = RegistryLookup(self._registry, read)
        return self._made[kind]


class LedgerReadings:
    """The versions that the ledger has, made once each. Calling it asks the ledger; see actors.readings.ReadingsOf."""

    def __init__(
        self, connect_kwargs: Mapping[str, Any], registry: Mapping[str, Any], built_in: Sequence[SourceSpec]
    ) -> None:
        """`built_in` are the sources, in order of their numbers, of a ledger without any version."""
        self._kwargs = dict(connect_kwargs)
        self._lookups = Lookups(registry)
        self._sources = tuple(built_in)
        self._made: dict[int, Reading] = {}

    def __call__(self) -> Readings:
        """All versions. Raises StoreUnavailableError."""
        rows = asyncio.run(self._rows())
        for row in rows:
            if row["version"] not in self._made:
                self._made[row["version"]] = self._reading(row)
        versions = [self._made[row["version"]] for row in rows]
        if not versions or min(one.effective_from_ms for one in versions) > 0:
            versions.append(Reading.nameable(self._sources, self._lookups.events(None)))
        return Readings(versions)

    def close(self) -> None:
        """Let connections go."""
        self._lookups.close()

    async def _rows(self) -> list[asyncpg.Record]:
        try:
            connection = await asyncpg.connect(**self._kwargs, timeout=CONNECT_TIMEOUT_S)
            try:
                versions = list(await connection.fetch(_SQL["versions"]))
                if versions:
                    self._sources = source_specs(await connection.fetch(_SQL["sources"]))
                return versions
            finally:
                await connection.close()
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            raise StoreUnavailableError(f"versions of the configuration: {type(error).__name__}: {error}") from error

    def _reading(self, row: asyncpg.Record) -> Reading:
        config = parse(row["body"].encode(), f"configuration {row['version']}")
        schemas = {path: base64.b64decode(text) for path, text in json.loads(row["schemas"]).items()}
        numbers = {source.name: number for number, source in enumerate(self._sources)}
        made = reading_of(config.reconciliations[row["reconciliation"]], schemas, numbers, self._lookups)
        return replace(made, version=row["version"], effective_from_ms=row["effective_from_ms"])


def source_specs(rows: Sequence[asyncpg.Record]) -> tuple[SourceSpec, ...]:
    """The ledger's rows of sources as the vocabulary's plain values."""
    return tuple(SourceSpec(row["name"], row["topic"], row["expected"]) for row in rows)


def topic_of(reconciliation: ReconciliationConfig, source: SourceConfig) -> str:
    """The topic that a source's records come by: its own, or the one that its files are ingested into."""
    return source.topic or files_topic(reconciliation.name, source.name)


def reading_of(
    reconciliation: ReconciliationConfig, schemas: Mapping[str, bytes], numbers: Mapping[str, int], lookups: Lookups
) -> Reading:
    """A configuration's topics, each with the reader of its sources.

    Args:
        reconciliation: what is reconciled.
        schemas: by path as the configuration has it, the bytes of its schema files; for Protobuf a descriptor set.
        numbers: by source name its id in the ledger.
        lookups: the registry's schemas.

    Raises UnusableSchemaError.
    """
    by_topic: dict[str, list[SourceConfig]] = {}
    for source in reconciliation.sources.values():
        by_topic.setdefault(topic_of(reconciliation, source), []).append(source)
    names = tuple(one.name for some in by_topic.values() for one in some)
    canonical: dict[str, CanonicalTopic] = {}
    mapped: dict[str, TopicReader] = {}
    for topic, some in by_topic.items():
        only = some[0]
        if len(some) == 1 and only.fields is None and not only.where:
            canonical[topic] = CanonicalTopic(numbers[only.name], names.index(only.name))
            continue
        decoders = _Decoders(schemas, lookups)
        with_fields = [one if one.fields is not None else replace(one, fields=CANONICAL) for one in some]
        changed = replace(reconciliation, sources={**reconciliation.sources, **{one.name: one for one in with_fields}})
        mapped[topic] = TopicReader(
            topic, [StreamSource.of(changed, one.name, numbers[one.name], decoders.of(one)) for one in with_fields]
        )
    return Reading(lookups.events(names), canonical, mapped, names)


class _Decoders:
    """Decoders of a topic's sources; those that read alike share one, so that a record is decoded once."""

    def __init__(self, schemas: Mapping[str, bytes], lookups: Lookups) -> None:
        self._schemas = schemas
        self._lookups = lookups
        self._made: dict[tuple[object, ...], Decoder] = {}

    def of(self, source: SourceConfig) -> Decoder | IngestedDecoder:
        if source.is_file:
            return IngestedDecoder()
        # Which names of a JSON object may not be repeated is a matter of what the source reads.
        names = quoted_names(read_paths(source.fields or CANONICAL, source.where)) if source.format == "json" else ()
        key = (source.format, source.envelope, source.schema, source.message, names)
        if key not in self._made:
            self._made[key] = Decoder(self._encoding(source, names), source.envelope)
        return self._made[key]

    def _encoding(self, source: SourceConfig, names: tuple[bytes, ...]) -> Encoding:
        if source.format == "json":
            return JsonEncoding(names)
        if source.format == "avro":
            if source.schema is None:
                return FramedAvro(self._lookups.avro())
            try:
                return BareAvro(parse_avro(self._schemas[source.schema].decode()))
            except (BadSchemaError, UnicodeDecodeError) as error:
                raise UnusableSchemaError(
                    f"source {source.name}: {source.schema} is no Avro schema: {error}"
                ) from error
        if source.schema is None:
            return FramedProtobuf(self._lookups.protobuf())
        try:
            return BareProtobuf(ProtobufSchema(self._schemas[source.schema]), source.message or "")
        except BadProtobufError as error:
            raise UnusableSchemaError(f"source {source.name}: {source.schema}: {error}") from error
