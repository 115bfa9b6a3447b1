"""Keeps the engine's log out of the tests' output: what it warns of is played on purpose here."""

from __future__ import annotations

import pytest
import structlog


def _drop(*_):
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(processors=[_drop])
    yield
    structlog.reset_defaults()
