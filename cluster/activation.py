"""Puts a configuration in force: its version, its sources' numbers and its rules, in one transaction of the ledger.

A version is never changed. A record is read by the version in force at its arrival, and a transaction is judged by the
rules in force at its first arrival, so that both are found again on replay. A source keeps its number for ever.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from cluster.audit_chain import append
from cluster.configuration import chosen_reconciliation, read_config, why_no_pipeline
from cluster.reading_versions import Lookups, UnusableSchemaError, reading_of, source_specs, topic_of
from schemas.audit import AuditEntry
from schemas.covered import ROWS, SETUP_CHAIN, told
from schemas.errors import ReconError
from schemas.events import SOURCES_MAX, SourceSpec
from schemas.queries import named_queries
from schemas.rules import CONFIGURED_KEYS, RULES_LEAD_MS, RuleSet
from sources.config.models import ReconciliationConfig, SourceConfig
from sources.config.reading import parse
from wire.protobuf_text import compiled
from wire.protobuf_values import BadProtobufError

ACTOR: Final = "recon.yaml"
SCHEMA_BYTES_MAX: Final = 4 * 1024 * 1024
"""The largest schema file, in bytes."""
OF_SOURCES: Final = ("expected_sources", *CONFIGURED_KEYS)
_SQL: Final = named_queries("schemas", "sql/configurations.sql")


class NotRunnableError(ReconError):
    """A configuration that the pipeline cannot run, or that contradicts what the ledger already holds."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration as it is put in force: the file's text, the chosen reconciliation, and its schema files.

    `schemas` has, by the path in the file, the bytes of each `schema:`; a `.proto` is there as a descriptor set.
    """

    reconciliation: ReconciliationConfig
    body: str
    schemas: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, name: str | None = None) -> Configuration:
        """Read a file and what it refers to. Raises InvalidConfigError, NotRunnableError or UnusableSchemaError."""
        config = read_config(path)
        chosen = chosen_reconciliation(config, name)
        if why := why_no_pipeline(config, chosen, chosen_by_name=name is not None):
            raise NotRunnableError(why)
        schemas = schemas_of(path.parent, chosen)
        found = cls(chosen, path.read_text(encoding="utf-8-sig"), schemas)
        lookups = Lookups({"url": "https://localhost"})  # nothing is asked of it: only the files are looked at
        reading_of(chosen, schemas, {one: number for number, one in enumerate(chosen.sources)}, lookups)
        return found

    def specs(self) -> tuple[SourceSpec, ...]:
        """The sources in the order of the file; their numbers are the ledger's to give."""
        return tuple(
            SourceSpec(source.name, topic_of(self.reconciliation, source), source.expected)
            for source in self.reconciliation.sources.values()
        )

    def stored_schemas(self) -> str:
        """The schema files as the ledger has them."""
        return json.dumps({path: base64.b64encode(content).decode() for path, content in self.schemas.items()})


def schemas_of(folder: Path, reconciliation: ReconciliationConfig) -> dict[str, bytes]:
    """The schema files of all sources, see Configuration.schemas. Raises UnusableSchemaError."""
    named = [source for source in reconciliation.sources.values() if source.schema is not None]
    return {source.schema or "": _schema_bytes(folder, source) for source in named}


