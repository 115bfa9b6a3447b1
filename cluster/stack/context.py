"""What every service of the stack is given, and what it has to be able to do."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from schemas.errors import ReconError

if TYPE_CHECKING:
    from cluster.settings import Settings
    from cluster.stack.artifacts import ArtifactCache
    from cluster.stack.certificates import Certificates
    from cluster.stack.process import Processes

# Nothing of the caller's environment reaches a service but these.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "LOGNAME")


@dataclass(frozen=True, slots=True)
class StackContext:
    """One local stack: its settings, folder, processes, certificates and passwords."""

    settings: Settings
    processes: Processes
    certificates: Certificates
    passwords: dict[str, str]
    artifacts: ArtifactCache

    @property
    def state_dir(self) -> Path:
        """Absolute folder of everything that the stack writes."""
        return self.settings.state_dir

    def folder(self, name: str) -> Path:
        """A private folder of one service, made when missing."""
        return private_folder(self.state_dir / name)

    def url(self, service: str) -> str:
        """HTTPS origin of a service that browsers reach too, by the name that is in its certificate."""
        return f"https://localhost:{self.settings.port(service)}"

    def address(self, service: str) -> str:
        """`host:port` of a service."""
        return f"{self.settings.bind_host}:{self.settings.port(service)}"


class Service(Protocol):
    """One part of the stack."""

    @property
    def name(self) -> str:
        """Name of its process record, its log and its row in `recon status`."""

    def start(self) -> None:
        """Start it and wait until it answers; a running one with the same configuration is left alone."""

    def stop(self) -> None:
        """Stop it if it runs."""

    def problem(self) -> str | None:
        """Ask it something only a working service can answer; what is wrong, or None."""


def clean_environment() -> dict[str, str]:
    """The few variables that a service needs; no secret of the caller's shell among them."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def private_folder(path: Path) -> Path:
    """A folder that only its owner may enter, made when missing. One that was made more open is closed."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid == os.geteuid():
        path.chmod(0o700)
    return path


class ForeignFolderError(ReconError):
    """A folder that must be ours alone is somebody else's, who could put other files in the place of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} is not a folder of this user's: remove it, or set RECON_STATE_DIR")


def own_folder(path: Path) -> Path:
    """A private folder that nobody else can have made before us, also in /tmp. Raises ForeignFolderError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise ForeignFolderError(path) from None
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ForeignFolderError(path)
    return private_folder(path)


def write_private(path: Path, content: str) -> Path:
    """Write a file that only its owner may read, replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    draft.replace(path)
    return path
