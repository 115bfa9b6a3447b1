"""What one replica does for all: opens and closes incidents, settles exceptions that healed, rolls counters up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from api.incidents import STALLED_MS, BurstDetector
from api.lease import Lease
from api.problems import UnavailableError
from api.queries import queries
from api.store.overview import incident_of
from api.times import from_millis, millis, now
from schemas.audit import AuditEntry
from schemas.covered import ROWS, told

if TYPE_CHECKING:
    from api.services import Services

log = structlog.get_logger("api.watch")

TICK_S = 1.0
AGEING_EVERY_S = 30.0
ROLL_UP_EVERY_S = 60.0


class Housekeeper:
    """Settles and rolls up, on the replica that holds the lease."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lease = Lease(services.redis, f"{services.options.redis_prefix}lease:housekeeping")
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            if await self._lease.held():
                try:
                    await self.tick()
                except UnavailableError as error:
                    log.warning("housekeeping_waits", error=str(error)[:200])
                except Exception:
                    log.exception("housekeeping_failed")

    async def tick(self) -> None:
        """One round."""
        services = self._services
        while await services.exceptions.settle() >= 500:
            pass
        if self._is_due("ageing", AGEING_EVERY_S):
            await self._long("select refresh_desk_ageing()")
        if self._is_due("roll_up", ROLL_UP_EVERY_S):
            await self._long("select roll_up_stats()")

    async def _long(self, statement: str) -> None:
        limits = self._services.options.limits
        async with self._services.db.transaction() as connection:
            await connection.execute(f"set local statement_timeout = {limits.export_statement_ms}")
            await connection.execute(statement)

    def _is_due(self, name: str, every_s: float) -> bool:
        moment = time.monotonic()
        if moment < self._due.get(name, float("-inf")):
            return False
        self._due[name] = moment + every_s
        return True


class IncidentWatch:
    """Feeds the rules of `api.incidents`, and tells everybody when an incident opens or closes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lease = Lease(services.redis, f"{services.options.redis_prefix}lease:incidents")
        self._burst = BurstDetector()
        self._open: set[tuple[str, str]] | None = None
        self._reported_at = 0

    def count(self, at_ms: int, counts: dict[str, int]) -> None:
        """Take a flush's counts into account; every replica does, so that any can take over."""
        self._burst.add(at_ms, counts.get("MATCHED", 0), counts.get("MISMATCHED", 0))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._burst.tick(millis(now()))
            if not await self._lease.held():
                self._open = None
                continue
            try:
                await self.tick()
            except UnavailableError as error:
                log.warning("incident_watch_waits", error=str(error)[:200])
            except Exception:
                log.exception("incident_watch_failed")

    async def tick(self) -> None:
        """One round on the replica that holds the lease."""
        if self._open is None:
            rows = await self._services.db.fetch(queries("overview")["open_incidents"])
            self._open = {(row["kind"], row["subject"]) for row in rows}
        report = await self._services.snapshot.get()
        if report is not None:
            self._reported_at = millis(now())
            for source in report.get("sources", ()):
                detail = _silence(source.get("last_event_ms"))
                await self._set("source_silent", source["name"], bool(source.get("silent")), detail)
            for actor in report.get("actors", ()):
                trouble = str(actor.get("trouble") or "")
                await self._set("pipeline_stalled", actor["name"], trouble.startswith("halted"), trouble)
        if self._reported_at:
            silence_ms = millis(now()) - self._reported_at
            detail = f"no report for {silence_ms // 1000} s"
            await self._set("pipeline_stalled", "pipeline", silence_ms > STALLED_MS, detail)
        await self._set("break_burst", "all", self._burst.open_since_ms is not None, self._burst.describe())

    async def _set(self, kind: str, subject: str, is_open: bool, detail: str) -> None:
        assert self._open is not None  # noqa: S101 - set at the start of the round
        key = (kind, subject)
        if is_open == (key in self._open):
            return
        sql = queries("overview")
        row: Any
        async with self._services.db.transaction() as connection:
            if is_open:
                row = await connection.fetchrow(sql["open_incident"], kind, subject, detail)
            else:
                row = await connection.fetchrow(sql["close_incident"], kind, subject)
            if row is not None:
                action = "incident.opened" if is_open else "incident.closed"
                details = {ROWS: {"incidents": [told("incidents", row)]}}
                entry = AuditEntry(now(), "recon", action, "incident", str(row["incident_id"]), details)
                await self._services.audit.append(connection, [entry])
        if is_open:
            self._open.add(key)
        else:
            self._open.discard(key)
        if row is not None:
            log.warning("incident", kind=kind, subject=subject, open=is_open, detail=detail)
            await self._services.desk_feed.publish("incident", incident_of(row).model_dump())


def _silence(last_event_ms: int | None) -> str:
    """Since when a source says nothing. The moment is ISO 8601, so that the dashboard can show it in its own zone."""
    if last_event_ms is None:
        return "nothing yet"
    return f"nothing since {from_millis(last_event_ms):%Y-%m-%dT%H:%M:%SZ}"
