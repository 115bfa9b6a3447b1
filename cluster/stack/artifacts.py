"""Downloads of the stack: pinned Java artifacts, verified by SHA-256, unpacked once and shared by every stack.

Layout of the cache folder: `downloads/` holds the files as published, `unpacked/<name>-<digest>/` what is made of them.
Whatever appears under its final name is whole: files are verified and folders are filled before they are renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import platform
import shutil
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import ReconError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

LOCK_FILE = Path(__file__).with_name("artifacts.lock.json")

_DOWNLOADS_AT_ONCE = 6
_HTTP_TIMEOUT_S = 60
_TRIES = 3
_CHUNK_BYTES = 1 << 20


class ArtifactError(ReconError):
    """An artifact could not be had, or was not what the lock says."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a Java package registry, pinned."""

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which it is published."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.packaging}"


def locked(name: str) -> list[Artifact]:
    """The pinned artifacts of a part: kafka, keycloak, registry or postgres (for this processor)."""
    content: dict[str, list[dict[str, Any]]] = json.loads(LOCK_FILE.read_text(encoding="utf-8"))
    key = f"postgres-{platform.machine()}" if name == "postgres" else name
    if key not in content:
        raise ArtifactError(name, f"nothing is pinned for {platform.system()} on {platform.machine()}")
    return [Artifact(**entry) for entry in content[key]]


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class ArtifactCache:
    """Fetches and unpacks what is pinned; safe to use from several processes at once."""

    def __init__(self, cache_dir: Path, progress: Progress | None = None) -> None:
        self._downloads = cache_dir / "downloads"
        self._unpacked = cache_dir / "unpacked"
        self._locks = cache_dir / "locks"
        self._progress = progress

    def jars(self, name: str) -> list[Path]:
        """The files of a part as published, downloaded as needed: a class path."""
        with _exclusive(self._locks / f"{name}.lock"), ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            return list(pool.map(self._fetch, locked(name)))

    def unpacked(self, name: str, finish: Callable[[Path], None] | None = None, variant: str = "") -> Path:
        """The folder with a part's archives unpacked.

        `finish` completes the folder before anybody sees it (a build step); `variant` names what it does, so that
        another build gets another folder.
        """
        artifacts = locked(name)
        identity = hashlib.sha256(("".join(a.sha256 for a in artifacts) + variant).encode()).hexdigest()[:12]
        folder = self._unpacked / f"{name}-{artifacts[0].version}-{identity}"
        if folder.is_dir():
            return folder
        archives = self.jars(name)
        with _exclusive(self._locks / f"{name}.lock"):
            if not folder.is_dir():
                self._unpacked.mkdir(parents=True, exist_ok=True)
                for abandoned in self._unpacked.glob(f".{name}-*"):  # by a process that was killed: we hold the lock
                    shutil.rmtree(abandoned, ignore_errors=True)
                draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self._unpacked))
                try:
                    for archive in archives:
                        _unpack(archive, draft)
                    if finish is not None:
                        finish(draft)
                    draft.chmod(0o755)
                    draft.rename(folder)
                finally:
                    shutil.rmtree(draft, ignore_errors=True)
        return folder

    def is_warm(self, name: str) -> bool:
        """Whether nothing of a part has to be downloaded any more."""
        return all((self._downloads / artifact.file_name).is_file() for artifact in locked(name))

    def _fetch(self, artifact: Artifact) -> Path:
        path = self._downloads / artifact.file_name
        # The size tells a truncated or replaced file; the digest was checked when the file got its name.
        if path.is_file() and path.stat().st_size == artifact.size:
            return path
        self._downloads.mkdir(parents=True, exist_ok=True)
        problem = ""
        for _ in range(_TRIES):
            with tempfile.TemporaryDirectory(dir=self._downloads) as folder:
                try:
                    draft = self._download(artifact, Path(folder))
                except (OSError, RuntimeError) as error:  # requests' errors are OSErrors, jgo raises RuntimeError
                    problem = str(error)
                    continue
                digest = _sha256(draft)
                if digest != artifact.sha256:
                    problem = f"SHA-256 is {digest}, pinned is {artifact.sha256}"
                    continue
                draft.rename(path)
                return path
        raise ArtifactError(artifact.file_name, problem)

    def _download(self, artifact: Artifact, folder: Path) -> Path:
        # Imported here: it costs 0.3 s that a warm start does not need.
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

        context = MavenContext(
            resolver=PythonResolver(progress_callback=self._bar), repo_cache=folder, timeout=_HTTP_TIMEOUT_S
        )
        component = context.project(artifact.group, artifact.artifact).at_version(artifact.version)
        path: Path = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve()
        return path

    @contextlib.contextmanager
    def _bar(self, file_name: str, size: int) -> Iterator[Callable[[int], None]]:
        if self._progress is None:
            yield lambda _: None
            return
        progress = self._progress
        task = progress.add_task(file_name, total=size)
        waiting = 0

        def advance(count: int) -> None:
            # jgo reports every 8 KiB; drawing that often would take longer than the download.
            nonlocal waiting
            waiting += count
            if waiting >= _CHUNK_BYTES:
                progress.advance(task, waiting)
                waiting = 0

        try:
            yield advance
        finally:
            progress.remove_task(task)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack zip, jar and tar archives; the txz inside zonky's jar too. A single top folder is left out."""
    if archive.suffix in {".zip", ".jar"}:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)  # noqa: S202 - pinned by digest, and zipfile drops `..` and absolute names
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    for inner in folder.glob("*.txz"):
        with tarfile.open(inner) as tar:
            tar.extractall(folder, filter="data")
        inner.unlink()
    entries = [entry for entry in folder.iterdir() if entry.name != "META-INF"]
    if len(entries) == 1 and entries[0].is_dir():
        for entry in entries[0].iterdir():
            entry.rename(folder / entry.name)
        entries[0].rmdir()
