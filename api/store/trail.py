"""The audit trail: search, export, and verification of the hash chains."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from api import cursors
from api.audit_log import AuditLog, audit_entry
from api.caller import Caller
from api.db import Connection, Database
from api.models.audit import AuditList, AuditPage, AuditRow, ChainList, ChainState, VerifyReport
from api.options import Limits
from api.problems import TooManyError
from api.queries import queries
from api.store.search import Filters
from api.times import from_micros, from_millis, micros, millis, millis_or_none
from schemas.audit import AuditEntry, entry_hash

if TYPE_CHECKING:
    from api.routes.audit import AuditFilter

OF_OBJECT_ROWS = 200
EXPORT_BATCH_ROWS = 2_000
VERIFY_BATCH_ROWS = 2_000
VERIFY_BUDGET_S = 4.0
PIPELINE_CHAINS = "shard-"  # a matcher shard writes the chain of its first key group
_COLUMNS = (
    "chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details, hash, prev_hash"
)


class Trail:
    """Reads every chain; writes only how far each is verified."""

    def __init__(self, db: Database, audit: AuditLog, limits: Limits) -> None:
        self._db = db
        self._audit = audit
        self._limits = limits
        self._verifying = False

    async def of_object(self, object_id: str) -> AuditList:
        """The newest entries about one object."""
        rows = await self._db.fetch(queries("audit")["of_object"], object_id, OF_OBJECT_ROWS)
        return AuditList(items=[_row(row) for row in rows])

    async def search(self, query: AuditFilter, *, limit: int, cursor: str | None) -> AuditPage:
        """A page, newest first, in bounded work."""
        digest = cursors.search_digest("audit", query.model_dump(exclude={"limit", "cursor"}))
        position = None
        if cursor:
            moment, chain, seq = cursors.decode(cursor, digest, (int, str, int))
            position = (from_micros(moment), chain, seq)
        rows, following, reached = await self._walk(query, limit, position)
        place = None
        if following is not None:
            place = cursors.encode(digest, [micros(following[0]), following[1], following[2]])
        return AuditPage(
            items=[_row(row) for row in rows],
            next_cursor=place,
            searched_to=millis(following[0]) if following is not None and reached else None,
        )

    async def _walk(
        self, query: AuditFilter, limit: int, position: tuple[Any, str, int] | None
    ) -> tuple[list[Any], tuple[Any, str, int] | None, bool]:
        """Rows; where to go on, None at the end; whether the bound was met before the page was full."""
        filters = Filters()
        inner: list[str] = []
        # What an index leads with goes into the walk; the rest is filtered from what the walk gives.
        if query.since is not None:
            inner.append(f"a.occurred_at >= {filters.place(from_millis(query.since))}")
        if query.until is not None:
            inner.append(f"a.occurred_at < {filters.place(from_millis(query.until))}")
        if query.object_id is not None:
            inner.append(f"a.object_id = {filters.place(query.object_id)}::text")
        elif query.actor is not None and not query.actor.startswith(PIPELINE_CHAINS):
            inner.append("left(a.chain, 3) = 'api'")  # as in the index
            inner.append(f"a.actor = {filters.place(query.actor)}::text")
        if position is not None:
            inner.append(f"a.occurred_at <= {filters.place(position[0])}")
            inner.append(
                f"(a.occurred_at, a.chain, a.seq) < ({filters.place(position[0])}, {filters.place(position[1])}::text, "
                f"{filters.place(position[2])}::bigint)"
            )
        if query.actor is not None:
            filters.add("a.actor = {}::text", query.actor)
        if query.action is not None:
            filters.add("a.action = {}::text", query.action)
        if query.chain is not None:
            filters.add("a.chain = {}::text", query.chain)
        order = "order by a.occurred_at desc, a.chain desc, a.seq desc"
        scan = self._limits.scan_rows
        walk = f"select {_COLUMNS} from audit_logs a where {' and '.join(inner) or 'true'} {order} limit {scan}"  # noqa: S608
        async with self._db.connection() as connection:
            rows = list(
                await connection.fetch(
                    f"select * from ({walk}) a where {filters.text} {order} limit {limit + 1}",  # noqa: S608
                    *filters.arguments,
                )
            )
            if len(rows) > limit:
                last = rows[limit - 1]
                return rows[:limit], (last["occurred_at"], last["chain"], last["seq"]), False
            bound = Filters()
            bound.arguments = filters.arguments[: len(filters.arguments) - len(filters.conditions)]
            end = await connection.fetchrow(
                f"select occurred_at, chain, seq from ({walk}) a offset {scan - 1} limit 1",  # noqa: S608
                *bound.arguments,
            )
        if end is None:
            return rows, None, False
        return rows, (end["occurred_at"], end["chain"], end["seq"]), True

    async def export(self, query: AuditFilter) -> AsyncGenerator[list[list[object]]]:
        """Batches of cells, the heading first; at most `export_rows`."""
        yield [
            [
                *("chain", "seq", "occurred_at_us", "actor", "action", "object_type", "object_id", "request_id"),
                *("source_ip", "details", "hash", "prev_hash"),
            ]
        ]
        position: tuple[Any, str, int] | None = None
        left = self._limits.export_rows
        while left > 0:
            rows, position, _ = await self._walk(query, min(EXPORT_BATCH_ROWS, left), position)
            if rows:
                yield [_cells(row) for row in rows]
            left -= len(rows)
            if position is None:
                return

    async def chains(self) -> ChainList:
        """Every chain, its end, its anchor, and how far it is verified."""
        async with self._db.connection() as connection:
            return ChainList(items=await self._states(connection))

    async def _states(self, connection: Connection) -> list[ChainState]:
        sql = queries("audit")
        rows = await connection.fetch(sql["chains"])
        anchors = await self._anchors(connection)
        return [
            ChainState(
                chain=row["chain"],
                head_seq=row["seq"],
                head_hash=row["hash"].hex(),
                anchored_seq=anchors[row["chain"]][0] if row["chain"] in anchors else None,
                verified_seq=row["verified_seq"] or 0,
                verified_at=millis_or_none(row["verified_at"]),
                intact=row["intact"],
                problem=row["problem"] or None,
            )
            for row in rows
        ]

    async def _anchors(self, connection: Connection) -> dict[str, tuple[int, bytes]]:
        """Where each chain ends as recorded apart from it: the checkpoints' heads, and this service's own."""
        sql = queries("audit")
        anchors = {row["chain"]: (row["seq"], bytes(row["hash"])) for row in await connection.fetch(sql["heads"])}
        for row in await connection.fetch(sql["shard_heads"]):
            chain = f"{PIPELINE_CHAINS}{row['key_group_from']}"
            anchors[chain] = (row["audit_seq"], bytes(row["audit_hash"]))
        return anchors

    async def verify(self, *, from_start: bool, by: Caller) -> VerifyReport:
        """Recompute the chains for at most four seconds. Raises TooManyError while another verification runs here."""
        if self._verifying:
            raise TooManyError(retry_after_s=5)
        self._verifying = True
        started = time.monotonic()
        entries, complete = 0, True
        try:
            async with self._db.connection() as connection:
                # One moment for everything that is compared: entries and the heads that are recorded apart from them
                # are written together, so read at two moments they differ while the chain is intact.
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    chains = await connection.fetch(queries("audit")["chains"])
                    anchors = await self._anchors(connection)
                    followed = [
                        await _follow(connection, row, anchors.get(row["chain"]), started, from_start=from_start)
                        for row in chains
                    ]
                for one in followed:
                    entries += one.entries
                    complete &= one.complete
                    await connection.execute(
                        queries("audit")["store_verification"],
                        one.chain,
                        one.seq,
                        one.hash,
                        not one.problem,
                        one.problem,
                    )
                states = await self._states(connection)
        finally:
            self._verifying = False
        intact = all(state.intact for state in states)
        summary = {"entries": entries, "complete": complete, "intact": intact}
        await self._audit.write(audit_entry(by, "audit.verify", "audit", "", summary))
        return VerifyReport(
            items=states,
            entries=entries,
            complete=complete,
            intact=intact,
            took_ms=round((time.monotonic() - started) * 1_000),
        )


@dataclass(frozen=True, slots=True)
class _Followed:
    """How far a chain was followed, and what is wrong with it, if anything."""

    chain: str
    seq: int
    hash: bytes
    entries: int
    complete: bool
    problem: str


async def _follow(
    connection: Connection, row: Any, anchor: tuple[int, bytes] | None, started: float, *, from_start: bool
) -> _Followed:
    """Follow one chain from where it was verified to its end, as far as the time allows."""
    sql = queries("audit")
    chain: str = row["chain"]
    seq, digest, entries = 0, b"", 0
    if row["verified_seq"] and row["intact"] and not from_start:
        seq, digest = row["verified_seq"], bytes(row["verified_hash"])
    problem, is_whole = "", False
    if seq and bytes(await connection.fetchval(sql["hash_at"], chain, seq) or b"") != digest:
        problem = f"entry {seq} is no longer what was verified"
    while not problem and not is_whole and time.monotonic() - started < VERIFY_BUDGET_S:
        batch = await connection.fetch(sql["entries_after"], chain, seq, VERIFY_BATCH_ROWS)
        seq, digest, problem = check_entries(chain, batch, seq, digest)
        entries += len(batch)
        is_whole = len(batch) < VERIFY_BATCH_ROWS
    if is_whole and not problem:
        problem = await _check_anchor(connection, chain, seq, anchor)
    return _Followed(chain, seq, digest, entries, is_whole or bool(problem), problem)


async def _check_anchor(connection: Connection, chain: str, seq: int, anchor: tuple[int, bytes] | None) -> str:
    """Whether the chain reaches its recorded head, and is the one that was recorded."""
    if anchor is None or anchor[0] == 0:
        return ""
    if seq < anchor[0]:
        return f"the chain ends at {seq}, its head is recorded at {anchor[0]}"
    stored = await connection.fetchval(queries("audit")["hash_at"], chain, anchor[0])
    return (
        "" if bytes(stored or b"") == anchor[1] else f"entry {anchor[0]} is not the one that was recorded as the head"
    )


def check_entries(chain: str, entries: Sequence[Any], seq: int, digest: bytes) -> tuple[int, bytes, str]:
    """Recompute entries that follow (seq, digest): the last good seq and hash, and what is wrong, if anything."""
    for row in entries:
        entry = AuditEntry(
            occurred_at=row["occurred_at"],
            actor=row["actor"],
            action=row["action"],
            object_type=row["object_type"],
            object_id=row["object_id"],
            details=row["details"],
            request_id=row["request_id"],
            source_ip=row["source_ip"],
        )
        if row["seq"] != seq + 1:
            return seq, digest, f"entry {seq + 1} is missing"
        if bytes(row["prev_hash"]) != digest:
            return seq, digest, f"entry {row['seq']} does not follow from the one before it"
        expected = entry_hash(chain, row["seq"], entry, digest)
        if expected != bytes(row["hash"]):
            return seq, digest, f"entry {row['seq']} was changed"
        seq, digest = row["seq"], expected
    return seq, digest, ""


def _row(row: Any) -> AuditRow:
    return AuditRow(
        chain=row["chain"],
        seq=row["seq"],
        occurred_at=millis(row["occurred_at"]),
        actor=row["actor"],
        action=row["action"],
        object_type=row["object_type"],
        object_id=row["object_id"],
        request_id=row["request_id"],
        source_ip=row["source_ip"],
        details=row["details"],
        hash=row["hash"].hex(),
    )


def _cells(row: Any) -> list[object]:
    return [
        row["chain"],
        row["seq"],
        micros(row["occurred_at"]),
        row["actor"],
        row["action"],
        row["object_type"],
        row["object_id"],
        row["request_id"],
        row["source_ip"],
        orjson.dumps(row["details"], option=orjson.OPT_SORT_KEYS).decode(),
        row["hash"].hex(),
        row["prev_hash"].hex(),
    ]
