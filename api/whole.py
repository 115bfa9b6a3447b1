"""REST and live feed as one ASGI app on one set of services: what a replica runs."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import build_rest
from api.door import Door, DoorOptions
from api.options import ApiOptions
from api.services import Ports, Services

log = structlog.get_logger("api")

LIVE_PATH = "/socket.io"
GC_THRESHOLDS = (20_000, 20, 50)  # objects, young and middle collections; Python's own are 700, 10, 10


class Whole:
    """Dispatches by path; starts and stops everything with its lifespan. `door` is opened last and closed first."""

    def __init__(self, options: ApiOptions, ports: Ports | None = None, door: DoorOptions | None = None) -> None:
        from socketio import ASGIApp as SocketApp  # noqa: PLC0415 - untyped, and only needed here

        from api.live import Live  # noqa: PLC0415 - imports half of this package

        self.services = Services(options, ports or Ports())
        self.live = Live(self.services)
        self._rest: ASGIApp = build_rest(self.services)
        self._sockets: ASGIApp = SocketApp(self.live.sio, socketio_path=None)
        self.door = None if door is None else Door(self, door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one socket, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"].startswith(LIVE_PATH):
            await self._sockets(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as error:
                    log.exception("start_failed")
                    await send({"type": "lifespan.startup.failed", "message": repr(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Services, feed, door."""
        await self.services.start()
        await self.live.start()
        # Modules, routes and models stay for good: collections need not look at them again, nor so often at what
        # requests and sockets leave. With 500 sockets they were a tenth of the replica's time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if self.door is not None:
            await self.door.open()

    async def stop(self) -> None:
        """Door, feed, services; sockets are told to go while open requests finish."""
        closing: list[Any] = [self.live.drain()]
        if self.door is not None:
            closing.append(self.door.close())
        await asyncio.gather(*closing, return_exceptions=True)
        await self.live.stop()
        await self.services.stop()

    def check(self) -> None:
        """Raises RuntimeError when the door is closed without being told to."""
        if self.door is not None and not self.door.is_open:
            raise RuntimeError("the listener is gone")
