"""Brings a file's rows into the log exactly once, whoever dies meanwhile.

A file goes into its source's topic in one Kafka transaction, its end marker last. Before the transaction begins, the
ledger notes the file and where the topic ended. After a crash the next ingestion of the file first fences the dead
producer by its transactional id, which ends its transaction one way or the other; then the log says by the end marker
whether it was committed. So the same file twice is nothing, and half a file is never seen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import asyncpg
import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from cluster.audit_chain import append
from schemas.audit import AuditEntry
from schemas.covered import ROWS, told
from schemas.errors import KafkaUnavailableError, ReconError
from schemas.queries import named_queries
from sources.config.models import SourceConfig
from sources.config.reading import read_paths
from sources.files.opened import OpenedFile
from sources.files.statements import StatementKey
from sources.ingested import Written, files_topic, messages_of

_SQL: Final = named_queries("schemas", "sql/ingested_files.sql")
CHAIN: Final = "ingestion"
PARTITION: Final = 0  # all rows of a file in one, so that they keep their order
TRANSACTION_TIMEOUT_MS: Final = 900_000  # the broker's own limit: a file is one transaction
REQUEST_TIMEOUT_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 120.0
_POLL_ROWS: Final = 1_000


class IngestionBusyError(ReconError):
    """Another process ingests files of this source at the moment."""


class ChangedStatementError(ReconError):
    """A statement of this number was ingested with other content."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file: `new`, or `known` when it was there already (`recovered`: by a run that died)."""

    name: str
    digest: str
    outcome: str
    rows: int = 0
    rejected: int = 0
    known_statements: int = 0


