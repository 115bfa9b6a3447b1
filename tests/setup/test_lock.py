"""Set-up installs what the locks name, whatever the registries have newest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "scripts" / "install-lock.sh"


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> str:
    """Write a wheel with one module; return its SHA-256."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: toml\n{requires}"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def registry(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of wheels in which a locked dependency has a newer release, and the lock; as (folder, lock).

    `alpha` asks for `beta[toml]`, as pytest-cov asks for `coverage[toml]`.
    """
    folder = tmp_path / "wheels"
    folder.mkdir()
    alpha = _wheel(folder, "alpha", "1.0", "Requires-Dist: beta[toml]>=1\n")
    beta = _wheel(folder, "beta", "1.0")
    _wheel(folder, "beta", "2.0")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"alpha==1.0 --hash=sha256:{alpha}\nbeta==1.0 --hash=sha256:{beta}\n")
    return folder, lock


def _environment(tmp_path: Path, wheels: Path) -> tuple[Path, dict[str, str]]:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return venv / "bin" / "python", {
        **kept,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": "/dev/null",
    }


def test_a_newer_release_of_a_dependency_changes_nothing(tmp_path: Path, registry: tuple[Path, Path]) -> None:
    wheels, lock = registry
    python, environment = _environment(tmp_path, wheels)
    subprocess.run([str(INSTALL), str(python), str(lock)], env=environment, check=True)
    installed = subprocess.run(
        [str(python), "-c", "import alpha, beta; print(alpha.VERSION, beta.VERSION)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert installed.stdout.split() == ["1.0", "1.0"]


def test_a_file_with_another_digest_than_the_lock_is_refused(tmp_path: Path, registry: tuple[Path, Path]) -> None:
    wheels, lock = registry
    _wheel(wheels, "beta", "1.0", "Summary: replaced after the lock was made\n")
    python, environment = _environment(tmp_path, wheels)
    run = subprocess.run(
        [str(INSTALL), str(python), str(lock)], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "HASH" in run.stderr.upper()


def test_set_up_checks_that_the_lock_is_complete() -> None:
    script = (ROOT / "scripts" / "bootstrap.sh").read_text()
    assert "pip check" in script
    assert script.count("pip install") == 1  # recon itself, without an index and without dependencies
    assert re.search(r"pip install [^\n]*--no-index --no-deps", script)


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_with_a_hash_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
    assert "://" not in text


def test_every_npm_package_is_pinned_with_a_digest_and_no_address() -> None:
    lock = json.loads((ROOT / "dashboard" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 50
    for name, entry in packages.items():
        assert entry.get("version"), name
        assert "resolved" not in entry, name
        assert entry.get("integrity", "").startswith("sha512-") or entry.get("inBundle"), name


def test_every_java_artifact_is_pinned_to_one_version_with_a_digest() -> None:
    lock = json.loads((ROOT / "cluster" / "stack" / "artifacts.lock.json").read_text())
    artifacts = [artifact for part in lock.values() for artifact in part]
    assert len(artifacts) > 10
    for artifact in artifacts:
        assert re.fullmatch(r"[0-9a-f]{64}", artifact["sha256"]), artifact
        assert not re.search(r"SNAPSHOT|LATEST|RELEASE$|[\[(,]", artifact["version"]), artifact
