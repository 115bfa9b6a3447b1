"""Starts, finds and stops the stack's processes, and never touches one that it did not start.

A process is known by four things, written to `<state>/run/<name>.json`: its pid, its start time from `/proc`, the boot
it belongs to, and a random mark in its environment. A pid alone means nothing: the kernel hands it out again.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import os
import secrets
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ReconError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARK = "RECON_PROCESS_MARK"

_POLL_S = 0.05
_KILL_WAIT_S = 5.0
_LOG_TAIL_LINES = 15

# Children of this very process: they stay zombies until they are waited for.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ProcessFailedError(ReconError):
    """A process of the stack ended, or did not get ready in time; the end of its log is in the message."""

    def __init__(self, name: str, problem: str, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        super().__init__(f"{name} {problem}; the end of {log_file}:\n{log_tail(log_file)}")


class End(enum.IntEnum):
    """How a stop went; NOTHING_RAN is false."""

    NOTHING_RAN = 0
    ENDED = 1  # by itself, when asked
    KILLED = 2  # because it did not end in time


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered about a started process."""

    name: str
    pid: int
    start_ticks: int  # clock ticks after boot, field 22 of /proc/<pid>/stat
    boot_id: str
    mark: str
    config: str  # digest of everything that would make a restart necessary


def log_tail(log_file: Path, lines: int = _LOG_TAIL_LINES) -> str:
    """The last lines of a log, or a word that there are none."""
    try:
        text = log_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def config_digest(*parts: object) -> str:
    """A short digest of a command, an environment or the content of files; paths are replaced by what they hold."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) and part.is_file() else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def boot_id() -> str:
    """Identity of this boot: start times only compare within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time of a process, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    return fields[0], int(fields[1]), int(fields[19])


def start_ticks(pid: int) -> int | None:
    """Start time of a live process in clock ticks after boot; None for a zombie or no process."""
    stat = _stat(pid)
    if stat is not None and stat[0] not in "ZX":
        return stat[2]
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()  # it has ended: this only takes the zombie away
    return None


def _carries(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


class Processes:
    """The processes of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._run_dir = state_dir / "run"
        self._log_dir = state_dir / "logs"

    def log_file(self, name: str) -> Path:
        """Where a process writes its standard output and error."""
        return self._log_dir / f"{name}.log"

    def names(self) -> list[str]:
        """Every process that has a record, alive or not."""
        return sorted(path.stem for path in self._run_dir.glob("*.json"))

    def record(self, name: str) -> Record | None:
        """The record of a process, or None; an unreadable one counts as none."""
        try:
            return Record(**json.loads((self._run_dir / f"{name}.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def alive(self, name: str) -> Record | None:
        """The record of a process if that very process still runs."""
        record = self.record(name)
        if record is None or record.boot_id != boot_id() or start_ticks(record.pid) != record.start_ticks:
            return None
        return record

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        config: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Record:
        """Start a process in a session of its own, its output in `logs/<name>.log` (the one before: `.1`)."""
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log_file = self.log_file(name)
        if log_file.exists():
            log_file.replace(log_file.with_suffix(".log.1"))
        mark = secrets.token_hex(8)
        with log_file.open("wb") as log:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**(os.environ if env is None else env), MARK: mark},
                cwd=cwd,
                start_new_session=True,
            )
        _children[child.pid] = child
        stat = _stat(child.pid)  # even a child that ended at once is still there as a zombie
        if stat is None:
            raise ProcessFailedError(name, "ended at once", log_file)
        record = Record(name, child.pid, stat[2], boot_id(), mark, config)
        draft = self._run_dir / f".{name}.tmp"
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        draft.replace(self._run_dir / f"{name}.json")
        return record

    def wait_ready(self, name: str, ready: Callable[[], bool], timeout_ms: int, *, poll_ms: int = 100) -> None:
        """Poll `ready` until it holds. Raises ProcessFailedError when the process ends or the time is up."""
        end = time.monotonic() + timeout_ms / 1000
        while not ready():
            if self.alive(name) is None:
                raise ProcessFailedError(name, "ended while starting", self.log_file(name))
            if time.monotonic() > end:
                raise ProcessFailedError(name, f"was not ready after {timeout_ms} ms", self.log_file(name))
            time.sleep(poll_ms / 1000)

    def stop(self, name: str, *, timeout_ms: int, stop_signal: signal.Signals = signal.SIGTERM) -> End:
        """Stop a process and whatever it left behind; forget its record.

        Asks with `stop_signal`, kills after `timeout_ms`. A recycled pid is not touched: only the record goes.
        """
        record = self.record(name)
        if record is None:
            return End.NOTHING_RAN
        end = End.NOTHING_RAN
        offspring: list[tuple[int, int]] = []
        if record.boot_id == boot_id():
            if start_ticks(record.pid) == record.start_ticks:
                end = End.ENDED
                offspring = _descendants(record.pid)
                _signal(record.pid, record.start_ticks, stop_signal)
                if not _wait_gone(record.pid, record.start_ticks, timeout_ms / 1000):
                    end = End.KILLED
                    _signal(record.pid, record.start_ticks, signal.SIGKILL)
                    _wait_gone(record.pid, record.start_ticks, _KILL_WAIT_S)
            if _sweep({*offspring, *self.members(record)}):
                end = max(end, End.ENDED)
        (self._run_dir / f"{name}.json").unlink(missing_ok=True)
        return end

    def kill(self, name: str) -> None:
        """SIGKILL a process at once, leaving its record as a crash would."""
        record = self.alive(name)
        if record is not None:
            _signal(record.pid, record.start_ticks, signal.SIGKILL)
            _wait_gone(record.pid, record.start_ticks, _KILL_WAIT_S)

    def members(self, record: Record) -> list[tuple[int, int]]:
        """Pid and start time of every live process that carries the record's mark: children that outlived it too."""
        return [(pid, at) for pid, at in _live_pids() if at >= record.start_ticks and _carries(pid, record.mark)]


def _live_pids() -> list[tuple[int, int]]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [(pid, ticks) for pid in pids if pid != os.getpid() and (ticks := start_ticks(pid)) is not None]


def _descendants(root: int) -> list[tuple[int, int]]:
    """Pid and start time of the children of a process, their children, and so on."""
    children: dict[int, list[tuple[int, int]]] = {}
    for pid, ticks in _live_pids():
        stat = _stat(pid)
        if stat is not None:
            children.setdefault(stat[1], []).append((pid, ticks))
    found: list[tuple[int, int]] = []
    pending = [root]
    while pending:
        offspring = children.get(pending.pop(), [])
        found += offspring
        pending += [pid for pid, _ in offspring]
    return found


def _sweep(processes: set[tuple[int, int]]) -> bool:
    """End what is left of these processes: first politely, then not. Returns whether any was left."""
    left = [(pid, ticks) for pid, ticks in processes if start_ticks(pid) == ticks]
    for pid, ticks in left:
        _signal(pid, ticks, signal.SIGTERM)
    for pid, ticks in left:
        if not _wait_gone(pid, ticks, _KILL_WAIT_S):
            _signal(pid, ticks, signal.SIGKILL)
            _wait_gone(pid, ticks, _KILL_WAIT_S)
    return bool(left)


def _signal(pid: int, ticks: int, number: signal.Signals) -> None:
    """Signal exactly the process that started at `ticks`; a pidfd keeps the pid from changing hands in between."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_ticks(pid) == ticks:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def _wait_gone(pid: int, ticks: int, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while start_ticks(pid) == ticks:
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
