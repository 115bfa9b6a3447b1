"""Summary, series, sources, pipeline and incidents: how the whole is doing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.models.common import BreakName, Millis, Minor, Money, Page, Person, Shape

IncidentKind = Literal["source_silent", "break_burst", "pipeline_stalled"]


class Me(Person):
    """Who the token says is calling."""

    subject: str
    token_expires: Millis
    allowed: list[str] = Field(description="Operation ids that the role may call.")


class BreakCount(Shape):
    """Breaks of one kind."""

    kind: BreakName
    count: int


class SourceCount(Shape):
    """Events accepted from one source."""

    source: str
    events: int


class AgeBucket(Shape):
    """Open exceptions by age, and their money at risk."""

    label: Literal["under_1h", "under_1d", "under_7d", "older"]
    count: int
    at_risk: list[Money]


class Summary(Shape):
    """Is it healthy, and what needs attention. Counted from running totals: no request scans results."""

    at: Millis
    window_ms: int = Field(description="The window that the counts below cover, ending at `at`.")
    verdicts: dict[str, int] = Field(description="Net change in the window: PENDING, MATCHED, MISMATCHED.")
    totals: dict[str, int] = Field(description="All transactions by verdict.")
    match_rate: float | None = Field(description="MATCHED / (MATCHED + MISMATCHED) in the window; null without any.")
    breaks: list[BreakCount]
    at_risk: list[Money] = Field(
        description="Money at risk of open exceptions, by currency, as of `ageing_at`: the difference where only "
        "amounts differ, the larger amount where a source is missing, or sources differ in status or currency, or one "
        "source contradicts or repeats itself; nothing where only times or attributes differ."
    )
    at_risk_total: Money | None = Field(
        description="All of it in the base currency; null without RECON_BASE_CURRENCY, or where a rate is missing."
    )
    at_risk_unrated: list[str] = Field(description="Currencies at risk that RECON_EXCHANGE_RATES has no rate for.")
    events: list[SourceCount]
    events_per_s: float = Field(description="Accepted events over the last ten seconds, all sources.")
    redeliveries: int
    dead_letters: int
    late: int
    open_exceptions: int = Field(description="All that is not resolved.")
    ageing: list[AgeBucket]
    ageing_at: Millis | None = Field(description="The ageing is refreshed in the background; this is its date.")
    lag: int | None = Field(description="Messages between the pipeline and the end of the log; null when unknown.")
    latency_p99_ms: int | None = Field(description="Flush time p99 over the shards; null when unknown.")
    pipeline: Literal["running", "degraded", "stopped"]


class SeriesPoint(Shape):
    """One bucket of one series."""

    at: Millis = Field(description="Start of the bucket.")
    values: dict[str, int] = Field(description="By metric, as in `verdict.MATCHED`, `events.CORE`, `break.AMOUNT`.")
    amounts: dict[str, Minor] = Field(description="Sums of amounts, by `metric/currency`, where the metric has any.")


class Series(Shape):
    """Counts over time; empty buckets are left out."""

    step_ms: int
    since: Millis
    until: Millis
    points: list[SeriesPoint]


class PartitionState(Shape):
    """How far one partition is read."""

    topic: str
    source: str
    partition: int
    position: int
    end_offset: int | None
    lag: int | None
    watermark: Millis | None
    reader: str


class SourceState(Shape):
    """One source: rate, lag, watermark, silence."""

    name: str
    topic: str
    expected: bool
    events_per_s: float
    lag: int | None
    watermark: Millis | None = Field(description="Everything that arrived before it has been read.")
    last_event: Millis | None
    silent: bool
    partitions: list[PartitionState]


class SourceList(Shape):
    """All configured sources."""

    at: Millis | None = Field(description="When the pipeline last reported; null when it does not.")
    items: list[SourceState]


class ActorState(Shape):
    """One actor of the pipeline."""

    name: str
    kind: str
    pid: int | None
    node: str
    restarts: int
    heartbeat_age_ms: int | None


class ShardState(Shape):
    """One matcher shard and its range of key groups."""

    name: str
    key_group_from: int
    key_group_to: int = Field(description="Exclusive.")
    epoch: int
    pending_rows: int
    spilled_txns: int
    flushes: int
    flush_ms_p50: float | None
    flush_ms_p99: float | None
    last_flush: Millis | None
    events_per_s: float


class Pipeline(Shape):
    """The pipeline as its supervisor reports it."""

    at: Millis | None
    state: str
    actors: list[ActorState]
    partitions: list[PartitionState]
    shards: list[ShardState]
    ray_dashboard_url: str | None


class Incident(Shape):
    """Something that needs a person, opened and closed by itself."""

    incident_id: int
    kind: IncidentKind
    subject: str = Field(description="The source, or the kind of break.")
    opened_at: Millis
    closed_at: Millis | None
    detail: str


class IncidentPage(Page):
    """Incidents, newest first."""

    items: list[Incident]
