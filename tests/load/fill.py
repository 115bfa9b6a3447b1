"""Times the API's searches on a large table, in a database of its own on a running local stack.

    python -m tests.load.fill --rows 5000000

Prints the time of each search, cold in the plan and warm in the cache as it comes, then drops the database.
"""

# ruff: noqa: T201 - a script that reports
from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import replace
from pathlib import Path

import asyncpg

from api.db import Database
from api.options import Limits
from api.routes.transactions import TransactionQuery
from api.store.totals import Totals
from api.store.transactions import TransactionStore
from api.store.vocabulary import VocabularyReader
from cluster import migrate
from cluster.endpoints import Endpoints
from cluster.serve_app import api_options
from cluster.settings import get_settings
from cluster.stack.postgres import create_database, drop_database
from tests.api.filled import fill
from tests.api.test_plans import SEARCHES

NAME = "recon_filled"
ROWS_MAX = 60_000_000


async def run(state_dir: Path, rows: int) -> None:
    """Fill, time, drop."""
    endpoints = Endpoints.load(state_dir)
    await create_database(endpoints.postgres, NAME)
    try:
        await migrate.apply(endpoints.postgres.connect_kwargs("owner", NAME))
        started = time.monotonic()
        connection = await asyncpg.connect(**endpoints.postgres.connect_kwargs("owner", NAME))
        await connection.executemany(
            "insert into sources values ($1, $2, $3, $4)",
            [(index, source.name, source.topic, source.expected) for index, source in enumerate(endpoints.sources)],
        )
        await fill(connection, rows)
        await connection.close()
        print(f"{rows:,} results in {time.monotonic() - started:.0f} s")
        options = api_options(endpoints.model_copy(update={"postgres": endpoints.postgres.for_database(NAME)}))
        db = Database(replace(options, pool_connections=2))
        store = TransactionStore(db, VocabularyReader(db), Totals(db), Limits())
        for name, query in SEARCHES.items():
            made = TransactionQuery.model_validate(query)
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                page = await store.search(made, sort=made.sort, limit=50, cursor=None)
                times.append((time.perf_counter() - begun) * 1_000)
            begun = time.perf_counter()
            count = await store.count(made)
            counted = (time.perf_counter() - begun) * 1_000
            print(
                f"{name:<45} first {times[0]:7.1f} ms, then {min(times):6.1f} ms; {len(page.items)} rows; "
                f"count {count.value:,} ({count.relation}) {counted:.1f} ms"
            )
        begun = time.perf_counter()
        async with db.transaction() as background:
            await background.execute("set local statement_timeout = 600000")
            await background.execute("select refresh_desk_ageing()")
        print(f"ageing, in the background: {(time.perf_counter() - begun) * 1_000:.0f} ms")
        await db.close()
    finally:
        await drop_database(endpoints.postgres, NAME)


def main() -> None:
    """Parse, bound, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", default=str(get_settings().state_dir))
    parser.add_argument("--rows", type=int, default=5_000_000)
    arguments = parser.parse_args()
    if not 0 < arguments.rows <= ROWS_MAX:
        parser.error(f"at most {ROWS_MAX} rows")
    asyncio.run(run(Path(arguments.state_dir), arguments.rows))


if __name__ == "__main__":
    main()
