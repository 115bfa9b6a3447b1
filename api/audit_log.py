"""Writes the service's audit chain: entries of many requests share a transaction, and each request waits for its own.

A single chain needs one writer at a time, so the entries that arrive while one transaction commits go into the next: at
200 reads a second that is a handful per commit, without any timer. The row of `audit_heads` is both the lock between
replicas and the anchor of the chain's end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from api.caller import Caller
from api.db import Connection, Database
from api.options import Limits
from api.problems import AuditUnavailableError, UnavailableError
from api.queries import queries
from schemas.audit import AuditEntry, entry_hash

log = structlog.get_logger("api.audit")

CHAIN = "api"
TEXT_CHARS_MAX = 500


def audit_entry(
    caller: Caller, action: str, object_type: str, object_id: str, details: Mapping[str, Any]
) -> AuditEntry:
    """An entry about a caller's doing: who, what, when, from where, under which request id."""
    return AuditEntry(
        occurred_at=datetime.now(UTC),
        actor=caller.username,
        action=action,
        object_type=object_type,
        object_id=object_id,
        details={"client": caller.client, "role": caller.role.label, **details},
        request_id=caller.request_id,
        source_ip=caller.source_ip,
    )


def clean(value: Any) -> Any:
    """The value as jsonb holds it and gives it back unchanged: no NUL, no lone surrogates, no floats, bounded text."""
    match value:
        case str():
            text = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
            return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + "…"
        case bool() | int() | None:
            return value
        case float():
            return repr(value)
        case Mapping():
            return {clean(str(key)): clean(item) for key, item in value.items()}
        case list() | tuple():
            return [clean(item) for item in value]
        case _:
            return clean(str(value))


def cleaned(entry: AuditEntry) -> AuditEntry:
    """The entry with every text made storable, so that its hash is that of what is stored."""
    return replace(
        entry,
        actor=clean(entry.actor),
        action=clean(entry.action),
        object_type=clean(entry.object_type),
        object_id=clean(entry.object_id),
        request_id=clean(entry.request_id),
        source_ip=clean(entry.source_ip),
        details=clean(entry.details),
    )


class AuditLog:
    """The service's chain. `write` for reads; `append` inside the transaction of a change."""

    def __init__(self, db: Database, limits: Limits, chain: str = CHAIN) -> None:
        self._db = db
        self._limits = limits
        self._chain = chain
        self._queue: asyncio.Queue[tuple[AuditEntry, asyncio.Future[None]]] = asyncio.Queue(limits.audit_queue_entries)
        self._task: asyncio.Task[None] | None = None
        self.entries = 0
        self.commits = 0
        self.refused = 0

    def start(self) -> None:
        """Start the writer; needs a running loop."""
        self._task = asyncio.create_task(self._run(), name="audit-writer")

    async def stop(self) -> None:
        """Write what is queued, for at most two seconds, then stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), 2.0)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def write(self, entry: AuditEntry) -> None:
        """Return once the entry is committed. Raises AuditUnavailableError when it is not within `audit_wait_ms`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((cleaned(entry), done))
            await asyncio.wait_for(done, self._limits.audit_wait_ms / 1_000)
        except (TimeoutError, asyncio.QueueFull, UnavailableError) as error:
            self.refused += 1
            raise AuditUnavailableError from error

    async def append(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        """Add entries to the chain inside the caller's transaction; they stand or fall with it."""
        sql = queries("audit")
        head = await connection.fetchrow(sql["lock_head"], self._chain)
        if head is None:  # once in the life of a chain
            await connection.execute(sql["ensure_head"], self._chain)
            head = await connection.fetchrow(sql["lock_head"], self._chain)
        seq, digest = head["seq"], head["hash"]
        columns: list[list[Any]] = [[] for _ in range(11)]
        for entry in map(cleaned, entries):
            seq += 1
            previous, digest = digest, entry_hash(self._chain, seq, entry, digest)
            row = (
                seq,
                entry.occurred_at,
                entry.actor,
                entry.action,
                entry.object_type,
                entry.object_id,
                entry.request_id,
                entry.source_ip,
                dict(entry.details),
                previous,
                digest,
            )
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        await connection.execute(sql["insert_entries"], self._chain, *columns, seq, digest)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._limits.audit_batch_entries and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                async with self._db.transaction() as connection:
                    await self.append(connection, [entry for entry, _ in batch])
            except Exception as error:  # noqa: BLE001 - every request in the batch is told, and the writer goes on
                log.warning("audit_batch_failed", entries=len(batch), error=repr(error)[:300])
                self._settle(batch, UnavailableError("audit"))
            else:
                self.entries += len(batch)
                self.commits += 1
                self._settle(batch, None)

    def _settle(self, batch: Sequence[tuple[AuditEntry, asyncio.Future[None]]], error: UnavailableError | None) -> None:
        for _, done in batch:
            self._queue.task_done()
            if done.done():
                continue  # its request has given up
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
