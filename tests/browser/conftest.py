"""The whole of recon on this run's stack: pipeline, API and dashboard, with some traffic to look at."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster import dashboard_build

# Imported where they are used: they take a second, and join Ray.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.endpoints import Endpoints
    from cluster.stack.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
TRAFFIC = ["--rate=40", "--transactions=400", "--breaks=all", "--seed=11"]
STOP_S = 30


@pytest.fixture(scope="session")
def dashboard_packages() -> Path:
    """The dashboard's folder with everything installed that its own tests need."""
    folder = dashboard_build.dashboard_dir()
    dashboard_build.install(folder, dev=True)
    return folder


@pytest.fixture(scope="module")
def console(running_stack: Stack, dashboard_packages: Path) -> Iterator[Endpoints]:
    """Endpoints of a stack with pipeline, API and dashboard, on which simulated traffic has begun."""
    from cluster import pipeline, serve_app
    from cluster.stack.stack import Plan

    dashboard_build.build(dashboard_packages)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Serve uses what its own dependencies have deprecated
        endpoints = running_stack.up(Plan())
    settings = running_stack.settings
    traffic = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "produce", *TRAFFIC],
        cwd=ROOT,
        env={**os.environ, "RECON_STATE_DIR": str(settings.state_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield endpoints
    finally:
        traffic.terminate()
        traffic.wait(STOP_S)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            serve_app.stop(settings, endpoints)
            pipeline.stop(settings, endpoints)
            pipeline.disconnect()
