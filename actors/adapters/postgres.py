"""The ledger in PostgreSQL: one transaction a flush, fenced by an epoch, with an exactly-once handshake on retry.

Order inside a flush, and why:

1. `checkpoint` updates the positions WHERE epoch = ours AND flushes = number - 1. It takes the row's lock, so two
   owners are one after the other; the loser updates nothing and is fenced. When the row already carries our epoch and
   this flush's number, the flush was committed and only its answer was lost: nothing is written again.
2. The log by COPY, then redelivery marks and dead letters.
3. New final results by COPY. Meeting an existing row is a unique violation: the whole flush rolls back, and the caller
   turns those transactions into revisions.
4. Results over provisional ones through a stage; revisions through the stage too, after their predecessors went to
   result_history.
5. Counters and the audit chain, whose flush entry carries the digests of the log's rows and of the results
   (actors.adapters.digests). An auditor finds a flush's results by `decided_at`: no two flushes of a range share one.
6. COMMIT. Only then may anybody be told.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

import asyncpg
import orjson
import polars as pl

from actors.adapters.copying import (
    BLOCK_COLUMNS,
    RESULT_COLUMNS,
    block_rows,
    count_results,
    digest,
    encode,
    result_rows,
    timestamptz,
)
from actors.adapters.digests import letter_row, result_details, row_entries
from actors.matching.decide import collected
from actors.matching.frames import CURRENCY, EVENT_SCHEMA, RESULT_SCHEMA, empty
from actors.ports import AlreadyDecidedError, Claim, Flush, Flushed, TopicPartition
from schemas.audit import GENESIS, AuditEntry, chained_row
from schemas.errors import FencedError, StoreUnavailableError
from schemas.events import SourceSpec
from schemas.queries import named_queries
from schemas.rules import RuleSet
from schemas.verdicts import Verdict, break_names, source_names

_SQL: Final = named_queries("schemas", "sql/ledger.sql")
_COPY_CHUNK_BYTES: Final = 512 * 1024
COMMAND_TIMEOUT_S: Final = 60.0  # a flush that takes longer is given up and offered again
CONNECT_TIMEOUT_S: Final = 10.0
_T = TypeVar("_T")
# What PostgreSQL says while it stops, starts or is gone. Everything else is our own bug.
_UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.TooManyConnectionsError,
    asyncpg.exceptions.DiskFullError,
    asyncpg.exceptions.QueryCanceledError,
    asyncpg.exceptions.DeadlockDetectedError,
)


class PostgresLedger:
    """A Ledger (actors.ports) for one shard. Methods block the calling thread; a loop of its own does the I/O."""

    def __init__(self, connect_kwargs: Mapping[str, Any]) -> None:
        """`connect_kwargs` are asyncpg.connect's; connections are made when first used, and made anew when lost."""
        self._kwargs = dict(connect_kwargs)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger", daemon=True)
        self._thread.start()
        self._connections: dict[str, asyncpg.Connection[Any]] = {}
        self._locks = {"flush": asyncio.Lock(), "ask": asyncio.Lock()}
        self._days: set[date] = set()
        self._decided_ms = 0  # the moment of the last flush, whoever wrote it

    # -- the port ------------------------------------------------------------------------------------------------

    def claim(self, key_group_from: int, key_group_to: int, owner: str) -> Claim:
        """See actors.ports.Ledger. Raises FencedError when there is no such range."""
        return self._run("flush", lambda c: self._claim(c, key_group_from, key_group_to, owner))

    def rule_sets(self) -> Sequence[RuleSet]:
        """See actors.ports.Ledger."""
        return self._run("ask", _rule_sets)

    def open_events(self, claim: Claim) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See actors.ports.Ledger."""

        async def ask(connection: asyncpg.Connection[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
            arguments = (claim.key_group_from, claim.key_group_to)
            events = _event_frame(await connection.fetch(_SQL["open_events"], *arguments, claim.low_seq))
            provisional = await connection.fetch(_SQL["provisional"], *arguments)
            schema = {"txn_id": pl.String, "breaks": pl.Int16}
            return events, pl.DataFrame([tuple(row) for row in provisional], schema=schema, orient="row")

        return self._run("ask", ask)

    def decided(self, txns: pl.DataFrame) -> pl.DataFrame:
        """See actors.ports.Ledger."""
        return self._run("ask", lambda connection: _decided(connection, txns))

    def events_of(self, results: pl.DataFrame) -> pl.DataFrame:
        """See actors.ports.Ledger."""
        places = results.select("key_group", "event_seqs").explode("event_seqs")

        async def ask(connection: asyncpg.Connection[Any]) -> pl.DataFrame:
            columns = (places["key_group"].to_list(), places["event_seqs"].to_list())
            return _event_frame(await connection.fetch(_SQL["events_of"], *columns))

        return self._run("ask", ask)

    def flush(self, flush: Flush, sources: Sequence[SourceSpec], now_ms: int) -> Flushed:
        """See actors.ports.Ledger."""
        return self._run("flush", lambda connection: self._flush(connection, flush, sources, now_ms))

    def close(self) -> None:
        """See actors.ports.Ledger."""

        async def close() -> None:
            for connection in self._connections.values():
                connection.terminate()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _run(self, purpose: str, ask: Callable[[asyncpg.Connection[Any]], Awaitable[_T]]) -> _T:
        """Run `ask(connection)` on the loop. Flushes and questions have a connection each, so neither waits."""

        async def guarded() -> _T:
            async with self._locks[purpose]:
                try:
                    return await ask(await self._connection(purpose))
                except _UNAVAILABLE as error:
                    self._drop(purpose)
                    raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

        return asyncio.run_coroutine_threadsafe(guarded(), self._loop).result()

    async def _connection(self, purpose: str) -> asyncpg.Connection[Any]:
        connection = self._connections.get(purpose)
        if connection is None or connection.is_closed():
            connection = await asyncpg.connect(
                **self._kwargs,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"application_name": f"recon-shard-{purpose}", "jit": "off"},
            )
            if purpose == "flush":
                await connection.execute(_SQL["make_stage"])
            self._connections[purpose] = connection
        return connection

    def _drop(self, purpose: str) -> None:
        connection = self._connections.pop(purpose, None)
        if connection is not None:
            connection.terminate()

    async def _claim(self, connection: asyncpg.Connection[Any], start: int, stop: int, owner: str) -> Claim:
        async with connection.transaction():
            row = await connection.fetchrow(_SQL["claim"], start, stop, owner)
            if row is None:
                raise FencedError(start, -1)
            head = await connection.fetchrow(_SQL["chain_head"], chain_name(start))
            # After the claim: what an earlier owner was writing is committed by now, or never will be.
            self._decided_ms = max(self._decided_ms, await connection.fetchval(_SQL["decided_last"]))
        return Claim(
            key_group_from=start,
            key_group_to=stop,
            epoch=row["epoch"],
            next_seq=row["next_seq"],
            low_seq=row["low_seq"],
            flushes=row["flushes"],
            positions=_positions_from_json(row["positions"]),
            audit_seq=head["seq"] if head else 0,
            audit_hash=head["hash"] if head else GENESIS,
        )

    async def _flush(
        self, connection: asyncpg.Connection[Any], flush: Flush, sources: Sequence[SourceSpec], now_ms: int
    ) -> Flushed:
        now_ms = self._decided_ms = max(now_ms, self._decided_ms + 1)
        written_on = datetime.fromtimestamp(now_ms / 1000, UTC).date()
        copy_bytes = encode(block_rows(flush.events, written_on)) if len(flush.events) else b""
        results = pl.concat([flush.final.lazy(), flush.replacing.lazy(), flush.revised.lazy()])
        changed = collected(results.with_columns(decided_at=pl.lit(now_ms)))
        new = encode(result_rows(flush.final, now_ms)) if len(flush.final) else b""
        entries = _audit_entries(flush, sources, now_ms, copy_bytes, new)
        audit_seq, audit_hash, audit_rows = _chain(flush.claim, entries)
        if copy_bytes:
            await self._ensure_partition(connection, written_on)
        try:
            async with connection.transaction():
                head = await self._take_checkpoint(connection, flush, audit_seq, audit_hash)
                if head is not None:
                    return Flushed(*head, changed, await _rule_sets(connection))
                if copy_bytes:
                    await _copy(connection, "event_blocks", BLOCK_COLUMNS, copy_bytes)
                await _write_marks(connection, flush)
                if new:
                    await _copy(connection, "results", RESULT_COLUMNS, new)
                await _write_replacing(connection, flush, now_ms)
                await _count(connection, flush, sources, now_ms)
                if audit_rows:
                    await connection.copy_records_to_table("audit_logs", records=audit_rows)
                rule_sets = await _rule_sets(connection)
        except asyncpg.UniqueViolationError as error:
            if error.table_name != "results":
                raise
            raise AlreadyDecidedError(await _in_the_way(connection, flush)) from error
        return Flushed(audit_seq, audit_hash, changed, rule_sets)

    async def _take_checkpoint(
        self, connection: asyncpg.Connection[Any], flush: Flush, audit_seq: int, audit_hash: bytes
    ) -> tuple[int, bytes] | None:
        """None when this flush is ours to write, the chain's head when it was written before. Raises FencedError."""
        claim = flush.claim
        status = await connection.execute(
            _SQL["checkpoint"],
            claim.key_group_from,
            claim.key_group_to,
            claim.epoch,
            flush.next_seq,
            flush.low_seq,
            flush.number,
            _positions_to_json(flush.positions),
            orjson.dumps(flush.watermarks_ms).decode(),
            audit_seq,
            audit_hash,
        )
        if status == "UPDATE 1":
            return None
        now = await connection.fetchrow(_SQL["checkpoint_now"], claim.key_group_from, claim.key_group_to)
        if now is None or now["epoch"] != claim.epoch or now["flushes"] != flush.number:
            raise FencedError(claim.key_group_from, claim.epoch)
        return now["audit_seq"], now["audit_hash"]

    async def _ensure_partition(self, connection: asyncpg.Connection[Any], day: date) -> None:
        """Make the day's partition of the log, before the transaction that needs it."""
        if day not in self._days:
            await connection.execute(_SQL["ensure_partition"], day)
            self._days.add(day)


