"""Frames as PostgreSQL's binary COPY format, and the digest that ties an audit entry to the rows it vouches for."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Final

import pgpq
import polars as pl

from schemas.verdicts import Break, Verdict

BLOCK_COLUMNS: Final = (
    "key_group",
    "seq_from",
    "seq_to",
    "events",
    "written_on",
    "seq",
    "txn_id",
    "source",
    "event_id",
    "amount_minor",
    "currency",
    "status",
    "event_time_ms",
    "arrival_ms",
    "account_id",
    "original_txn_id",
    "kafka_partition",
    "kafka_offset",
)
RESULT_COLUMNS: Final = (
    "key_group",
    "txn_id",
    "verdict",
    "final",
    "revision",
    "rules_version",
    "breaks",
    "missing",
    "late",
    "present",
    "currency",
    "amount_minor",
    "spread_minor",
    "first_arrival",
    "last_arrival",
    "decided_at",
    "legs",
    "event_seqs",
)


def timestamptz(name: str) -> pl.Expr:
    """A column of ms since 1970 UTC as PostgreSQL's microseconds."""
    return pl.col(name).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))


def encode(frame: pl.DataFrame) -> bytes:
    """The frame in binary COPY format, header and trailer included.

    Format: PostgreSQL documentation, COPY, "Binary Format".
    """
    table = frame.to_arrow()
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    parts = [encoder.write_header(), *(encoder.write_batch(batch) for batch in table.to_batches()), encoder.finish()]
    return b"".join(parts)


def digest(copy_bytes: bytes) -> str:
    """SHA-256 of rows in COPY format, in hex.

    PostgreSQL writes the very bytes it was given for these column types, so an auditor gets the same digest from
    `COPY (SELECT <BLOCK_COLUMNS> ... ORDER BY key_group, seq_from) TO STDOUT (FORMAT binary)`.
    """
    return hashlib.sha256(copy_bytes).hexdigest()


def block_rows(events: pl.DataFrame, written_on: date) -> pl.DataFrame:
    """Events (ports.LOG_SCHEMA) as rows of event_blocks: one a key group, the columns as lists in order of seq."""
    columns = events.sort("key_group", "seq").select(
        "key_group",
        "seq",
        "txn_id",
        pl.col("source").cast(pl.Int16),
        "event_id",
        "amount_minor",
        pl.col("currency").cast(pl.String),
        pl.col("status").cast(pl.Int16),
        "account_id",
        "original_txn_id",
        event_time_ms="event_time",
        arrival_ms="arrival",
        kafka_partition="partition",
        kafka_offset="offset",
    )
    return (
        columns.group_by("key_group", maintain_order=True)
        .agg(
            pl.all(),
            seq_from=pl.col("seq").first(),
            seq_to=pl.col("seq").last(),
            events=pl.len().cast(pl.Int32),
            written_on=pl.lit(written_on),
        )
        .select(BLOCK_COLUMNS)
    )


def result_rows(results: pl.DataFrame, now_ms: int) -> pl.DataFrame:
    """Results (RESULT_SCHEMA) as rows of the table, decided now, in the order of its key."""
    return (
        results.sort("key_group", "txn_id")
        .with_columns(decided_at=pl.lit(now_ms, pl.Int64))
        .select(RESULT_COLUMNS)
        .with_columns(
            pl.col("currency").cast(pl.String),
            timestamptz("first_arrival"),
            timestamptz("last_arrival"),
            timestamptz("decided_at"),
        )
    )


def count_results(results: pl.DataFrame, sign: int) -> pl.DataFrame:
    """Counters (metric, currency, n, amount_minor) that final results add, or take back with sign -1."""
    schema = {"metric": pl.String, "currency": pl.String, "n": pl.Int64, "amount_minor": pl.Int64}
    if results.is_empty():
        return pl.DataFrame(schema=schema)
    final = results.filter("final")
    parts: list[pl.DataFrame] = []

    def add(rows: pl.DataFrame, metric: str) -> None:
        if not rows.is_empty():
            counted = rows.group_by(pl.col("currency").cast(pl.String)).agg(
                n=pl.len().cast(pl.Int64) * sign, amount_minor=pl.col("amount_minor").sum() * sign
            )
            parts.append(counted.select(pl.lit(metric).alias("metric"), "currency", "n", "amount_minor"))

    for verdict in (Verdict.MATCHED, Verdict.MISMATCHED):
        add(final.filter(pl.col("verdict") == verdict), f"verdict.{verdict.name}")
    broken = final.filter(pl.col("breaks") != 0)
    for kind in Break:
        add(broken.filter(pl.col("breaks") & kind.mask != 0), f"break.{kind.name}")
    add(final.filter(pl.col("late") != 0), "late")
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)
