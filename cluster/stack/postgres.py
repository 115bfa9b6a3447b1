"""PostgreSQL: the ledger. A private cluster with TLS and scram only, tuned for bulk writes on a small machine."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import asyncpg

from cluster.endpoints import PostgresEndpoint, PostgresRole
from cluster.stack.context import clean_environment, write_private
from cluster.stack.process import ProcessFailedError, config_digest
from schemas.errors import ReconError

if TYPE_CHECKING:
    from cluster.stack.context import StackContext

DATABASE = "recon"

# Role in `endpoints.postgres` -> login name. `admin` is the superuser of this private cluster.
LOGINS: dict[PostgresRole, str] = {
    "admin": "recon_admin",
    "owner": "recon_owner",
    "app": "recon_app",
    "api": "recon_api",
}

_CONNECTIONS_MAX = 100
_CONNECT_TIMEOUT_S = 10
_CLOSING_S = 0.01
_ORPHANS_WAIT_S = 10.0
_ORPHANS_POLL_S = 0.5


class PostgresUserError(ReconError):
    """PostgreSQL refuses to run as root, and no other way was found."""

    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL does not run as root: run recon as another user, allow user namespaces,"
            " or keep RECON_STATE_DIR and RECON_CACHE_DIR where the user `nobody` can reach them"
        )


class PostgresSetUpError(ReconError):
    """Initdb failed; its words are in the message."""


class PostgresInUseError(ReconError):
    """A server that this stack has no record of runs on its data folder."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        super().__init__(f"process {pid} already serves {folder}; stop it (kill -INT {pid}) and try again")


def _works(command: list[str]) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """How to run a program that refuses uid 0: `prefix` goes before its command, `account` must own its files."""

    prefix: tuple[str, ...] = ()
    account: str | None = None

    @classmethod
    def find(cls, *, namespaces: bool = True) -> Unprivileged:
        """As root: a user namespace, in which root is uid 1000 (no other account, no change of owners).

        Where namespaces are forbidden, the account `nobody`. Raises PostgresUserError when neither works.
        """
        if os.geteuid() != 0:
            return cls()
        namespace = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
        if namespaces and _works([*namespace, "true"]):
            return cls(namespace)
        account = pwd.getpwnam("nobody")
        switch = ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--")
        if _works([*switch, "true"]):
            return cls(switch, account.pw_name)
        raise PostgresUserError

    def hand_over(self, folder: Path) -> None:
        """Give a folder to the account, if there is one. Raises PostgresUserError when it cannot reach it."""
        if self.account is None:
            return
        account = pwd.getpwnam(self.account)
        # The account may pass through the folder above, and see nothing in it.
        folder.parent.chmod(folder.parent.stat().st_mode | 0o011)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        if not _works([*self.prefix, "ls", str(folder)]):
            raise PostgresUserError


