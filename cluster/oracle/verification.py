"""The whole of `recon verify`: wait for the pipeline, read the log, compare, and look again at what may settle."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.oracle.compare import Frame, compare_bucket, compare_checkpoints, compare_counters, compare_dead_letters
from cluster.oracle.decoding import Decoder, Version, registry_lookup
from cluster.oracle.differences import Findings
from cluster.oracle.ledger import Checkpoint, Ledger, snapshot
from cluster.oracle.log import Extent, LogReader, Position, Spool, bucket_ranges
from cluster.oracle.mapping.bodies import RegistryLookup
from schemas.errors import ReconError
from schemas.events import SourceSpec

WAIT_S_DEFAULT = 90.0  # a window of 30 s, its grace, and a slow machine
SETTLE_MS_DEFAULT = 5_000  # from arrival to a decision in the ledger: grace, batch and flush take well under one second
POLL_S = 0.5
CATCH_UP_S = 5.0  # even with --wait-s 0
RETRY_S = 2.0
STEADY_ROUNDS = 3  # the same departures so often in a row are not going to settle


class NothingToVerifyError(ReconError):
    """Not one row was compared: a verification that says nothing must not pass for a clean one."""

    def __init__(self, why: str) -> None:
        super().__init__(f"nothing was compared: {why}")


@dataclass(frozen=True, slots=True)
class Access:
    """Client settings for the three services that a verification reads."""

    kafka: Mapping[str, Any]
    registry: Mapping[str, Any]
    postgres: Mapping[str, Any]
    sources: tuple[SourceSpec, ...]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for the pipeline, and how old a record must be for its decision to be due."""

    wait_s: float = WAIT_S_DEFAULT
    settle_ms: int = SETTLE_MS_DEFAULT


@dataclass(slots=True)
class Report:
    """The outcome of a verification."""

    findings: Findings
    log_records: int = 0
    accepted: int = 0
    set_aside: int = 0
    skipped: int = 0
    rounds: int = 0
    elapsed_s: float = 0.0
    behind: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """No departure at all."""
        return self.findings.total == 0

    def to_json(self, limit: int) -> dict[str, Any]:
        """Plain data."""
        return {
            "clean": self.clean,
            "log_records": self.log_records,
            "accepted": self.accepted,
            "set_aside": self.set_aside,
            "skipped": self.skipped,
            "rounds": self.rounds,
            "elapsed_s": round(self.elapsed_s, 1),
            "behind": self.behind,
            **self.findings.to_json(limit),
        }


def behind(checkpoints: list[Checkpoint], extents: Mapping[Position, Extent]) -> dict[str, str]:
    """Partitions that some owner has not read to the given ends, with the lowest position; empty when all are there."""
    found: dict[str, str] = {}
    for (topic, partition), extent in sorted(extents.items()):
        if extent.high == extent.low:
            continue
        lowest = min((checkpoint.positions.get((topic, partition), 0) for checkpoint in checkpoints), default=0)
        if lowest < extent.high:
            found[f"{topic}[{partition}]"] = f"{lowest} of {extent.high}"
    return found


