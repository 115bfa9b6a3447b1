"""No logs: what the engine says of planted faults would drown what is to be read. How often it says what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from typing import Any, NoReturn

import structlog

SAID: Counter[str] = Counter()  # names of the events in this process's log


def quiet() -> None:
    """Drop every log line of this process."""
    structlog.configure(processors=[_count], cache_logger_on_first_use=False)


def _count(_: Any, __: str, event: MutableMapping[str, Any]) -> NoReturn:
    SAID[event["event"]] += 1
    raise structlog.DropEvent
