"""What one process of the driver does."""

from __future__ import annotations

import faulthandler
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.simulation.happened import SAID as WORTH_TELLING
from tests.simulation.history import History
from tests.simulation.quiet import SAID, quiet
from tests.simulation.shorten import shorten
from tests.simulation.world import installed, played

HANGS_AFTER_S = 60.0  # a play that takes so long of real time never ends


@dataclass
class Told:
    """What came of some histories: how many, CPU of those that held, what is to be printed, how many failed."""

    histories: int = 0
    cpu_s: float = 0.0
    text: str = ""
    failed: int = 0
    happened: Counter[str] = field(default_factory=Counter)


def play_all(histories: Sequence[History], *, show: bool) -> Told:
    """Play these. A history that hangs ends the process, with a trace of every thread."""
    quiet()
    told = Told(len(histories))
    lines: list[str] = []
    SAID.clear()
    with installed():
        for history in histories:
            if show:
                lines.append(history.in_words())
            faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
            began_s = time.process_time()
            world, error = played(history)
            told.cpu_s += time.process_time() - began_s
            faulthandler.cancel_dump_traceback_later()
            told.happened += world.happened()
            if error is not None:
                told.failed += 1
                lines += _failure(history, error)
    told.happened += Counter({name: count for name, count in SAID.items() if name in WORTH_TELLING})
    told.text = "".join(f"{line}\n" for line in lines)
    return told


def _failure(history: History, error: BaseException) -> list[str]:
    short, why = shorten(history)
    return [
        f"history {history.seed} does not hold: {type(error).__name__}: {error}",
        f"  again: python -m tests.simulation --histories 1 --seed {history.seed}",
        f"shortened to {len(short.writes)} writes and {len(short.faults)} faults: {type(why).__name__}: {why}",
        short.in_words(),
        f"  again: python -m tests.simulation --replay {shlex.quote(short.to_json())}",
    ]