def _schema_bytes(folder: Path, source: SourceConfig) -> bytes:
    path = folder / (source.schema or "")
    try:
        if path.stat().st_size > SCHEMA_BYTES_MAX:
            raise UnusableSchemaError(f"source {source.name}: {path} has more than {SCHEMA_BYTES_MAX} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UnusableSchemaError(f"source {source.name}: schema {path}: {error.strerror}") from error
    if source.format != "protobuf" or path.suffix != ".proto":
        return content
    try:
        return compiled(content.decode(), folder=path.parent)
    except (BadProtobufError, UnicodeDecodeError) as error:
        raise UnusableSchemaError(f"source {source.name}: {path}: {error}") from error


async def sources_in_force(
    connect_kwargs: Mapping[str, Any], built_in: tuple[SourceSpec, ...]
) -> tuple[SourceSpec, ...]:
    """The ledger's sources where it has a configuration, else the built-in ones."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        if await connection.fetchrow(_SQL["newest"]) is None:
            return built_in
        return source_specs(await connection.fetch(_SQL["sources"]))
    finally:
        await connection.close()


async def mapped_sources(connect_kwargs: Mapping[str, Any]) -> frozenset[str]:
    """Names of the sources of the newest version whose records a mapping reads."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        newest = await connection.fetchrow(_SQL["newest"])
    finally:
        await connection.close()
    if newest is None:
        return frozenset()
    chosen = parse(newest["body"].encode(), "configuration").reconciliations[newest["reconciliation"]]
    return frozenset(name for name, source in chosen.sources.items() if not source.is_canonical)


async def is_in_force(connect_kwargs: Mapping[str, Any], configuration: Configuration | None) -> bool:
    """Whether the ledger's newest version is this one; None: the built-in sources."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        return _is_same(await connection.fetchrow(_SQL["newest"]), configuration)
    finally:
        await connection.close()


async def has_read(connect_kwargs: Mapping[str, Any]) -> bool:
    """Whether anything was read into the ledger, or a configuration put in force."""
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        if await connection.fetchrow(_SQL["newest"]) is not None:
            return True
        return not await connection.fetchval(_SQL["is_untouched"])
    finally:
        await connection.close()


async def activate(
    owner_kwargs: Mapping[str, Any], configuration: Configuration, who: str = "recon up"
) -> tuple[SourceSpec, ...]:
    """Put a configuration in force, unless it is; gives the ledger's sources in order of their numbers.

    The first version of a ledger that has read nothing is in force from the beginning, every other from RULES_LEAD_MS
    after now: until then no reader can have looked further. Connects as the owner; `who` has called for it. Raises
    NotRunnableError.
    """
    connection = await asyncpg.connect(**owner_kwargs)
    try:
        async with connection.transaction():
            await connection.execute(_SQL["lock"])
            newest = await connection.fetchrow(_SQL["newest"])
            if _is_same(newest, configuration):
                return source_specs(await connection.fetch(_SQL["sources"]))
            untouched = newest is None and bool(await connection.fetchval(_SQL["is_untouched"]))
            moment = datetime.now(UTC) + timedelta(milliseconds=RULES_LEAD_MS)
            if untouched:
                moment = datetime.fromtimestamp(0, UTC)
            before = {row["name"]: row for row in await connection.fetch(_SQL["sources"])}
            after = await _put_sources(connection, configuration, before)
            rule_sets = await connection.fetch(_SQL["rule_sets"])
            _check_identities(rule_sets, before, configuration)
            wanted = configuration.reconciliation.rule_set()
            rules = await _put_rules(connection, rule_sets, wanted, moment, who, first=untouched)
            version = 1 if newest is None else newest["version"] + 1
            put = await connection.fetchrow(
                _SQL["put_version"],
                version,
                moment,
                configuration.reconciliation.name,
                configuration.body,
                configuration.stored_schemas(),
                who,
            )
            details = {
                "reconciliation": configuration.reconciliation.name,
                ROWS: {
                    "configurations": [told("configurations", put)],
                    "sources": [told("sources", row) for row in after if before.get(row["name"]) != row],
                    "rule_sets": [told("rule_sets", row) for row in rules],
                },
            }
            entry = AuditEntry(
                datetime.now(UTC), who, "configuration.activated", "configuration", str(version), details
            )
            await append(connection, SETUP_CHAIN, entry)
            return source_specs(after)
    finally:
        await connection.close()


def _is_same(newest: asyncpg.Record | None, configuration: Configuration | None) -> bool:
    if newest is None or configuration is None:
        return newest is None and configuration is None
    told = (newest["body"], newest["reconciliation"], json.loads(newest["schemas"]))
    wanted = (configuration.body, configuration.reconciliation.name, json.loads(configuration.stored_schemas()))
    return bool(told == wanted)


async def _put_sources(
    connection: asyncpg.Connection[Any], configuration: Configuration, known: Mapping[str, asyncpg.Record]
) -> list[asyncpg.Record]:
    """New sources get the next numbers; those that the file names no more stay, and are not expected any longer.

    `known` are the ledger's rows by name; the result are all of them afterwards, in order of their numbers.
    """
    wanted = configuration.specs()
    new = [source for source in wanted if source.name not in known]
    if len(known) + len(new) > SOURCES_MAX:
        raise NotRunnableError(
            f"the ledger has {len(known)} sources, and numbers are never used again: "
            f"{len(new)} more would be above {SOURCES_MAX}"
        )
    for source in wanted:
        if source.name in known and known[source.name]["topic"] != source.topic:
            raise NotRunnableError(
                f"source {source.name} reads topic {known[source.name]['topic']} in this ledger; "
                f"give the source of topic {source.topic} a name of its own"
            )
    for number, source in enumerate(new, start=len(known)):
        await connection.execute(_SQL["put_source"], number, source.name, source.topic, source.expected)
    expected = {source.name: source.expected for source in wanted}
    for name, row in known.items():
        if row["expected"] != expected.get(name, False):
            await connection.execute(_SQL["set_expected"], name, expected.get(name, False))
    return list(await connection.fetch(_SQL["sources"]))


async def _put_rules(
    connection: asyncpg.Connection[Any],
    rows: Sequence[asyncpg.Record],
    wanted: RuleSet,
    moment: datetime,
    who: str,
    *,
    first: bool,
) -> list[asyncpg.Record]:
    """The file's rules as the first rule set; later only what its sources mean to a judgement, as a new version.

    `rows` are the rule sets that there are; gives the rows that it has written.
    """
    if first and len(rows) == 1:
        return list(await connection.fetch(_SQL["set_first_rules"], json.dumps(wanted.to_json()), ACTOR))
    active = [row for row in rows if row["state"] == "active"]
    body = json.loads(max(active, key=lambda row: (row["effective_from_ms"], row["version"]))["body"])
    told = wanted.to_json()
    changed = {name: value for name, value in body.items() if name not in OF_SOURCES}
    changed |= {name: told[name] for name in OF_SOURCES if name in told}
    if changed == body:
        return []
    version = max(row["version"] for row in rows) + 1
    return list(await connection.fetch(_SQL["put_rules"], version, moment, json.dumps(changed), ACTOR, who))


def _check_identities(rows: Sequence[asyncpg.Record], known: Collection[str], configuration: Configuration) -> None:
    """Refuse a source that would be of rows and was not, or the other way round: it would judge the past anew."""
    was_rows = {name for row in rows for name in json.loads(row["body"]).get("row_sources", ())}
    for name, source in configuration.reconciliation.sources.items():
        if name in known and source.has_rows != (name in was_rows):
            raise NotRunnableError(
                f"source {name}: identity cannot be changed once it was read; give the source a new name"
            )
