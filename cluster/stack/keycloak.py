"""Keycloak: who may log in to dashboard, API and command line. HTTPS, one realm, imported at the first start."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx

from cluster import https
from cluster.endpoints import BasicAuth, DemoUser, KeycloakClient, KeycloakEndpoint
from cluster.stack import java, realm
from cluster.stack.context import clean_environment, write_private
from cluster.stack.process import config_digest
from schemas.errors import ReconError

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.stack.context import StackContext

ADMIN = "recon-admin"

# Fixed when the distribution is built; everything else is read at the start. `sssd` would wait 10 s for D-Bus.
_BUILD_OPTIONS = {
    "db": "dev-file",
    "cache": "local",
    "health-enabled": "false",
    "metrics-enabled": "false",
    "http-relative-path": "/",
    "features-disabled": "kerberos",
    "spi-storage--sssd--enabled": "false",
}

_ACCESS = (
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
)
_MAIN = "io.quarkus.bootstrap.runner.QuarkusEntryPoint"
_THREAD_FACTORY = "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory"
_HEAP_MIB = 384
_BUILD_HEAP_MIB = 512
_PROBE_TIMEOUT_S = 3.0
_TIMEOUT_S = 30.0
_NOT_FOUND = 404


class KeycloakSetUpError(ReconError):
    """The build or a request to the administration failed."""


class Keycloak:
    """The stack's identity provider."""

    name = "keycloak"

    def __init__(self, context: StackContext) -> None:
        self._context = context
        self._archives = java.ClassArchives(context.settings.cache_dir, context.state_dir)

    def endpoint(self) -> KeycloakEndpoint:
        """How to reach it, with the demonstration users."""
        context, passwords = self._context, self._context.passwords
        url = context.url("keycloak")
        clients = [
            KeycloakClient(client_id="recon-dashboard"),
            KeycloakClient(client_id="recon-cli"),
            *(
                KeycloakClient(client_id=client_id, secret=passwords[f"keycloak_client_{client_id}"])
                for client_id in realm.SERVICES
            ),
        ]
        if context.settings.test_client:
            clients.append(KeycloakClient(client_id="recon-test", secret=passwords["keycloak_client_recon-test"]))
        return KeycloakEndpoint(
            url=url,
            issuer=f"{url}/realms/{realm.REALM}",
            realm=realm.REALM,
            ca_file=context.certificates.ca_file,
            admin=BasicAuth(user=ADMIN, password=passwords["keycloak_admin"]),
            clients={client.client_id: client for client in clients},
            users={
                name: DemoUser(user=name, password=passwords[f"keycloak_user_{name}"], role=role)
                for name, (role, _) in realm.USERS.items()
            },
        )

    def start(self) -> None:
        """Start it, or keep a running one. The first start imports the realm; a changed realm is imported again."""
        context, folder = self._context, self._context.folder("keycloak")
        distribution = context.artifacts.unpacked("keycloak", _build, variant=repr(_BUILD_OPTIONS))
        home = _home(folder, distribution)
        conf = write_private(home / "conf" / "keycloak.conf", self._conf(folder))
        content = json.dumps(self._realm(), indent=1)
        realm_file = home / "data" / "import" / f"{realm.REALM}-realm.json"
        imported = folder / "realm.digest"
        config = config_digest(conf, content, context.certificates.servers["keycloak"].cert_file, str(home))
        running = context.processes.alive(self.name)
        if running is not None and running.config == config and self.problem() is None:
            return
        self.stop()
        stale = imported.exists() and imported.read_text(encoding="ascii") != config_digest(content)
        write_private(realm_file, content)
        class_path = [distribution / "lib" / "quarkus-run.jar"]  # the same for every stack, and so its class archive
        command = java.command(
            [_MAIN, "start", "--optimized", "--import-realm"],
            class_path=class_path,
            heap_mib=_HEAP_MIB,
            flags=[*_flags(home), *self._archives.flags(self.name, class_path)],
        )
        env = clean_environment() | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": context.passwords["keycloak_admin"],
        }
        context.processes.start(self.name, command, config=config, env=env, cwd=folder)
        context.processes.wait_ready(self.name, lambda: self.problem() is None, context.settings.start_timeout_ms)
        if stale:
            self._replace_realm(content)
        imported.write_text(config_digest(content), encoding="ascii")
        # The database has the realm now; the file would only keep passwords in a second place.
        realm_file.unlink()

    def stop(self) -> None:
        """Stop it if it runs."""
        self._archives.stop(self._context.processes, self.name, self._context.settings.stop_timeout_ms)

    def problem(self) -> str | None:
        """Read the realm's discovery document."""
        try:
            with self._client(_PROBE_TIMEOUT_S) as client:
                response = client.get(f"/realms/{realm.REALM}/.well-known/openid-configuration")
        except (httpx.HTTPError, OSError) as error:
            return str(error) or type(error).__name__
        return None if response.is_success else f"discovery: {response.status_code}"

    def _client(self, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
        return https.client(self._context.certificates.ca_file, timeout_s, base_url=self._context.url("keycloak"))

    def _conf(self, folder: Path) -> str:
        context = self._context
        pair = context.certificates.servers["keycloak"]
        options: dict[str, Any] = {
            **_BUILD_OPTIONS,
            "db-url": f"jdbc:h2:file:{folder / 'realms'};NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE",
            "hostname": context.url("keycloak"),
            "hostname-strict": "true",
            "http-enabled": "false",
            "http-host": context.settings.bind_host,
            "https-port": context.settings.port("keycloak"),
            "https-certificate-file": pair.cert_file,
            "https-certificate-key-file": pair.key_file,
            "http-management-host": context.settings.bind_host,
            "http-management-port": context.settings.port("keycloak_management"),
            "log": "console",
            "log-level": "warn,org.keycloak.services:info",
        }
        return "".join(f"{key}={value}\n" for key, value in options.items())

    def _realm(self) -> dict[str, Any]:
        context = self._context
        port = context.settings.port("api")
        return realm.build(
            passwords=context.passwords,
            api_origins=[f"https://localhost:{port}", f"https://127.0.0.1:{port}"],
            audience=context.settings.api_audience,
            test_client=context.settings.test_client,
        )

    def _replace_realm(self, content: str) -> None:
        """Put a changed realm in place of the imported one. Accounts made by hand in it are lost, as in any import."""
        with self._client() as client:
            token = client.post(
                "/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": ADMIN,
                    "password": self._context.passwords["keycloak_admin"],
                },
            )
            client.headers["Authorization"] = f"Bearer {_expect(token).json()['access_token']}"
            removed = client.delete(f"/admin/realms/{realm.REALM}")
            if removed.status_code != _NOT_FOUND:
                _expect(removed)
            created = client.post("/admin/realms", content=content, headers={"Content-Type": "application/json"})
            _expect(created)


