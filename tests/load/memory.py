"""Whether memory stays flat: traffic at a steady rate through a running local stack, and who takes how much by time.

    recon up
    python -m tests.load.memory --minutes 120 --rate 300

One line a sample: proportional memory (PSS, shared pages split among those who share them) of each part in MiB, and the
resident set of the engine's processes. At the end the slope of each part per hour, by least squares over the samples
after the warm-up; with --json as data. Exit 1 when a process of the engine was replaced meanwhile: then the figures are
not of one life. Bounded in time; only this machine's stack is looked at.
"""

# ruff: noqa: T201 - a script that reports
from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from cluster.settings import get_settings
from cluster.stack.stack import PORTS, Stack

MINUTES_MAX = 24 * 60.0
MIB = 1 << 20
STOP_S = 60.0
SAMPLES_MIN = 3

# The engine's parts by how Ray names their processes; its other workers and daemons are "ray".
TITLES = {
    "ray::ReaderActor": "readers",
    "ray::ShardActor": "shards",
    "ray::Supervisor": "supervisor",
    "ray::ServeReplica": "api",
}
ENGINE = tuple(TITLES.values())
PARTS = (*ENGINE, *PORTS)


@dataclass(slots=True)
class Sample:
    """Memory of every part at one moment."""

    at_s: float
    pss_mib: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    rss_mib: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    engine: dict[int, str] = field(default_factory=dict)  # pid -> part


def part_of(service: str, title: str) -> str:
    """The part that a process counts for, by its service and its title."""
    return next((part for start, part in TITLES.items() if title.startswith(start)), service)


def processes(stack: Stack) -> Iterator[tuple[str, psutil.Process]]:
    """Every process of the stack with its service."""
    for service in PORTS:
        record = stack.processes.alive(service)
        if record is None:
            continue
        with contextlib.suppress(psutil.Error):
            main = psutil.Process(record.pid)
            for process in (main, *main.children(recursive=True)):
                yield service, process


def take(stack: Stack, at_s: float) -> Sample:
    """Look once; a process that ends meanwhile is left out."""
    sample = Sample(at_s)
    for service, process in processes(stack):
        with contextlib.suppress(psutil.Error):
            part = part_of(service, " ".join(process.cmdline()))
            memory = process.memory_full_info()
            sample.pss_mib[part] += memory.pss / MIB
            sample.rss_mib[part] += memory.rss / MIB
            if part in ENGINE:
                sample.engine[process.pid] = part
    return sample


def slope_per_hour(points: list[tuple[float, float]]) -> float:
    """Least-squares slope of (seconds, MiB), in MiB an hour; nan for fewer than two moments."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / max(count, 1)
    mean_y = sum(y for _, y in points) / max(count, 1)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return float("nan")
    return 3600.0 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def slopes(samples: list[Sample], warm_up_s: float) -> dict[str, float]:
    """MiB an hour of PSS by part, of the samples after the warm-up (of the second half where those are too few)."""
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    if len(warm) < SAMPLES_MIN:
        warm = samples[len(samples) // 2 :]
    return {part: slope_per_hour([(sample.at_s, sample.pss_mib[part]) for sample in warm]) for part in PARTS}


def line(cells: Mapping[str, str]) -> str:
    """One line of the table."""
    return " ".join(f"{cells.get(name, ''):>10}" for name in ("minutes", *PARTS, "engine RSS"))


def watch(stack: Stack, traffic: subprocess.Popen[bytes], minutes: float, every_s: float) -> list[Sample]:
    """Sample until the time is over or the traffic ends, printing as it goes."""
    print(line({name: name for name in (*PARTS, "minutes", "engine RSS")}), file=sys.stderr)
    samples: list[Sample] = []
    began = time.monotonic()
    while (at_s := time.monotonic() - began) <= minutes * 60 and traffic.poll() is None:
        sample = take(stack, at_s)
        samples.append(sample)
        resident = sum(sample.rss_mib[part] for part in ENGINE)
        cells = {part: f"{mib:.1f}" for part, mib in sample.pss_mib.items()}
        print(line({"minutes": f"{at_s / 60:.1f}", "engine RSS": f"{resident:.0f}", **cells}), file=sys.stderr)
        time.sleep(max(0.0, began + len(samples) * every_s - time.monotonic()))
    return samples


def main() -> int:
    """Run traffic, watch, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help=f"at most {MINUTES_MAX:.0f} (default 60)")
    parser.add_argument("--rate", type=float, default=300.0, help="transactions a second (default 300)")
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="between samples (default 30)")
    parser.add_argument("--warm-up", type=float, default=10.0, metavar="MINUTES", help="not in the slope (default 10)")
    parser.add_argument("--breaks", default="all=0.001", help="as of `recon produce` (default all=0.001)")
    parser.add_argument("--json", action="store_true", help="slopes and samples as data, on stdout")
    chosen = parser.parse_args()
    if not 0 < chosen.minutes <= MINUTES_MAX or chosen.every <= 0:
        parser.error(f"--minutes is more than 0 and at most {MINUTES_MAX:.0f}, --every more than 0")
    stack = Stack(get_settings())
    if stack.processes.alive("ray") is None:
        print("no pipeline runs here: recon up", file=sys.stderr)
        return 3
    produce = ["produce", f"--rate={chosen.rate}", f"--duration={chosen.minutes * 60}", f"--breaks={chosen.breaks}"]
    command = [sys.executable, "-m", "cluster.cli", *produce]
    traffic = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        samples = watch(stack, traffic, chosen.minutes, chosen.every)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    finally:
        traffic.send_signal(signal.SIGTERM)
        traffic.wait(STOP_S)
    if not samples:
        print("the traffic did not start", file=sys.stderr)
        return 3
    per_hour = slopes(samples, chosen.warm_up * 60)
    replaced = sorted(set(samples[-1].engine) ^ set(samples[0].engine))
    if chosen.json:
        rows = [{"at_s": round(s.at_s, 1), "pss_mib": s.pss_mib, "rss_mib": s.rss_mib} for s in samples]
        print(json.dumps({"slope_mib_per_hour": per_hour, "replaced": replaced, "samples": rows}))
    else:
        print(line({"minutes": "MiB/hour", **{part: f"{slope:+.1f}" for part, slope in per_hour.items()}}))
    if replaced:
        print(f"processes that were not there all the time: {replaced}", file=sys.stderr)
    return 1 if replaced else 0


if __name__ == "__main__":
    sys.exit(main())
