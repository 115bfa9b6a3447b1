"""No logs: what the engine says of planted faults would drown what is to be read."""

from __future__ import annotations

import structlog

from tests.quiet import drop


def quiet() -> None:
    """Drop every log line of this process."""
    structlog.configure(processors=[drop], cache_logger_on_first_use=False)
