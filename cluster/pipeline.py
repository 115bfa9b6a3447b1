"""Starts, stops and asks the pipeline on a Ray cluster: what `recon up`, `down` and `status` call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final

from actors.remote import NAMESPACE, named
from cluster.activation import is_in_force
from cluster.endpoints import Endpoints
from cluster.layout import set_first_rules
from cluster.settings import Settings
from schemas.errors import ReconError
from schemas.events import SCHEMA_FILE, SourceSpec
from wire.events import SOURCE_SYMBOLS

SUPERVISOR: Final = "supervisor"
READY_TIMEOUT_S: Final = 180.0
_KNOCK_TIMEOUT_S: Final = 2.0


class PipelineNotRunningError(ReconError):
    """There is no supervisor on the Ray cluster."""


def connect(endpoints: Endpoints) -> None:
    """Join the stack's Ray cluster as a client, once per process. Raises PipelineNotRunningError."""
    if endpoints.ray is None:
        raise PipelineNotRunningError("this stack was started without Ray")
    endpoints.ray.authenticate()
    import ray  # noqa: PLC0415 (slow to import, and it reads its environment then)

    if not _is_listening(endpoints.ray.address):  # Ray's own client would try for a minute
        disconnect()
        raise PipelineNotRunningError(f"Ray does not answer at {endpoints.ray.address}")
    if not ray.is_initialized():
        try:
            ray.init(
                address=endpoints.ray.address,
                namespace=NAMESPACE,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except ConnectionError as error:
            raise PipelineNotRunningError(f"Ray does not answer at {endpoints.ray.address}") from error


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _KNOCK_TIMEOUT_S):
            return True
    except OSError:
        return False


def supervisor(endpoints: Endpoints) -> Any:
    """Handle of the supervisor. Raises PipelineNotRunningError."""
    connect(endpoints)
    import ray  # noqa: PLC0415

    try:
        return ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
    except ValueError as error:
        raise PipelineNotRunningError("the pipeline is not running; start it with `recon up`") from error


def check_sources(sources: Sequence[SourceSpec]) -> None:
    """Refuse built-in sources that no event can name, before readers fail on them. Raises ReconError."""
    unknown = [source.name for source in sources if source.name not in SOURCE_SYMBOLS]
    if unknown:
        raise ReconError(
            f"RECON_SOURCES: {', '.join(unknown)} is no symbol of `source` in {SCHEMA_FILE} "
            f"({', '.join(SOURCE_SYMBOLS)}); other sources are said in recon.yaml"
        )


def start(settings: Settings, endpoints: Endpoints) -> None:
    """Start the supervisor, or find it running, and wait until every actor has answered. Raises ReconError."""
    connect(endpoints)
    import ray  # noqa: PLC0415

    from cluster.supervisor import Supervisor  # noqa: PLC0415

    owner = endpoints.postgres.connect_kwargs("owner")
    if asyncio.run(is_in_force(owner, None)):
        check_sources(endpoints.source_specs())
        asyncio.run(set_first_rules(owner, settings.match_window_ms, endpoints.source_specs()))
    options = {"max_restarts": -1, "max_task_retries": 0, "num_cpus": 0, "max_concurrency": 8}
    handle = named(ray.remote(Supervisor), SUPERVISOR, options).remote(endpoints.state_dir, settings)
    if not ray.get(handle.ready.remote(READY_TIMEOUT_S), timeout=READY_TIMEOUT_S + 30):
        raise ReconError(f"the pipeline's actors did not answer within {READY_TIMEOUT_S:.0f} s")


def stop(settings: Settings, endpoints: Endpoints) -> bool:
    """Drain and end every actor. Whether all that was read is in the ledger; nothing is lost either way."""
    import ray  # noqa: PLC0415

    try:
        handle = supervisor(endpoints)
    except PipelineNotRunningError:
        return True
    timeout_s = settings.drain_timeout_ms / 1000
    drained = False
    with contextlib.suppress(ray.exceptions.RayError):
        drained = bool(ray.get(handle.stop.remote(timeout_s), timeout=timeout_s + 30))
    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(handle, no_restart=True)
    disconnect()
    return drained


def disconnect() -> None:
    """Leave the Ray cluster. A process that stays connected is ended by Ray a minute after the cluster is gone."""
    import ray  # noqa: PLC0415

    ray.shutdown()


def status(_settings: Settings, endpoints: Endpoints) -> dict[str, Any]:
    """The supervisor's snapshot. Raises PipelineNotRunningError."""
    import ray  # noqa: PLC0415

    snapshot: dict[str, Any] = ray.get(supervisor(endpoints).status.remote(), timeout=10.0)
    return snapshot
