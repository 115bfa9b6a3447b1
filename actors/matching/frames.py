"""The frames that pass through the core: their columns, types and units."""

from __future__ import annotations

import functools
from typing import Final

import polars as pl

from schemas.money import EXPONENTS
from schemas.verdicts import STATUS_LETTERS

CURRENCY: Final = pl.Enum(sorted(EXPONENTS))
"""Every currency that an event may have, historic ones of files included."""

# One row per event. Times are ms since 1970 UTC, amounts minor units; source is the configured id, status the number
# of schemas.events.Status. seq is the event's place in the ledger's log. attributes is a JSON object of texts with its
# names sorted, or null: what a mapping reads beside the fields.
EVENT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "key_group": pl.Int16(),
    "seq": pl.Int64(),
    "txn_id": pl.String(),
    "source": pl.UInt8(),
    "event_id": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": CURRENCY,
    "status": pl.UInt8(),
    "event_time": pl.Int64(),
    "arrival": pl.Int64(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "attributes": pl.String(),
}

# One row per transaction, as decided or as it looks so far. Masks are bits of source ids or of schemas.verdicts.Break.
# `waits` names the sources that keep it open: missing ones and those whose leg is not terminal.
RESULT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "key_group": pl.Int16(),
    "txn_id": pl.String(),
    "verdict": pl.Int16(),
    "final": pl.Boolean(),
    "revision": pl.Int32(),
    "rules_version": pl.Int32(),
    "breaks": pl.Int16(),
    "missing": pl.Int16(),
    "late": pl.Int16(),
    "present": pl.Int16(),
    "currency": CURRENCY,
    "amount_minor": pl.Int64(),
    "spread_minor": pl.Int64(),
    "first_arrival": pl.Int64(),
    "last_arrival": pl.Int64(),
    "legs": pl.String(),
    "event_seqs": pl.List(pl.Int64()),
    "waits": pl.Int32(),
    "closes_at": pl.Int64(),
}

_LETTER: Final = pl.Enum(list(STATUS_LETTERS))


@functools.cache
def leg_columns() -> tuple[pl.Expr, pl.Expr]:
    """`bit` (1 << source) and `leg` (the packed leg, schemas.verdicts); computed once per event, then carried."""
    leg = pl.concat_str(
        "source",
        "amount_minor",
        "currency",
        pl.col("status").cat.to(_LETTER),
        "event_time",
        separator=":",
    )
    return source_bit().alias("bit"), leg.alias("leg")


@functools.cache
def source_bit() -> pl.Expr:
    """1 << source: its place in a mask of sources."""
    return pl.lit(1, pl.Int32) * pl.lit(2, pl.Int32).pow(pl.col("source")).cast(pl.Int32)


def with_leg_columns(events: pl.DataFrame) -> pl.DataFrame:
    """Events with `leg_columns`, unless they have them."""
    if "leg" in events.columns:
        return events
    return events.with_columns(pl.col("currency").cast(CURRENCY), *leg_columns())


def empty(schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A frame with these columns and no rows."""
    return pl.DataFrame(schema=schema)


# Frames are never changed in place, so one of each serves all. A quiet pipeline would make several a second.
NO_EVENTS: Final = empty(EVENT_SCHEMA)
NO_RESULTS: Final = empty(RESULT_SCHEMA)