class Verification:
    """One run. `say` is told what is going on, in a few words."""

    def __init__(self, access: Access, patience: Patience, say: Callable[[str], None] = lambda _: None) -> None:
        self._access = access
        self._patience = patience
        self._say = say
        self._deadline = 0.0
        self._lookup: RegistryLookup = lambda _: None

    async def run(self) -> Report:
        """Verify.

        Raises NothingToVerifyError, ArrivalTimeError, UnknownSourceError, TopicRecreatedError until an operator has
        accepted the new topic, a TransientError when Kafka or the registry does not answer, and OSError or
        asyncpg.PostgresError when the database does not.
        """
        began = time.monotonic()
        self._deadline = began + self._patience.wait_s
        async with snapshot(self._access.postgres) as ledger:
            bases, topic_ids = await ledger.topic_bases(), await ledger.topic_ids()
            reading = await self._reading_of(ledger)
        with (
            registry_lookup(dict(self._access.registry)) as lookup,
            closing(LogReader(self._access.kafka, Decoder(lookup, *reading), bases)) as reader,
        ):
            self._lookup = lookup
            await asyncio.to_thread(reader.check_topics, topic_ids)
            extents = await asyncio.to_thread(reader.extents)
            records = sum(extent.high - extent.low for extent in extents.values())
            if records == 0:
                raise NothingToVerifyError("the topics are empty")
            with (
                tempfile.TemporaryDirectory(prefix="recon-verify-") as folder,
                Spool(Path(folder), bucket_ranges(records)) as spool,
            ):
                report = await self._until_steady(reader, spool)
        report.elapsed_s = time.monotonic() - began
        if report.findings.compared["raw_events"] + report.findings.compared["dead_letters"] == 0 and report.clean:
            raise NothingToVerifyError("the ledger is empty and no position has moved")
        return report

    async def _reading_of(self, ledger: Ledger) -> tuple[Sequence[SourceSpec], Sequence[Version]]:
        """The sources by number, and all versions of the configuration."""
        return await ledger.sources() or self._access.sources, await ledger.configurations()

    async def _follow(self, reader: LogReader, ledger: Ledger) -> None:
        """Read on by the versions that there are now.

        A version comes into force some seconds after it is committed (RULES_LEAD_MS). So what has arrived by now is
        read from here on by all versions that were in force then.
        """
        sources, versions = await self._reading_of(ledger)
        if tuple(versions) != reader.decoder.versions:
            reader.decoder = Decoder(self._lookup, sources, versions)

    async def _until_steady(self, reader: LogReader, spool: Spool) -> Report:
        rounds, steady = 0, 0
        last: dict[str, int] | None = None
        while True:
            rounds += 1
            report = await self._round(reader, spool)
            report.rounds = rounds
            findings = report.findings
            waiting = findings.mendable + findings.compared["open"] + findings.compared["recent"]
            steady = steady + 1 if dict(findings.by_kind) == last else 1
            last = dict(findings.by_kind)
            due = findings.compared["open"] + findings.compared["recent"] > 0
            if not waiting or (steady >= STEADY_ROUNDS and not due) or time.monotonic() + RETRY_S > self._deadline:
                return report
            self._say(
                f"{findings.mendable} departures may settle, {findings.compared['open']} windows are open, "
                f"{findings.compared['recent']} transactions are recent; looking again"
            )
            await asyncio.sleep(RETRY_S)

    async def _round(self, reader: LogReader, spool: Spool) -> Report:
        """Wait for the positions, take a snapshot, read the log up to it, compare everything."""
        asked_ms = int(time.time() * 1000)
        async with snapshot(self._access.postgres) as ledger:
            await self._follow(reader, ledger)
        extents = await asyncio.to_thread(reader.extents)
        lagging = await self._caught_up(extents)
        findings = Findings()
        for partition, how in lagging.items():
            findings.differ("positions.behind", partition, "read to the end", how)
        await asyncio.to_thread(reader.read_to, extents, spool, self._progress)
        await self._let_settle(spool.newest_arrival)
        async with snapshot(self._access.postgres) as ledger:
            checkpoints = await ledger.checkpoints()
            await self._follow(reader, ledger)
            extents = await asyncio.to_thread(reader.extents)  # at or beyond every position of the snapshot
            now_ms = int(time.time() * 1000)
            # Up to this time everybody had read the log to its end, so an idle watermark is not far behind it.
            reached_ms = asked_ms if behind(checkpoints, extents) else now_ms
            await asyncio.to_thread(reader.read_to, extents, spool, self._progress)
            frame = Frame(
                sources=await ledger.sources() or self._access.sources,
                rulebook=await ledger.rulebook(),
                checkpoints=checkpoints,
                extents=extents,
                settled_ms=(0 if lagging else reached_ms - self._patience.settle_ms),
                now_ms=now_ms,
                retired_until=max((row["day"] for row in await ledger.fetch("retired_days")), default=None),
            )
            compare_checkpoints(frame, findings)
            for bucket, groups in enumerate(spool.buckets):
                self._say(f"comparing key groups {groups.start} to {groups.stop - 1}")
                await compare_bucket(frame, ledger, spool, bucket, findings)
            await compare_dead_letters(frame, ledger, spool.set_aside, findings)
            await compare_counters(frame, ledger, findings)
        return Report(
            findings,
            log_records=spool.accepted + len(spool.set_aside) + spool.skipped,
            accepted=spool.accepted,
            set_aside=len(spool.set_aside),
            skipped=spool.skipped,
            behind=lagging,
        )

    async def _caught_up(self, extents: Mapping[Position, Extent]) -> dict[str, str]:
        """Wait until all owners have read to these ends, at most to the deadline; return who has not.

        A short while is always given: with steady traffic the end is a moment ahead of everybody.
        """
        deadline = max(self._deadline, time.monotonic() + CATCH_UP_S)
        while True:
            async with snapshot(self._access.postgres) as ledger:
                lagging = behind(await ledger.checkpoints(), extents)
            if not lagging or time.monotonic() >= deadline:
                return lagging
            self._say(f"waiting for the pipeline: {', '.join(f'{key} {value}' for key, value in lagging.items())}")
            await asyncio.sleep(POLL_S)

    async def _let_settle(self, newest_arrival: int) -> None:
        """Sleep until the newest record is old enough for its decision to be due, unless the deadline is nearer."""
        wait_s = min((newest_arrival + self._patience.settle_ms) / 1000 + 0.1 - time.time(), self._patience.settle_ms)
        if 0 < wait_s < self._deadline - time.monotonic():
            self._say("letting the newest records settle")
            await asyncio.sleep(wait_s)

    def _progress(self, count: int) -> None:
        self._say(f"reading the log: {count:,} records")
