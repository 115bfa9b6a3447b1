"""The audit trail: nobody reads unseen, nothing is changed unnoticed."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from api.audit_log import AuditLog
from api.db import Database
from api.options import ApiOptions
from api.problems import AuditUnavailableError
from api.store.trail import check_entries
from schemas.audit import AuditEntry, entry_hash

from .conftest import Ledger

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]


def entry(number: int, **changes: Any) -> AuditEntry:
    made = AuditEntry(datetime.now(UTC), "tess", "test", "thing", str(number), {"n": number, "nul": "a\0b"}, "r", "::1")
    return replace(made, **changes)


def with_log(options: ApiOptions, work: Callable[[AuditLog], Any], chain: str) -> Any:
    async def run() -> Any:
        db = Database(options)
        log = AuditLog(db, options.limits, chain)
        log.start()
        try:
            return await work(log)
        finally:
            await log.stop()
            await db.close()

    return asyncio.run(run())


def test_many_entries_share_a_commit_and_make_one_chain(options: ApiOptions, ledger: Ledger) -> None:
    async def work(log: AuditLog) -> tuple[int, int]:
        await asyncio.gather(*(log.write(entry(number)) for number in range(200)))
        return log.entries, log.commits

    entries, commits = with_log(options, work, "api-batch")
    assert entries == 200
    assert commits < 20
    rows = ledger.sql("select * from audit_logs where chain = 'api-batch' order by seq")
    assert [row["seq"] for row in rows] == list(range(1, 201))


def test_two_replicas_keep_one_chain(options: ApiOptions, ledger: Ledger) -> None:
    async def run() -> None:
        dbs = [Database(options), Database(options)]
        logs = [AuditLog(db, options.limits, "api-two") for db in dbs]
        for log in logs:
            log.start()
        await asyncio.gather(*(log.write(entry(number)) for number in range(40) for log in logs))
        for log, db in zip(logs, dbs, strict=True):
            await log.stop()
            await db.close()

    asyncio.run(run())
    rows = ledger.sql("select seq, hash, prev_hash from audit_logs where chain = 'api-two' order by seq")
    assert [row["seq"] for row in rows] == list(range(1, 81))
    assert all(after["prev_hash"] == before["hash"] for before, after in itertools.pairwise(rows))


def test_a_read_without_an_entry_is_refused(options: ApiOptions, as_user: User, ledger: Ledger) -> None:
    """Somebody holds the chain's lock for longer than a read waits."""
    as_user("vera").get("/transactions")

    async def hold() -> Any:
        connection = await asyncpg.connect(**ledger.postgres.connect_kwargs("owner"))
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select * from audit_heads where chain = 'api' for update")
        return connection, transaction

    connection, transaction = ledger.run(hold())
    try:
        answer = as_user("vera").get("/transactions")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/audit-unavailable")
        assert "items" not in answer.text
        assert answer.headers["retry-after"]
        assert as_user("vera").get("/summary").status_code == 200
        for _ in range(options.limits.exports_per_caller + 1):  # a download that is not given holds no slot
            assert as_user("anna").get("/transactions/export").status_code == 503
    finally:
        ledger.run(transaction.rollback())
        ledger.run(connection.close())
    assert as_user("vera").get("/transactions").status_code == 200


def test_a_full_queue_refuses_at_once(options: ApiOptions) -> None:
    async def run() -> None:
        db = Database(options)
        log = AuditLog(db, replace(options.limits, audit_queue_entries=1, audit_wait_ms=50), "api-full")
        first = asyncio.create_task(log.write(entry(1)))  # nobody writes: the log was not started
        await asyncio.sleep(0)
        with pytest.raises(AuditUnavailableError):
            await log.write(entry(2))
        with pytest.raises(AuditUnavailableError):
            await first
        await db.close()

    asyncio.run(run())


@pytest.mark.parametrize("role", ["api", "app", "owner"])
@pytest.mark.parametrize(
    "statement",
    ["update audit_logs set actor = 'x'", "delete from audit_logs", "truncate audit_logs"],
    ids=["update", "delete", "truncate"],
)
def test_entries_cannot_be_changed_by_sql(role: str, statement: str, as_user: User, ledger: Ledger) -> None:
    as_user("vera").get("/transactions")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ledger.sql(statement, role=role)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into audit_logs select 'shard-0', 1, now(), 'x', 'x', 'x', 'x', '', '', '{}', '', ''",
        "update audit_heads set seq = 0",
        "update audit_heads set seq = seq, hash = ''",
        "delete from audit_heads",
    ],
    ids=["into another's chain", "a head back", "a head in place", "a head away"],
)
def test_the_service_cannot_rewrite_history(statement: str, as_user: User, ledger: Ledger) -> None:
    as_user("vera").get("/transactions")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ledger.sql(statement, role="api")


