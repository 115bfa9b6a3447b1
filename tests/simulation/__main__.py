"""Plays histories: `python -m tests.simulation --histories 10000 --seed 1`.

Each ends in the oracle's answer, or its seed and a shortened history are printed. The same seed gives the same
history. Exit codes: 0 all held; 1 one did not, or in a long run some kind of trouble never happened.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tests.simulation.chunks import Told, play_all
from tests.simulation.environment import begin_anew_unless_set
from tests.simulation.happened import HISTORIES_ENOUGH, never, table
from tests.simulation.history import History

CHUNK_HISTORIES = 20  # so many go to a process at once


def main() -> int:
    """Exit code 0 when every history held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=1_000, help="how many to play")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the others follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--failures", type=int, default=3, help="stop after so many")
    parser.add_argument("--show", action="store_true", help="say in words what happens in each history")
    parser.add_argument("--replay", metavar="JSON", help="play this history instead, as a failure printed it")
    asked = parser.parse_args()
    if asked.replay is not None:
        histories = [History.from_json(asked.replay)]
    else:
        histories = [History.of(seed) for seed in range(asked.seed, asked.seed + asked.histories)]

    began_s = time.monotonic()
    total = Told()
    try:
        for told in _played(histories, asked.processes, show=asked.show):
            total.histories += told.histories
            total.cpu_s += told.cpu_s
            total.failed += told.failed
            total.happened += told.happened
            sys.stdout.write(told.text)
            sys.stdout.flush()
            if total.failed >= asked.failures:
                break
    except BrokenProcessPool:
        sys.stdout.write("a process ended: a history hung (its threads are above), or memory was short\n")
        return 1
    sys.stdout.write(table(total.happened))
    sys.stdout.write(
        f"{total.histories} histories from seed {histories[0].seed}, {total.failed} failed;"
        f" {time.monotonic() - began_s:.0f} s, {total.cpu_s:.0f} s of CPU:"
        f" {total.histories / total.cpu_s * 60:.0f} histories a minute a core\n"
    )
    lacking = never(total.happened) if total.histories >= HISTORIES_ENOUGH else []
    if lacking:
        sys.stdout.write(f"never happened, so the simulation tests less than it says: {', '.join(lacking)}\n")
    return 1 if total.failed or lacking else 0


def _played(histories: Sequence[History], processes: int, *, show: bool) -> Iterator[Told]:
    chunks = [histories[at : at + CHUNK_HISTORIES] for at in range(0, len(histories), CHUNK_HISTORIES)]
    work = functools.partial(play_all, show=show)
    if processes == 1 or len(chunks) == 1:
        yield from map(work, chunks)
        return
    pool = ProcessPoolExecutor(min(processes, len(chunks)), multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(work, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    begin_anew_unless_set("tests.simulation")
    sys.exit(main())
