"""Structured logs: one JSON object a line in actors and services, event names first, never a secret."""

from __future__ import annotations

import logging

import structlog


def configure_logs(level: str = "INFO") -> None:
    """Set structlog up for this process. Raises KeyError for an unknown level name."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
