"""The past changed unseen? By the database's owner with triggers off, and by a superuser: each change is named.

Every change is made in a transaction of its own, checked inside it, and rolled back. The changes are a table that an
auditor can read; `pytest -s` prints what named each of them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import NamedTuple

import asyncpg
import pytest

from cluster.oracle.trail import check_trail
from schemas.events import DEFAULT_SOURCES
from tests.actors.workbench import PATIENCE_S
from tests.conftest import run_sync
from tests.oracle.small_ledger import fill

pytestmark = pytest.mark.stack

CORE, GATEWAY, MOBILE = (source.topic for source in DEFAULT_SOURCES)
A_BLOCK = "(key_group, seq_from) = (select key_group, seq_from from event_blocks order by key_group, seq_from limit 1)"
LETTER = f"topic = '{CORE}'"
DISMISSED = "state = 'dismissed'"


class Change(NamedTuple):
    """What somebody does, and the table, row and field that the check must name. An empty field: the whole row."""

    name: str
    sql: str
    table: str
    row: str
    field: str = ""


def of_result(txn_id, column, value):
    row = f"txn_id={txn_id}"
    sql = f"update results set {column} = {value} where txn_id = '{txn_id}'"
    return Change(f"results: {column} of {txn_id}", sql, "results", row, column)


def of_row(table, where, row, column, value):
    return Change(f"{table}: {column}", f"update {table} set {column} = {value} where {where}", table, row, column)


def gone(table, where, row, name=""):
    return Change(f"{table}: deleted{name}", f"delete from {table} where {where}", table, row)


CHANGES = [
    # The trail itself
    Change(
        "audit_logs: the actor of an entry",
        "update audit_logs set actor = 'nobody' where chain = 'api' and seq = 5",
        "audit_logs",
        "api #5",
    ),
    Change(
        "audit_logs: details of a flush",
        "update audit_logs set details = details || '{\"final\": 0}' where chain = 'shard-0' and seq = 2",
        "audit_logs",
        "shard-0 #2",
    ),
    Change(
        "audit_logs: an entry deleted", "delete from audit_logs where chain = 'api' and seq = 7", "audit_logs", "api #8"
    ),
    Change(
        "audit_logs: the newest cut off",
        "delete from audit_logs where chain = 'shard-64' and seq > 3",
        "audit_logs",
        "shard-64 #3",
    ),
    Change(
        "audit_logs: one added at the end",
        "insert into audit_logs select chain, seq + 1, occurred_at, actor, action, object_type, object_id, request_id,"
        " source_ip, details, hash, hash from audit_logs where chain = 'api' order by seq desc limit 1",
        "audit_logs",
        "api #",
    ),
    Change(
        "audit_logs: the baseline gone", "delete from audit_logs where chain = 'baseline'", "audit_logs", "baseline"
    ),
    Change(
        "audit_logs: a chain without anchor gone",
        "delete from audit_logs where chain = 'topics'",
        "log_topics",
        f"topic={CORE}",
    ),
    Change(
        "audit_logs, audit_heads: cut off, and the anchor moved back",
        "with cut as (delete from audit_logs a where chain = 'api' and seq > (select max(seq) - 3 from audit_logs"
        " where chain = 'api')) update audit_heads h set seq = a.seq, hash = a.hash from audit_logs a"
        " where h.chain = 'api' and a.chain = 'api' and a.seq = h.seq - 3",
        "incidents",
        "incident_id=",
    ),
    Change("audit_heads: an anchor gone", "delete from audit_heads where chain = 'api'", "audit_heads", "chain=api"),
    Change(
        "audit_heads: an anchor's hash",
        "update audit_heads set hash = '\\x00' where chain = 'api'",
        "audit_logs",
        "api #",
    ),
    # How far the shards have come
    of_row("checkpoints", "key_group_from = 0", "key_group_from=0", "next_seq", "next_seq + 5"),
    of_row("checkpoints", "key_group_from = 0", "key_group_from=0", "epoch", "0"),
    of_row("checkpoints", "key_group_from = 0", "key_group_from=0", "flushes", "1"),
    of_row("checkpoints", "key_group_from = 64", "key_group_from=64", "key_group_to", "127"),
    of_row("checkpoints", "key_group_from = 0", "key_group_from=0", "audit_seq", "0"),
    of_row(
        "checkpoints",
        "key_group_from = 0",
        "key_group_from=0",
        "positions",
        f"jsonb_set(positions, '{{{CORE},0}}', '1')",
    ),
    # The log
    Change(
        "event_blocks: an amount",
        f"update event_blocks set amount_minor[1] = amount_minor[1] + 1 where {A_BLOCK}",
        "event_blocks",
        "seq=",
    ),
    Change(
        "event_blocks: a transaction's id",
        f"update event_blocks set txn_id[1] = 'other' where {A_BLOCK}",
        "event_blocks",
        "seq=",
    ),
    Change(
        "event_blocks: an arrival",
        f"update event_blocks set arrival_ms[1] = arrival_ms[1] + 1 where {A_BLOCK}",
        "event_blocks",
        "seq=",
    ),
    Change("event_blocks: deleted", f"delete from event_blocks where {A_BLOCK}", "event_blocks", "seq="),
    Change(
        "event_blocks: slipped in",
        "insert into event_blocks select key_group, 900000, 900000, 1, written_on, array[900000::bigint], txn_id[1:1],"
        " source[1:1], array['slipped'], amount_minor[1:1], currency[1:1], status[1:1], event_time_ms[1:1],"
        " arrival_ms[1:1], account_id[1:1], original_txn_id[1:1], kafka_partition[1:1], array[900000::bigint]"
        f" from event_blocks where {A_BLOCK}",
        "event_blocks",
        "",
    ),
    gone("redeliveries", "txn_id = 'again-0'", "seq="),
    of_row("redeliveries", "txn_id = 'again-0'", "seq=", "txn_id", "'other'"),
    Change(
        "redeliveries: slipped in",
        "insert into redeliveries select key_group, event_seqs[1], txn_id, first_arrival from results"
        " where txn_id = 'match-1'",
        "redeliveries",
        "seq=",
    ),
    # Verdicts
    of_result("amount-3", "verdict", "1"),
    of_result("match-1", "verdict", "2"),
    of_result("amount-3", "breaks", "0"),
    of_result("missing-0", "missing", "1"),
    of_result("heals-0", "late", "0"),
    of_result("match-2", "present", "3"),
    of_result("match-2", "revision", "2"),
    of_result("match-2", "rules_version", "2"),
    of_result("match-2", "currency", "'USD'"),
    of_result("amount-4", "amount_minor", "amount_minor - 1"),
    of_result("amount-4", "spread_minor", "0"),
    of_result("match-5", "legs", "replace(legs, ':S:', ':F:')"),
    of_result("match-5", "first_arrival", "first_arrival - interval '1 second'"),
    of_result("match-5", "last_arrival", "last_arrival + interval '1 second'"),
    of_result("match-5", "event_seqs", "event_seqs[1:2]"),
    of_result("match-6", "decided_at", "decided_at - interval '1 day'"),
    of_result("match-6", "final", "false"),
    of_result("open-0", "breaks", "0"),
    of_result("open-0", "final", "true"),
    gone("results", "txn_id = 'amount-5'", "txn_id=amount-5", ", a mismatch"),
    gone("results", "txn_id = 'match-7'", "txn_id=match-7", ", a match"),
    gone("results", "txn_id = 'open-0'", "txn_id=open-0", ", one that is open"),
    Change(
        "results: given another id",
        "update results set txn_id = 'renamed' where txn_id = 'match-8'",
        "results",
        "txn_id=match-8",
    ),
    Change(
        "results: moved to another key group",
        "update results set key_group = (key_group + 1) % 64 where txn_id = (select min(txn_id) from results"
        " where key_group < 63 and txn_id like 'match-%' and final)",
        "results",
        "txn_id=match-",
        "key_group",
    ),
    Change(
        "results: slipped in",
        "insert into results select key_group, 'slipped', verdict, final, revision, rules_version, breaks, missing,"
        " late, present, currency, amount_minor, spread_minor, first_arrival, last_arrival, decided_at, legs,"
        " event_seqs from results where txn_id = 'match-9'",
        "results",
        "txn_id=slipped",
        "txn_id",
    ),
    of_row("result_history", "txn_id = 'match-3'", "txn_id=match-3", "verdict", "2"),
    of_row("result_history", "txn_id = 'heals-0'", "txn_id=heals-0", "breaks", "0"),
    of_row("result_history", "txn_id = 'match-3'", "txn_id=match-3", "replaced_at", "replaced_at + interval '1 day'"),
    Change(
        "result_history: deleted",
        "delete from result_history where txn_id = 'heals-0'",
        "results",
        "txn_id=heals-0",
    ),
    # Dead letters
    gone("dead_letters", LETTER, f"topic={CORE}"),
    of_row("dead_letters", LETTER, f"topic={CORE}", "payload", "'\\x00'"),
    of_row("dead_letters", LETTER, f"topic={CORE}", "headers", """'[["a", "b"]]'"""),
    of_row("dead_letters", LETTER, f"topic={CORE}", "reason", "'bad_time'"),
    of_row("dead_letters", LETTER, f"topic={CORE}", "detail", "''"),
    of_row("dead_letters", LETTER, f"topic={CORE}", "arrival", "arrival - interval '1 day'"),
    of_row("dead_letters", DISMISSED, "topic=", "state_changed_by", "'anna'"),
    of_row("dead_letters", DISMISSED, "topic=", "state", "'new'"),
    of_row("dead_letters", "state = 'replayed'", "topic=", "state", "'dismissed'"),
    Change(
        "dead_letters: dismissed in another's name",
        "update dead_letters set state = 'dismissed', state_changed_at = now(), state_changed_by = 'anna'"
        " where state = 'new'",
        "dead_letters",
        "topic=",
        "state",
    ),
    Change(
        "dead_letters: slipped in",
        f"insert into dead_letters values (1, '{CORE}', 0, 900000, now(), 'malformed', '')",
        "dead_letters",
        "kafka_offset=900000",
    ),
    Change(
        "dead_letters: given another's place, so that its replay is told of",
        f"update dead_letters set kafka_offset = 900000 where {DISMISSED}",
        "dead_letters",
        "kafka_offset=900000",
    ),
    # The desk
    of_row("exceptions", "txn_id = 'big-0'", "txn_id=big-0", "approved_by", "'adam'"),
    of_row("exceptions", "txn_id = 'big-0'", "txn_id=big-0", "proposed_by", "'adam'"),
    of_row("exceptions", "txn_id = 'big-0'", "txn_id=big-0", "resolved_by", "'adam'"),
    of_row("exceptions", "txn_id = 'big-0'", "txn_id=big-0", "needs_checker", "false"),
    of_row("exceptions", "txn_id = 'amount-1'", "txn_id=amount-1", "reason_code", "'written_off'"),
    of_row("exceptions", "txn_id = 'amount-0'", "txn_id=amount-0", "assignee", "'anna'"),
    of_row("exceptions", "txn_id = 'missing-0'", "txn_id=missing-0", "assignee", "'arno'"),
    of_row("exceptions", "txn_id = 'amount-2'", "txn_id=amount-2", "state", "'in_review'"),
    of_row("exceptions", "txn_id = 'heals-0'", "txn_id=heals-0", "healed_at", "healed_at - interval '1 day'"),
    of_row("exceptions", "txn_id = 'amount-1'", "txn_id=amount-1", "version", "version + 1"),
    gone("exceptions", "state = 'resolved'", "txn_id=big-0", ", all that are resolved"),
    Change(
        "exceptions: slipped in",
        "insert into exceptions (key_group, txn_id, state, reason_code) select key_group, txn_id, 'resolved', 'timing'"
        " from results where txn_id = 'amount-6'",
        "exceptions",
        "txn_id=amount-6",
    ),
    of_row("exception_history", "history_id = 1", "history_id=1", "actor", "'arno'"),
    of_row("exception_history", "history_id = 1", "history_id=1", "note", "left(note, 600)"),
    of_row("exception_history", "history_id = 1", "history_id=1", "at", "at - interval '1 hour'"),
    gone("exception_history", "history_id = 2", "history_id=2"),
    of_row("exception_comments", "comment_id = 1", "comment_id=1", "body", "left(body, 1899) || 'y'"),
    of_row("exception_comments", "comment_id = 2", "comment_id=2", "author", "'anna'"),
    gone("exception_comments", "comment_id = 2", "comment_id=2"),
    # Rules, sources, people, incidents, topics
    of_row(
        "rule_sets",
        "version = 1",
        "version=1",
        "body",
        "jsonb_set(body, '{default_tolerance,absolute_minor}', '100000')",
    ),
    of_row("rule_sets", "version = 2", "version=2", "created_by", "'arno'"),
    of_row("rule_sets", "version = 2", "version=2", "activated_by", "'arno'"),
    of_row("rule_sets", "version = 2", "version=2", "effective_from", "effective_from - interval '1 day'"),
    Change(
        "rule_sets: a draft put in force",
        "update rule_sets set state = 'active', effective_from = now(), activated_by = 'adam' where version = 4",
        "rule_sets",
        "version=4",
        "state",
    ),
    gone("rule_sets", "version = 3", "version=3"),
    of_row("sources", "source_id = 2", "source_id=2", "name", "'PHONE'"),
    of_row("sources", "source_id = 2", "source_id=2", "expected", "false"),
    gone("sources", "source_id = 2", "source_id=2"),
    of_row("configurations", "version = 1", "version=1", "body", "body || ' '"),
    of_row("configurations", "version = 1", "version=1", "effective_from", "effective_from - interval '1 day'"),
    gone("configurations", "version = 1", "version=1"),
    of_row("ingested_files", "digest = 'd1'", "digest=d1", "rows", "19"),
    of_row("ingested_files", "digest = 'd1'", "digest=d1", "statements", "'[]'"),
    gone("ingested_files", "digest = 'd2'", "digest=d2"),
    of_row("people", "username = 'anna'", "username=anna", "role", "'admin'"),
    of_row("people", "username = 'anna'", "username=anna", "subject", "'other'"),
    gone("people", "username = 'arno'", "username=arno"),
    of_row("incidents", "kind = 'source_silent'", "incident_id=", "closed_at", "now()"),
    of_row("incidents", "kind = 'break_burst'", "incident_id=", "detail", "'3 of 60'"),
    gone("incidents", "kind = 'break_burst'", "incident_id="),
    of_row("log_topics", f"topic = '{CORE}'", f"topic={CORE}", "topic_id", "'other'"),
    of_row("log_topics", f"topic = '{CORE}'", f"topic={CORE}", "skipped", "'{\"0\": 1000}'"),
    # Guards
    Change(
        "audit_logs: a guard switched off",
        "alter table audit_logs disable trigger audit_logs_append_only",
        "audit_logs",
        "trigger=audit_logs_append_only",
        "trigger",
    ),
    Change(
        "exceptions: a guard dropped",
        "drop trigger exceptions_guard on exceptions",
        "exceptions",
        "trigger=exceptions_guard",
        "trigger",
    ),
]
GUARDED = (
    *("audit_logs", "audit_heads", "checkpoints", "event_blocks", "redeliveries", "results", "result_history"),
    *("dead_letters", "exceptions", "exception_history", "exception_comments", "rule_sets", "sources", "people"),
    *("incidents", "log_topics", "configurations", "ingested_files"),
)


class Auditor:
    """One connection of each role, for all changes."""

    def __init__(self, postgres):
        self.postgres = postgres
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connections = {}

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self):
        for connection in self._connections.values():
            self.run(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def checked_after(self, role, change):
        """The report of a check inside the transaction of a change, which is rolled back."""

        async def work():
            if role not in self._connections:
                kwargs = self.postgres.connect_kwargs("admin" if role == "superuser" else role)
                self._connections[role] = await asyncpg.connect(**kwargs)
            connection = self._connections[role]
            transaction = connection.transaction()
            await transaction.start()
            try:
                await make(connection, role, change.sql)
                return await check_trail(connection)
            finally:
                await transaction.rollback()

        return self.run(work())

    def checked(self):
        """The report of a check of the ledger as it is, with what is in it."""

        async def work():
            connection = await asyncpg.connect(**self.postgres.connect_kwargs("api"))
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    results = await connection.fetchval("select count(*) from results where final")
                    replaced = await connection.fetchval("select count(*) from result_history")
                    return await check_trail(connection), results, replaced
            finally:
                await connection.close()

        return self.run(work())


@pytest.fixture(scope="module")
def auditor(stack, fresh_db):
    run_sync(fill(stack.model_copy(update={"postgres": fresh_db})))
    made = Auditor(fresh_db)
    yield made
    made.close()


async def make(connection, role, sql):
    is_ddl = sql.startswith(("alter", "drop"))
    if role == "superuser":
        await connection.execute("set local session_replication_role = replica")
    elif not is_ddl:
        for table in GUARDED:
            await connection.execute(f"alter table {table} disable trigger user")
    status = await connection.execute(sql)
    assert is_ddl or int(status.split()[-1]) >= 1, f"the change touches no row: {status}"
    if role == "superuser":
        await connection.execute("set local session_replication_role = origin")
    elif not is_ddl:
        for table in GUARDED:
            await connection.execute(f"alter table {table} enable trigger user")


def names(fault, change):
    """Whether a fault names what was changed."""
    if change.table == "audit_logs" and change.field == "":
        place = f"{fault.chain} #{fault.seq}"
        return fault.table == "audit_logs" and place.startswith(change.row)
    return fault.table == change.table and change.row in fault.row and fault.field == change.field


def test_an_honest_ledger_has_no_fault_and_is_covered_in_every_table(auditor):
    report, results, replaced = auditor.checked()
    assert [str(fault) for fault in report.faults] == []
    assert report.covered_results == results + replaced
    assert replaced == 2
    assert report.covered_shown == 1
    assert report.is_covered_from_start
    assert {chain: seq for chain, (seq, _) in report.heads.items()} == report.chains
    assert {len(digest) for _, digest in report.heads.values()} == {64}
    assert report.uncovered_results == 0
    assert all(report.covered_rows.values()), report.covered_rows


@pytest.mark.parametrize("role", ["owner", "superuser"])
@pytest.mark.parametrize("change", CHANGES, ids=[change.name.replace(" ", "_") for change in CHANGES])
def test_a_change_is_named(auditor, change, role):
    report = auditor.checked_after(role, change)
    found = [fault for fault in report.faults if names(fault, change)]
    shown = "\n".join(map(str, report.faults)) or "nothing"
    assert found, f"named instead:\n{shown}"
    sys.stdout.write(f"\n| {role} | {change.name} | {found[0]} |\n")


def test_there_are_enough_changes():
    assert len({change.sql for change in CHANGES}) >= 40
    assert {change.table for change in CHANGES} >= set(GUARDED) - {"audit_logs"}
