"""The engine's reading of one JSON record, in the words of the oracle: an event, a reason, or skipped."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cluster.oracle.mapping import configuration, events
from cluster.oracle.mapping.bodies import Bodies, Schemas
from cluster.oracle.records import LogRecord, Refused, Skipped
from sources.config import reading
from sources.mapping.apply import SourceMapping
from wire.decoding import Decoder, JsonEncoding
from wire.messages import Messages
from wire.records import NestedRecords

ARRIVAL = 1_800_000_000_000  # 2027-01-15T08:00:00Z
SKIPPED = "skipped"
KEPT = (
    *("event_id", "txn_id", "amount_minor", "currency", "status", "event_time"),
    *("account_id", "original_txn_id", "fee_minor"),
)


def by_oracle(body: str, record: LogRecord, name: str = "S"):
    found = configuration.read(body, "r", {})
    (source,) = [one for one in found.sources if one.name == name]
    try:
        opened = Bodies(source, Schemas(lambda _: None), {}).open(record)
        if not events.fits(source, record, opened):
            return SKIPPED
        event = events.make(source, source.fields, found.key, record, opened)
    except Skipped:
        return SKIPPED
    except Refused as refused:
        return refused.reason
    mapped = source.fields.event_id is not None
    return {
        "event_id": event.event_id if mapped else None,
        "txn_id": event.txn_id,
        "amount_minor": event.amount_minor,
        "currency": event.currency,
        "status": int(event.status),
        "event_time": event.event_time,
        "account_id": event.account_id,
        "original_txn_id": event.original_txn_id,
        "fee_minor": event.fee_minor,
        "attributes": dict(event.attributes),
    }


def by_engine(body: str, records: Sequence[LogRecord], name: str = "S"):
    """What the engine says of each record, all read in one batch. Raises InvalidConfigError."""
    config = reading.parse(body, "recon.yaml").reconciliations["r"]
    source = config.sources[name]
    messages = Messages(
        records[0].topic,
        [record.value for record in records],
        [record.key for record in records],
        [record.headers for record in records],
        [record.arrival for record in records],
    )
    values = Decoder(JsonEncoding(), source.envelope).decode(messages)
    found: list = [SKIPPED] * len(records)
    for reject in values.rejects:
        found[reject.row] = reject.reason
    deleted = {row for row, operation in zip(values.rows, values.operations, strict=False) if operation == "d"}
    rows = [row for row in values.rows if row not in deleted]
    if not rows:
        return found
    headers = sorted({header for record in records for header, _ in record.headers})
    around = {
        "$topic": [records[row].topic for row in rows],
        "$timestamp": [str(records[row].arrival) for row in rows],
        "$key": [text(records[row].key) for row in rows],
        **{f"$headers.{header}": [text(messages.header(row, header)) for row in rows] for header in headers},
    }
    batch = NestedRecords(
        [value for row, value in zip(values.rows, values.values, strict=True) if row not in deleted],
        pl.Series("row", rows, dtype=pl.Int64),
        lambda _: b"",
        around={path: pl.Series(path, content, dtype=pl.String) for path, content in around.items()},
    )
    arrivals = pl.Series([records[row].arrival for row in rows], dtype=pl.Int64)
    mapped = SourceMapping.of(config, name).apply(batch, arrivals)
    for reject in mapped.rejects:
        found[reject.row] = reject.reason
    for row in mapped.events.iter_rows(named=True):
        told = {
            column.removeprefix("attributes."): value
            for column, value in row.items()
            if column.startswith("attributes.") and value is not None
        }
        found[row["row"]] = {**{column: row[column] for column in KEPT}, "attributes": told}
    return found


def text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None
