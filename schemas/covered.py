"""What the audit trail tells of a row: the tables that it covers, their keys, and the form of each column in an entry.

An entry that changes rows of these tables carries them, as they are after it, under `rows` in its details:
`{"rows": {"exceptions": [{"key_group": 7, "txn_id": "T", "state": "resolved", ...}]}}`. Replaying all entries gives the
rows that the tables must have. A column that an entry leaves out stays as an earlier entry told it.

Times are whole microseconds since 1970 UTC. Texts that people or machines wrote at length, JSON and bytes are told by
their SHA-256, so that an entry stays short and holds no payload.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

ROWS: Final = "rows"  # the key in an entry's details
ROWS_MAX: Final = 500  # told in one entry: a longer list is cut into several entries

BASELINE_CHAIN: Final = "baseline"
BASELINE_ACTION: Final = "ledger.baseline"
BASELINE_ROWS_ACTION: Final = "ledger.baseline_rows"
SETUP_CHAIN: Final = "setup"  # what the pipeline configures: sources, the first rules, the layout of the shards

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Form(enum.Enum):
    """How a column's value is told."""

    PLAIN = "plain"
    TIME = "time"  # microseconds
    TEXT = "text"  # SHA-256 of its UTF-8
    BYTES = "bytes"  # SHA-256
    JSON = "json"  # SHA-256 of its canonical text


@dataclass(frozen=True, slots=True)
class Covered:
    """One table: the columns of its key, and the form of every column that is told."""

    key: tuple[str, ...]
    columns: Mapping[str, Form]


def _columns(plain: str, *, time: str = "", text: str = "", byte: str = "", json_: str = "") -> dict[str, Form]:
    named = ((plain, Form.PLAIN), (time, Form.TIME), (text, Form.TEXT), (byte, Form.BYTES), (json_, Form.JSON))
    return {name: form for names, form in named for name in names.split()}


COVERED: Final[Mapping[str, Covered]] = {
    "sources": Covered(("source_id",), _columns("source_id name topic expected")),
    "rule_sets": Covered(
        ("version",),
        _columns("version state created_by activated_by", time="effective_from created_at", text="note", json_="body"),
    ),
    "configurations": Covered(
        ("version",),
        _columns(
            "version reconciliation activated_by", time="effective_from activated_at", text="body", json_="schemas"
        ),
    ),
    "ingested_files": Covered(
        ("source", "digest"),
        _columns(
            "source digest name state rows rejected log_offset ingested_by",
            time="began_at done_at",
            json_="statements",
        ),
    ),
    "people": Covered(("username",), _columns("username role", text="subject name")),
    "exceptions": Covered(
        ("key_group", "txn_id"),
        _columns(
            "key_group txn_id state version assignee reason_code needs_checker proposed_by resolved_by approved_by",
            time="healed_at updated_at",
        ),
    ),
    "exception_history": Covered(
        ("history_id",), _columns("history_id key_group txn_id actor action state", time="at", text="note")
    ),
    "exception_comments": Covered(
        ("comment_id",), _columns("comment_id key_group txn_id author", time="at", text="body")
    ),
    "incidents": Covered(
        ("incident_id",), _columns("incident_id kind subject", time="opened_at closed_at", text="detail")
    ),
    "log_topics": Covered(
        ("topic", "incarnation"),
        _columns("topic incarnation topic_id accepted_by", time="known_since", json_="bases skipped"),
    ),
    "dead_letters": Covered(
        ("topic", "kafka_partition", "kafka_offset"),
        _columns(
            "topic kafka_partition kafka_offset key_group reason state state_changed_by",
            time="arrival state_changed_at",
            text="detail",
            byte="key payload",
            json_="headers",
        ),
    ),
    "redeliveries": Covered(("key_group", "seq"), _columns("key_group seq txn_id", time="arrival")),
}


def told(table: str, row: Any) -> dict[str, Any]:
    """A row as an entry tells it: the covered columns that `row` (an asyncpg record or a mapping) has."""
    there = set(row.keys())
    return {name: _told(form, row[name]) for name, form in COVERED[table].columns.items() if name in there}


def micros(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    since = moment.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _told(form: Form, value: Any) -> Any:
    if value is None:
        return None
    match form:
        case Form.PLAIN:
            return value
        case Form.TIME:
            return micros(value)
        case Form.TEXT:
            return hashlib.sha256(value.encode()).hexdigest()
        case Form.BYTES:
            return hashlib.sha256(value).hexdigest()
        case Form.JSON:
            return json_sha256(json.loads(value) if isinstance(value, str) else value)


def json_sha256(value: Any) -> str:
    """SHA-256, in hex, of a JSON value as PostgreSQL gives it back: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
