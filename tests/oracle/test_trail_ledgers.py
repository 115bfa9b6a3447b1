"""The trail of ledgers that live: other numbers of shards, owners that die, retention, migration. No false alarm."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import asyncpg
import pytest

from actors.adapters import digests, postgres
from actors.adapters.postgres import PostgresLedger
from api.models.exceptions import ExceptionAction
from cluster import baseline, migrate, retention
from cluster.activation import activate
from cluster.layout import split_key_groups
from cluster.oracle.trail import check_trail
from cluster.stack.postgres import create_database, drop_database
from schemas.events import DEFAULT_SOURCES, SourceSpec, key_group_of
from tests.actors.workbench import event
from tests.conftest import run_sync
from tests.oracle.small_ledger import (
    ANNA,
    ARNO,
    SmallLedger,
    begin,
    configuration,
    desk,
    first_traffic,
    second_traffic,
    services_on,
    three,
)

pytestmark = pytest.mark.stack

KEEP_DAYS = 30  # the small ledger's days are older
TRAIL_MIGRATION = "0011_trail.sql"


@pytest.fixture
def endpoints(stack, _template_database):
    """The stack with a database of the test's own."""
    name = f"recon_{secrets.token_hex(6)}"
    run_sync(create_database(stack.postgres, name, template=_template_database))
    yield stack.model_copy(update={"postgres": stack.postgres.for_database(name)})
    run_sync(drop_database(stack.postgres, name))


@pytest.fixture
def old_endpoints(stack, monkeypatch):
    """The same as an older version of recon left it: no digests of results, nothing that entries tell of rows."""
    name = f"recon_{secrets.token_hex(6)}"
    run_sync(create_database(stack.postgres, name))
    made = stack.model_copy(update={"postgres": stack.postgres.for_database(name)})
    every = migrate.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: [one for one in every if one[0] != TRAIL_MIGRATION])
        run_sync(migrate.apply(made.postgres.connect_kwargs("owner")))
    yield made
    run_sync(drop_database(stack.postgres, name))


@pytest.fixture
def as_before(monkeypatch):
    """The engine and the entries of before the trail covered decisions."""
    kept = postgres._SQL["keep_history"]
    shorter = kept.replace(", first_arrival, last_arrival, event_seqs,\n                            replaced_at", "")
    shorter = shorter.replace(", r.first_arrival, r.last_arrival, r.event_seqs,\n       s.decided_at", "")
    assert "event_seqs" not in shorter
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "result_details", lambda *_: {})
        patch.setattr(postgres, "row_entries", lambda *_: [])
        patch.setitem(postgres._SQL, "keep_history", shorter)
        for module in ("cluster.layout", "cluster.log_topics", "api.people", "api.watch", "api.store.exceptions"):
            patch.setattr(f"{module}.ROWS", "_not_told")
        for module in ("api.store.rules", "api.store.deadletters"):
            patch.setattr(f"{module}.ROWS", "_not_told")
        yield patch


def report_of(endpoints):
    async def ask():
        connection = await asyncpg.connect(**endpoints.postgres.connect_kwargs("api"))
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await check_trail(connection)
        finally:
            await connection.close()

    return run_sync(ask())


def sql(endpoints, *statements):
    """As the owner, triggers off."""

    async def work():
        connection = await asyncpg.connect(**endpoints.postgres.connect_kwargs("admin"))
        try:
            await connection.execute("set session_replication_role = replica")
            for statement in statements:
                found = await connection.fetch(statement)
            return found
        finally:
            await connection.close()

    return run_sync(work())


def faults(endpoints):
    return [str(fault) for fault in report_of(endpoints).faults]


def late(txn_id, at, **changes):
    return event(txn_id, "MOBILE", at=at, **changes)


def test_shards_may_be_more_or_fewer_between_runs(endpoints):
    ledger = run_sync(begin(endpoints))
    try:
        first_traffic(ledger)
        for number, shards in enumerate((1, 3, 2)):
            ledger.stop()
            ledger.count = shards
            ranges = run_sync(ledger.lay_out())
            assert ranges == split_key_groups(shards)
            assert faults(endpoints) == []
            ledger.start(ranges)
            ledger.pass_time(1)  # positions move before there is anything to write
            assert faults(endpoints) == []
            at = 100 + number * 50
            ledger.tell(
                *three(f"more-{number}", at=at), *three(f"bad-{number}", at=at)[:2], late(f"bad-{number}", at, amount=9)
            )
            ledger.tell(event("match-3", "CORE", at=at + 1, amount=number))  # a further revision of an old result
            ledger.pass_time(5)
            assert faults(endpoints) == []
    finally:
        ledger.stop()
    report = report_of(endpoints)
    assert report.covered_results == sql(endpoints, "select count(*) as n from results where final")[0]["n"] + 5
    sql(
        endpoints, "delete from audit_logs where chain = 'shard-64' and seq > 2", "update checkpoints set audit_seq = 0"
    )
    assert any("cut off" in fault for fault in faults(endpoints)), "the layout's entry saw a later one"


