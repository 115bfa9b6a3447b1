"""Starts, stops and describes one local stack as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import getpass
import importlib
import importlib.util
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from cluster import https
from cluster.activation import Configuration, activate, has_read, is_in_force, mapped_sources, sources_in_force
from cluster.database import run
from cluster.endpoints import ApiEndpoint, Endpoints, SourceEndpoint, StackNotUpError
from cluster.settings import PORT_OFFSETS, SourceSetting
from cluster.stack import certificates, passwords
from cluster.stack.artifacts import ArtifactCache
from cluster.stack.context import Service, StackContext, private_folder
from cluster.stack.kafka import Kafka
from cluster.stack.keycloak import Keycloak
from cluster.stack.postgres import Postgres
from cluster.stack.process import Processes, start_ticks
from cluster.stack.ray import Ray
from cluster.stack.redis import Redis
from cluster.stack.registry import Registry
from schemas.errors import ReconError
from schemas.places import ENDPOINTS_FILE

if TYPE_CHECKING:
    from rich.progress import Progress

    from cluster.settings import Settings

# Which ports a service binds, to say in time that one is taken.
PORTS: dict[str, tuple[str, ...]] = {
    "kafka": ("kafka", "kafka_controller"),
    "registry": ("registry", "registry_management"),
    "postgres": ("postgres",),
    "redis": ("redis",),
    "keycloak": ("keycloak", "keycloak_management"),
    "ray": tuple(name for name in PORT_OFFSETS if name.startswith("ray_")),
}
API_PORTS = {"api": ("api",)}  # bound by workers of Ray: the API has no process of its own that could be up or down

API_TIMEOUT_S = 5.0

# What is told about a step: its name, "starting", "ready", "stopping", "stopped", "skipped" or "failed", and seconds.
Report = Callable[[str, str, float], None]


FIRST_FOLDERS = {"run", "tls", "logs"}  # of a state folder, made before its passwords


class PortTakenError(ReconError):
    """A port that a service needs belongs to another process."""

    def __init__(self, service: str, port: int, holder: str) -> None:
        self.service = service
        self.port = port
        super().__init__(f"port {port} for {service} is taken by {holder}; stop it or set RECON_PORT_BASE")


class NoStateFolderError(ReconError):
    """A folder that no stack has made is not deleted."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds files and no stack's passwords: it is not deleted; is RECON_STATE_DIR right?")


class StackFailedError(ReconError):
    """Services that did not start, each with its error; what did start is left running."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        self.failures = failures
        super().__init__("\n".join(f"{name}: {error}" for name, error in failures.items()))


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` is to start beside Kafka, registry, PostgreSQL and Redis."""

    keycloak: bool = True
    ray: bool = True
    pipeline: bool = True
    api: bool = True