class Ingestion:
    """Ingests files of one source; a context manager that holds the source for itself."""

    def __init__(
        self,
        owner_kwargs: Mapping[str, Any],
        kafka: Mapping[str, Any],
        reader: Mapping[str, Any],
        reconciliation: str,
        source: SourceConfig,
        who: str,
    ) -> None:
        """`kafka` and `reader` are librdkafka's settings of the producing and the reading role."""
        self._owner = dict(owner_kwargs)
        self._kafka = dict(kafka)
        self._reader = dict(reader)
        self._topic = files_topic(reconciliation, source.name)
        self._source = source
        self._who = who
        self._connection: asyncpg.Connection[Any] | None = None
        self._producer: Producer | None = None
        self._error: KafkaError | None = None

    async def __aenter__(self) -> Self:
        """Raises IngestionBusyError when another process has the source, KafkaUnavailableError."""
        self._connection = await asyncpg.connect(**self._owner)
        if not await self._connection.fetchval(_SQL["only_one"], self._topic):
            await self._connection.close()
            raise IngestionBusyError(f"files of source {self._source.name} are being ingested by another process")
        self._producer = await asyncio.to_thread(self._fencing_producer)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the source go."""
        if self._connection is not None:
            await self._connection.close()

    async def ingest(self, opened: OpenedFile, on_rows: Callable[[int], None] = lambda _: None) -> Ingested:
        """Bring one file in, unless it is there. Raises ChangedStatementError or KafkaUnavailableError."""
        connection = self._connection
        if connection is None:
            raise AssertionError("not entered")
        name, digest = opened.name, opened.digest
        row = await connection.fetchrow(_SQL["one"], self._source.name, digest)
        if row is not None and row["state"] == "done":
            return Ingested(name, digest, "known")
        if row is not None:
            end = await asyncio.to_thread(self._end_marker, digest, row["log_offset"])
            if end is not None:
                await self._note("done", self._source.name, digest, end["rows"], end["rejected"])
                return Ingested(name, digest, "recovered", end["rows"], end["rejected"])
        known = self._known_statements(opened, await connection.fetch(_SQL["statements"], self._source.name))
        offset = await asyncio.to_thread(self._end_offset)
        statements = [
            {"account": one.key.account, "number": one.key.number, "closed_on": one.key.closed_on, "digest": one.digest}
            for one in opened.statements
        ]
        await self._note("begin", self._source.name, digest, name, json.dumps(statements), offset, self._who)
        written = await asyncio.to_thread(self._write, opened, known, on_rows)
        await self._note("done", self._source.name, digest, written.rows, written.rejected)
        return Ingested(name, digest, "new", written.rows, written.rejected, len(known))

    async def _note(self, query: str, *arguments: object) -> None:
        """Write what is known of a file, with its entry in the trail."""
        connection = self._connection
        if connection is None:
            raise AssertionError("not entered")
        async with connection.transaction():
            row = await connection.fetchrow(_SQL[query], *arguments)
            if row is None:
                raise AssertionError("another process has finished the file, though this one holds the source")
            details = {ROWS: {"ingested_files": [told("ingested_files", row)]}}
            entry = AuditEntry(datetime.now(UTC), self._who, f"file.{row['state']}", "file", row["digest"], details)
            await append(connection, CHAIN, entry)

    def _known_statements(self, opened: OpenedFile, rows: Sequence[asyncpg.Record]) -> list[StatementKey]:
        """The file's statements that are in the log already. Raises ChangedStatementError."""
        seen = {
            StatementKey(one["account"], one["number"], one["closed_on"]): (one["digest"], row["name"])
            for row in rows
            for one in json.loads(row["statements"])
        }
        known = []
        for statement in opened.statements:
            if statement.key in seen:
                before, name = seen[statement.key]
                if before != statement.digest:
                    raise ChangedStatementError(f"{opened.name}: {statement} has other content than in {name}")
                known.append(statement.key)
        return known

    # -- Kafka ---------------------------------------------------------------------------------------------------------

    def _fencing_producer(self) -> Producer:
        producer = Producer(
            {
                **self._kafka,
                "transactional.id": f"recon-ingest-{self._topic}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 20,
                "compression.type": "lz4",
                "log_level": 0,
            }
        )
        _kafka(lambda: producer.init_transactions(REQUEST_TIMEOUT_S), self._topic)
        return producer

    def _write(self, opened: OpenedFile, known: Sequence[StatementKey], on_rows: Callable[[int], None]) -> Written:
        producer = self._producer
        if producer is None or self._source.fields is None:
            raise AssertionError("not entered, or a source without a mapping")
        self._error = None
        written = Written()
        paths = read_paths(self._source.fields, self._source.where)
        _kafka(producer.begin_transaction, self._topic)
        try:
            for count, (key, value) in enumerate(messages_of(opened, paths, known, written), start=1):
                self._produce(producer, key, value)
                if count % _POLL_ROWS == 0:
                    on_rows(_POLL_ROWS)
            self._finish(producer)
        except BaseException:
            producer.purge()
            try:
                producer.abort_transaction(REQUEST_TIMEOUT_S)
            except KafkaException:
                self._producer = None  # the broker ends the transaction, at the latest when it is fenced
            raise
        return written

    def _finish(self, producer: Producer) -> None:
        if producer.flush(FLUSH_TIMEOUT_S):
            raise KafkaUnavailableError(f"{self._topic}: records were not taken in {FLUSH_TIMEOUT_S:.0f} s")
        self._raise_error()
        _kafka(lambda: producer.commit_transaction(REQUEST_TIMEOUT_S), self._topic)

    def _produce(self, producer: Producer, key: bytes, value: bytes) -> None:
        while True:
            try:
                producer.produce(self._topic, value, key, PARTITION, on_delivery=self._delivered)
            except BufferError:
                producer.poll(0.1)
                continue
            except KafkaException as error:
                raise KafkaUnavailableError(f"{self._topic}: {error.args[0].str()}") from error
            producer.poll(0)
            self._raise_error()
            return

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        self._error = self._error or error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise KafkaUnavailableError(f"{self._topic}: {self._error.str()}")

    def _end_offset(self) -> int:
        consumer = self._consumer()
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(self._topic, PARTITION), REQUEST_TIMEOUT_S)
            return int(high)
        except KafkaException as error:
            raise KafkaUnavailableError(f"{self._topic}: {error.args[0].str()}") from error
        finally:
            consumer.close()

    def _end_marker(self, digest: str, offset: int) -> dict[str, int] | None:
        """The file's committed end marker at or after an offset, None when there is none.

        Raises KafkaUnavailableError.
        """
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._topic, PARTITION, offset)])
            heard = time.monotonic()
            while time.monotonic() - heard < REQUEST_TIMEOUT_S:
                for message in consumer.consume(5_000, 1.0):
                    heard = time.monotonic()
                    error = message.error()
                    if error is None and (found := _end_of(message.value(), digest)) is not None:
                        return found
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                        return None
        except KafkaException as error:
            raise KafkaUnavailableError(f"{self._topic}: {error.args[0].str()}") from error
        finally:
            consumer.close()
        raise KafkaUnavailableError(f"{self._topic}: was not read to its end in {REQUEST_TIMEOUT_S:.0f} s")

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self._reader,
                "group.id": "recon-ingest",  # never committed to; the client insists on a name
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )


def _end_of(value: bytes | None, digest: str) -> dict[str, int] | None:
    if value is None or b'"end"' not in value:
        return None
    content = msgspec.json.decode(value)
    return content["end"] if content.get("digest") == digest and "end" in content else None


def _kafka(call: Callable[[], Any], topic: str) -> None:
    try:
        call()
    except KafkaException as error:
        raise KafkaUnavailableError(f"{topic}: {error.args[0].str()}") from error
