"""Makes a history that fails shorter, as long as it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.history import History
from tests.simulation.world import play

PATIENCE_S = 30.0
# Whatever is left out changes the order of everything behind it, so each candidate is played in some other orders too.
ORDERS = 3
_ANOTHER_ORDER = 1_000_003
_SIMPLER: Sequence[dict[str, Any]] = (
    {"readers": 1},
    {"shards": 1},
    {"partitions": 1},
    {"tolerance_minor": 0},
    {"whole_core": False},
    {"batch_rows_max": 1_000},
    {"pending_rows_max": 1_000},
    {"spill_age_ms": 60_000},
    {"show_age_ms": 500},
    {"check_age_ms": 200},
)


def shorten(history: History, patience_s: float = PATIENCE_S) -> tuple[History, BaseException]:
    """The shortest history found in the time whose play still fails, and how it fails. Raises ValueError if none does.

    Writes and faults are left out, half of them at once, then a quarter, and at last one by one; then the set-up is
    made simpler. Its seed may become another. What it ends with may break another rule than the history that it began
    with: it is a failure all the same.
    """
    error = play(history)
    if error is None:
        raise ValueError(f"history {history.seed} does not fail")
    until_s = time.monotonic() + patience_s
    shortest, why = history, error

    def attempt(candidate: History) -> bool:
        nonlocal shortest, why
        for order in range(ORDERS):
            if time.monotonic() > until_s:
                return False
            played = replace(candidate, seed=candidate.seed + order * _ANOTHER_ORDER)
            found = play(played)
            if found is not None:
                shortest, why = played, found
                return True
        return False

    length = -1
    while length != _length(shortest) and time.monotonic() < until_s:
        length = _length(shortest)
        _leave_out(lambda: shortest.faults, lambda some: attempt(shortest.without(faults=some)))
        _leave_out(lambda: shortest.writes, lambda some: attempt(shortest.without(writes=some)))
        for simpler in _SIMPLER:
            if any(getattr(shortest, name) != value for name, value in simpler.items()):
                attempt(replace(shortest, **simpler))
    return shortest, why


def _length(history: History) -> int:
    return len(history.writes) + len(history.faults)


def _leave_out(now: Callable[[], Sequence[Any]], attempt: Callable[[Sequence[Any]], bool]) -> None:
    """Leave out what is not needed of what `now` gives: halves, quarters, and so on down to single ones."""
    size = max(1, len(now()) // 2)
    while now():
        at = 0
        while at < len(now()):
            if not attempt(now()[at : at + size]):
                at += size
        if size == 1:
            return
        size //= 2
