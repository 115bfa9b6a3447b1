"""What a new database is told of the configuration, on a real one."""

from __future__ import annotations

import asyncpg
import pytest

from actors.adapters.postgres import PostgresLedger
from cluster.layout import prepare, set_first_rules
from schemas.events import DEFAULT_SOURCES, KEY_GROUPS, SourceSpec

pytestmark = pytest.mark.stack

CORE, GATEWAY, _ = DEFAULT_SOURCES
SOURCES = (CORE, GATEWAY, SourceSpec("MOBILE", "mobile_txns", expected=False))


def rules_of(fresh_db):
    ledger = PostgresLedger(fresh_db.connect_kwargs("app"))
    try:
        [rules] = ledger.rule_sets()
    finally:
        ledger.close()
    return rules


async def test_an_optional_source_is_not_expected_by_the_first_rules_until_something_was_judged(fresh_db):
    owner = fresh_db.connect_kwargs("owner")
    assert rules_of(fresh_db).expected_sources == ("CORE", "GATEWAY", "MOBILE")
    await set_first_rules(owner, 7_000, SOURCES)
    rules = rules_of(fresh_db)
    assert (rules.match_window_ms, rules.expected_sources) == (7_000, ("CORE", "GATEWAY"))
    assert (rules.time_tolerance_ms, rules.tolerances) == (5_000, {})

    await prepare(fresh_db.connect_kwargs("app"), SOURCES, 1)
    connection = await asyncpg.connect(**owner)
    await connection.execute("update checkpoints set next_seq = 2")
    await connection.close()
    await set_first_rules(owner, 9_000, DEFAULT_SOURCES)
    assert rules_of(fresh_db) == rules


async def test_the_ranges_stay_as_they_are_while_a_shard_runs(fresh_db):
    """A supervisor that is restarted finds its shards at work, and others may be wanted by now."""
    app = fresh_db.connect_kwargs("app")
    two = await prepare(app, DEFAULT_SOURCES, 2)
    assert two == [(0, KEY_GROUPS // 2), (KEY_GROUPS // 2, KEY_GROUPS)]
    asked = []
    assert await prepare(app, DEFAULT_SOURCES, 1, lambda start: asked.append(start) or start > 0) == two
    assert asked == [0, KEY_GROUPS // 2]
    assert await prepare(app, DEFAULT_SOURCES, 1, lambda _: False) == [(0, KEY_GROUPS)]
