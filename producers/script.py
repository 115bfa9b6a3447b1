"""What the three simulator scripts share: options, and running one source's part of a scenario."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from producers.connection import Connection, NoEndpointsError
from producers.emitter import DeliveryError, Emitter, ProducerNotReadyError, ready_producer
from producers.manifest import ManifestWriter
from producers.plan import LATE_MARGIN_MS_DEFAULT, InvalidPlanError, Plan, Plant, parse_breaks
from producers.scenario import Scenario
from producers.wire import SchemaNotRegisteredError, encoders
from schemas.places import ENDPOINTS_FILE, STATE_DIR_DEFAULT
from schemas.rules import MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_READY = 0, 1, 2, 3


@dataclass(slots=True)
class StopFlag:
    """Set by SIGINT or SIGTERM; the run then ends in order and claims only what it sent."""

    raised: bool = False

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.raised

    def raise_it(self, *_: object) -> None:
        """A signal handler."""
        self.raised = True


def options(source: str) -> argparse.ArgumentParser:
    """The command line of one source's script."""
    parser = argparse.ArgumentParser(
        description=f"Simulates {source}: publishes its part of a seeded scenario. The scripts of all sources, run at "
        "the same time with the same options, publish the whole."
    )
    add = parser.add_argument
    add("--rate", type=float, default=100.0, help="transactions a second (default 100)")
    add("--seed", type=int, default=7, help="the scenario; the same seed and options give the same ids (default 7)")
    add("--run", default="", metavar="NAME", help="any text: the same scenario as new transactions, not redeliveries")
    add("--duration", type=float, default=30.0, metavar="SECONDS", help="length of the scenario (default 30)")
    add("--transactions", type=int, help="how many, instead of rate times duration")
    kinds = f"all (default), none, or any of {', '.join(Plant)}"
    add("--breaks", action="append", default=None, metavar="KIND[=SHARE],...", help=kinds)
    add("--match-window-ms", type=int, default=MATCH_WINDOW_MS_DEFAULT, help="window of the rules in force")
    add("--time-tolerance-ms", type=int, default=TIME_TOLERANCE_MS_DEFAULT, help="tolerance of the rules in force")
    add("--late-margin-ms", type=int, default=LATE_MARGIN_MS_DEFAULT, help="how long after the window a late one comes")
    add("--start-ms", type=int, help="time of the scenario's start, ms since 1970; waits for it (default: now)")
    add("--manifest", type=Path, help="write what was planted, over all sources, as JSON lines")
    endpoints = Path(os.environ.get("RECON_STATE_DIR") or STATE_DIR_DEFAULT) / ENDPOINTS_FILE
    add("--endpoints", type=Path, default=endpoints, help="where Kafka is (default %(default)s)")
    return parser


def _topic(source: str, connection: Connection) -> str:
    for spec in connection.sources:
        if spec.name == source:
            return spec.topic
    raise InvalidPlanError(f"{source} is not a configured source")


def run(source: str, arguments: Sequence[str] | None = None) -> int:
    """Run one source's script; the exit code is 0, or 1 not all delivered, 2 usage, 3 no stack."""
    parser = options(source)
    chosen = parser.parse_args(arguments)
    stop = StopFlag()
    signal.signal(signal.SIGINT, stop.raise_it)
    signal.signal(signal.SIGTERM, stop.raise_it)
    try:
        connection = Connection.read(chosen.endpoints)
        plan = Plan(
            seed=chosen.seed,
            rate=chosen.rate,
            transactions=chosen.transactions or max(1, round(chosen.rate * chosen.duration)),
            breaks=parse_breaks(chosen.breaks or ["all"]),
            match_window_ms=chosen.match_window_ms,
            time_tolerance_ms=chosen.time_tolerance_ms,
            late_margin_ms=chosen.late_margin_ms,
            sources=connection.sources,
            run=chosen.run,
        )
        topic = _topic(source, connection)
        encoder = encoders(connection.registry, [topic])
        producer = ready_producer(connection.kafka, [topic])
        start_ms = chosen.start_ms or int(time.time() * 1000)
        while not stop() and (wait := start_ms / 1000 - time.time()) > 0:
            time.sleep(min(wait, 0.1))
        with closing(producer), ManifestWriter(chosen.manifest, plan, start_ms) as manifest:
            emitter = Emitter(producer, encoder, frozenset([source]), manifest.add, start_ms)
            report = emitter.run(Scenario(plan, start_ms).emissions(), stop=stop)
            manifest.summary(sent=dict(report.sent), behind_ms_max=report.behind_ms_max, stopped=report.stopped)
    except (
        InvalidPlanError,
        NoEndpointsError,
        SchemaNotRegisteredError,
        ProducerNotReadyError,
        DeliveryError,
    ) as error:
        print(f"{source.lower()}_producer: {error}", file=sys.stderr)
        if isinstance(error, DeliveryError):
            return EXIT_FAILED
        return EXIT_USAGE if isinstance(error, InvalidPlanError) else EXIT_NOT_READY
    print(f"{source}: {report.total} records in {report.elapsed_s:.1f} s, at worst {report.behind_ms_max} ms behind")
    return EXIT_OK