def chain_name(key_group_from: int) -> str:
    """Name of the audit chain of the shard that starts at this key group."""
    return f"shard-{key_group_from}"


async def _rule_sets(connection: asyncpg.Connection[Any]) -> Sequence[RuleSet]:
    rows = await connection.fetch(_SQL["rule_sets"])
    return [RuleSet.from_json(row["version"], row["effective_from_ms"], orjson.loads(row["body"])) for row in rows]


async def _copy(connection: asyncpg.Connection[Any], table: str, columns: Sequence[str], copy_bytes: bytes) -> None:
    view = memoryview(copy_bytes)

    async def chunks() -> Any:
        for start in range(0, len(view), _COPY_CHUNK_BYTES):
            yield view[start : start + _COPY_CHUNK_BYTES]

    await connection.copy_to_table(table, source=chunks(), columns=columns, format="binary")


async def _write_marks(connection: asyncpg.Connection[Any], flush: Flush) -> None:
    if len(flush.redeliveries):
        columns = ("key_group", "seq", "txn_id", "arrival")
        marks = flush.redeliveries.select("key_group", "seq", "txn_id", timestamptz("arrival"))
        await _copy(connection, "redeliveries", columns, encode(marks))
    if flush.dead_letters:
        rows = [letter_row(letter) for letter in flush.dead_letters]
        await connection.copy_records_to_table(
            "dead_letters",
            records=[tuple(row.values()) for row in rows],
            columns=tuple(rows[0]),
        )


