"""What a flush's audit entries vouch for beside the log's blocks: results, dead letters and redelivery marks.

Results are vouched for by SHA-256 over the rows as PostgreSQL's binary COPY format has them (header and trailer left
out), so that an auditor who copies the same rows out again gets the same digest. Rows of one flush are found again by
`decided_at` and key group: a ledger gives every flush a moment of its own. Three parts, because three things may become
of them:

- `results_sha256`: new final rows, in order of key group and id. They are the very bytes of the COPY into `results`.
- `overwriting_sha256`: final rows over a provisional or an older final one, in that order; `overwriting` names them.
- `shown`: rows that are not final, each with a digest of its own, as the next look at it replaces it without a trace.

A final row that a later revision replaces goes to result_history whole, and is still checked there.

Dead letters and redelivery marks are few, so each is told by itself, as schemas.covered says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from actors.adapters.copying import encode, result_rows
from actors.ports import DeadLetter, Flush
from schemas.audit import AuditEntry
from schemas.covered import ROWS, ROWS_MAX, told
from schemas.headers import packed_headers

_HEADER_BYTES: Final = 19  # signature, flags, length of the extension
_TRAILER_BYTES: Final = 2
_NO_ROWS: Final = ""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rows_sha256(copy_bytes: bytes) -> str:
    """SHA-256, in hex, of the rows of a binary COPY, without its header and trailer; empty for no rows."""
    if not copy_bytes:
        return _NO_ROWS
    return hashlib.sha256(memoryview(copy_bytes)[_HEADER_BYTES:-_TRAILER_BYTES]).hexdigest()


def result_details(flush: Flush, new_rows: bytes, now_ms: int) -> dict[str, Any]:
    """What the flush's entry says of its results; `new_rows` is the COPY of `flush.final`, empty for none."""
    replacing = flush.replacing
    is_final = replacing["final"]
    overwriting = (
        pl.concat([replacing.filter(is_final), flush.revised]) if len(flush.revised) else (replacing.filter(is_final))
    )
    provisional = replacing.filter(~is_final)
    return {
        "results_sha256": rows_sha256(new_rows),
        "overwriting": sorted(overwriting["txn_id"].to_list()),
        "overwriting_sha256": _digest(overwriting, now_ms),
        "shown": _digest_each(provisional, now_ms),
    }


def _digest(results: pl.DataFrame, now_ms: int) -> str:
    return rows_sha256(encode(result_rows(results, now_ms))) if len(results) else _NO_ROWS


def _digest_each(results: pl.DataFrame, now_ms: int) -> dict[str, str]:
    """SHA-256 of each row, in hex, by transaction."""
    if results.is_empty():
        return {}
    rows = result_rows(results, now_ms)
    copied = memoryview(encode(rows))[_HEADER_BYTES:-_TRAILER_BYTES]
    digests: dict[str, str] = {}
    at = 0
    for txn_id in rows["txn_id"]:
        start = at
        at += 2  # the number of fields
        for _ in range(rows.width):
            length = int.from_bytes(copied[at : at + 4], "big", signed=True)
            at += 4 + max(length, 0)  # -1 is a null
        digests[txn_id] = hashlib.sha256(copied[start:at]).hexdigest()
    return digests


def row_entries(flush: Flush, at: datetime, actor: str) -> list[AuditEntry]:
    """Entries that tell each dead letter and each redelivery mark of a flush, at most ROWS_MAX in one."""
    object_id = f"{flush.claim.key_group_from}-{flush.claim.key_group_to}"
    letters = [told("dead_letters", letter_row(letter)) for letter in flush.dead_letters]
    marks = [told("redeliveries", row) for row in _mark_rows(flush.redeliveries)]
    return [
        AuditEntry(at, actor, action, "key_groups", object_id, {ROWS: {table: list(part)}})
        for action, table, rows in (
            ("dead_letters.set_aside", "dead_letters", letters),
            ("redeliveries.marked", "redeliveries", marks),
        )
        for part in _parts(rows)
    ]


def letter_row(letter: DeadLetter) -> dict[str, Any]:
    """A new dead letter as a row of its table; its state is the column's default, `new`."""
    return {
        "key_group": letter.key_group,
        "topic": letter.topic,
        "kafka_partition": letter.partition,
        "kafka_offset": letter.offset,
        "arrival": _moment(letter.arrival_ms),
        "reason": letter.reason,
        "detail": letter.detail.replace("\0", "\\0"),
        "key": letter.key,
        "payload": letter.payload,
        "headers": packed_headers(letter.headers),
    }


def _mark_rows(redeliveries: pl.DataFrame) -> Iterator[Mapping[str, Any]]:
    for row in redeliveries.select("key_group", "seq", "txn_id", "arrival").iter_rows(named=True):
        yield {**row, "arrival": _moment(row["arrival"])}


def _moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _parts(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), ROWS_MAX):
        yield rows[start : start + ROWS_MAX]
