"""Request rates: a token bucket per caller, in this replica's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from api.problems import TooManyError

CALLERS_MAX = 10_000


class Rates:
    """`burst` requests at once, `per_s` sustained. The callers that were seen longest ago are forgotten first."""

    def __init__(self, per_s: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller: tokens left, at
        self.refused = 0

    def take(self, caller: str) -> None:
        """Count one request. Raises TooManyError when the bucket is empty."""
        moment = self._clock()
        left, at = self._buckets.pop(caller, (float(self._burst), moment))
        left = min(float(self._burst), left + (moment - at) * self._per_s)
        if left < 1:
            self._buckets[caller] = (left, moment)
            self.refused += 1
            raise TooManyError(retry_after_s=max(1, math.ceil((1 - left) / self._per_s)))
        self._buckets[caller] = (left - 1, moment)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