class Postgres:
    """The stack's PostgreSQL."""

    name = "postgres"

    def __init__(self, context: StackContext) -> None:
        self._context = context
        self._data = context.state_dir / "postgres" / "data"

    def endpoint(self) -> PostgresEndpoint:
        """How to reach it: one DSN per role."""
        ca_file = self._context.certificates.ca_file
        options = f"sslmode=verify-full&sslrootcert={quote(str(ca_file))}"
        return PostgresEndpoint(
            ca_file=ca_file,
            roles={
                role: f"postgresql://{login}:{quote(self._context.passwords[f'postgres_{role}'])}"
                f"@{self._context.address('postgres')}/{DATABASE}?{options}"
                for role, login in LOGINS.items()
            },
        )

    def start(self) -> None:
        """Start it, or keep a running one; make the cluster, the roles and the database as needed."""
        context, folder = self._context, self._context.folder("postgres")
        runner = Unprivileged.find()
        program = self._programs(runner)
        files = self._tls_files(folder)
        runner.hand_over(folder)
        if not (self._data / "PG_VERSION").exists():
            self._initdb(program, runner)
        conf = self._write_conf(files)
        config = config_digest(conf, self._data / "pg_hba.conf", files["cert"], str(program), runner)
        running = context.processes.alive(self.name)
        if running is None or running.config != config or self._not_answering() is not None:
            self.stop()
            self._start_server([*runner.prefix, str(program / "bin" / "postgres"), "-D", str(self._data)], config)
        asyncio.run(self._set_up())

    def _start_server(self, command: list[str], config: str) -> None:
        context = self._context
        end = time.monotonic() + _ORPHANS_WAIT_S
        while True:
            self._defuse_pid_file()
            context.processes.start(self.name, command, config=config, env=clean_environment(), cwd=self._data.parent)
            try:
                context.processes.wait_ready(
                    self.name, lambda: self._not_answering() is None, context.settings.start_timeout_ms, poll_ms=50
                )
            except ProcessFailedError as error:
                # After a kill -9 a busy backend lives a little longer, and the new server rightly waits for it to go.
                if "shared memory block" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(_ORPHANS_POLL_S)
            else:
                return

    def stop(self) -> None:
        """Stop it if it runs, rolling back what is open (a fast shutdown)."""
        timeout_ms = self._context.settings.stop_timeout_ms
        self._context.processes.stop(self.name, timeout_ms=timeout_ms, stop_signal=signal.SIGINT)

    def problem(self) -> str | None:
        """Log in as the pipeline's role and ask for the database's name."""
        return asyncio.run(self._ask(self.endpoint().connect_kwargs("app")))

    def _not_answering(self) -> str | None:
        return asyncio.run(self._ask(self.endpoint().connect_kwargs("admin", "postgres")))

    @staticmethod
    async def _ask(connect_kwargs: dict[str, Any]) -> str | None:
        try:
            connection = await asyncpg.connect(**connect_kwargs, timeout=_CONNECT_TIMEOUT_S)
            try:
                await connection.fetchval("select current_database()")
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            await asyncio.sleep(_CLOSING_S)  # asyncpg leaves a refused connection's transport to the loop
            return str(error) or type(error).__name__
        return None

    def _programs(self, runner: Unprivileged) -> Path:
        unpacked = self._context.artifacts.unpacked("postgres")
        if runner.account is None:
            return unpacked
        # Another account may not be able to reach root's cache folder: give it a copy (50 MB).
        own = self._context.folder("postgres") / unpacked.name
        if not own.is_dir():
            draft = own.with_suffix(".tmp")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(unpacked, draft, symlinks=True)
            draft.rename(own)
        return own

    def _tls_files(self, folder: Path) -> dict[str, Path]:
        pair = self._context.certificates.servers["postgres"]
        cert = write_private(folder / "server.pem", pair.cert_file.read_text(encoding="ascii"))
        key = write_private(folder / "server.key", pair.key_file.read_text(encoding="ascii"))
        return {"cert": cert, "key": key}

    def _initdb(self, program: Path, runner: Unprivileged) -> None:
        folder = self._data.parent
        shutil.rmtree(self._data, ignore_errors=True)  # left half made by a crash
        password_file = write_private(folder / "initdb.pw", self._context.passwords["postgres_admin"] + "\n")
        runner.hand_over(folder)
        draft = self._data.with_name("data.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            *runner.prefix,
            str(program / "bin" / "initdb"),
            "--pgdata",
            str(draft),
            "--username",
            LOGINS["admin"],
            "--pwfile",
            str(password_file),
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        try:
            result = subprocess.run(
                command, check=False, capture_output=True, text=True, env=clean_environment(), cwd=folder
            )
        finally:
            password_file.unlink()
        if result.returncode != 0:
            raise PostgresSetUpError(result.stderr.strip())
        draft.rename(self._data)

    def _write_conf(self, files: dict[str, Path]) -> Path:
        settings = self._context.settings
        hba = (
            "# TLS and a password for everybody; nothing else, no local socket.\n"
            "hostssl all all 127.0.0.0/8 scram-sha-256\n"
        )
        conf = {
            "listen_addresses": f"'{settings.bind_host}'",
            "port": settings.port("postgres"),
            "unix_socket_directories": "''",
            "max_connections": _CONNECTIONS_MAX,
            "ssl": "on",
            "ssl_cert_file": f"'{files['cert']}'",
            "ssl_key_file": f"'{files['key']}'",
            "ssl_min_protocol_version": "'TLSv1.2'",
            "password_encryption": "'scram-sha-256'",
            # Durability stays: a commit that was answered survives a power cut.
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            # Few, large checkpoints; this build has no lz4, and pglz costs more CPU than the disk saves.
            "wal_compression": "off",
            "wal_buffers": "'64MB'",
            "min_wal_size": "'1GB'",
            "max_wal_size": "'8GB'",
            "checkpoint_timeout": "'15min'",
            "checkpoint_completion_target": "0.9",
            "shared_buffers": f"'{settings.postgres_shared_buffers_mib}MB'",
            "effective_cache_size": "'4GB'",
            "work_mem": "'32MB'",
            "maintenance_work_mem": "'256MB'",
            "random_page_cost": "1.1",
            "jit": "off",  # compiles for longer than our short queries run
            "max_parallel_workers_per_gather": "0",  # two cores, and the pipeline needs them
            "io_workers": "1",
            "log_min_messages": "warning",
            "log_line_prefix": "'%m [%p] %u@%d '",
            "log_timezone": "'UTC'",
            "timezone": "'UTC'",
            "log_min_duration_statement": "'10s'",
            "cluster_name": "'recon'",
        }
        self._overwrite(self._data / "pg_hba.conf", hba)
        text = "# Written by `recon up`; changes are lost.\n" + "".join(
            f"{key} = {value}\n" for key, value in conf.items()
        )
        return self._overwrite(self._data / "postgresql.conf", text)

    @staticmethod
    def _overwrite(path: Path, text: str) -> Path:
        """In place, so that the file keeps its owner."""
        path.write_text(text, encoding="utf-8")
        return path

    def _defuse_pid_file(self) -> None:
        """After a crash the pid in postmaster.pid may by now be somebody else's, and PostgreSQL would refuse to start.

        The file stays, because it also leads to the shared memory by which PostgreSQL sees surviving backends; only
        its first line is replaced, by the pid of a process that has just ended. Raises PostgresInUseError when a
        server that is not in our records has this very folder open.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            first, *rest = pid_file.read_text(encoding="utf-8").splitlines(keepends=True)
            pid = int(first)
        except (FileNotFoundError, ValueError):
            pid_file.unlink(missing_ok=True)  # missing, or empty after a power cut
            return
        if not Path(f"/proc/{pid}").exists():
            return  # PostgreSQL sees that too; a zombie that nobody has reaped yet it would take for a server
        try:
            if Path(f"/proc/{pid}/cwd").readlink() == self._data:
                raise PostgresInUseError(pid, self._data)
        except OSError:
            pass  # gone just now, or another user's: not our server
        ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
        ended.wait()
        pid_file.write_text("".join([f"{ended.pid}\n", *rest]), encoding="utf-8")

    async def _set_up(self) -> None:
        """Roles and the database, as often as you like."""
        endpoint = self.endpoint()
        connection = await asyncpg.connect(**endpoint.connect_kwargs("admin", "postgres"))
        try:
            for role, login in LOGINS.items():
                if role == "admin":
                    continue
                if not await connection.fetchval("select 1 from pg_roles where rolname = $1", login):
                    await connection.execute(f'create role "{login}" login')
                    secret = await connection.fetchval(
                        "select quote_literal($1)", self._context.passwords[f"postgres_{role}"]
                    )
                    await connection.execute(f'alter role "{login}" password {secret}')
            await connection.execute("revoke connect on database postgres, template1 from public")
        finally:
            await connection.close()
        await create_database(endpoint, DATABASE)


async def create_database(endpoint: PostgresEndpoint, database: str, template: str = "template1") -> None:
    """Make a database that the owner role owns and the two application roles may enter; an existing one is kept.

    `template` is the database to copy; nobody may be connected to it meanwhile.
    """
    connection = await asyncpg.connect(**endpoint.connect_kwargs("admin", "postgres"))
    try:
        name = await connection.fetchval("select quote_ident($1)", database)
        if not await connection.fetchval("select 1 from pg_database where datname = $1", database):
            source = await connection.fetchval("select quote_ident($1)", template)
            await connection.execute(f"create database {name} owner {LOGINS['owner']} template {source}")
        await connection.execute(f"revoke all on database {name} from public")
        await connection.execute(f"grant connect on database {name} to {LOGINS['app']}, {LOGINS['api']}")
        # The stage of a flush; a right on the database itself does not come along with a copy.
        await connection.execute(f"grant temporary on database {name} to {LOGINS['app']}")
    finally:
        await connection.close()


async def drop_database(endpoint: PostgresEndpoint, database: str) -> None:
    """Drop a database, ending the sessions in it; a missing one is fine."""
    connection = await asyncpg.connect(**endpoint.connect_kwargs("admin", "postgres"))
    try:
        name = await connection.fetchval("select quote_ident($1)", database)
        await connection.execute(f"drop database if exists {name} with (force)")
    finally:
        await connection.close()