def _home(folder: Path, distribution: Path) -> Path:
    """A home of this stack's own: programs by link from the cache, configuration and data here."""
    home = folder / "home"
    for name in ("conf", "data/import"):
        (home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("lib", "providers", "themes"):
        link = home / name
        if not link.is_symlink() or link.readlink() != distribution / name:
            link.unlink(missing_ok=True)
            link.symlink_to(distribution / name)
    return home


def _flags(home: Path) -> list[str]:
    return [
        f"-Dkc.home.dir={home}",
        f"-Djboss.server.config.dir={home / 'conf'}",
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        "-Dpicocli.disable.closures=true",
        "-Dquarkus-log-max-startup-records=10000",
        f"-Djava.util.concurrent.ForkJoinPool.common.threadFactory={_THREAD_FACTORY}",
        "-XX:MaxMetaspaceSize=256m",
        *_ACCESS,
    ]


def _build(home: Path) -> None:
    """Keycloak's own build step (10 s, once per cache): it fixes the options above into the distribution."""
    (home / "conf" / "keycloak.conf").write_text(
        "".join(f"{key}={value}\n" for key, value in _BUILD_OPTIONS.items()), encoding="ascii"
    )
    command = java.command(
        [_MAIN, "build"],
        class_path=[home / "lib" / "quarkus-run.jar"],
        heap_mib=_BUILD_HEAP_MIB,
        flags=[*_flags(home), *java.ClassArchives.base_flags()],
    )
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment(), cwd=home)
    if result.returncode != 0:
        raise KeycloakSetUpError((result.stdout + result.stderr).strip())
    shutil.rmtree(home / "data", ignore_errors=True)


def _expect(response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        request = response.request
        raise KeycloakSetUpError(f"{request.method} {request.url.path}: {response.status_code} {response.text}")
    return response
