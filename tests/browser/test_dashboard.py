"""The dashboard: its own tests, and Chromium against the real stack.

Everything runs with the Node of the environment; Chromium is Debian's. Nothing is downloaded but npm packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster import dashboard_build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.endpoints import Endpoints

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILE_BYTES_MAX = 1_048_576
CHROMIUM = "/usr/bin/chromium"


def node(folder: Path, script: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
    """Run a script of an installed package; its output is the failure's message."""
    command = [str(dashboard_build.node()), str(folder / "node_modules" / script), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**dashboard_build.node_environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    output = re.sub(r" *attachment #\d+: .*\n.*\n *─+\n\s*", "", output)  # names of pictures, many a failure
    sys.stdout.write(output)  # shown by pytest when something failed, or with -s
    assert done.returncode == 0, output[-8_000:]


def test_the_lock_file_names_no_addresses():
    lock = (dashboard_build.dashboard_dir() / "package-lock.json").read_text()
    assert "resolved" not in json.dumps(json.loads(lock)["packages"][""])
    assert "://" not in lock
    assert "omit-lockfile-registry-resolved=true" in (dashboard_build.dashboard_dir() / ".npmrc").read_text()


def test_a_change_of_any_source_changes_the_digest(tmp_path):
    folder = tmp_path / "dashboard"
    kept = shutil.ignore_patterns("node_modules", "dist*", "test", "test-results*", ".build.lock")
    shutil.copytree(dashboard_build.dashboard_dir(), folder, ignore=kept)
    before = dashboard_build.sources_digest(folder)
    assert before == dashboard_build.sources_digest(folder)
    (folder / "src" / "lib" / "cx.ts").write_text("export const cx = 1;")
    assert before != dashboard_build.sources_digest(folder)


@pytest.mark.browser
def test_sources_are_clean_and_typed(dashboard_packages):
    node(dashboard_packages, "@biomejs/biome/bin/biome", "check", ".")
    node(dashboard_packages, "typescript/bin/tsc", "--noEmit")


@pytest.mark.browser
def test_logic_components_and_the_generated_client(dashboard_packages):
    node(dashboard_packages, "vitest/vitest.mjs", "run")


@pytest.mark.browser
def test_the_bundle_is_built_once_and_carries_nothing_of_the_tests(dashboard_packages):
    said: list[str] = []
    out = dashboard_build.build(dashboard_packages, report=said.append)
    assert dashboard_build.build(dashboard_packages, report=said.append) == out
    assert said.count("bundling") <= 1
    for path in out.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < FILE_BYTES_MAX, path
            assert b"test/mock" not in path.read_bytes(), path
    page = (out / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page), "the content security policy allows no script in the page"


@pytest.mark.browser
@pytest.mark.stack
def test_people_work_with_it_in_a_browser(console: Endpoints, dashboard_packages: Path, tmp_path: Path):
    if not Path(CHROMIUM).exists():
        assert not os.environ.get("CI"), "install Debian's chromium"
        pytest.skip("install Debian's chromium: apt-get install chromium")
    assert console.api is not None
    assert console.keycloak is not None
    steer = ["env", f"PYTHONPATH={ROOT}", f"RECON_STATE_DIR={console.state_dir}", sys.executable]
    environment = {
        "RECON_BASE_URL": console.api.url,
        "RECON_PASSWORDS": json.dumps({name: login.password for name, login in console.keycloak.users.items()}),
        "RECON_STEER": json.dumps([*steer, str(HERE / "steer.py"), str(console.state_dir)]),
        "RECON_PEOPLE_DIR": str(tmp_path / "people"),
        "RECON_CHROMIUM": CHROMIUM,
    }
    node(dashboard_packages, "@playwright/test/cli.js", "test", env=environment)
