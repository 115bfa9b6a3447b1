"""The pipeline and the API on services and a Ray cluster that others run (RECON_RAY_ADDRESS).

Nothing is started or stopped here but our own actors. Where everything is, the operators write into endpoints.json of
the state folder, on every node; it is only read.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cluster.database import run
from cluster.endpoints import Endpoints, RayEndpoint
from cluster.migrate import apply
from cluster.stack.stack import Plan, Report, ServiceStatus, Stack, silent
from schemas.errors import ReconError

if TYPE_CHECKING:
    from rich.progress import Progress

    from cluster.activation import Configuration
    from cluster.settings import Settings

KNOCK_TIMEOUT_S = 3.0
TOKEN_FILE = Path("~/.ray/auth_token")  # where Ray itself looks
TEMP_DIR = Path("/tmp/ray")  # noqa: S108 - Ray's own choice


class NotOursError(ReconError):
    """What is asked for would touch what recon has not started."""


class JoinedStack(Stack):
    """A deployment on somebody else's services; see the module."""

    def up(self, plan: Plan | None = None) -> Endpoints:
        """Migrate the database and start the pipeline and the API, or find them running. Raises ReconError."""
        plan, endpoints = plan or Plan(), self.endpoints()
        self._report("postgres", "migrating", 0.0)
        began = time.monotonic()
        run(apply(endpoints.postgres.connect_kwargs("owner")))
        self._report("postgres", "ready", time.monotonic() - began)
        endpoints = self._with_sources(endpoints)
        if plan.pipeline:
            self._hook("cluster.pipeline", "start", endpoints)
        if plan.api and endpoints.api is not None and endpoints.keycloak is not None:
            self._build_dashboard()
            self._hook("cluster.serve_app", "start", endpoints)
        return endpoints

    def down(self, *, wipe: bool = False) -> bool:
        """Drain the pipeline and end our actors; whether there was a Ray to ask. Raises NotOursError for `wipe`."""
        if wipe:
            raise NotOursError(f"{self.settings.state_dir} holds endpoints.json, which recon has not made: not deleted")
        endpoints = self.endpoints()
        if not self._ray_is_up():
            return False
        self._hook("cluster.serve_app", "stop", endpoints)
        self._hook("cluster.pipeline", "stop", endpoints)
        return True

    def status(self) -> list[ServiceStatus]:
        """Whether each service takes connections; more is for those to say who run it."""
        return [_knock(name, address) for name, address in _addresses(self.endpoints()).items()]

    def endpoints(self) -> Endpoints:
        """As written by the operators, with the Ray cluster of the settings. Raises StackNotUpError."""
        given = super().endpoints()
        ray = given.ray or RayEndpoint(
            address="", dashboard_url="", token_file=TOKEN_FILE.expanduser(), temp_dir=TEMP_DIR
        )
        return given.model_copy(update={"ray": ray.model_copy(update={"address": self.settings.ray_address})})

    def _ray_is_up(self) -> bool:
        return _knock("ray", self.settings.ray_address).state == "up"


def _addresses(endpoints: Endpoints) -> dict[str, str]:
    urls = {
        "registry": endpoints.registry.url,
        "postgres": endpoints.postgres.dsn("app"),
        "redis": endpoints.redis.url,
        "keycloak": endpoints.keycloak.url if endpoints.keycloak else "",
    }
    found = {"kafka": endpoints.kafka.bootstrap_servers.split(",")[0]}
    for name, url in urls.items():
        parts = urlsplit(url)
        if parts.hostname:
            found[name] = f"{parts.hostname}:{parts.port or _usual_port(parts.scheme)}"
    if endpoints.ray:
        found["ray"] = endpoints.ray.address
    return found


def _usual_port(scheme: str) -> int:
    return {"https": 443, "postgresql": 5432, "rediss": 6379}.get(scheme, 443)


def _knock(name: str, address: str) -> ServiceStatus:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), KNOCK_TIMEOUT_S):
            return ServiceStatus(name, "up", address)
    except (OSError, ValueError) as error:
        return ServiceStatus(name, "failing", address, problem=str(error))


def open_stack(
    settings: Settings,
    report: Report = silent,
    progress: Progress | None = None,
    configuration: Configuration | None = None,
) -> Stack:
    """The local stack, or, with RECON_RAY_ADDRESS, what runs on a cluster."""
    return (JoinedStack if settings.ray_address else Stack)(settings, report, progress, configuration)
