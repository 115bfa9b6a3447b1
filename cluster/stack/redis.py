"""Redis: pending state that grew old, and the channel of the live feed. Nothing in it has to survive."""

from __future__ import annotations

import hashlib
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from cluster.endpoints import BasicAuth, RedisEndpoint
from cluster.stack.context import clean_environment, write_private
from cluster.stack.process import config_digest
from schemas.errors import ReconError

if TYPE_CHECKING:
    from cluster.stack.context import StackContext

MEMORY_MAX_MIB = 512  # beyond it writes fail and the matchers keep their rows in memory

# The application may do all but administer: no FLUSHALL, CONFIG, KEYS, SHUTDOWN.
_APP_RIGHTS = "~* &* +@all -@admin -@dangerous +info"


class RedisMissingError(ReconError):
    """There is no Redis server program with TLS on this machine."""

    def __init__(self) -> None:
        super().__init__("no Redis server found: install the package redis-tools (or redis-server)")


def find_server() -> Path | None:
    """The server program: `redis-server`, or Debian's redis-check-rdb, which is the same binary under another name."""
    for name in ("redis-server", "redis-check-rdb"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


class Redis:
    """The stack's Redis: TLS only, named users only."""

    name = "redis"

    def __init__(self, context: StackContext) -> None:
        self._context = context

    def endpoint(self) -> RedisEndpoint:
        """How to reach it."""
        passwords = self._context.passwords
        return RedisEndpoint(
            url=f"rediss://{self._context.address('redis')}",
            ca_file=self._context.certificates.ca_file,
            roles={
                "app": BasicAuth(user="recon", password=passwords["redis_app"]),
                "admin": BasicAuth(user="admin", password=passwords["redis_admin"]),
            },
        )

    def start(self) -> None:
        """Start it, or keep a running one. Raises RedisMissingError."""
        context, folder = self._context, self._context.folder("redis")
        program = find_server()
        if program is None:
            raise RedisMissingError
        server = folder / "redis-server"  # the binary decides by its name what it is
        server.unlink(missing_ok=True)
        server.symlink_to(program.resolve())
        acl = write_private(folder / "users.acl", self._acl())
        pair = context.certificates.servers["redis"]
        conf = write_private(
            folder / "redis.conf",
            "\n".join(
                [
                    "port 0",
                    f"tls-port {context.settings.port('redis')}",
                    f"bind {context.settings.bind_host}",
                    f'tls-cert-file "{pair.cert_file}"',
                    f'tls-key-file "{pair.key_file}"',
                    f'tls-ca-cert-file "{context.certificates.ca_file}"',
                    "tls-auth-clients no",
                    'tls-protocols "TLSv1.2 TLSv1.3"',
                    f'aclfile "{acl}"',
                    f'dir "{folder}"',
                    'save ""',
                    "appendonly no",
                    f"maxmemory {MEMORY_MAX_MIB}mb",
                    "maxmemory-policy noeviction",
                    "daemonize no",
                    'pidfile ""',
                ]
            )
            + "\n",
        )
        config = config_digest(conf, acl, pair.cert_file, program.resolve())
        running = context.processes.alive(self.name)
        if running is not None and running.config == config and self.problem() is None:
            return
        self.stop()
        context.processes.start(self.name, [str(server), str(conf)], config=config, env=clean_environment(), cwd=folder)
        context.processes.wait_ready(
            self.name, lambda: self.problem() is None, context.settings.start_timeout_ms, poll_ms=20
        )

    def stop(self) -> None:
        """Stop it if it runs."""
        timeout_ms = self._context.settings.stop_timeout_ms
        self._context.processes.stop(self.name, timeout_ms=timeout_ms, stop_signal=signal.SIGTERM)

    def problem(self) -> str | None:
        """PING over TLS as the application's user."""
        try:
            with redis.Redis(**self.endpoint().connect_kwargs(), socket_timeout=2, socket_connect_timeout=2) as client:
                client.ping()
        except (redis.RedisError, OSError) as error:
            return str(error)
        return None

    def _acl(self) -> str:
        digests = {
            role: hashlib.sha256(self._context.passwords[f"redis_{role}"].encode()).hexdigest()
            for role in ("app", "admin")
        }
        return (
            "user default off\n"
            f"user recon on #{digests['app']} {_APP_RIGHTS}\n"
            f"user admin on #{digests['admin']} ~* &* +@all\n"
        )
