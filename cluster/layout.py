"""Which key groups belong together, in the ledger: laid out once, laid out anew when the number of shards changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson
import structlog

from cluster.audit_chain import append
from schemas.audit import AuditEntry
from schemas.covered import ROWS, SETUP_CHAIN, told
from schemas.errors import ReconError
from schemas.events import KEY_GROUPS, SourceSpec
from schemas.queries import named_queries

_SQL: Final = named_queries("schemas", "sql/supervisor.sql")
_log = structlog.get_logger(__name__)
ACTOR: Final = "recon"

KeyGroupRange = tuple[int, int]


class SourceRenamedError(ReconError):
    """A stored source id would mean another source: ids are stored in results, so the list only grows."""

    def __init__(self, source_id: int, name: str) -> None:
        self.source_id = source_id
        self.name = name
        super().__init__(
            f"source id {source_id} is stored under another name than {name!r}; append new sources instead"
        )


def split_key_groups(shards: int) -> list[KeyGroupRange]:
    """`KEY_GROUPS` in `shards` contiguous ranges [from, to), sizes differing by one at most."""
    bounds = [KEY_GROUPS * index // shards for index in range(shards + 1)]
    return list(itertools.pairwise(bounds))


async def prepare(
    connect_kwargs: dict[str, Any],
    sources: Sequence[SourceSpec],
    shards: int,
    is_running: Callable[[int], bool] = lambda _key_group_from: False,
) -> list[KeyGroupRange]:
    """Store sources and ranges; give the ranges to run with.

    When the number of shards changed, the ranges are laid out anew, which needs every old range at the same position
    (as `recon down` leaves them). After a crash they may differ: then the old ranges are kept for this run, and the
    next clean stop makes the change possible. So they are while a shard runs (`is_running` by its first key group): it
    would be fenced, and could never claim its range again. Raises SourceRenamedError.
    """
    connection = await asyncpg.connect(**connect_kwargs)
    try:
        async with connection.transaction():
            await _put_sources(connection, sources)
            rows = await connection.fetch(_SQL["layout"])
            have = [(row["key_group_from"], row["key_group_to"]) for row in rows]
            want = split_key_groups(shards)
            if have == want:
                return have
            if not rows:
                for start, stop in want:
                    await connection.execute(_SQL["put_range"], start, stop, 0, 1, 1, "{}")
                return want
            if any(is_running(start) for start, _ in have):
                _log.warning("layout_kept", have=have, want=want, reason="shards are running; stop cleanly once")
                return have
            positions = [orjson.loads(row["positions"]) for row in rows]
            if any(other != positions[0] for other in positions):
                _log.warning("layout_kept", have=have, want=want, reason="positions differ; stop cleanly once")
                return have
            await _note_layout(connection, have, want)
            await connection.execute(_SQL["drop_ranges"])
            epoch = max(row["epoch"] for row in rows) + 1
            next_seq = max(row["next_seq"] for row in rows)
            low_seq = min(row["low_seq"] for row in rows)
            for start, stop in want:
                await connection.execute(
                    _SQL["put_range"], start, stop, epoch, next_seq, low_seq, orjson.dumps(positions[0]).decode()
                )
            _log.info("layout_changed", have=have, want=want)
            return want
    finally:
        await connection.close()


async def _put_sources(connection: asyncpg.Connection[Any], sources: Sequence[SourceSpec]) -> None:
    """Store the configured sources, with an audit entry when that changes anything. Raises SourceRenamedError."""
    before = {row["source_id"]: told("sources", row) for row in await connection.fetch(_SQL["sources"])}
    for index, source in enumerate(sources):
        stored = await connection.fetchval(_SQL["put_source"], index, source.name, source.topic, source.expected)
        if stored is None:
            raise SourceRenamedError(index, source.name)
    after = {row["source_id"]: told("sources", row) for row in await connection.fetch(_SQL["sources"])}
    changed = [row for source_id, row in after.items() if before.get(source_id) != row]
    if changed:
        names = ",".join(row["name"] for row in changed)
        entry = AuditEntry(
            datetime.now(UTC), ACTOR, "sources.configured", "sources", names, {ROWS: {"sources": changed}}
        )
        await append(connection, SETUP_CHAIN, entry)


async def _note_layout(
    connection: asyncpg.Connection[Any], have: Sequence[KeyGroupRange], want: Sequence[KeyGroupRange]
) -> None:
    """Keep in the trail where the shards' chains end: their checkpoints, which said so, are made anew."""
    heads = {row["chain"]: [row["seq"], row["hash"].hex()] for row in await connection.fetch(_SQL["shard_heads"])}
    details = {"had": [list(one) for one in have], "has": [list(one) for one in want], "heads": heads}
    object_id = f"{len(want)} shards"
    await append(
        connection, SETUP_CHAIN, AuditEntry(datetime.now(UTC), ACTOR, "layout.changed", "layout", object_id, details)
    )


async def set_first_rules(owner_kwargs: dict[str, Any], match_window_ms: int, sources: Sequence[SourceSpec]) -> None:
    """Give rule set 1 the configured match window and expected sources, as long as nothing was judged by it.

    From then on rules are versions with a beginning in the log. Connects as the owner.
    """
    expected = [source.name for source in sources if source.expected]
    connection = await asyncpg.connect(**owner_kwargs)
    try:
        async with connection.transaction():
            row = await connection.fetchrow(_SQL["set_first_rules"], match_window_ms, expected)
            if row is not None:
                details = {ROWS: {"rule_sets": [told("rule_sets", row)]}}
                entry = AuditEntry(datetime.now(UTC), ACTOR, "rules.first_set", "rules", str(row["version"]), details)
                await append(connection, SETUP_CHAIN, entry)
    finally:
        await connection.close()
