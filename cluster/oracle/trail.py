"""Checks the audit trail: every chain link by link, its end against its anchor, and the ledger against the entries.

What each check would catch:

- an entry changed or replaced: its hash no longer follows from its content;
- an entry removed or slipped in: a gap in seq, or a prev_hash that is not the predecessor's hash;
- the newest entries cut off: the anchor, kept in another table and moved in the same transaction, is beyond the end; or
  another chain saw an entry that is gone;
- rows of event_blocks changed, removed or slipped in: the SHA-256 in the flush's entry, or the sum of all flushes'
  events, does not fit;
- results changed, removed or slipped in (`trail_results`, and `trail_naming` for the row and field);
- what people and the pipeline's set-up did, as the entries tell it (`trail_rows`);
- positions of the shards behind their last flush, and guards of tables that are off.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from cluster.oracle.trail_naming import Naming
from cluster.oracle.trail_report import Fault, TrailReport, iso
from cluster.oracle.trail_results import Baseline, check_results
from cluster.oracle.trail_rows import check_rows
from cluster.oracle.trail_store import Place, TrailStore, VouchedFlush
from schemas.audit import GENESIS, AuditEntry, entry_hash
from schemas.covered import BASELINE_ACTION, BASELINE_CHAIN, SETUP_CHAIN, micros
from schemas.queries import named_queries

PREFETCH_ENTRIES = 2_000
FLUSH_ACTION = "flush"
PIPELINE_CHAINS = "shard-"
RETENTION_ACTION = "log.dropped"
RETENTION_CHAIN = "retention"
SERVICE_CHAINS = "api"
REPLACED_NAMED_MAX: Final = 100
# Triggers without which a table takes changes that it must refuse, by table and name.
GUARDS: Final = (
    "audit_logs.audit_logs_append_only",
    "audit_logs.audit_logs_no_truncate",
    "audit_logs.audit_logs_own_chain",
    "audit_heads.audit_heads_move_on",
    "configurations.configurations_append_only",
    "configurations.configurations_no_truncate",
    "event_blocks.event_blocks_append_only",
    "event_blocks.event_blocks_no_truncate",
    "exceptions.exceptions_guard",
    "exceptions.exceptions_stay",
    "exception_comments.exception_comments_append_only",
    "exception_comments.exception_comments_no_truncate",
    "exception_history.exception_history_append_only",
    "exception_history.exception_history_no_truncate",
    "rule_sets.rule_sets_guard",
    "results.results_signal_exception",
)

# A row of audit_logs with `details` as text: asyncpg's record, or a mapping in tests.
Entry = asyncpg.Record | Mapping[str, Any]

SQL = named_queries("cluster.oracle", "trail.sql")


@dataclass(slots=True)
class ChainEnd:
    """How far one chain was followed; `broken` once a link failed, for what comes after it proves nothing."""

    seq: int = 0
    hash: bytes = GENESIS
    broken: bool = False
    next_event_seq: int | None = None  # of the log, where the next flush must begin


class ChainWalk:
    """Follows the links of all chains, entry by entry. Pure; the first broken link of each chain is reported."""

    def __init__(self) -> None:
        self.ends: dict[str, ChainEnd] = {}
        self.faults: list[Fault] = []
        self.entries: Counter[str] = Counter()
        self.seen_elsewhere: dict[tuple[str, int], tuple[bytes, Place]] = {}  # heads of other chains that entries name

    def follow(self, row: Entry) -> dict[str, Any]:
        """Check one entry against its predecessor; returns its details."""
        chain, seq = row["chain"], row["seq"]
        end = self.ends.setdefault(chain, ChainEnd())
        details: dict[str, Any] = json.loads(row["details"])
        self.entries[chain] += 1
        if not end.broken:
            self._check_link(end, row, details)
        end.seq, end.hash = seq, bytes(row["hash"])
        witness = self.seen_elsewhere.pop((chain, seq), None)
        if witness is not None and witness[0] != end.hash:
            self.faults.append(Fault(chain, seq, f"is not the entry that {witness[1].chain} #{witness[1].seq} saw"))
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

    def check_witnesses(self) -> None:
        """After the last chain: entries that other chains saw must have been there."""
        for (chain, seq), (_, at) in self.seen_elsewhere.items():
            self.faults.append(Fault(chain, seq, f"is gone, but {at.chain} #{at.seq} saw it: the newest are cut off"))

    def check_has_anchor(self, anchored: Collection[str]) -> None:
        """The service's chains, and the baseline, never lose their anchors."""
        for chain, end in self.ends.items():
            if (chain.startswith(SERVICE_CHAINS) or chain == BASELINE_CHAIN) and chain not in anchored:
                self.faults.append(Fault(chain, end.seq, "its anchor is gone", "audit_heads", f"chain={chain}"))


# What an entry calls the digest of a flush's events, and the query that gives back the bytes that were digested.
VOUCHED = {
    "events_sha256": "vouched_events",
    "blocks_sha256": "vouched_blocks",  # before events had attributes
    "raw_sha256": "vouched_rows",  # before events were kept in blocks
}


