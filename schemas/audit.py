"""The audit chain: what an entry is, and the one canonical form over which its hash is taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = b""  # prev_hash of the first entry of a chain


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry before it is chained. `details` holds only strings, integers, booleans, null, lists and objects."""

    occurred_at: datetime  # aware, microseconds
    actor: str
    action: str
    object_type: str
    object_id: str
    details: Mapping[str, Any]
    request_id: str = ""
    source_ip: str = ""


def entry_hash(chain: str, seq: int, entry: AuditEntry, prev_hash: bytes) -> bytes:
    """SHA-256 over `prev_hash` followed by the entry as JSON: fixed field order, sorted keys, no spaces, UTF-8.

    The form survives a round trip through jsonb because it holds no floats, and through timestamptz because the time is
    written as integer microseconds since 1970 UTC.
    """
    since = entry.occurred_at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    body = [
        chain,
        seq,
        micros,
        entry.actor,
        entry.action,
        entry.object_type,
        entry.object_id,
        entry.request_id,
        entry.source_ip,
        entry.details,
    ]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(prev_hash + text.encode()).digest()


def chained_row(chain: str, seq: int, entry: AuditEntry, prev_hash: bytes) -> tuple[Any, ...]:
    """The entry as a row of audit_logs in the order of its columns; `details` is JSON text, the last value the hash."""
    return (
        chain,
        seq,
        entry.occurred_at,
        entry.actor,
        entry.action,
        entry.object_type,
        entry.object_id,
        entry.request_id,
        entry.source_ip,
        json.dumps(dict(entry.details)),
        prev_hash,
        entry_hash(chain, seq, entry, prev_hash),
    )
