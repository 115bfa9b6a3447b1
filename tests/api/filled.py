"""Fills a database with many results by the server itself, for proofs of plans and timings."""

from __future__ import annotations

from typing import Any

# One in twenty-five mismatches; amounts, currencies, kinds and times are spread. Key groups are dealt out, not hashed.
FILL = """
insert into results
select (i::bigint * 37 % 128)::smallint, 'FILL' || lpad(i::text, 12, '0'),
       case when bad then 2 else 1 end::smallint, true, 1, 1,
       case when bad then 1 << kind else 0 end::smallint, case when bad and kind = 6 then 4 else 0 end::smallint,
       0::smallint, 7::smallint, (array['EUR', 'USD', 'GBP', 'JPY', 'CHF'])[1 + (i + i / 25) % 5],
       (i::bigint * 7919 % 5000000) + 1,
       case when bad then i % 900 else 0 end, at - interval '1 second', at, at, '0:1:EUR:S:1', array[i]
from (select i, i % 25 = 0 as bad, (i / 25 % 7)::integer as kind,
             timestamptz '2026-01-01' + i * interval '10 milliseconds' as at
      from generate_series({low}, {high}) i) rows
order by i
"""
# Some mismatches are settled already.
SETTLE = """
insert into exceptions (key_group, txn_id, state, reason_code, proposed_by, resolved_by)
select key_group, txn_id, 'resolved', 'timing', 'x', 'x' from results
where verdict = 2 and amount_minor < 900000 and currency <> 'JPY' limit {rows}
"""


async def fill(connection: Any, rows: int, batch: int = 200_000) -> None:
    """Rows into `results`, then what a database does by itself in time: statistics and the visibility map."""
    for low in range(0, rows, batch):
        await connection.execute(FILL.format(low=low, high=min(low + batch, rows) - 1))
    await connection.execute(SETTLE.format(rows=rows // 100))
    for table in ("results", "exceptions"):
        await connection.execute(f"vacuum analyze {table}")
