"""Frames as PostgreSQL's binary COPY format, and the digest that ties an audit entry to the rows it vouches for."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date
from typing import Final

import pgpq
import polars as pl

from actors.matching.decide import collected
from schemas.verdicts import Verdict, break_names

# By metric, currency (none: empty) and what is counted: "n" or "amount_minor".
Counts = Counter[tuple[str, str, str]]

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
    "attributes",
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
    """Events (ports.LOG_SCHEMA, in order of seq) as rows of event_blocks: one a key group, the columns as lists."""
    columns = (
        events.lazy()
        .sort("key_group", maintain_order=True)
        .select(
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
            attributes="attributes",
        )
    )
    return collected(
        columns.group_by("key_group", maintain_order=True)
        .agg(
            pl.all().exclude("attributes"),
            # Most sources have none at all: then the whole array is null.
            attributes=pl.when(pl.col("attributes").is_not_null().any()).then(pl.col("attributes").implode()),
            seq_from=pl.col("seq").first(),
            seq_to=pl.col("seq").last(),
            events=pl.len().cast(pl.Int32),
            written_on=pl.lit(written_on),
        )
        .select(BLOCK_COLUMNS)
    )


def result_rows(results: pl.DataFrame, now_ms: int) -> pl.DataFrame:
    """Results (RESULT_SCHEMA) as rows of the table, decided now, in the order of its key."""
    return collected(
        results.lazy()
        .sort("key_group", "txn_id")
        .with_columns(
            pl.col("currency").cast(pl.String),
            timestamptz("first_arrival"),
            timestamptz("last_arrival"),
            decided_at=pl.lit(now_ms, pl.Int64).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC")),
        )
        .select(RESULT_COLUMNS)
    )


def count_results(results: pl.DataFrame, sign: int) -> Counts:
    """What final results add to the counters, or take back with sign -1."""
    counts: Counts = Counter()
    if results.is_empty():
        return counts
    kinds = collected(
        results.lazy()
        .filter("final")
        .group_by("verdict", "breaks", "currency", late=pl.col("late") != 0)
        .agg(n=pl.len(), amount_minor=pl.col("amount_minor").sum())
    )
    for verdict, breaks, currency, late, n, amount_minor in kinds.iter_rows():
        metrics = [f"verdict.{Verdict(verdict).name}", *(f"break.{name}" for name in break_names(breaks))]
        if late:
            metrics.append("late")
        for metric in metrics:
            counts[metric, currency, "n"] += sign * n
            counts[metric, currency, "amount_minor"] += sign * amount_minor
    return counts
