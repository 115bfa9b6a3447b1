"""Every setting of recon, read once from the environment (prefix RECON_) and frozen; nothing else reads it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from schemas.errors import ReconError
from schemas.events import DEFAULT_SOURCES, SOURCES_MAX, SourceSpec
from schemas.exchange import ExchangeRates, InvalidRatesError
from schemas.places import STATE_DIR_DEFAULT
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, MATCH_WINDOW_MS_MAX

# Ports: port_base + offset. An offset is never reused for something else, so that a firewall rule stays true.
PORT_OFFSETS: dict[str, int] = {
    "kafka": 0,  # broker, TLS with client certificates
    "kafka_controller": 1,  # KRaft controller, TLS with client certificates
    "registry": 2,  # schema registry, HTTPS
    "postgres": 3,  # PostgreSQL, TLS
    "redis": 4,  # Redis, TLS
    "keycloak": 5,  # Keycloak, HTTPS
    "keycloak_management": 6,  # Keycloak health and metrics, HTTPS
    "api": 7,  # REST, live feed and dashboard, HTTPS
    "registry_management": 8,  # health and metrics of the registry, HTTPS
    "metrics": 9,  # Prometheus text of the pipeline
    "ray_gcs": 10,
    "ray_dashboard": 11,
    "ray_client": 12,
    "ray_node_manager": 13,
    "ray_object_manager": 14,
    "ray_runtime_env": 15,
    "ray_agent_grpc": 16,
    "ray_agent_http": 17,
    "ray_metrics": 18,
    "ray_dashboard_metrics": 19,
}
PORT_SPAN = 20  # two stacks on one machine need bases at least this far apart
PORT_MAX = 65_535

Milliseconds = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]


class SourceSetting(BaseModel):
    """One configured source; see `schemas.events.SourceSpec` for the meaning."""

    model_config = ConfigDict(frozen=True)

    name: str
    topic: str
    expected: bool = True
    canonical: bool = True  # whether its records are recon's own Avro, whose schema is registered for its topic

    def spec(self) -> SourceSpec:
        """The same as the vocabulary's plain value."""
        return SourceSpec(self.name, self.topic, self.expected)


def _default_sources() -> tuple[SourceSetting, ...]:
    return tuple(
        SourceSetting(name=source.name, topic=source.topic, expected=source.expected) for source in DEFAULT_SOURCES
    )


