"""What `recon match` prints is read as JSON here, so nothing else in this process may write to the same stream."""

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
