"""The catalogue of metric names: each with its kind, its labels and what it means. Nothing else may be exported."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"  # only rises, and starts again with its process
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; the unit is in the name's last word, as Prometheus wants it. `buckets` are upper bounds."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

# The service. Each replica adds the label `replica`.
HTTP_REQUESTS = Metric("recon_http_requests_total", Kind.COUNTER, "Answered requests.", ("operation", "status"))
HTTP_SECONDS = Metric(
    "recon_http_request_seconds",
    Kind.HISTOGRAM,
    "From request to the last byte of the answer.",
    ("operation",),
    _SECONDS,
)
RATE_REFUSED = Metric("recon_rate_refused_total", Kind.COUNTER, "Requests refused because their caller is too fast.")
AUDIT_ENTRIES = Metric("recon_audit_entries_total", Kind.COUNTER, "Audit entries committed by the service.")
AUDIT_COMMITS = Metric("recon_audit_commits_total", Kind.COUNTER, "Transactions that held them.")
AUDIT_REFUSED = Metric("recon_audit_refused_total", Kind.COUNTER, "Reads refused because their entry was not stored.")
SIGNING_KEYS_FRESH = Metric("recon_signing_keys_fresh", Kind.GAUGE, "1 while the sign-in service answers, else 0.")
SOCKETS = Metric("recon_live_sockets", Kind.GAUGE, "Live sockets connected to this replica.")
SOCKETS_LAGGING = Metric("recon_live_sockets_lagging", Kind.GAUGE, "Of these, the ones that are catching up.")
SOCKETS_DROPPED = Metric("recon_live_dropped_total", Kind.COUNTER, "Sockets that were dropped.", ("reason",))
FEED_MESSAGES = Metric("recon_live_feed_messages_total", Kind.COUNTER, "Flushes received for the live feed.")
FEED_RESYNCS = Metric("recon_live_resyncs_total", Kind.COUNTER, "Clients told to fetch anew.")
FEED_SEQ = Metric("recon_live_feed_seq", Kind.GAUGE, "Number of the newest flush on the live feed.")
FEED_AGE_SECONDS = Metric(
    "recon_live_feed_age_seconds", Kind.HISTOGRAM, "From a flush's decision to its hand-over to sockets.", (), _SECONDS
)

# The pipeline, as its supervisor reports it.
PIPELINE_UP = Metric("recon_pipeline_up", Kind.GAUGE, "1 while the supervisor reports, else 0.")
SOURCE_EVENTS_PER_S = Metric("recon_source_events_per_second", Kind.GAUGE, "Events read from a source.", ("source",))
SOURCE_LAG = Metric("recon_source_lag_messages", Kind.GAUGE, "Messages not yet read from a source.", ("source",))
SOURCE_SILENT = Metric("recon_source_silent", Kind.GAUGE, "1 while a source says nothing, else 0.", ("source",))
SHARD_PENDING = Metric("recon_shard_pending_rows", Kind.GAUGE, "Undecided legs in memory.", ("shard",))
SHARD_FLUSH_P99 = Metric("recon_shard_flush_p99_milliseconds", Kind.GAUGE, "Flush time, 99th percentile.", ("shard",))
TRANSACTIONS = Metric("recon_transactions", Kind.GAUGE, "All transactions by verdict.", ("verdict",))

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