def test_an_owner_that_dies_and_an_answer_that_is_lost_leave_no_fault(endpoints, monkeypatch):
    ledger = run_sync(begin(endpoints))
    try:
        first_traffic(ledger)
        written = PostgresLedger._flush
        lost = []

        async def losing(self, connection, flush, sources, now_ms):
            flushed = await written(self, connection, flush, sources, now_ms)
            if not lost:
                lost.append(flush.number)
                raise asyncpg.InterfaceError("the answer was lost")
            return flushed

        monkeypatch.setattr(PostgresLedger, "_flush", losing)
        for shard in ledger.shards:
            object.__setattr__(shard, "_options", replace(shard._options, retry_interval_ms=2))
        ledger.tell(*three("lost-0", at=60), *three("lost-1", at=60))
        assert lost
        old = ledger.shards
        ledger.shards = []
        ledger.start([(shard._options.key_group_from, shard._options.key_group_to) for shard in old])
        for shard in old:  # never closed in time: a crash
            shard._stopping.set()
        ledger.clock.now_ms -= 3_600_000  # the new owner's clock is behind
        ledger.tell(*three("after-0", at=61), *three("after-1", at=61)[:2], late("after-1", 61, amount=3))
        ledger.pass_time(3)
        for shard in old:
            shard.close()
    finally:
        ledger.stop()
    assert faults(endpoints) == []


def test_checks_while_shards_write_raise_no_alarm(endpoints):
    ledger = run_sync(begin(endpoints))
    reports = []

    def traffic():
        for number in range(40):
            at = number / 2
            good = [one for copy in range(4) for one in three(f"g-{number}-{copy}", at=at)]
            ledger.tell(*good, *three(f"b-{number}", at=at)[:2], late(f"b-{number}", at, amount=number))
            if number:  # a revision, and one that waits for its third leg
                ledger.tell(late(f"g-{number - 1}-0", at, amount=7), *three(f"w-{number}", at=at)[:2])
                ledger.pass_time(0.3)

    try:
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(traffic)
            while not writing.done():
                reports.append(report_of(endpoints))
            writing.result()
        ledger.pass_time(45)
    finally:
        ledger.stop()
    reports.append(report_of(endpoints))
    assert [str(fault) for report in reports for fault in report.faults] == []
    covered = [report.covered_results for report in reports]
    assert len(covered) >= 5
    assert covered == sorted(covered)
    assert covered[-1] == 40 * 5 + 39 * 2


def test_retention_takes_events_and_no_false_alarm_comes_of_it(endpoints):
    ledger = run_sync(begin(endpoints))
    try:
        first_traffic(ledger)
    finally:
        ledger.stop()
    days = run_sync(retention.apply(endpoints.postgres.connect_kwargs("owner"), KEEP_DAYS, dry_run=False))
    assert [day.outcome for day in days if day.events] == ["dropped"]
    report = report_of(endpoints)
    assert [str(fault) for fault in report.faults] == []
    assert report.retired_digests > 0
    assert report.covered_results > 40
    # Without its events a match can be shown to be wrong, but not which one; a mismatch has an entry of its own.
    sql(endpoints, "update results set verdict = 1 where txn_id = 'amount-3'")
    assert any("txn_id=amount-3 field verdict" in fault for fault in faults(endpoints))
    sql(endpoints, "update results set verdict = 2 where txn_id = 'amount-3'")
    sql(endpoints, "update results set legs = '' where txn_id = 'match-1'")
    (fault,) = faults(endpoints)
    assert "one of the" in fault


def test_a_ledger_of_an_older_version_is_covered_from_its_migration_on(old_endpoints, as_before):
    ledger = run_sync(begin(old_endpoints))
    try:
        first_traffic(ledger)
        second_traffic(ledger)
    finally:
        ledger.stop()

    async def work_at_the_desk():
        services = await services_on(old_endpoints)
        try:
            await desk(services)
        finally:
            await services.stop()

    run_sync(work_at_the_desk())
    assert any("no baseline" in fault for fault in faults(old_endpoints))
    as_before.undo()
    assert run_sync(migrate.apply(old_endpoints.postgres.connect_kwargs("owner"))) == [TRAIL_MIGRATION]
    report = report_of(old_endpoints)
    assert [str(fault) for fault in report.faults] == []
    assert report.baseline_results == report.covered_results > 40
    assert not report.is_covered_from_start

    # The new version goes on: a revision of an old result, and new ones.
    again = SmallLedger(old_endpoints.postgres)
    again.offsets, again.clock, again.watermark = ledger.offsets, ledger.clock, ledger.watermark
    again.start(run_sync(again.lay_out()))
    try:
        again.tell(event("match-4", "CORE", at=200, amount=1), *three("new-0", at=200), *three("new-1", at=200)[:2])
        again.pass_time(45)
    finally:
        again.stop()
    report = report_of(old_endpoints)
    assert [str(fault) for fault in report.faults] == []
    assert report.covered_results > report.baseline_results > 40

    for statement, undo, named in (
        (
            "update results set verdict = 1, breaks = 0 where txn_id = 'amount-3'",
            "update results set verdict = 2, breaks = 4 where txn_id = 'amount-3'",
            f"results key_group={key_group_of('amount-3')} txn_id=amount-3 field verdict",
        ),
        (
            "update exceptions set approved_by = 'adam' where txn_id = 'big-0'",
            "update exceptions set approved_by = 'arno' where txn_id = 'big-0'",
            "txn_id=big-0 field approved_by",
        ),
        (
            f"update dead_letters set reason = 'bad_id' where topic = '{DEFAULT_SOURCES[0].topic}'",
            f"update dead_letters set reason = 'malformed' where topic = '{DEFAULT_SOURCES[0].topic}'",
            "field reason",
        ),
        (
            "update result_history set verdict = 2 where txn_id = 'match-3'",
            "update result_history set verdict = 1 where txn_id = 'match-3'",
            f"key_group={key_group_of('match-3')}",
        ),
    ):
        sql(old_endpoints, statement)
        said = faults(old_endpoints)
        assert any(named in fault for fault in said), (statement, said)
        sql(old_endpoints, undo)
    assert faults(old_endpoints) == []


