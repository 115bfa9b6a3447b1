"""Everything the service is told from outside, as frozen values; nothing here reads the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.exchange import NO_RATES, ExchangeRates


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """What makes a token valid."""

    issuer: str
    jwks_url: str
    audience: str = "recon-api"
    ca_file: str = ""
    algorithms: tuple[str, ...] = ("ES256", "RS256")
    leeway_s: int = 10  # clock skew between us and the issuer
    keys_fresh_s: int = 300  # refetched in the background after it
    keys_stale_s: int = 86_400  # served for so long while the issuer does not answer
    refetch_gap_s: int = 10  # an unknown key id asks the issuer at most this often


@dataclass(frozen=True, slots=True)
class Limits:
    """A limit on everything; the unit is the last word of the name."""

    body_bytes: int = 262_144
    rate_per_s: int = 100  # per caller and replica, sustained
    rate_burst_requests: int = 200
    exports_per_caller: int = 2
    export_rows: int = 1_000_000
    scan_rows: int = 20_000  # index entries that one page may look at
    statement_ms: int = 5_000
    export_statement_ms: int = 60_000
    audit_wait_ms: int = 3_000  # a read waits so long for its audit entry, then it is refused
    audit_batch_entries: int = 500
    audit_queue_entries: int = 5_000
    # Live feed
    sockets: int = 2_000  # per replica
    sockets_per_caller: int = 200  # per replica
    feed_ring_messages: int = 5_000
    feed_ring_bytes: int = 32_000_000
    replay_messages: int = 2_000  # further behind than that: refetch
    unacked_bytes: int = 1_000_000  # per socket: beyond it the socket gets nothing more
    mark_bytes: int = 128_000  # per socket: an acknowledgement is asked for every so often
    slow_ms: int = 10_000  # a socket that stays over the limit for so long is dropped
    socket_message_bytes: int = 16_384  # largest message that a client may send
    merge_ms: int = 100  # a socket that takes merged flushes gets a message at most this often
    merge_bytes: int = 128_000  # or when so much is together
    live_summary_ms: int = 2_000  # how often the summary and the pipeline are sent
    ping_interval_s: int = 10
    ping_timeout_s: int = 10


@dataclass(frozen=True, slots=True)
class PublicConfig:
    """What the dashboard needs before anybody has signed in; served as /config.json."""

    keycloak_url: str
    realm: str = "recon"
    client_id: str = "recon-dashboard"
    ray_dashboard_url: str = ""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where dead letters are replayed to: librdkafka's own configuration keys."""

    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """The whole configuration of one replica.

    `postgres` holds asyncpg.connect arguments for the role recon_api, with `ssl` given as a CA file path under
    `ssl_ca_file` so that the options can be pickled; `redis_url` and `redis_ca_file` likewise.
    """

    tokens: TokenOptions
    public: PublicConfig
    postgres: Mapping[str, Any]
    redis_url: str
    postgres_ca_file: str = ""
    redis_ca_file: str = ""
    kafka: KafkaOptions = KafkaOptions()
    dashboard_dir: Path | None = None
    origins: tuple[str, ...] = ()  # from which browsers may open live sockets; the page's own host when empty
    limits: Limits = Limits()
    rates: ExchangeRates = NO_RATES  # into the base currency of sums
    redis_prefix: str = "recon:"  # of every key and channel
    pool_connections: int = 8
    replica: str = "local"
    long_polling: bool = False  # sockets may begin as polls: only where one replica gets all of a client's requests

    def __repr__(self) -> str:
        """Leave the secrets out: options turn up in logs and tracebacks."""
        return f"ApiOptions(replica={self.replica!r}, issuer={self.tokens.issuer!r})"
