"""What one process of the driver does."""

from __future__ import annotations

import time

from tests.simulation.history import History
from tests.simulation.quiet import quiet
from tests.simulation.shorten import shorten
from tests.simulation.world import installed, play


def play_all(chunk: tuple[range, bool]) -> tuple[int, float, str, int]:
    """How many were played, seconds of CPU for those that held, what is to be told, and how many failed."""
    seeds, show = chunk
    quiet()
    told: list[str] = []
    failed, cpu_s = 0, 0.0
    with installed():
        for seed in seeds:
            history = History.of(seed)
            if show:
                told.append(history.in_words())
            began_s = time.process_time()
            error = play(history)
            cpu_s += time.process_time() - began_s
            if error is None:
                continue
            failed += 1
            short, why = shorten(history)
            told += [
                f"history {seed} does not hold: {type(error).__name__}: {error}",
                f"shortened to {len(short.writes)} writes and {len(short.faults)} faults: {type(why).__name__}: {why}",
                short.in_words(),
                f"again: python -m tests.simulation --histories 1 --seed {seed}",
            ]
    return len(seeds), cpu_s, "".join(f"{line}\n" for line in told), failed
