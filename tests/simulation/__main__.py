"""Plays histories: `python -m tests.simulation --histories 10000 --seed 1`.

Each ends in the oracle's answer, or its seed and a shortened history are printed and the exit code is 1. Another seed
begins at another place; the same seed gives the same histories.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from tests.simulation.chunks import play_all

# One polars thread, as in the actors; and one order of everything that Python hashes, so that a seed is a history.
_ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "0", "RUST_BACKTRACE": "0"}


def main() -> int:
    """Exit code 0 when every history held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=1_000, help="how many to play")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the others follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--failures", type=int, default=3, help="stop after so many")
    parser.add_argument("--show", action="store_true", help="say in words what happens in each history")
    asked = parser.parse_args()

    began_s = time.monotonic()
    seeds = range(asked.seed, asked.seed + asked.histories)
    chunks = [(seeds[at : at + 20], asked.show) for at in range(0, len(seeds), 20)]
    played, cpu_s, failures = 0, 0.0, 0
    with multiprocessing.get_context("spawn").Pool(min(asked.processes, len(chunks))) as pool:
        for count, seconds, told, failed in pool.imap(play_all, chunks):
            played, cpu_s, failures = played + count, cpu_s + seconds, failures + failed
            sys.stdout.write(told)
            sys.stdout.flush()
            if failures >= asked.failures:
                pool.terminate()
                break
    elapsed_s = time.monotonic() - began_s
    sys.stdout.write(
        f"{played} histories, {failures} failed; {elapsed_s:.0f} s, {cpu_s:.0f} s of CPU:"
        f" {played / cpu_s * 60:.0f} histories a minute a core\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in _ENVIRONMENT.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, **_ENVIRONMENT},
        )
    sys.exit(main())
