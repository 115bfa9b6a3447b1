"""Breaking the local stack on purpose: which faults there are, a plan of them as data, and how each is done.

A plan is a pure function of its seed, so that a run that found something can be repeated. Faults touch only processes
that this very stack started: services by their records, actors by a pid that carries the mark of the stack's Ray head.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import redis
from confluent_kafka import Producer

from cluster import pipeline
from cluster.endpoints import Endpoints
from cluster.oracle.verification import Access, Patience, Report, Verification
from cluster.settings import Settings
from cluster.stack.process import start_ticks
from cluster.stack.stack import Stack
from producers.connection import Connection
from producers.emitter import EmitReport, Emitter, producer_config
from producers.manifest import ManifestWriter
from producers.plan import Plan
from producers.scenario import Scenario
from producers.wire import encoders
from schemas.errors import ReconError
from schemas.places import ENDPOINTS_FILE

WARM_UP_S: Final = 3.0  # traffic before the first fault
CALM_S: Final = 4.0  # traffic after the last
GAP_S: Final = (2.0, 6.0)  # between two faults, so that some meet a recovery that is still under way
ACTOR_PATIENCE_S: Final = 60.0  # for an actor that is only just coming back
_POLL_S: Final = 0.2
_QUIET: Final = 2  # syslog's "critical": that a broker is away is no news here


class Fault(enum.StrEnum):
    """What can be broken."""

    KILL_MATCHER = "kill-matcher"  # SIGKILL: what it had decided and not written is gone
    KILL_READER = "kill-reader"
    KILL_SUPERVISOR = "kill-supervisor"
    FLUSH_REDIS = "flush-redis"  # everything spilled is lost
    RESTART_REDIS = "restart-redis"
    RESTART_POSTGRES = "restart-postgres"  # SIGTERM: connections end, transactions roll back
    KILL_POSTGRES = "kill-postgres"  # SIGKILL: crash recovery
    RESTART_KAFKA = "restart-kafka"


KILLS: Final = {
    Fault.KILL_MATCHER: "matcher",
    Fault.KILL_READER: "reader",
    Fault.KILL_SUPERVISOR: "supervisor",
}


class NoSuchActorError(ReconError):
    """The pipeline did not name a live actor of this kind in time."""

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(f"no {kind} to kill: {why or 'the pipeline has none'}")


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, so many seconds after the traffic began."""

    at_s: float
    fault: Fault


def plan_faults(seed: int, seconds: float, faults: Sequence[Fault]) -> list[Step]:
    """Faults for a run of so many seconds: each kind once in random order, then any, a few seconds apart."""
    rng = random.Random(seed)  # noqa: S311 (a plan has to be repeatable, not secret)
    first = rng.sample(list(faults), len(faults))
    steps: list[Step] = []
    at_s = WARM_UP_S
    while at_s <= seconds - CALM_S:
        fault = first[len(steps)] if len(steps) < len(first) else rng.choice(list(faults))
        steps.append(Step(round(at_s, 1), fault))
        at_s += rng.uniform(*GAP_S)
    return steps