def test_sources_and_rules_of_a_configuration_are_told(endpoints):
    ledger = run_sync(begin(endpoints))
    ledger.stop()
    assert faults(endpoints) == []
    owner = endpoints.postgres.connect_kwargs("owner")
    run_sync(activate(owner, configuration(SourceSpec("BANK", "bank_t"), SourceSpec("SHOP", "shop_t"))))
    assert faults(endpoints) == []
    run_sync(activate(owner, configuration(SourceSpec("SHOP", "shop_t"), SourceSpec("BOX", "box_t"))))
    assert faults(endpoints) == []
    assert report_of(endpoints).covered_rows["sources"] == 6
    sql(endpoints, "update sources set expected = true where name = 'BANK'")
    assert ["field expected" in fault for fault in faults(endpoints)] == [True]


def test_a_forged_proposal_is_not_made_good_by_an_honest_approval(endpoints):
    ledger = run_sync(begin(endpoints))
    try:
        first_traffic(ledger)
    finally:
        ledger.stop()
    sql(
        endpoints,
        "insert into exceptions (key_group, txn_id, state, version, assignee, reason_code, needs_checker, proposed_by)"
        f" values ({key_group_of('big-0')}, 'big-0', 'in_review', 1, 'anna', 'written_off', true, 'anna')",
    )

    async def approve():
        services = await services_on(endpoints)
        try:
            for caller in (ANNA, ARNO):
                await services.people.seen(caller)
            await services.exceptions.act("big-0", ExceptionAction(action="approve", version=1), ARNO)
        finally:
            await services.stop()

    run_sync(approve())
    named = {(fault.row, fault.field) for fault in report_of(endpoints).faults if fault.table == "exceptions"}
    row = f"key_group={key_group_of('big-0')} txn_id=big-0"
    assert named == {(row, "assignee"), (row, "reason_code"), (row, "proposed_by"), (row, "version")}


def test_results_that_an_older_version_still_writes_after_the_migration_are_counted_as_not_covered(
    endpoints, monkeypatch
):
    ledger = run_sync(begin(endpoints))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(postgres, "result_details", lambda *_: {})
            ledger.tell(*three("old-0"), *three("old-1"))
        ledger.tell(*three("new-0", at=1))
    finally:
        ledger.stop()
    report = report_of(endpoints)
    assert [str(fault) for fault in report.faults] == []
    assert (report.uncovered_results, report.covered_results) == (2, 1)


def test_a_baseline_is_cut_into_entries_that_stay_short(endpoints, monkeypatch):
    sql(endpoints, "delete from audit_logs", "delete from audit_heads")
    sql(
        endpoints,
        "insert into people (username, subject, role) select 'p' || n, 's', 'viewer' from generate_series(1, 25) n",
    )
    monkeypatch.setattr(baseline, "ROWS_MAX", 10)

    async def write():
        connection = await asyncpg.connect(**endpoints.postgres.connect_kwargs("owner"))
        try:
            async with connection.transaction():
                await baseline.write(connection)
        finally:
            await connection.close()

    run_sync(write())
    found = sql(
        endpoints,
        "select jsonb_array_length(details #> '{rows,people}') as n from audit_logs where object_id = 'people'"
        " order by seq",
    )
    assert [row["n"] for row in found] == [10, 10, 5]
    assert faults(endpoints) == []


def test_the_details_of_a_flush_say_which_rows_it_overwrote(endpoints):
    ledger = run_sync(begin(endpoints))
    try:
        first_traffic(ledger)
    finally:
        ledger.stop()
    rows = sql(
        endpoints,
        "select details -> 'overwriting' as names, details ->> 'overwriting_sha256' as sha from audit_logs"
        " where action = 'flush' and details -> 'overwriting' <> '[]' order by occurred_at",
    )
    assert sorted(name for row in rows for name in json.loads(row["names"])) == [
        "heals-0",
        "heals-0",
        "match-3",
        "missing-0",
        "shown-0",
    ]
    assert all(len(row["sha"]) == 64 for row in rows)
    assert digests.rows_sha256(b"") == ""