@dataclass(frozen=True, slots=True)
class Parts:
    """The services of a stack; a field's name is the service's."""

    kafka: Kafka
    registry: Registry
    postgres: Postgres
    redis: Redis
    keycloak: Keycloak
    ray: Ray


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One row of `recon status`."""

    name: str
    state: str  # up, down, crashed (its record is there, the process is not) or failing (it runs, and does not answer)
    address: str
    pid: int | None = None
    uptime_s: float | None = None
    memory_mib: float | None = None
    problem: str | None = None


def silent(_name: str, _state: str, _seconds: float) -> None:
    """Report to nobody."""


class Stack:
    """One local stack, found by its settings' state folder."""

    def __init__(
        self,
        settings: Settings,
        report: Report = silent,
        progress: Progress | None = None,
        configuration: Configuration | None = None,
    ) -> None:
        """`configuration` is what `up` puts in force; None leaves what the ledger has: at first built-in sources."""
        self.configuration = configuration
        if configuration is not None:
            settings = settings.model_copy(update={"sources": _source_settings(configuration)})
        self.settings = settings
        self.processes = Processes(settings.state_dir)
        self.notes: list[str] = []  # what `up` has to say beside how each step went
        self._report = report
        self._progress = progress

    @cached_property
    def context(self) -> StackContext:
        """Certificates and passwords included; made when first needed."""
        settings = self.settings
        private_folder(settings.state_dir)
        return StackContext(
            settings=settings,
            processes=self.processes,
            certificates=certificates.ensure(settings.state_dir / "tls"),
            passwords=passwords.ensure(settings.state_dir),
            artifacts=ArtifactCache(settings.cache_dir, self._progress),
        )

    @cached_property
    def parts(self) -> Parts:
        """Every service there is."""
        context = self.context
        return Parts(
            kafka=Kafka(context),
            registry=Registry(context),
            postgres=Postgres(context),
            redis=Redis(context),
            keycloak=Keycloak(context),
            ray=Ray(context),
        )

    @property
    def services(self) -> dict[str, Service]:
        """Every service by name, in the order in which they are shown."""
        return {field.name: getattr(self.parts, field.name) for field in fields(Parts)}

    def up(self, plan: Plan = Plan()) -> Endpoints:
        """Start what is not up yet and return how to reach it.

        Safe to repeat, also after a crash or with other settings. Raises StackFailedError, PortTakenError.
        """
        with self._locked():
            wanted = ["kafka", "registry", "postgres", "redis"]
            wanted += [name for name, on in (("keycloak", plan.keycloak), ("ray", plan.ray)) if on]
            self.check_ports([*wanted, *(API_PORTS if _has_api(plan) else ())])
            self._each(wanted, "starting", "ready", self._start)
            endpoints = self._with_sources(self._endpoints(plan))
            endpoints.save()
            if plan.ray and plan.pipeline:
                self._hook("cluster.pipeline", "start", endpoints)
            if endpoints.api is not None:
                self._build_dashboard()
                self._hook("cluster.serve_app", "start", endpoints)
            return endpoints

    def _with_sources(self, endpoints: Endpoints) -> Endpoints:
        """Put the configuration in force; gives the endpoints with the ledger's sources, in order of their numbers.

        A pipeline that runs with another version is drained and stopped first: its parts know the sources of that one.
        """
        owner = endpoints.postgres.connect_kwargs("owner")
        if self.configuration is not None:
            if self._ray_is_up() and run(has_read(owner)) and not run(is_in_force(owner, self.configuration)):
                for part in ("cluster.serve_app", "cluster.pipeline"):
                    self._hook(part, "stop", endpoints)
            sources = run(activate(owner, self.configuration, f"cli:{getpass.getuser()}"))
        else:
            sources = run(sources_in_force(owner, endpoints.source_specs()))
        mapped = run(mapped_sources(owner))
        told = tuple(
            SourceEndpoint(name=one.name, topic=one.topic, expected=one.expected, canonical=one.name not in mapped)
            for one in sources
        )
        return endpoints.model_copy(update={"sources": told})

    def down(self, *, wipe: bool = False) -> bool:
        """Drain the pipeline and stop everything; with `wipe`, delete the state folder too.

        Returns whether anything was running. Processes that a crash left behind are found by their records.
        """
        if not self.settings.state_dir.is_dir():
            return False
        if wipe and not self._is_a_state_folder():
            raise NoStateFolderError(self.settings.state_dir)
        with self._locked():
            names = self.processes.names()
            running = any(self.processes.alive(name) for name in names)
            with contextlib.suppress(StackNotUpError):
                endpoints = Endpoints.load(self.settings.state_dir)
                if self.processes.alive("ray"):
                    self._hook("cluster.serve_app", "stop", endpoints)
                    self._hook("cluster.pipeline", "stop", endpoints)
            if "ray" in names:
                self._each(["ray"], "stopping", "stopped", self._stop)
            rest = [name for name in names if name != "ray"]
            self._each(rest, "stopping", "stopped", self._stop)
            (self.settings.state_dir / ENDPOINTS_FILE).unlink(missing_ok=True)
        if wipe:
            shutil.rmtree(self.settings.state_dir)
            for made in ("context", "parts"):  # they hold certificates and passwords that are gone now
                self.__dict__.pop(made, None)
        return running

    def _is_a_state_folder(self) -> bool:
        """Whether a stack made it: the passwords are there, or nothing but what comes before them."""
        folder = self.settings.state_dir
        return (folder / passwords.SECRETS_FILE).exists() or {path.name for path in folder.iterdir()} <= FIRST_FOLDERS

    def status(self) -> list[ServiceStatus]:
        """The state of every service, each asked something only a working one can answer."""
        if not (self.settings.state_dir / passwords.SECRETS_FILE).exists():
            return [ServiceStatus(name, "down", self._address(name)) for name in PORTS]
        with ThreadPoolExecutor(len(self.services)) as pool:
            return list(pool.map(self._status_of, self.services.values()))

    def api_status(self) -> ServiceStatus | None:
        """The state of the API by its own readiness; None where the stack was brought up without it."""
        try:
            api = self.endpoints().api
        except StackNotUpError:
            return None
        if api is None:
            return None
        address = f"{api.host}:{api.port}"
        if not self._ray_is_up():
            return ServiceStatus("api", "down", address)
        try:
            with https.client(api.ca_file, API_TIMEOUT_S, base_url=api.url) as client:
                answer = client.get("/readyz")
            missing = answer.json()["not_ready"]
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            return ServiceStatus("api", "failing", address, problem=f"does not answer: {error}")
        if missing:
            return ServiceStatus("api", "failing", address, problem=f"not ready: {', '.join(missing)}")
        return ServiceStatus("api", "up", address)

    def pipeline_status(self) -> dict[str, Any] | None:
        """What the pipeline says of itself; a `problem` when it does not answer; None when there is none."""
        if not self._ray_is_up() or importlib.util.find_spec("cluster.pipeline") is None:
            return None
        try:
            endpoints = self.endpoints()
        except StackNotUpError:
            return None
        if endpoints.ray is not None:
            endpoints.ray.authenticate()
        try:
            status: dict[str, Any] = importlib.import_module("cluster.pipeline").status(self.settings, endpoints)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering is what is to be shown
            return {"problem": str(error)}
        return status

    def endpoints(self) -> Endpoints:
        """What `up` has left. Raises StackNotUpError."""
        return Endpoints.load(self.settings.state_dir)

    def _ray_is_up(self) -> bool:
        return self.processes.alive("ray") is not None

    def _build_dashboard(self) -> None:
        """Bundle the dashboard when its sources changed. Where that fails the API serves what was built before.

        What is wrong is added to `notes`; the API starts all the same.
        """
        from cluster import dashboard_build  # noqa: PLC0415 - only where there is an API to serve it

        began = time.monotonic()
        self._report("dashboard", "building", 0.0)
        try:
            dashboard_build.build(report=lambda text: self._report("dashboard", text, 0.0))
        except Exception as error:  # noqa: BLE001 - no registry, no Node, no sources: whatever it is, the rest goes on
            seconds, why = time.monotonic() - began, str(error).strip().replace("\n", "; ")
            if dashboard_build.is_built():
                self._report("dashboard", "kept", seconds)
                self.notes.append(f"the dashboard is the one built before, its newest sources could not be: {why}")
            else:
                self._report("dashboard", "failed", seconds)
                self.notes.append(
                    f"the API runs without its dashboard, {why}; build it with `python -m cluster.dashboard_build`"
                )
        else:
            self._report("dashboard", "ready", time.monotonic() - began)

    def _start(self, name: str) -> None:
        service = self.services[name]
        service.start()
        if isinstance(service, Postgres):
            self.migrate(service)

    def _stop(self, name: str) -> None:
        if name in self.services:
            self.services[name].stop()
        else:
            self.processes.stop(name, timeout_ms=self.settings.stop_timeout_ms)

    @staticmethod
    def migrate(service: Postgres) -> None:
        """Bring the database to the newest migration."""
        if importlib.util.find_spec("cluster.migrate") is None:
            return
        module = importlib.import_module("cluster.migrate")
        asyncio.run(module.apply(service.endpoint().connect_kwargs("owner")))

    def _hook(self, module_name: str, function: str, endpoints: Endpoints) -> None:
        """Call `start` or `stop` of a part that runs on Ray, if this installation has it."""
        name = {"cluster.pipeline": "pipeline", "cluster.serve_app": "api"}[module_name]
        if importlib.util.find_spec(module_name) is None:
            self._report(name, "skipped", 0.0)
            return
        began = time.monotonic()
        self._report(name, "starting" if function == "start" else "stopping", 0.0)
        try:
            if endpoints.ray is not None:
                endpoints.ray.authenticate()
            getattr(importlib.import_module(module_name), function)(self.settings, endpoints)
        except Exception as error:
            self._report(name, "failed", time.monotonic() - began)
            if function == "start":
                raise StackFailedError({name: error}) from error
            return  # on the way down everything else is still to be stopped
        self._report(name, "ready" if function == "start" else "stopped", time.monotonic() - began)

    def _each(self, names: list[str], doing: str, done: str, action: Callable[[str], None]) -> None:
        """Run an action for several services at once, and report each."""
        if not names:
            return
        began = time.monotonic()
        failures: dict[str, Exception] = {}
        _ = self.parts  # certificates and passwords are made before the threads race for them
        with ThreadPoolExecutor(len(names)) as pool:
            futures = {}
            for name in names:
                self._report(name, doing, 0.0)
                futures[pool.submit(action, name)] = name
            for future in as_completed(futures):
                name = futures[future]
                error = future.exception()
                if isinstance(error, Exception):
                    failures[name] = error
                elif error is not None:
                    raise error
                self._report(name, "failed" if error else done, time.monotonic() - began)
        if failures:
            raise StackFailedError(failures)

    def _endpoints(self, plan: Plan) -> Endpoints:
        context, parts = self.context, self.parts
        pair = context.certificates.servers["api"]
        return Endpoints(
            state_dir=self.settings.state_dir,
            kafka=parts.kafka.endpoint(),
            registry=parts.registry.endpoint(),
            postgres=parts.postgres.endpoint(),
            redis=parts.redis.endpoint(),
            keycloak=parts.keycloak.endpoint() if self.processes.alive("keycloak") else None,
            ray=parts.ray.endpoint() if self.processes.alive("ray") else None,
            api=ApiEndpoint(
                url=context.url("api"),
                host=self.settings.bind_host,
                port=self.settings.port("api"),
                ca_file=context.certificates.ca_file,
                cert_file=pair.cert_file,
                key_file=pair.key_file,
            )
            # Without Keycloak nobody could be let in.
            if plan.ray and plan.api and self.processes.alive("keycloak")
            else None,
            sources=tuple(
                SourceEndpoint(name=source.name, topic=source.topic, expected=source.expected)
                for source in self.settings.sources
            ),
        )

    def _address(self, name: str) -> str:
        return f"{self.settings.bind_host}:{self.settings.port(PORTS[name][0])}"

    def _status_of(self, service: Service) -> ServiceStatus:
        name = service.name
        record = self.processes.record(name)
        if record is None:
            return ServiceStatus(name, "down", self._address(name))
        if self.processes.alive(name) is None:
            return ServiceStatus(name, "crashed", self._address(name), problem="its process is gone; see its log")
        problem = service.problem()
        process = psutil.Process(record.pid)
        family = [process, *process.children(recursive=True)]
        memory = 0
        for member in family:
            with contextlib.suppress(psutil.Error):
                memory += member.memory_full_info().pss  # forked workers share most of their pages
        return ServiceStatus(
            name=name,
            state="failing" if problem else "up",
            address=self._address(name),
            pid=record.pid,
            uptime_s=time.time() - process.create_time(),
            memory_mib=memory / (1 << 20),
            problem=problem,
        )

    def check_ports(self, names: list[str]) -> None:
        """Raise PortTakenError if a service that does not run finds its port with a process that is not ours."""
        for name in names:
            if self.processes.alive(name) is not None:
                continue
            for port_name in (PORTS | API_PORTS)[name]:
                port = self.settings.port(port_name)
                if not _is_free(self.settings.bind_host, port) and not self._is_ours(port):
                    raise PortTakenError(name, port, _holder(port))

    def _is_ours(self, port: int) -> bool:
        """Whether a process that this stack started, or a child of one, listens on a port: `start` will replace it."""
        holder = _listener(port)
        records = [record for name in self.processes.names() if (record := self.processes.record(name))]
        return any((holder, start_ticks(holder)) in self.processes.members(record) for record in records if holder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; the others wait."""
        run_dir = self.settings.state_dir / "run"
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (run_dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _source_settings(configuration: Configuration) -> tuple[SourceSetting, ...]:
    """The configured sources as settings, for what is set up before the ledger can be asked."""
    return tuple(
        SourceSetting(
            name=spec.name,
            topic=spec.topic,
            expected=spec.expected,
            canonical=configuration.reconciliation.sources[spec.name].is_canonical,
        )
        for spec in configuration.specs()
    )


def _has_api(plan: Plan) -> bool:
    return plan.ray and plan.api and plan.keycloak  # without Keycloak nobody could be let in


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _listener(port: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port:
                pid: int | None = connection.pid
                return pid
    return None


def _holder(port: int) -> str:
    pid = _listener(port)
    if pid is None:
        return "another process"
    with contextlib.suppress(psutil.Error):
        return f"process {pid} ({psutil.Process(pid).name()})"
    return f"process {pid}"