class Saboteur:
    """Does faults to one stack. `endpoints` may name another ledger and other topics than the stack's own."""

    def __init__(self, stack: Stack, settings: Settings, endpoints: Endpoints, seed: int) -> None:
        self._stack = stack
        self._settings = settings
        self._endpoints = endpoints
        self._rng = random.Random(seed)  # noqa: S311

    def do(self, fault: Fault) -> str:
        """Do it, wait until the part it hit is there again, and say what was done.

        Raises NoSuchActorError, and what the service raises that does not come up.
        """
        parts = self._stack.parts
        match fault:
            case Fault.KILL_MATCHER | Fault.KILL_READER | Fault.KILL_SUPERVISOR:
                name, pid = self._kill_actor(KILLS[fault])
                return f"killed {name} (pid {pid})"
            case Fault.FLUSH_REDIS:
                with redis.Redis(**self._endpoints.redis.connect_kwargs("admin")) as client:
                    held = client.dbsize()
                    client.flushall()
                return f"flushed Redis ({held} keys)"
            case Fault.RESTART_REDIS:
                return _restarted("Redis", parts.redis.stop, parts.redis.start)
            case Fault.RESTART_POSTGRES:
                return _restarted("PostgreSQL", parts.postgres.stop, parts.postgres.start)
            case Fault.KILL_POSTGRES:
                return _restarted("PostgreSQL, after SIGKILL", self._kill_postgres, parts.postgres.start)
            case Fault.RESTART_KAFKA:
                return _restarted("Kafka", parts.kafka.stop, parts.kafka.start)

    def _kill_postgres(self) -> None:
        self._stack.processes.kill("postgres")

    def _kill_actor(self, kind: str) -> tuple[str, int]:
        """SIGKILL a live actor of this kind, chosen by the seed."""
        deadline = time.monotonic() + ACTOR_PATIENCE_S
        why = ""
        while time.monotonic() < deadline:
            actors: list[dict[str, Any]] = []
            try:
                actors = pipeline.status(self._settings, self._endpoints)["actors"]
            except Exception as error:  # noqa: BLE001 (while the supervisor comes back Ray raises all sorts)
                why = str(error).splitlines()[0] if str(error) else type(error).__name__
            mine = self._ray_pids()
            alive = sorted((actor["name"], actor["pid"]) for actor in actors if actor["kind"] == kind)
            alive = [(name, pid) for name, pid in alive if pid in mine]
            if alive:
                name, pid = self._rng.choice(alive)
                _kill(pid, mine[pid])
                return name, pid
            time.sleep(_POLL_S)
        raise NoSuchActorError(kind, why)

    def _ray_pids(self) -> dict[int, int]:
        """Start time by pid of every process that the stack's Ray head started."""
        record = self._stack.processes.alive("ray")
        return {} if record is None else dict(self._stack.processes.members(record))


def _restarted(name: str, stop: Callable[[], None], start: Callable[[], None]) -> str:
    began = time.monotonic()
    stop()
    start()
    return f"restarted {name} ({time.monotonic() - began:.1f} s)"


def _kill(pid: int, ticks: int) -> None:
    """SIGKILL exactly this process, however its pid may have changed hands meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if start_ticks(pid) == ticks:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


class Traffic:
    """All sources of a scenario, published by a thread of this process until it ends or is told to."""

    def __init__(self, endpoints: Endpoints, plan: Plan, manifest: ManifestWriter | None = None) -> None:
        self._endpoints = endpoints
        self._plan = plan
        self._manifest = manifest
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._outcome: EmitReport | Exception | None = None

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def running(self) -> bool:
        """Whether it still publishes."""
        return self._thread.is_alive()

    def join(self) -> EmitReport:
        """Wait for its end. Raises DeliveryError when a record was not taken by the broker."""
        self._thread.join()
        if isinstance(self._outcome, EmitReport):
            return self._outcome
        raise self._outcome or RuntimeError("the traffic did not begin")

    def stop(self) -> EmitReport:
        """End in order. Raises as `join` does."""
        self._stopping.set()
        return self.join()

    def _run(self) -> None:
        try:
            connection = Connection.read(self._endpoints.state_dir / ENDPOINTS_FILE)
            topics = [source.topic for source in self._plan.sources]
            encode = encoders(connection.registry, topics)
            senders = frozenset(source.name for source in self._plan.sources)
            on_planted = self._manifest.add if self._manifest is not None else lambda _: None
            with closing(Producer(producer_config(connection.kafka, log_level=_QUIET))) as producer:
                emitter = Emitter(producer, encode, senders, on_planted)
                scenario = Scenario(self._plan, int(time.time() * 1000))
                self._outcome = emitter.run(scenario.emissions(), stop=self._stopping.is_set)
        except Exception as error:  # noqa: BLE001 (raised again where it is waited for)
            self._outcome = error


async def verified(endpoints: Endpoints, patience: Patience, say: Callable[[str], None] = lambda _: None) -> Report:
    """Compare the ledger with the log. Raises what `Verification.run` raises."""
    access = Access(
        kafka=endpoints.kafka.client_config("reader"),
        registry=endpoints.registry.client_config("reader"),
        postgres=endpoints.postgres.connect_kwargs("api"),
        sources=endpoints.source_specs(),
    )
    return await Verification(access, patience, say).run()
