"""The connection pool: time limits on every statement, and one error when PostgreSQL does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import orjson
import structlog

from api.options import ApiOptions
from api.problems import UnavailableError

log = structlog.get_logger("api.db")

ACQUIRE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
)

Connection = Any  # asyncpg's pool hands out proxies that type as Any


async def _prepare(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _keep(connection: asyncpg.Connection[Any]) -> None:
    """Instead of a reset at each return to the pool, which costs a round trip: whoever sets something sets it back."""
    del connection


class Database:
    """The pool of one replica, for the role recon_api."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()

    async def _open(self) -> asyncpg.Pool[Any]:
        async with self._opening:
            if self._pool is None:
                arguments = dict(self._options.postgres)
                if self._options.postgres_ca_file:
                    arguments["ssl"] = ssl.create_default_context(cafile=self._options.postgres_ca_file)
                self._pool = await asyncpg.create_pool(
                    **arguments,
                    min_size=1,
                    max_size=self._options.pool_connections,
                    timeout=CONNECT_TIMEOUT_S,
                    init=_prepare,
                    reset=_keep,
                    server_settings={
                        "application_name": f"recon-api {self._options.replica}",
                        "statement_timeout": str(self._options.limits.statement_ms),
                        "lock_timeout": "2000",
                        "idle_in_transaction_session_timeout": "30000",
                        # Partial indexes and skewed filters: a plan made for other values is the wrong plan.
                        "plan_cache_mode": "force_custom_plan",
                        "jit": "off",
                    },
                )
            return self._pool

    async def close(self) -> None:
        """Close the pool, and cut what does not end in two seconds."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 2.0)
            except TimeoutError:
                self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection from the pool. Raises UnavailableError when PostgreSQL does not answer in time."""
        try:
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection
        except _GONE as error:
            log.warning("postgres_unavailable", error=type(error).__name__, text=str(error)[:200])
            raise UnavailableError("The database does not answer in time.") from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Any]:
        """Rows of one statement."""
        async with self.connection() as connection:
            rows: Sequence[Any] = await connection.fetch(query, *arguments)
            return rows

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """The first row of one statement, or None."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> str:
        """Run one statement; the answer is PostgreSQL's command tag."""
        async with self.connection() as connection:
            tag: str = await connection.execute(query, *arguments)
            return tag