def test_search_and_paging(as_user: User) -> None:
    for number in range(6):
        as_user("arno").get(f"/transactions/nobody-{number}")
        as_user("arno").get("/exceptions")
    query: dict[str, Any] = {"actor": "arno", "action": "listExceptions", "limit": 4}
    first = as_user("adam").get("/audit", params=query).json()
    second = as_user("adam").get("/audit", params=query | {"cursor": first["next_cursor"]}).json()
    seqs = [item["seq"] for item in first["items"] + second["items"]]
    assert len(seqs) >= 6
    assert seqs == sorted(set(seqs), reverse=True)
    later = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000)
    assert as_user("adam").get("/audit", params={"since": later}).json()["items"] == []
    assert as_user("adam").get("/audit", params={"chain": "nobody"}).json()["items"] == []


def test_an_export_can_be_verified_elsewhere(as_user: User) -> None:
    as_user("vera").get("/transactions", params={"currency": "EUR"})
    text = as_user("adam").get("/audit/export", params={"chain": "api"}).text
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: int(row["seq"]))
    digest = b""
    for row in rows:
        made = AuditEntry(
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(row["occurred_at_us"])),
            row["actor"],
            row["action"],
            row["object_type"],
            row["object_id"],
            json.loads(row["details"]),
            row["request_id"],
            row["source_ip"],
        )
        digest = entry_hash("api", int(row["seq"]), made, digest)
        assert digest.hex() == row["hash"]
    assert len(rows) > 1


def test_verification_finds_a_whole_chain_and_goes_on_from_there(as_user: User) -> None:
    as_user("vera").get("/transactions")
    first = as_user("adam").post("/audit/verify", json={"from_start": True}).json()
    state = next(item for item in first["items"] if item["chain"] == "api")
    assert (state["intact"], first["complete"]) == (True, True)
    assert state["verified_seq"] >= 1
    again = as_user("adam").post("/audit/verify", json={}).json()
    assert 1 <= again["entries"] <= 5
    assert again["intact"] is True


def test_an_intact_chain_is_never_called_broken_while_entries_are_written(as_user: User) -> None:
    """Entries and the heads recorded apart from them are compared as they were at one moment."""
    stop = threading.Event()

    def write() -> None:
        reader = as_user("vera")
        while not stop.is_set():
            reader.get("/transactions")

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        reports = [as_user("adam").post("/audit/verify", json={"from_start": True}).json() for _ in range(25)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    problems = [item["problem"] for report in reports for item in report["items"] if not item["intact"]]
    assert problems == []
    assert reports[-1]["items"] != reports[0]["items"]  # the chain grew meanwhile


TAMPERINGS = {
    "a changed entry": "update audit_logs set actor = 'mallory' where chain = '{c}' and seq = 3",
    "a removed entry": "delete from audit_logs where chain = '{c}' and seq = 3",
    "a cut tail": "delete from audit_logs where chain = '{c}' and seq = 5",
    "a changed detail": "update audit_logs set details = '{{}}' where chain = '{c}' and seq = 1",
    "a changed time": "update audit_logs set occurred_at = now() where chain = '{c}' and seq = 2",
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_verification_finds(name: str, options: ApiOptions, as_user: User, ledger: Ledger) -> None:
    """Even the database's superuser, who can lift the triggers, leaves a trace."""
    chain = f"api-{name.replace(' ', '-')}"

    async def work(log: AuditLog) -> None:
        for number in range(5):
            await log.write(entry(number))

    with_log(options, work, chain)
    ledger.sql("set session_replication_role = replica", role="admin")
    ledger.sql(TAMPERINGS[name].format(c=chain), role="admin")
    report = as_user("adam").post("/audit/verify", json={}).json()
    state = next(item for item in report["items"] if item["chain"] == chain)
    assert state["intact"] is False
    assert state["problem"]
    assert report["intact"] is False
    ledger.sql(f"delete from audit_logs where chain = '{chain}'", role="admin")
    ledger.sql("set session_replication_role = replica", role="admin")
    ledger.sql(f"delete from audit_heads where chain = '{chain}'", role="admin")


def test_entries_of_another_chain_do_not_pass() -> None:
    assert check_entries("api", [], 0, b"") == (0, b"", "")
