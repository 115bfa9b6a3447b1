"""Writer schemas by id from a Confluent-compatible registry, cached for ever: an id never changes its schema."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import structlog
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.errors import IncompatibleSchemaError, RegistryUnavailableError
from wire.avro_schema import BadSchemaError, Node, parse
from wire.events import WriterSchema
from wire.protobuf_text import compiled
from wire.protobuf_values import BadProtobufError, ProtobufSchema

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

REFERENCES_MAX: Final = 100  # schemas that one schema may refer to, directly or through others
UNKNOWN_TTL_S: Final = 30.0  # an id that the registry did not know is asked for again after this long
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema as it is registered: its text, and those it refers to by name, each after those it refers to itself."""

    kind: str  # AVRO, JSON or PROTOBUF
    text: str
    references: Mapping[str, str] = field(default_factory=dict)


class RegistryLookup(Generic[_T]):
    """Schemas by id, as `read` understands them.

    Known schemas stay. "No such schema" is believed for UNKNOWN_TTL_S; anything else that goes wrong, an unauthorised
    call included, says nothing of the record and is raised as RegistryUnavailableError.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        read: Callable[[int, Registered], _T],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client_config` is SchemaRegistryClient's, of which one is made when first used.

        `read` raises IncompatibleSchemaError.
        """
        self._config = dict(client_config)
        self._made: SchemaRegistryClient | None = None
        self._read = read
        self._known: dict[int, _T | IncompatibleSchemaError] = {}
        self._unknown_until: dict[int, float] = {}
        self._now_s = now_s

    def __call__(self, schema_id: int) -> _T | None:
        """The schema, or None when the registry has none under this id.

        Raises IncompatibleSchemaError for a schema that is registered and of no use, and RegistryUnavailableError.
        """
        if schema_id not in self._known:
            if self._unknown_until.get(schema_id, 0.0) > self._now_s():
                return None
            found = self._ask(schema_id)
            if found is None:
                self._unknown_until[schema_id] = self._now_s() + UNKNOWN_TTL_S
                return None
            try:
                self._known[schema_id] = self._read(schema_id, found)
            except IncompatibleSchemaError as error:
                _log.warning("schema_incompatible", schema_id=schema_id, why=error.why)
                self._known[schema_id] = error
        known = self._known[schema_id]
        if isinstance(known, IncompatibleSchemaError):
            # A new one each time: an exception that is raised again and again collects the frames of every raise.
            raise IncompatibleSchemaError(known.schema_id, known.why)
        return known

    def close(self) -> None:
        """Let the connection go; the cache is of no use afterwards."""
        if self._made is not None:
            self._made.close()

    @property
    def _client(self) -> SchemaRegistryClient:
        if self._made is None:
            self._made = SchemaRegistryClient(self._config)
        return self._made

    def _ask(self, schema_id: int) -> Registered | None:
        """What is registered, None when the id is not. Raises RegistryUnavailableError."""
        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
        except Exception as error:  # whatever the HTTP client raises when nobody answers
            raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
        try:
            references = self._referred_to(schema.references or ())
        except RecursionError:
            references = {}  # a circle has no first schema, so the names stay undefined and the schema incompatible
        except Exception as error:
            raise RegistryUnavailableError(f"what schema {schema_id} refers to: {error}") from error
        return Registered(schema.schema_type or "AVRO", schema.schema_str or "", references)  # registered, and empty

    def _referred_to(self, references: Sequence[SchemaReference]) -> dict[str, str]:
        """By name the texts that a schema refers to, each after those that it needs itself, none twice."""
        texts: dict[tuple[str, int], tuple[str, str]] = {}

        def visit(wanted: Sequence[SchemaReference], above: tuple[tuple[str, int], ...]) -> None:
            for reference in wanted:
                place = (str(reference.subject), int(reference.version or 0))
                if place in texts:
                    continue
                if place in above or len(texts) >= REFERENCES_MAX:
                    raise RecursionError
                schema = self._client.get_version(*place).schema
                visit(schema.references or (), (*above, place))
                texts[place] = (str(reference.name), schema.schema_str or "")

        visit(references, ())
        return dict(texts.values())


class SchemaCache(RegistryLookup[WriterSchema]):
    """A wire.events.SchemaLookup over a registry client."""

    def __init__(
        self,
        client_config: Mapping[str, Any],
        now_s: Callable[[], float] = time.monotonic,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """`client_config` is SchemaRegistryClient's; `names` are the configured sources, see `WriterSchema.parse`."""

        def read(schema_id: int, found: Registered) -> WriterSchema:
            return WriterSchema.parse(schema_id, found.text, list(found.references.values()), names)

        super().__init__(client_config, read, now_s)


def avro_schema(schema_id: int, found: Registered) -> Node:
    """A registered Avro schema of any shape. Raises IncompatibleSchemaError."""
    if found.kind != "AVRO":
        raise IncompatibleSchemaError(schema_id, f"it is registered as {found.kind}, not as Avro")
    try:
        return parse(found.text, list(found.references.values()))
    except BadSchemaError as error:
        raise IncompatibleSchemaError(schema_id, f"it is no Avro schema: {error}") from error


def protobuf_schema(schema_id: int, found: Registered) -> ProtobufSchema:
    """A registered Protobuf schema with its imports. Raises IncompatibleSchemaError."""
    if found.kind != "PROTOBUF":
        raise IncompatibleSchemaError(schema_id, f"it is registered as {found.kind}, not as Protobuf")
    try:
        return ProtobufSchema(compiled(found.text, found.references))
    except BadProtobufError as error:
        raise IncompatibleSchemaError(schema_id, str(error)) from error
