"""Drops what structlog is told while a test runs: warnings that are played on purpose, and lines of other threads."""

from __future__ import annotations

import pytest
import structlog


def drop(*_):
    """Drop a log line."""
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def quiet():
    """For every test below a conftest that imports it."""
    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()
