"""Notices what needs a person: a source gone silent, a burst of breaks, a pipeline that stopped reporting.

The rules are plain state fed with numbers and times; `api.watch` keeps them running on one replica.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

BURST_WINDOW_MS = 10_000
BURST_MISMATCHES_MIN = 50  # in the window: fewer are no burst, whatever their share
BURST_SHARE_MIN = 0.10
BURST_TIMES_BASELINE = 3.0
BURST_CALM_MS = 30_000  # an incident ends when it has been calm for so long
BASELINE_WEIGHT = 0.02  # per tick of a second: the usual share of the last minute or so
STALLED_MS = 10_000


@dataclass
class BurstDetector:
    """Compares the share of mismatches in the last ten seconds with the usual share."""

    baseline: float | None = None
    open_since_ms: int | None = None
    _calm_since_ms: int | None = None
    _window: deque[tuple[int, int, int]] = field(default_factory=deque)  # at, matched, mismatched

    def add(self, at_ms: int, matched: int, mismatched: int) -> None:
        """Count one flush."""
        self._window.append((at_ms, matched, mismatched))

    def tick(self, now_ms: int) -> str | None:
        """`open` or `close` when that happens now, else None. Call it about once a second."""
        while self._window and self._window[0][0] < now_ms - BURST_WINDOW_MS:
            self._window.popleft()
        mismatched = sum(bad for _, _, bad in self._window)
        total = mismatched + sum(good for _, good, _ in self._window)
        share = mismatched / total if total else 0.0
        usual = self.baseline if self.baseline is not None else BURST_SHARE_MIN / BURST_TIMES_BASELINE
        bursting = mismatched >= BURST_MISMATCHES_MIN and share >= max(BURST_SHARE_MIN, usual * BURST_TIMES_BASELINE)
        if bursting:
            self._calm_since_ms = None
            if self.open_since_ms is None:
                self.open_since_ms = now_ms
                return "open"
            return None
        if total and self.open_since_ms is None:
            self.baseline = share if self.baseline is None else usual + (share - usual) * BASELINE_WEIGHT
        if self.open_since_ms is None:
            return None
        self._calm_since_ms = self._calm_since_ms or now_ms
        if now_ms - self._calm_since_ms >= BURST_CALM_MS:
            self.open_since_ms = self._calm_since_ms = None
            return "close"
        return None

    def describe(self) -> str:
        """The numbers of the window, for a person."""
        mismatched = sum(bad for _, _, bad in self._window)
        total = mismatched + sum(good for _, good, _ in self._window)
        usual = f"{self.baseline:.1%}" if self.baseline is not None else "unknown"
        return f"{mismatched} of {total} transactions mismatched in {BURST_WINDOW_MS // 1000} s; usual share {usual}"
