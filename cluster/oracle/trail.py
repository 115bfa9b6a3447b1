"""Checks the audit trail: every chain link by link, its end against its anchor, and the log's rows by their digests.

What each check would catch:

- an entry changed or replaced: its hash no longer follows from its content;
- an entry removed or slipped in: a gap in seq, or a prev_hash that is not the predecessor's hash;
- the newest entries cut off: the anchor, kept in another table and moved in the same transaction, is beyond the end;
- rows of event_blocks changed, removed or slipped in: the SHA-256 in the flush's entry, or the sum of all flushes'
  events, does not fit.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import asyncpg

from schemas.audit import GENESIS, AuditEntry, entry_hash
from schemas.queries import named_queries

PREFETCH_ENTRIES = 2_000
FLUSH_ACTION = "flush"
PIPELINE_CHAINS = "shard-"
RETENTION_ACTION = "log.dropped"
RETENTION_CHAIN = "retention"

# A row of audit_logs with `details` as text: asyncpg's record, or a mapping in tests.
Entry = asyncpg.Record | Mapping[str, Any]

SQL = named_queries("cluster.oracle", "trail.sql")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit: where, and what."""

    chain: str
    seq: int
    what: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.chain} #{self.seq}: {self.what}"


@dataclass(slots=True)
class ChainEnd:
    """How far one chain was followed; `broken` once a link failed, for what comes after it proves nothing."""

    seq: int = 0
    hash: bytes = GENESIS
    broken: bool = False
    next_event_seq: int | None = None  # of the log, where the next flush must begin


@dataclass(slots=True)
class TrailReport:
    """The outcome."""

    entries: int = 0
    chains: dict[str, int] = field(default_factory=dict)  # chain: entries
    anchors: int = 0
    digests: int = 0
    digested_events: int = 0
    retired_digests: int = 0
    faults: list[Fault] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "intact": not self.faults}


class ChainWalk:
    """Follows the links of all chains, entry by entry. Pure; the first broken link of each chain is reported."""

    def __init__(self) -> None:
        self.ends: dict[str, ChainEnd] = {}
        self.faults: list[Fault] = []
        self.entries: Counter[str] = Counter()

    def follow(self, row: Entry) -> dict[str, Any]:
        """Check one entry against its predecessor; returns its details."""
        chain, seq = row["chain"], row["seq"]
        end = self.ends.setdefault(chain, ChainEnd())
        details: dict[str, Any] = json.loads(row["details"])
        self.entries[chain] += 1
        if not end.broken:
            self._check_link(end, row, details)
        end.seq, end.hash = seq, bytes(row["hash"])
        return details

    def _check_link(self, end: ChainEnd, row: Entry, details: Mapping[str, Any]) -> None:
        chain, seq = row["chain"], row["seq"]
        entry = AuditEntry(
            occurred_at=row["occurred_at"],
            actor=row["actor"],
            action=row["action"],
            object_type=row["object_type"],
            object_id=row["object_id"],
            details=details,
            request_id=row["request_id"],
            source_ip=row["source_ip"],
        )
        if seq != end.seq + 1:
            self._break(end, chain, seq, f"follows entry {end.seq}: {seq - end.seq - 1} entries are gone")
        elif bytes(row["prev_hash"]) != end.hash:
            self._break(end, chain, seq, "does not link to its predecessor")
        elif entry_hash(chain, seq, entry, end.hash) != bytes(row["hash"]):
            self._break(end, chain, seq, "its hash does not follow from its content")

    def _break(self, end: ChainEnd, chain: str, seq: int, what: str) -> None:
        end.broken = True
        self.faults.append(Fault(chain, seq, what))

    def check_anchor(self, chain: str, seq: int, digest: bytes) -> None:
        """Compare a chain's end with what was recorded apart from it."""
        end = self.ends.get(chain, ChainEnd())
        if seq > end.seq:
            self.faults.append(Fault(chain, end.seq, f"ends here, but its anchor is at {seq}: the newest are cut off"))
        elif seq < end.seq:
            self.faults.append(Fault(chain, end.seq, f"goes on beyond its anchor at {seq}"))
        elif digest != end.hash:
            self.faults.append(Fault(chain, end.seq, "its last hash is not the anchor's"))


# What an entry calls the digest of a flush's events, and the query that gives back the bytes that were digested.
VOUCHED = {
    "events_sha256": "vouched_events",
    "blocks_sha256": "vouched_blocks",  # before events had attributes
    "raw_sha256": "vouched_rows",  # before events were kept in blocks
}


async def check_trail(
    connection: asyncpg.Connection[asyncpg.Record], *, digests: bool = True, say: Callable[[int], None] = lambda _: None
) -> TrailReport:
    """Check everything, in one snapshot that the caller holds open. `digests=False` leaves the log's rows out."""
    walk, report = ChainWalk(), TrailReport()
    vouched, dropped = 0, 0
    flushes: list[tuple[Fault, dict[str, Any]]] = []
    async for row in connection.cursor(SQL["entries"], prefetch=PREFETCH_ENTRIES):
        details = walk.follow(row)
        report.entries += 1
        if row["action"] == FLUSH_ACTION and row["chain"].startswith(PIPELINE_CHAINS):
            vouched += int(details.get("events", 0))
            if any(details.get(name) for name in VOUCHED):
                flushes.append((Fault(row["chain"], row["seq"], ""), details))
        elif row["action"] == RETENTION_ACTION and row["chain"] == RETENTION_CHAIN:
            dropped += int(details.get("events", 0))
        if report.entries % PREFETCH_ENTRIES == 0:
            say(report.entries)
    for name in ("service_heads", "shard_heads"):
        for row in await connection.fetch(SQL[name]):
            walk.check_anchor(row["chain"], row["seq"], bytes(row["hash"]))
            report.anchors += 1
    report.faults = walk.faults
    report.chains = dict(walk.entries)
    if digests:
        for at, details in flushes:
            await _check_digest(connection, report, at, details, some_dropped=dropped > 0)
        stored = int(await connection.fetchval(SQL["log_rows"]))
        if vouched - dropped != stored:
            what = (
                f"{vouched:,} rows are vouched for, {dropped:,} of them dropped by retention, but {stored:,} are there"
            )
            report.faults.append(Fault("event_blocks", 0, what))
    return report


async def _check_digest(
    connection: asyncpg.Connection[asyncpg.Record],
    report: TrailReport,
    at: Fault,
    details: Mapping[str, Any],
    *,
    some_dropped: bool,
) -> None:
    """Recompute the SHA-256 of the blocks that a flush wrote, in PostgreSQL's binary COPY format.

    Blocks that retention dropped cannot be hashed any more. That as many events are gone as it says is checked by the
    sum. Entries of older versions vouch for the same events in other forms, see VOUCHED.
    """
    digest = hashlib.sha256()
    size = 0

    async def take(data: bytes) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    bounds = [int(details[name]) for name in ("key_group_from", "key_group_to", "seq_from", "seq_to")]
    vouched, query = next((name, query) for name, query in VOUCHED.items() if name in details)
    status = await connection.copy_from_query(SQL[query], *bounds, output=take, format="binary")
    found = int(status.split()[-1])
    if digest.hexdigest() == details[vouched]:
        report.digests += 1
        report.digested_events += int(details["events"])
    elif some_dropped and not found:
        report.retired_digests += 1
    else:
        what = f"the {details['events']} events with seq {bounds[2]} to {bounds[3] - 1} are not what was written"
        report.faults.append(Fault(at.chain, at.seq, what))