async def check_trail(
    connection: asyncpg.Connection[asyncpg.Record], *, digests: bool = True, say: Callable[[int], None] = lambda _: None
) -> TrailReport:
    """Check everything, in one snapshot that the caller holds open. `digests=False` follows the chains alone.

    What entries say is kept in a temporary file meanwhile, so that memory does not grow with the ledger.
    """
    with TrailStore() as store:
        return await _Check(connection, store, say).run(digests=digests)


class _Check:
    """One check of a whole trail."""

    def __init__(
        self, connection: asyncpg.Connection[asyncpg.Record], store: TrailStore, say: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._store = store
        self._say = say
        self._walk = ChainWalk()
        self._report = TrailReport()
        self._vouched = 0
        self._baseline: Baseline | None = None
        self._last_flushes: dict[str, tuple[Place, Mapping[str, Any]]] = {}
        self._laid_out: dict[str, int] = {}  # where each chain ended when the shards were last laid out anew
        self._ranges: dict[int, int] = {}  # of key groups, as they were laid out then
        self._heads_of_baseline: dict[str, int] = {}

    async def run(self, *, digests: bool) -> TrailReport:
        """All of it."""
        walk, report, connection = self._walk, self._report, self._connection
        names = [row["chain"] for row in await connection.fetch(SQL["chains"])]
        # Entries of these two are about the other chains, and are known before those are followed.
        for chain in sorted(names, key=lambda name: (name != BASELINE_CHAIN, name != SETUP_CHAIN, name)):
            async for row in connection.cursor(SQL["entries"], chain, prefetch=PREFETCH_ENTRIES):
                self._take(row, walk.follow(row))
        walk.check_witnesses()
        anchored: set[str] = set()
        for name in ("service_heads", "shard_heads"):
            for row in await connection.fetch(SQL[name]):
                walk.check_anchor(row["chain"], row["seq"], bytes(row["hash"]))
                anchored.add(row["chain"])
                report.anchors += 1
        walk.check_has_anchor(anchored)
        for fault in walk.faults:
            report.add(fault)
        report.chains = dict(walk.entries)
        report.heads = {chain: [end.seq, end.hash.hex()] for chain, end in walk.ends.items()}
        if digests:
            await self._check_ledger()
        return report

    def _take(self, row: Entry, details: Mapping[str, Any]) -> None:
        """Keep what one entry says of the ledger."""
        report, place = self._report, Place(row["chain"], row["seq"])
        report.entries += 1
        if row["action"] == FLUSH_ACTION and place.chain.startswith(PIPELINE_CHAINS):
            self._vouched += int(details.get("events", 0))
            self._store.take_flush(micros(row["occurred_at"]), place, details)
            self._last_flushes[place.chain] = (place, details)
        elif row["action"] == RETENTION_ACTION and place.chain == RETENTION_CHAIN:
            report.dropped_events += int(details.get("events", 0))
        elif row["action"] == BASELINE_ACTION and place == Place(BASELINE_CHAIN, 1):
            self._baseline = Baseline.of(place, micros(row["occurred_at"]), details)
        if "heads" in details and place.chain in {BASELINE_CHAIN, SETUP_CHAIN}:
            heads = {chain: int(seq) for chain, (seq, _) in details["heads"].items()}
            for chain, (seq, digest) in details["heads"].items():
                self._walk.seen_elsewhere[chain, int(seq)] = (bytes.fromhex(digest), place)
            if place.chain == BASELINE_CHAIN:
                self._heads_of_baseline = heads
            else:
                self._laid_out = heads
                self._ranges = {int(start): int(stop) for start, stop in details["has"]}
        for fault in self._store.take_rows(place, row["action"], row["actor"], details):
            report.add(fault)
        if report.entries % PREFETCH_ENTRIES == 0:
            self._say(report.entries)

    async def _check_ledger(self) -> None:
        """The tables against the entries."""
        connection, report, baseline = self._connection, self._report, self._baseline
        for flush in self._store.flushes():
            if any(flush.details.get(name) for name in VOUCHED):
                await _check_digest(connection, report, flush)
        stored = int(await connection.fetchval(SQL["log_rows"]))
        if self._vouched - report.dropped_events != stored:
            what = (
                f"{self._vouched:,} rows are vouched for, {report.dropped_events:,} of them dropped by retention, but "
                f"{stored:,} are there"
            )
            report.add(Fault("", 0, what, "event_blocks"))
        if baseline is None:
            what = "there is no baseline: results and what people did cannot be checked; run `recon migrate`"
            report.add(Fault(BASELINE_CHAIN, 0, what))
            return
        report.covered_since = iso(baseline.at_us)
        report.is_covered_from_start = not baseline.results and not any(
            chain.startswith(PIPELINE_CHAINS) and seq for chain, seq in self._heads_of_baseline.items()
        )
        suspects = await check_results(connection, self._store, baseline, report)
        await check_rows(connection, self._store, report)
        await Naming(connection, self._store, report).name_all(suspects, baseline)
        await self._check_checkpoints()
        await self._check_guards()
        for row in await connection.fetch(SQL["replaced"], REPLACED_NAMED_MAX):
            name = f"key_group={row['key_group']} txn_id={row['txn_id']} history_id={row['history_id']}"
            report.add(Fault("", 0, "no result followed it then", "result_history", name, "replaced_at"))

    async def _check_checkpoints(self) -> None:
        """A checkpoint is where its last flush left it, or ahead in what moves without one."""
        for row in await self._connection.fetch(SQL["checkpoints"]):
            name = f"key_group_from={row['key_group_from']}"
            if row["chain"] in self._walk.ends and not row["audit_seq"] and not self._is_laid_out_anew(row["chain"]):
                end = self._walk.ends[row["chain"]]
                what = f"is 0, but its chain ends at {end.seq}"
                self._report.add(Fault(row["chain"], end.seq, what, "checkpoints", name, "audit_seq"))
            if row["chain"] not in self._last_flushes or not row["audit_seq"]:
                continue
            place, details = self._last_flushes[row["chain"]]
            for field, (value, expected) in self._wrong(row, details).items():
                what = f"is {value!r}, but its last flush left {expected!r}"
                self._report.add(Fault(place.chain, place.seq, what, "checkpoints", name, field))

    def _wrong(self, row: asyncpg.Record, details: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Fields of a checkpoint that its last flush, or the layout after it, left otherwise: found, and expected."""
        if self._is_laid_out_anew(row["chain"]):  # by the ranges before: flushes are counted anew, seqs go on
            exact = {"key_group_to": self._ranges.get(row["key_group_from"], row["key_group_to"])}
            least = {"next_seq": details["seq_to"]}
        else:
            exact = {"key_group_to": details["key_group_to"], "next_seq": details["seq_to"]}
            least = {"epoch": details["epoch"], "flushes": details["flush"]}
        wrong = {field: (row[field], value) for field, value in exact.items() if row[field] != value}
        wrong |= {field: (row[field], f"at least {value}") for field, value in least.items() if row[field] < value}
        if row["low_seq"] > row["next_seq"]:
            wrong["low_seq"] = (row["low_seq"], f"at most {row['next_seq']}")
        return wrong | _behind(json.loads(row["positions"]), details["positions"])

    def _is_laid_out_anew(self, chain: str) -> bool:
        """Whether the newest layout came after the last flush of a chain, so that its checkpoint begins at 0."""
        return self._laid_out.get(chain) == self._walk.ends[chain].seq

    async def _check_guards(self) -> None:
        """The triggers that refuse changes are there and on."""
        there = {row["name"] for row in await self._connection.fetch(SQL["triggers"])}
        for name in GUARDS:
            if name not in there:
                table, _, trigger = name.partition(".")
                self._report.add(Fault("", 0, "is off or gone", table, f"trigger={trigger}", "trigger"))


def _behind(
    found: Mapping[str, Mapping[str, int]], said: Mapping[str, Mapping[str, int]]
) -> dict[str, tuple[Any, Any]]:
    """Positions that are lower than a flush left them."""
    behind = {
        f"{topic}[{partition}]": (found.get(topic, {}).get(partition, 0), at)
        for topic, partitions in said.items()
        for partition, at in partitions.items()
        if found.get(topic, {}).get(partition, 0) < at
    }
    if not behind:
        return {}
    return {
        "positions": ({name: at for name, (at, _) in behind.items()}, {name: at for name, (_, at) in behind.items()})
    }


async def _check_digest(
    connection: asyncpg.Connection[asyncpg.Record], report: TrailReport, flush: VouchedFlush
) -> None:
    """Recompute the SHA-256 of the blocks that a flush wrote, in PostgreSQL's binary COPY format.

    Blocks that retention dropped cannot be hashed any more. That as many events are gone as it says is checked by the
    sum. Entries of older versions vouch for the same events in other forms, see VOUCHED.
    """
    digest = hashlib.sha256()

    async def take(data: bytes) -> None:
        digest.update(data)

    details = flush.details
    bounds = [int(details[name]) for name in ("key_group_from", "key_group_to", "seq_from", "seq_to")]
    vouched, query = next((name, query) for name, query in VOUCHED.items() if name in details)
    status = await connection.copy_from_query(SQL[query], *bounds, output=take, format="binary")
    found = int(status.split()[-1])
    if digest.hexdigest() == details[vouched]:
        report.digests += 1
        report.digested_events += int(details["events"])
    elif report.dropped_events and not found:
        report.retired_digests += 1
    else:
        what = f"the {details['events']} events with seq {bounds[2]} to {bounds[3] - 1} are not what was written"
        row = f"key_group={bounds[0]}..{bounds[1] - 1} seq={bounds[2]}..{bounds[3] - 1}"
        report.add(Fault(flush.place.chain, flush.place.seq, what, "event_blocks", row))
