"""Summary, series, sources, pipeline and incidents."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any, cast

from api import cursors
from api.db import Database
from api.models.common import FieldProblem, Money
from api.models.overview import (
    ActorState,
    AgeBucket,
    BreakCount,
    Incident,
    IncidentPage,
    PartitionState,
    Pipeline,
    Series,
    SeriesPoint,
    ShardState,
    SourceCount,
    SourceList,
    SourceState,
    Summary,
)
from api.problems import InvalidError
from api.queries import queries
from api.snapshot import STALE_MS, SnapshotReader
from api.store.totals import Totals, by_currency, prefixed
from api.store.vocabulary import VocabularyReader
from api.times import from_millis, millis, millis_or_none, now
from schemas.exchange import NO_RATES, ExchangeRates
from schemas.verdicts import Break, Verdict

POINTS_MAX = 2_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
SERIES_BY_MINUTE_MS_MAX = 6 * HOUR_MS  # a longer series is read from the hours
_STEPS_MS = (60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000)
_LABELS = ("under_1h", "under_1d", "under_7d", "older")
SUMMARY_FRESH_S = 1.0


class OverviewStore:
    """Reads counters and the pipeline's report."""

    def __init__(
        self,
        db: Database,
        vocabulary: VocabularyReader,
        totals: Totals,
        snapshot: SnapshotReader,
        ray_url: str,
        rates: ExchangeRates = NO_RATES,
    ) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._totals = totals
        self._snapshot = snapshot
        self._ray_url = ray_url
        self._rates = rates
        self._summaries: dict[int, tuple[float, Summary]] = {}

    async def summary(self, window_ms: int) -> Summary:
        """Counts of a window and totals. The same window within a second is answered from memory."""
        window_ms = math.ceil(window_ms / MINUTE_MS) * MINUTE_MS
        known = self._summaries.get(window_ms)
        if known is not None and time.monotonic() - known[0] < SUMMARY_FRESH_S:
            return known[1]
        summary = await self._summary(window_ms)
        if len(self._summaries) > 50:
            self._summaries.clear()
        self._summaries[window_ms] = (time.monotonic(), summary)
        return summary

    async def _summary(self, window_ms: int) -> Summary:
        at = now()
        since = (at - timedelta(milliseconds=window_ms)).replace(second=0, microsecond=0)
        recent = await self._totals.since(since)
        ageing = await self._db.fetch(queries("overview")["ageing"])
        settled = await self._db.fetchrow(queries("overview")["open_exceptions"])
        verdicts = await self._totals.verdicts()
        window = prefixed(recent, "verdict.")
        breaks = prefixed(recent, "break.")
        events = prefixed(recent, "events.")
        decided = window.get("MATCHED", 0) + window.get("MISMATCHED", 0)
        report = await self._snapshot.get()
        at_risk = by_currency((row["currency"], row["n"], row["amount_minor"]) for row in ageing)
        total, unrated = self._rates.total((money.currency, money.amount_minor) for money in at_risk)
        return Summary(
            at=millis(at),
            window_ms=window_ms,
            verdicts={verdict.name: window.get(verdict.name, 0) for verdict in Verdict},
            totals={verdict.name: max(0, verdicts.get(verdict.name, 0)) for verdict in Verdict},
            match_rate=window.get("MATCHED", 0) / decided if decided > 0 else None,
            breaks=[BreakCount(kind=cast("Any", kind.name), count=breaks.get(kind.name, 0)) for kind in Break],
            at_risk=at_risk,
            at_risk_total=None
            if total is None
            else Money(currency=self._rates.base, amount_minor=total, count=sum(money.count for money in at_risk)),
            at_risk_unrated=unrated,
            events=[
                SourceCount(source=source.name, events=events.get(source.name, 0))
                for source in (await self._vocabulary.get()).sources
            ],
            events_per_s=sum(source.get("events_per_s") or 0 for source in report["sources"]) if report else 0.0,
            redeliveries=prefixed(recent, "redelivery").get("", 0),
            dead_letters=prefixed(recent, "dead_letter").get("", 0),
            late=prefixed(recent, "late").get("", 0),
            open_exceptions=max(0, verdicts.get("MISMATCHED", 0) - settled["n"]),
            ageing=_ageing(ageing),
            ageing_at=millis(ageing[0]["as_of"]) if ageing else None,
            lag=_lag(report),
            latency_p99_ms=_worst_flush(report),
            pipeline=_state(report),
        )

    async def series(self, since: int | None, until: int | None, step_ms: int | None, metric: list[str]) -> Series:
        """Counts per step. Raises InvalidError for a range or step that makes no sense."""
        until = millis(now()) + MINUTE_MS if until is None else until
        since = until - HOUR_MS if since is None else since
        if since >= until:
            raise InvalidError(errors=[FieldProblem(where="query.since", problem="must be before until")])
        span = until - since
        by_hour = span > SERIES_BY_MINUTE_MS_MAX
        if step_ms is None:
            step_ms = next((step for step in _STEPS_MS if span / step <= 200), _STEPS_MS[-1])
        if by_hour:
            step_ms = math.ceil(step_ms / HOUR_MS) * HOUR_MS
        if step_ms % MINUTE_MS or span / step_ms > POINTS_MAX:
            problem = FieldProblem(where="query.step_ms", problem=f"whole minutes, and at most {POINTS_MAX} points")
            raise InvalidError(errors=[problem])
        first = since // step_ms * step_ms
        rows = await self._db.fetch(
            queries("overview")["series_hours" if by_hour else "series_minutes"],
            from_millis(first),
            from_millis(until),
            step_ms // 1_000,
            metric,
        )
        points: dict[int, tuple[dict[str, int], dict[str, int]]] = {}
        for row in rows:
            values, sums = points.setdefault(millis(row["bucket"]), ({}, {}))
            values[row["metric"]] = values.get(row["metric"], 0) + row["n"]
            if row["amount_minor"]:
                sums[f"{row['metric']}/{row['currency']}"] = row["amount_minor"]
        return Series(
            step_ms=step_ms,
            since=first,
            until=until,
            points=[SeriesPoint(at=at, values=values, amounts=sums) for at, (values, sums) in sorted(points.items())],
        )

    async def sources(self) -> SourceList:
        """The configured sources with what the pipeline says of each."""
        report = await self._snapshot.get()
        partitions = _partitions(report)
        told = {source["name"]: source for source in report["sources"]} if report else {}
        items = []
        for source in (await self._vocabulary.get()).sources:
            state = told.get(source.name, {})
            items.append(
                SourceState(
                    name=source.name,
                    topic=source.topic,
                    expected=source.expected,
                    events_per_s=state.get("events_per_s") or 0.0,
                    lag=state.get("lag"),
                    watermark=state.get("watermark_ms"),
                    last_event=state.get("last_event_ms"),
                    silent=bool(state.get("silent", False)),
                    partitions=[part for part in partitions if part.source == source.name],
                )
            )
        return SourceList(at=report.get("at") if report else None, items=items)

    async def pipeline(self) -> Pipeline:
        """The report as a shape."""
        return pipeline_of(await self._snapshot.get(), self._ray_url)

    async def incidents(self, *, open_only: bool, limit: int, cursor: str | None) -> IncidentPage:
        """Incidents, newest first."""
        digest = cursors.search_digest("incidents", open_only)
        below = cursors.decode(cursor, digest, (int,))[0] if cursor else 2**62
        rows = await self._db.fetch(queries("overview")["incidents"], below, open_only, limit + 1)
        more = len(rows) > limit
        return IncidentPage(
            items=[incident_of(row) for row in rows[:limit]],
            next_cursor=cursors.encode(digest, [rows[limit - 1]["incident_id"]]) if more else None,
        )


