"""What an event is known by where its source maps no `event_id`."""

from __future__ import annotations

import hashlib

from cluster.oracle.mapping import json_text
from cluster.oracle.mapping.json_text import NotJson
from cluster.oracle.mapping.values import compact_json, text_of
from cluster.oracle.records import LogRecord
from schemas.events import ID_BYTES_MAX


def of_place(record: LogRecord) -> str:
    """The record's place in the log: every record is an event of its own, a producer's retry too."""
    return f"{record.topic}[{record.partition}]@{record.offset}"


def of_row(record: LogRecord, form: str) -> str:
    """The row that the record's key names; without a key, the place."""
    if record.key is None:
        return of_place(record)
    text = _text_of_key(record.key, form)
    if text is None:  # a table without a primary key
        return of_place(record)
    if len(text.encode()) > ID_BYTES_MAX:
        return f"sha256:{hashlib.sha256(record.key).hexdigest()}"
    return text


def _text_of_key(key: bytes, form: str) -> str | None:
    """The key as text, None where Connect says beside its schema that there is none."""
    if form == "json":
        try:
            tree = json_text.read(key)
        except NotJson:
            tree = None
        if isinstance(tree, dict) and "schema" in tree and "payload" in tree:
            payload = tree["payload"]
            return compact_json(payload) if isinstance(payload, dict | list) else text_of(payload)
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
    return f"0x{key.hex()}" if "\0" in text else text
