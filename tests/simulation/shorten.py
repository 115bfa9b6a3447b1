"""Makes a history that fails shorter, as long as it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tests.simulation.history import History, Write
from tests.simulation.world import play


def shorten(history: History, patience_s: float = 20.0) -> tuple[History, BaseException]:
    """The shortest history found in the time whose play still fails, and how it fails. Raises ValueError if none does.

    Faults and writes are left out, many at once first and then one by one; then the set-up is made simpler. What it
    ends with may break another rule than the history that it began with: it is a failure all the same.
    """
    error = play(history)
    if error is None:
        raise ValueError(f"history {history.seed} does not fail")
    until_s = time.monotonic() + patience_s

    def attempt(candidate: History) -> bool:
        nonlocal history, error
        if candidate == history or time.monotonic() > until_s:
            return False
        found = play(candidate)
        if found is not None:
            history, error = candidate, found
        return found is not None

    length = -1
    while length != _length(history):
        length = _length(history)
        _drop_faults(lambda: history, attempt)
        _drop_writes(lambda: history, attempt)
        for simpler in ({"readers": 1}, {"shards": 1}, {"partitions": 1}, {"tolerance_minor": 0}):
            attempt(replace(history, **simpler))  # type: ignore[arg-type]
    assert error is not None
    return history, error


def _length(history: History) -> int:
    return len(history.writes) + len(history.faults)


def _drop_faults(now: Callable[[], History], attempt: Callable[[History], bool]) -> None:
    for fault in now().faults:
        attempt(now().without(faults=[fault]))


def _drop_writes(now: Callable[[], History], attempt: Callable[[History], bool]) -> None:
    for txn_id in sorted({write.txn_id for write in now().writes}):
        attempt(now().without(writes=[write for write in now().writes if write.txn_id == txn_id]))
    for write in list[Write](now().writes):
        attempt(now().without(writes=[write]))
