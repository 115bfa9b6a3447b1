"""The door of a replica: an HTTPS listener of its own on the service's port, shared by all replicas of a node.

Ray Serve runs the replicas: it starts, checks, replaces and scales them. Its proxy would cost each request and each
live message milliseconds of CPU on the way (docs/api.md has figures), so replicas accept connections themselves. With
SO_REUSEPORT the kernel deals connections out among the listeners that are alive: a replica that dies takes only its own
connections along, and nobody is sent to it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

BACKLOG = 2_048
KEEP_ALIVE_S = 65  # longer than the minute after which load balancers and browsers let go
HANDSHAKE_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """Where to listen, and as whom. `drain_s` is how long open requests may take when the door closes."""

    host: str
    port: int
    cert_file: Path
    key_file: Path
    drain_s: int = 5
    message_bytes: int = 16_384


class Door:
    """One listener."""

    def __init__(self, app: Any, options: DoorOptions) -> None:
        self._options = options
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",  # whoever opens the door has started the app
                ssl_certfile=str(options.cert_file),
                ssl_keyfile=str(options.key_file),
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # compressing for each socket anew costs more than the bytes
                ws_max_size=options.message_bytes,
                h11_max_incomplete_event_size=HANDSHAKE_BYTES_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=options.drain_s,
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,  # who calls is who connects; nobody may claim to be somebody else
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen. Raises OSError when the port is taken by something that does not share it."""
        listener = socket.socket(socket.AF_INET6 if ":" in self._options.host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((self._options.host, self._options.port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._task = asyncio.create_task(self._serve(listener), name="door")
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if self._task.done():
            await self._task

    async def _serve(self, listener: socket.socket) -> None:
        await self._server._serve([listener])  # noqa: SLF001 - `serve` would take over the process's signals

    @property
    def is_open(self) -> bool:
        """Whether it still listens."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """Accept nobody any more, and let open requests finish."""
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._task, self._options.drain_s + 2)