def incident_of(row: Any) -> Incident:
    """A row as a shape."""
    return Incident(
        incident_id=row["incident_id"],
        kind=row["kind"],
        subject=row["subject"],
        opened_at=millis(row["opened_at"]),
        closed_at=millis_or_none(row["closed_at"]),
        detail=row["detail"],
    )


def pipeline_of(report: dict[str, Any] | None, ray_url: str) -> Pipeline:
    """A report as a shape; fields that this version does not know are left out."""
    report = report or {}
    return Pipeline(
        at=report.get("at"),
        state=_state(report or None),
        actors=[
            ActorState(
                name=actor["name"],
                kind=actor["kind"],
                pid=actor.get("pid"),
                node=str(actor.get("node") or ""),
                restarts=actor.get("restarts") or 0,
                heartbeat_age_ms=actor.get("heartbeat_age_ms"),
            )
            for actor in report.get("actors", ())
        ],
        partitions=_partitions(report),
        shards=[
            ShardState(
                name=shard["name"],
                key_group_from=shard["key_group_from"],
                key_group_to=shard["key_group_to"],
                epoch=shard.get("epoch") or 0,
                pending_rows=shard.get("pending_rows") or 0,
                spilled_txns=shard.get("spilled_txns") or 0,
                flushes=shard.get("flushes") or 0,
                flush_ms_p50=shard.get("flush_ms_p50"),
                flush_ms_p99=shard.get("flush_ms_p99"),
                last_flush=shard.get("last_flush_ms"),
                events_per_s=shard.get("events_per_s") or 0.0,
            )
            for shard in report.get("shards", ())
        ],
        ray_dashboard_url=ray_url or None,
    )


def _partitions(report: dict[str, Any] | None) -> list[PartitionState]:
    return [
        PartitionState(
            topic=part["topic"],
            source=part["source"],
            partition=part["partition"],
            position=part.get("position") or 0,
            end_offset=part.get("end_offset"),
            lag=part.get("lag"),
            watermark=part.get("watermark_ms"),
            reader=str(part.get("reader") or ""),
        )
        for part in (report or {}).get("partitions", ())
    ]


def _ageing(rows: Any) -> list[AgeBucket]:
    by_label: dict[str, list[Money]] = {label: [] for label in _LABELS}
    for row in rows:
        by_label[row["label"]].append(Money(currency=row["currency"], amount_minor=row["amount_minor"], count=row["n"]))
    return [
        AgeBucket(label=cast("Any", label), count=sum(money.count for money in at_risk), at_risk=at_risk)
        for label, at_risk in by_label.items()
    ]


def _lag(report: dict[str, Any] | None) -> int | None:
    lags = [part.get("lag") for part in (report or {}).get("partitions", ())]
    known = [lag for lag in lags if lag is not None]
    return sum(known) if known else None


def _worst_flush(report: dict[str, Any] | None) -> int | None:
    known = [shard["flush_ms_p99"] for shard in (report or {}).get("shards", ()) if shard.get("flush_ms_p99")]
    return round(max(known)) if known else None


def _state(report: dict[str, Any] | None) -> Any:
    if report is None or millis(now()) - report.get("at", 0) > STALE_MS:
        return "stopped"
    return "running" if report.get("state") == "running" else "degraded"