class Settings(BaseSettings):
    """Frozen settings. Each field is read from `RECON_<NAME>`; the unit is the last word of the name."""

    model_config = SettingsConfigDict(env_prefix="RECON_", frozen=True, extra="ignore")

    # Where and how the local stack runs.
    state_dir: Path = Field(
        default=Path(STATE_DIR_DEFAULT), description="Everything the stack writes; safe to delete when it is down."
    )
    cache_dir: Path = Field(
        default=Path("~/.cache/recon"), description="Downloads and class archives, shared by all stacks."
    )
    port_base: int = Field(
        default=21_000, ge=1024, le=PORT_MAX - PORT_SPAN, description="First of 20 consecutive ports."
    )
    bind_host: str = Field(default="127.0.0.1", description="Address every service listens on.")
    start_timeout_ms: Milliseconds = Field(default=180_000, description="How long one service may take to answer.")
    stop_timeout_ms: Milliseconds = Field(
        default=30_000, description="How long one service may take to stop before SIGKILL."
    )
    test_client: bool = Field(
        default=False, description="Adds the Keycloak client recon-test with direct grants. Tests only."
    )
    kafka_heap_mib: Count = Field(default=384, description="Java heap of the broker.")
    kafka_full_jit: bool = Field(
        default=False, description="C2 compiler for the broker: slower start, higher throughput."
    )
    postgres_shared_buffers_mib: Count = Field(default=1024, description="PostgreSQL's buffer cache.")
    ray_object_store_mib: Count = Field(default=400, description="Ray's shared memory for batches in flight.")
    ray_cpus: Count = Field(
        default=16, description="Logical CPUs Ray may hand out; actors here wait more than they compute."
    )
    ray_dashboard: bool = Field(default=True, description="Ray's own dashboard: some 300 MiB for a look inside.")
    ray_address: str = Field(
        default="",
        description="Ray cluster to run on instead of a local stack; the rest is in endpoints.json.",
    )

    # What is reconciled.
    config: Path | None = Field(
        default=None,
        description="The configuration recon.yaml; without it the working folder's, else built-in sources.",
    )
    sources: tuple[SourceSetting, ...] = Field(
        default_factory=_default_sources, description="Configured sources; rule set 1 waits for the expected ones."
    )
    partitions_per_topic: Count = Field(default=4, description="Partitions of a topic created here.")
    topic_retention_ms: int = Field(
        default=7 * 86_400_000, ge=-1, description="How long Kafka keeps events; -1 is for ever."
    )
    match_window_ms: Milliseconds = Field(
        default=MATCH_WINDOW_MS_DEFAULT,
        le=MATCH_WINDOW_MS_MAX,
        description="Match window of rule set 1 when a database is set up.",
    )

    # The pipeline.
    shards: int = Field(default=2, ge=1, le=128, description="Matcher actors; each owns 128/shards key groups.")
    readers: Count = Field(default=1, description="Reader actors; partitions are dealt out among them.")
    batch_rows_max: Count = Field(default=100_000, description="Events a reader hands on at once.")
    batch_wait_ms: Milliseconds = Field(default=100, description="How long a reader waits for a batch to fill.")
    batches_in_flight_max: Count = Field(default=2, description="Batches a reader may have unacknowledged per shard.")
    flush_interval_ms: Milliseconds = Field(
        default=50, description="Longest time that a decided row waits for its flush."
    )
    flush_rows: Count = Field(default=60_000, description="Rows that make a flush due before its time.")
    pending_rows_max: Count = Field(
        default=200_000, description="Undecided legs a shard keeps hot; older ones are spilled."
    )
    spill_age_ms: Milliseconds = Field(default=10_000, description="Age at which an undecided leg is spilled to Redis.")
    watermark_grace_ms: Milliseconds = Field(
        default=500, description="How far the watermark of a drained partition trails."
    )
    heartbeat_interval_ms: Milliseconds = Field(
        default=1_000, description="How often an actor reports to the supervisor."
    )
    heartbeat_timeout_ms: Milliseconds = Field(default=15_000, description="Silence after which an actor is replaced.")
    discovery_interval_ms: Milliseconds = Field(default=30_000, description="How often new partitions are looked for.")
    drain_timeout_ms: Milliseconds = Field(
        default=60_000, description="How long `down` lets the pipeline finish its flushes."
    )
    raw_events_retention_days: Count = Field(
        default=90, description="Partitions of raw_events older than this may be dropped."
    )

    # The API.
    api_audience: str = Field(default="recon-api", description="`aud` that an access token must carry.")
    api_replicas: Count = Field(default=1, description="Serve replicas of the REST application.")
    base_currency: str = Field(
        default="", description="ISO 4217 code in which money at risk is summed; empty: no sum over currencies."
    )
    exchange_rates: str = Field(
        default="", description="Worth of one unit in the base currency, as in USD=0.92,KWD=3.01; exact decimals."
    )
    log_level: str = Field(default="INFO", description="Least severe level that is logged.")

    @field_validator("state_dir", "cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if value == Path():  # an empty variable: `down --wipe` would delete the folder one stands in
            raise ValueError("names no folder; leave it unset for the default")
        # Actors run in another working directory: a relative path would mean another folder there.
        return value.expanduser().absolute()

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"is not one of {', '.join(logging.getLevelNamesMapping())}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not 0 < len(self.sources) <= SOURCES_MAX:
            raise ValueError(f"sources: 1 to {SOURCES_MAX} are possible, not {len(self.sources)}")
        if not any(source.expected for source in self.sources):
            raise ValueError("sources: one at least must be expected, or nothing would ever be waited for")
        for field in ("name", "topic"):
            values = [getattr(source, field) for source in self.sources]
            if len(set(values)) != len(values):
                raise ValueError(f"sources: each {field} may appear once")
        if self.bind_host not in {"127.0.0.1", "localhost"} and not self.bind_host.startswith("127."):
            raise ValueError("bind_host: the local stack only listens on loopback (127.0.0.0/8)")
        return self

    @model_validator(mode="after")
    def _rates_can_be_read(self) -> Settings:
        try:
            self.rates()
        except InvalidRatesError as error:
            raise ValueError(f"base_currency, exchange_rates: {error}") from error
        return self

    def rates(self) -> ExchangeRates:
        """Exchange rates into the base currency."""
        return ExchangeRates.parse(self.base_currency, self.exchange_rates)

    def port(self, name: str) -> int:
        """TCP port of a service, by its name in `PORT_OFFSETS`."""
        return self.port_base + PORT_OFFSETS[name]

    def source_specs(self) -> tuple[SourceSpec, ...]:
        """The configured sources as the vocabulary's plain values, in order of their ids."""
        return tuple(source.spec() for source in self.sources)


class InvalidSettingsError(ReconError):
    """Variables of the environment that cannot be what they are: a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read from the environment once. Raises InvalidSettingsError."""
    return read_settings()


def read_settings() -> Settings:
    """The settings as the environment has them now. Raises InvalidSettingsError."""
    try:
        return Settings()
    except (ValidationError, SettingsError) as error:
        if isinstance(error, SettingsError):  # a value that should be JSON
            raise InvalidSettingsError([f"RECON_*: {error}"]) from None
        problems = [
            f"RECON_{'_'.join(map(str, problem['loc'])).upper() or 'setting'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise InvalidSettingsError(problems) from None
