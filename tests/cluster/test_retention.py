"""Days of the log that are past keeping, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from cluster.retention import apply

pytestmark = pytest.mark.stack

TODAY = datetime.now(UTC).date()
OLD, OLDER = TODAY - timedelta(days=40), TODAY - timedelta(days=41)
BLOCK = (
    "insert into event_blocks values (1, $1::bigint, $1::bigint + 1, 2, $2, array[$1::bigint, $1::bigint + 1], '{t,u}',"
    " '{0,1}', '{a,b}', '{1,2}', '{EUR,EUR}', '{1,1}', '{5,6}', '{7,8}', '{x,y}', '{null,null}', '{0,0}', '{3,4}')"
)


async def test_old_days_go_with_their_marks_and_open_ones_are_held(fresh_db):
    owner = fresh_db.connect_kwargs("owner")
    connection = await asyncpg.connect(**owner)
    await connection.execute("insert into sources values (0, 'CORE', 'c', true), (1, 'GATEWAY', 'g', true)")
    for seq, day in ((1, OLDER), (3, OLD), (5, TODAY)):
        await connection.execute("select ensure_event_blocks_partition($1)", day)
        await connection.execute(BLOCK, seq, day)
    await connection.execute("insert into checkpoints (key_group_from, key_group_to, low_seq) values (0, 128, 4)")
    await connection.execute("insert into redeliveries select 1, seq, 't', now() from generate_series(1, 6) as seq")

    outcomes = [(day.day, day.events, day.outcome) for day in await apply(owner, 30, dry_run=True)]
    assert outcomes == [(OLDER, 2, "would drop"), (OLD, 2, "held"), (TODAY, 2, "kept")]
    await connection.execute("update checkpoints set low_seq = 7")
    outcomes = [(day.day, day.events, day.outcome) for day in await apply(owner, 30, dry_run=False)]
    assert outcomes == [(OLDER, 2, "dropped"), (OLD, 2, "dropped"), (TODAY, 2, "kept")]

    assert [row["seq"] for row in await connection.fetch("select seq from raw_events order by seq")] == [5, 6]
    assert [row["seq"] for row in await connection.fetch("select seq from redeliveries order by seq")] == [5, 6]
    said = await connection.fetch("select details ->> 'events' as n from audit_logs where action = 'log.dropped'")
    assert [row["n"] for row in said] == ["2", "2"]
    await connection.close()
