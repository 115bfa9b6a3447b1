"""Ray: one head node for the pipeline, on loopback, with a token; a process of ours like any other.

`ray stop` is never used: it ends every Ray process of the machine by name, other stacks' too.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]

import cluster
from cluster.endpoints import RAY_LOOPBACK, RayEndpoint
from cluster.stack.context import clean_environment, own_folder, write_private
from cluster.stack.process import config_digest

if TYPE_CHECKING:
    from cluster.stack.context import StackContext

NAMESPACE = "recon"

_PROBE_TIMEOUT_S = 2.0
_SOCKET_PATH_BYTES_MAX = 107  # of a unix socket; Ray adds up to 65 to its temporary folder
_RAY_SUBPATH_BYTES = 65

# The service `NodeInfoGcsService` of Ray's control store answers an empty request in both cases.
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_LIST_NODES = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"


class Ray:
    """The stack's Ray head."""

    name = "ray"

    def __init__(self, context: StackContext) -> None:
        self._context = context

    @property
    def temp_dir(self) -> Path:
        """Folder for sockets and logs: in the state folder if the sockets' paths fit, else a short one in /tmp."""
        inside = self._context.state_dir / "ray"
        if len(str(inside).encode()) + _RAY_SUBPATH_BYTES <= _SOCKET_PATH_BYTES_MAX:
            return inside
        digest = hashlib.sha256(str(self._context.state_dir).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"recon-ray-{digest}"

    @property
    def _token_file(self) -> Path:
        return self._context.state_dir / "ray.token"

    def endpoint(self) -> RayEndpoint:
        """How to reach it."""
        return RayEndpoint(
            address=self._context.address("ray_gcs"),
            dashboard_url=f"http://{self._context.address('ray_dashboard')}",
            token_file=self._token_file,
            temp_dir=self.temp_dir,
        )

    def start(self) -> None:
        """Start the head, or keep a running one."""
        context, settings = self._context, self._context.settings
        write_private(self._token_file, context.passwords["ray_token"])
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *self._options()]
        env = clean_environment() | self._environment()
        config = config_digest(command, sorted(env.items()), context.passwords["ray_token"])
        running = context.processes.alive(self.name)
        if running is not None and running.config == config and self.problem() is None:
            return
        self.stop()
        own_folder(self.temp_dir)  # what Ray makes inside is open to all
        context.processes.start(self.name, command, config=config, env=env, cwd=self.temp_dir)
        context.processes.wait_ready(self.name, lambda: self.problem() is None, settings.start_timeout_ms)

    def stop(self) -> None:
        """Stop the head and every worker it started, and remove its sockets and logs of old sessions."""
        self._context.processes.stop(self.name, timeout_ms=self._context.settings.stop_timeout_ms)
        shutil.rmtree(self.temp_dir, ignore_errors=True)

    def problem(self) -> str | None:
        """Ask the control store, with the token, whether it lives and has a node."""
        credentials = [("authorization", f"Bearer {self._context.passwords['ray_token']}")]
        try:
            with grpc.insecure_channel(self._context.address("ray_gcs")) as channel:
                for method in (_CHECK_ALIVE, _LIST_NODES):
                    call = channel.unary_unary(method)
                    answer: bytes = call(b"", timeout=_PROBE_TIMEOUT_S, metadata=credentials)
        except grpc.RpcError as error:
            return str(error.details()) if isinstance(error, grpc.Call) else str(error)
        joined = self._context.settings.bind_host.encode() in answer  # the node's address in the list of nodes
        return None if joined else "no node has joined"

    def _options(self) -> list[str]:
        settings = self._context.settings
        options = {
            "--node-ip-address": settings.bind_host,
            "--port": settings.port("ray_gcs"),
            "--dashboard-host": settings.bind_host,
            "--dashboard-port": settings.port("ray_dashboard"),
            "--include-dashboard": str(settings.ray_dashboard).lower(),
            "--ray-client-server-port": settings.port("ray_client"),
            "--node-manager-port": settings.port("ray_node_manager"),
            "--object-manager-port": settings.port("ray_object_manager"),
            "--runtime-env-agent-port": settings.port("ray_runtime_env"),
            "--dashboard-agent-grpc-port": settings.port("ray_agent_grpc"),
            "--dashboard-agent-listen-port": settings.port("ray_agent_http"),
            "--metrics-export-port": settings.port("ray_metrics"),
            # Workers take any free port: a fixed range would have to differ between stacks.
            "--min-worker-port": 0,
            "--max-worker-port": 0,
            "--num-cpus": settings.ray_cpus,
            "--object-store-memory": settings.ray_object_store_mib << 20,
            "--temp-dir": self.temp_dir,
            "--include-log-monitor": "false",  # workers' logs stay in their files; nobody tails them
        }
        # --no-monitor: the autoscaler has nothing to scale here.
        return [f"{name}={value}" for name, value in options.items()] + ["--no-monitor", "--disable-usage-stats"]

    def _environment(self) -> dict[str, str]:
        settings = self._context.settings
        return {
            **RAY_LOOPBACK,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # Ray's default of 15 would starve the pipeline beside the database
            "RAY_enable_worker_prestart": "0",
            "RAY_task_events_report_interval_ms": "0",  # no record of every actor call
            "DASHBOARD_METRIC_PORT": str(settings.port("ray_dashboard_metrics")),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(cluster.__file__).parents[1]),
        }
