"""Compares tables row by row and column by column with what the audit entries tell of them."""

from __future__ import annotations

import json
from typing import Any, Final

import asyncpg

from cluster.oracle.trail_report import Fault, TrailReport
from cluster.oracle.trail_store import Place, TrailStore, named_row, row_key
from schemas.covered import COVERED, Form, told
from schemas.queries import named_queries

PREFETCH_ROWS: Final = 2_000
# A column that only the entry of a row's beginning tells, where later entries tell of other columns alone.
BEGINNINGS: Final = {"dead_letters": ("reason", "set aside")}
SQL = named_queries("cluster.oracle", "trail.sql")


async def check_rows(connection: asyncpg.Connection[asyncpg.Record], store: TrailStore, report: TrailReport) -> None:
    """Every row of every covered table is what its entries tell, and every row that they tell of is there."""
    for table, covered in COVERED.items():
        report.covered_rows[table] = 0
        columns = await _columns(connection, table)
        names = [name for name in covered.columns if name in columns]
        query = f"select {', '.join(names)} from {table}"  # noqa: S608 (our own names)
        async for row in connection.cursor(query, prefetch=PREFETCH_ROWS):
            report.covered_rows[table] += 1
            _check_row(table, told(table, row), store, report)
        for key, expected in store.unseen(table):
            if not await _may_be_gone(connection, table, key, report):
                at = expected.last
                report.add(Fault(at.chain, at.seq, "told of it, but it is gone", table, named_row(table, key)))


async def _columns(connection: asyncpg.Connection[asyncpg.Record], table: str) -> set[str]:
    rows = await connection.fetch(
        "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped", table
    )
    return {row["attname"] for row in rows}


def _check_row(table: str, found: dict[str, Any], store: TrailStore, report: TrailReport) -> None:
    key = row_key(COVERED[table].key, found)
    expected = store.expected(table, key)
    if expected is None:
        report.add(Fault("", 0, "no entry tells of it", table, named_row(table, key)))
        return
    begun = BEGINNINGS.get(table)
    if begun is not None and begun[0] not in expected.columns:
        at = expected.last
        report.add(Fault(at.chain, at.seq, f"no entry tells that it was {begun[1]}", table, named_row(table, key)))
    for name, value in found.items():
        if name in expected.columns and expected.columns[name][0] != value:
            said, at = expected.columns[name]
            report.add(_difference(table, key, name, value, said, at))


def _difference(table: str, key: str, name: str, found: Any, said: Any, at: Place) -> Fault:
    if COVERED[table].columns[name] in {Form.PLAIN, Form.TIME}:
        what = f"is {found!r}, but was told as {said!r}"
    else:
        what = "is not what was told"
    return Fault(at.chain, at.seq, what, table, named_row(table, key), name)


async def _may_be_gone(
    connection: asyncpg.Connection[asyncpg.Record], table: str, key: str, report: TrailReport
) -> bool:
    """Marks of redeliveries go with the events that retention drops."""
    if table != "redeliveries" or not report.dropped_events:
        return False
    key_group, seq = json.loads(key)
    return not await connection.fetchval(SQL["has_event"], key_group, seq)
