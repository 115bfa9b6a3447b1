"""What an event is known by where its source maps no `event_id`."""

from __future__ import annotations

import hashlib

from cluster.oracle.mapping import json_text
from cluster.oracle.mapping.json_text import NotJson
from cluster.oracle.mapping.values import text_of
from cluster.oracle.records import LogRecord
from schemas.events import ID_BYTES_MAX


def of_place(record: LogRecord) -> str:
    """The record's place in the log: every record is an event of its own, a producer's retry too."""
    return f"{record.topic}[{record.partition}]@{record.offset}"


def of_row(record: LogRecord, form: str) -> str | None:
    """The row that the record's key names; None where it names none."""
    key = record.key
    if not key:
        return None
    tree = _json(key) if form == "json" else None
    if isinstance(tree, dict) and "schema" in tree and "payload" in tree:
        if tree["payload"] is None:
            return None  # a table without a primary key
        text = text_of(tree["payload"])
    else:
        text = text_of(key)
    if text is None or "\0" in text:
        text = f"0x{key.hex()}"
    return text if len(text.encode()) <= ID_BYTES_MAX else f"sha256:{hashlib.sha256(key).hexdigest()}"


def _json(key: bytes) -> object:
    try:
        return json_text.read(key)
    except NotJson:
        return None
