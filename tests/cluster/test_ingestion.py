"""A file is in the log once and as a whole, whoever dies between any two steps."""

import asyncio
import json
import secrets
import sys

import asyncpg
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from cluster import ingestion
from cluster.ingestion import ChangedStatementError, Ingestion, IngestionBusyError
from cluster.stack.kafka import delete_topics, ensure_topics
from sources.config.reading import parse
from sources.files.opening import open_file
from sources.files.statements import StatementKey
from sources.ingested import files_topic

pytestmark = pytest.mark.stack
NAME = f"r{secrets.token_hex(4)}"
CONFIG = f"""
version: 1
reconciliations:
  {NAME}:
    sources:
      BANK:
        path: x.csv
        format: csv
        fields:
          txn_id: {{path: ref}}
          amount: {{path: amt, unit: major}}
          currency: {{const: EUR}}
          status: {{const: SUCCESS}}
          event_time: {{path: at}}
"""
RECONCILIATION = parse(CONFIG.encode(), "x").default
BANK = RECONCILIATION.sources["BANK"]
TOPIC = files_topic(NAME, "BANK")


class Dead(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def place(stack, fresh_db):
    ensure_topics(stack.kafka, [TOPIC], 1, -1)
    yield stack.model_copy(update={"postgres": fresh_db})
    delete_topics(stack.kafka, [TOPIC])


def ingesting(place):
    kafka = place.kafka
    return Ingestion(
        place.postgres.connect_kwargs("owner"),
        kafka.client_config("producer"),
        kafka.client_config("reader"),
        NAME,
        BANK,
        "test",
    )


def csv(*rows):
    text = "ref,amt,at\n" + "".join(f"{row},1.50,2026-03-10T12:00:00Z\n" for row in rows)
    return open_file(text.encode(), f"{rows[0]}.csv", BANK.file)


async def bring(place, opened):
    async with ingesting(place) as ingestion_:
        return await ingestion_.ingest(opened)


def in_log(place, digest):
    """What a reader sees of a file: its rows' numbers in order, and its end markers."""
    consumer = Consumer(
        {
            **place.kafka.client_config("reader"),
            "group.id": "recon-test",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    rows, ends = [], []
    try:
        while True:
            message = consumer.poll(20)
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                return rows, ends
            content = json.loads(message.value())
            if content["digest"] == digest:
                (ends if "end" in content else rows).append(content.get("end", content["row"]))
    finally:
        consumer.close()


async def test_a_file_is_in_once(place):
    opened = csv("a1", "a2", "a3")
    first = await bring(place, opened)
    assert (first.outcome, first.rows, first.rejected) == ("new", 3, 0)
    again = await bring(place, csv("a1", "a2", "a3"))
    assert again.outcome == "known"
    rows, ends = await asyncio.to_thread(in_log, place, opened.digest)
    assert rows == [2, 3, 4]
    assert [(end["rows"], end["rejected"]) for end in ends] == [(3, 0)]


async def test_death_before_the_commit_leaves_nothing_and_the_next_run_does_it_all(place, monkeypatch):
    opened = csv("b1", "b2", "b3")
    made = ingesting(place)
    async with made:

        def dies(_producer):
            made._producer.flush(10)  # the rows are at the broker, in an open transaction
            raise Dead

        monkeypatch.setattr(made, "_finish", dies)
        with pytest.raises(Dead):
            await made.ingest(opened)
    assert await asyncio.to_thread(in_log, place, opened.digest) == ([], [])
    done = await bring(place, csv("b1", "b2", "b3"))
    assert done.outcome == "new"
    rows, ends = await asyncio.to_thread(in_log, place, opened.digest)
    assert (rows, len(ends)) == ([2, 3, 4], 1)


async def test_a_process_that_is_killed_is_fenced_and_its_transaction_ends(place):
    opened = csv("k1", "k2")
    code = f"""
import asyncio, os, sys
from pathlib import Path
from cluster.endpoints import Endpoints
from tests.cluster import test_ingestion as t
place = Endpoints.model_validate_json(sys.stdin.read())
made = t.Ingestion(place.postgres.connect_kwargs("owner"), place.kafka.client_config("producer"),
                   place.kafka.client_config("reader"), {NAME!r}, t.BANK, "test")
def dies(producer):
    producer.flush(10)
    os.kill(os.getpid(), 9)
made._finish = dies
async def main():
    async with made:
        await made.ingest(t.csv("k1", "k2"))
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(place.model_dump_json().encode())
    assert process.returncode == -9, said.decode()
    done = await bring(place, csv("k1", "k2"))
    assert done.outcome == "new"
    rows, ends = await asyncio.to_thread(in_log, place, opened.digest)
    assert (rows, len(ends)) == ([2, 3], 1)


async def test_death_after_the_commit_is_found_out_from_the_log(place, monkeypatch):
    opened = csv("c1", "c2")
    sql = dict(ingestion._SQL)

    class Broken(dict):
        def __getitem__(self, name):
            if name == "done":
                raise Dead
            return super().__getitem__(name)

    monkeypatch.setattr(ingestion, "_SQL", Broken(sql))
    with pytest.raises(Dead):
        await bring(place, opened)
    monkeypatch.setattr(ingestion, "_SQL", sql)
    done = await bring(place, csv("c1", "c2"))
    assert (done.outcome, done.rows) == ("recovered", 2)
    rows, ends = await asyncio.to_thread(in_log, place, opened.digest)
    assert (rows, len(ends)) == ([2, 3], 1)


async def test_one_ingestion_of_a_source_at_a_time(place):
    async with ingesting(place):
        with pytest.raises(IngestionBusyError):
            await bring(place, csv("d1"))
    assert (await bring(place, csv("d1"))).outcome == "new"


async def test_a_statement_with_other_content_is_refused(place):
    opened = csv("e1")
    statement = type("S", (), {"key": None, "digest": "1", "first_day": "", "last_day": ""})
    statement.key = StatementKey("DE1", "7", "2026-03-10")
    opened.statements = (statement,)
    assert (await bring(place, opened)).outcome == "new"
    other = csv("e2")
    changed = type("S", (), {"key": statement.key, "digest": "2", "first_day": "", "last_day": ""})
    other.statements = (changed,)
    with pytest.raises(ChangedStatementError, match=r"other content than in e1\.csv"):
        await bring(place, other)
    assert await asyncio.to_thread(in_log, place, other.digest) == ([], [])
    connection = await asyncpg.connect(**place.postgres.connect_kwargs("owner"))
    try:
        assert await connection.fetchval("select count(*) from ingested_files where state = 'writing'") == 0
    finally:
        await connection.close()