async def _write_replacing(connection: asyncpg.Connection[Any], flush: Flush, now_ms: int) -> None:
    """Provisional rows and what follows them, then revisions. Raises UniqueViolationError when a final row is met."""
    if len(flush.replacing):
        await connection.execute(_SQL["clear_stage"])
        await _copy(connection, "stage", RESULT_COLUMNS, encode(result_rows(flush.replacing, now_ms)))
        status = await connection.execute(_SQL["upsert"])
        if int(status.split()[-1]) != len(flush.replacing):
            error = asyncpg.UniqueViolationError("a final result is in the way")
            error.table_name = "results"
            raise error
    if len(flush.revised):
        await connection.execute(_SQL["clear_stage"])
        await _copy(connection, "stage", RESULT_COLUMNS, encode(result_rows(flush.revised, now_ms)))
        await connection.execute(_SQL["keep_history"])
        await connection.execute(_SQL["revise"])


async def _count(connection: asyncpg.Connection[Any], flush: Flush, sources: Sequence[SourceSpec], now_ms: int) -> None:
    counts = count_results(flush.superseded, -1)
    for rows in (flush.final, flush.replacing, flush.revised):
        counts.update(count_results(rows, 1))
    plain = {"redelivery": len(flush.redeliveries), "dead_letter": len(flush.dead_letters)}
    if len(flush.events):
        for index, n in flush.events.group_by("source").len().iter_rows():
            plain[f"events.{sources[index].name}"] = n
    counts.update({(metric, "", "n"): n for metric, n in plain.items() if n})
    keys = list(dict.fromkeys((metric, currency) for metric, currency, _ in counts))
    if not keys:
        return
    minute = datetime.fromtimestamp(now_ms // 60_000 * 60, UTC)
    columns = (
        [metric for metric, _ in keys],
        [currency for _, currency in keys],
        [counts[(*key, "n")] for key in keys],
        [counts[(*key, "amount_minor")] for key in keys],
    )
    await connection.execute(_SQL["count_stats"], flush.claim.key_group_from, minute, *columns)


def _audit_entries(
    flush: Flush, sources: Sequence[SourceSpec], now_ms: int, copy_bytes: bytes, new_rows: bytes
) -> list[AuditEntry]:
    """One entry for the flush with its digests, then its dead letters and marks, its mismatches and its revisions."""
    written = (flush.events, flush.final, flush.replacing, flush.revised, flush.redeliveries)
    if not any(len(frame) for frame in written) and not flush.dead_letters:
        return []
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    actor = chain_name(flush.claim.key_group_from)
    details: dict[str, Any] = {
        "epoch": flush.claim.epoch,
        "flush": flush.number,
        "key_group_from": flush.claim.key_group_from,
        "key_group_to": flush.claim.key_group_to,
        "seq_from": flush.first_seq,
        "seq_to": flush.next_seq,
        "events": len(flush.events),
        "events_sha256": digest(copy_bytes) if copy_bytes else "",
        "final": len(flush.final),
        "replacing": len(flush.replacing),
        "revised": len(flush.revised),
        "redeliveries": len(flush.redeliveries),
        "dead_letters": len(flush.dead_letters),
        "positions": orjson.loads(_positions_to_json(flush.positions)),
        **result_details(flush, new_rows, now_ms),
    }
    object_id = f"{flush.claim.key_group_from}-{flush.claim.key_group_to}"
    entries = [AuditEntry(at, actor, "flush", "key_groups", object_id, details), *row_entries(flush, at, actor)]
    names = [source.name for source in sources]
    told = ("txn_id", "revision", "rules_version", "verdict", "breaks", "missing", "late")
    mismatched = pl.concat([flush.final.lazy(), flush.replacing.lazy()]).filter(
        pl.col("verdict") == Verdict.MISMATCHED.value
    )
    for action, rows in (
        ("verdict.mismatched", collected(mismatched.select(told))),
        ("verdict.revised", flush.revised.select(told)),
    ):
        for row in rows.iter_rows():
            txn_id, revision, rules_version, verdict, breaks, missing, late = row
            said = {
                "revision": revision,
                "rules_version": rules_version,
                "verdict": Verdict(verdict).name,
                "breaks": break_names(breaks),
                "missing_sources": source_names(missing, names),
                "late_sources": source_names(late, names),
            }
            entries.append(AuditEntry(at, actor, action, "transaction", txn_id, said))
    return entries


def _chain(claim: Claim, entries: Sequence[AuditEntry]) -> tuple[int, bytes, list[tuple[Any, ...]]]:
    """Entries as chained rows of audit_logs, and the new head."""
    chain, seq, previous = chain_name(claim.key_group_from), claim.audit_seq, claim.audit_hash
    rows: list[tuple[Any, ...]] = []
    for entry in entries:
        seq += 1
        rows.append(chained_row(chain, seq, entry, previous))
        previous = rows[-1][-1]
    return seq, previous, rows


async def _in_the_way(connection: asyncpg.Connection[Any], flush: Flush) -> pl.DataFrame:
    """Transactions of a refused flush that have a row where none may be, or that occur in it twice."""
    candidates = pl.concat([flush.final, flush.replacing]).select("key_group", "txn_id")
    rows = await connection.fetch(_SQL["standing"], candidates["key_group"].to_list(), candidates["txn_id"].to_list())
    schema = {**candidates.schema, "final": pl.Boolean()}
    standing = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
    new = standing["txn_id"].is_in(flush.final["txn_id"].implode())
    twice = candidates.filter(candidates.is_duplicated())
    return pl.concat([standing.filter(new | pl.col("final")).select(candidates.columns), twice]).unique()


async def _decided(connection: asyncpg.Connection[Any], txns: pl.DataFrame) -> pl.DataFrame:
    rows = await connection.fetch(_SQL["decided"], txns["key_group"].to_list(), txns["txn_id"].to_list())
    if not rows:
        return empty(RESULT_SCHEMA)
    known = pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
    return known.select(
        (pl.col(name) if name in known.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in RESULT_SCHEMA.items()
    ).with_columns(final=pl.lit(value=True))


def _event_frame(rows: Sequence[Any]) -> pl.DataFrame:
    """Rows of the log as EVENT_SCHEMA."""
    if not rows:
        return empty(EVENT_SCHEMA)
    columns = list(zip(*(tuple(row) for row in rows), strict=True))
    frame = pl.DataFrame(dict(zip(rows[0].keys(), map(list, columns), strict=True)))
    return frame.with_columns(pl.col("currency").cast(CURRENCY)).select(
        pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items()
    )


def _positions_to_json(positions: Mapping[TopicPartition, int]) -> str:
    nested: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(positions.items()):
        nested.setdefault(topic, {})[str(partition)] = offset
    return orjson.dumps(nested).decode()


def _positions_from_json(text: str) -> dict[TopicPartition, int]:
    nested: dict[str, dict[str, int]] = orjson.loads(text)
    return {(topic, int(partition)): offset for topic, by in nested.items() for partition, offset in by.items()}
