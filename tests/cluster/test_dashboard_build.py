"""Building the dashboard where it cannot be built: in bounded time, and the API starts with what is there."""

from __future__ import annotations

import sys
import time

import pytest

from cluster import dashboard_build
from cluster.settings import Settings
from cluster.stack.stack import Stack

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def run(command, folder, **limits):
    dashboard_build._run("npm ci", command, folder, lambda _: None, **limits)


@pytest.fixture(autouse=True)
def any_node(monkeypatch):
    monkeypatch.setattr(dashboard_build, "node_environment", dict)


def test_a_tool_that_gets_nothing_at_its_start_is_ended(tmp_path):
    began = time.monotonic()
    with pytest.raises(dashboard_build.DashboardBuildError, match="no way to the registry"):
        run(SLEEP, tmp_path, is_progress=dashboard_build._has_package, silence_s=0.3)
    assert time.monotonic() - began < 10


def test_a_failed_attempt_is_no_progress_and_a_package_is():
    failed = "npm http fetch GET https://example.org/vite attempt 1 failed with ECONNREFUSED"
    assert not dashboard_build._has_package(failed)
    assert dashboard_build._has_package("npm http fetch GET 200 https://example.org/vite 12ms (cache miss)")


def test_a_tool_that_makes_progress_may_take_longer(tmp_path):
    slow = "print('npm http cache https://example.org/vite', flush=True); import time; time.sleep(1)"
    run([sys.executable, "-c", slow], tmp_path, is_progress=dashboard_build._has_package, silence_s=0.7)


def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path):
    with pytest.raises(dashboard_build.DashboardBuildError, match="took longer"):
        run(["sh", "-c", "sleep 60 | cat"], tmp_path, limit_s=0.3)


@pytest.mark.parametrize(("built", "state", "note"), [(True, "kept", "built before"), (False, "failed", "without")])
def test_what_was_built_before_is_kept_and_it_says_so(tmp_path, monkeypatch, built, state, note):
    def fail(**_):
        raise dashboard_build.DashboardBuildError("npm ci", "ECONNREFUSED")

    (tmp_path / "dist").mkdir()
    if built:
        (tmp_path / "dist" / "index.html").touch()
    monkeypatch.setattr(dashboard_build, "build", fail)
    monkeypatch.setattr(dashboard_build, "dashboard_dir", lambda: tmp_path)
    told = []
    stack = Stack(Settings(state_dir=tmp_path / "state"), lambda name, at, _: told.append((name, at)))
    stack._build_dashboard()
    assert told[-1] == ("dashboard", state)
    assert note in stack.notes[0]
    assert "ECONNREFUSED" in stack.notes[0]
