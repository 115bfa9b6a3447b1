"""Writer schemas by id from a Confluent-compatible registry, cached for ever: an id never changes its schema."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.codec import WriterSchema
from schemas.errors import IncompatibleSchemaError, RegistryUnavailableError

_log = structlog.get_logger(__name__)

UNKNOWN_TTL_S: Final = 30.0  # an id that the registry did not know is asked for again after this long
_NOT_FOUND: Final = 404


class SchemaCache:
    """A schemas.codec.SchemaLookup over a registry client.

    Known schemas stay. "No such schema" is believed for UNKNOWN_TTL_S; anything else that goes wrong, an unauthorised
    call included, says nothing of the record and is raised as RegistryUnavailableError.
    """

    def __init__(self, client_config: Mapping[str, Any], now_s: Callable[[], float] = time.monotonic) -> None:
        """`client_config` is SchemaRegistryClient's."""
        self._client = SchemaRegistryClient(dict(client_config))
        self._known: dict[int, WriterSchema | IncompatibleSchemaError] = {}
        self._unknown_until: dict[int, float] = {}
        self._now_s = now_s

    def __call__(self, schema_id: int) -> WriterSchema | None:
        """The schema, or None when the registry has none under this id. Raises as SchemaLookup says."""
        if schema_id not in self._known:
            if self._unknown_until.get(schema_id, 0.0) > self._now_s():
                return None
            text = self._ask(schema_id)
            if text is None:
                self._unknown_until[schema_id] = self._now_s() + UNKNOWN_TTL_S
                return None
            try:
                self._known[schema_id] = WriterSchema.parse(schema_id, text)
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
        self._client.close()

    def _ask(self, schema_id: int) -> str | None:
        """The text that is registered, None when the id is not. Raises RegistryUnavailableError."""
        try:
            text: str | None = self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
        except Exception as error:  # whatever the HTTP client raises when nobody answers
            raise RegistryUnavailableError(f"schema {schema_id}: {error}") from error
        return text or ""  # registered, and empty
