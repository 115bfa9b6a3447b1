"""Schema registry: Apicurio with its Confluent-compatible API, over HTTPS, with accounts of its own.

The accounts are the registry's embedded ones rather than Keycloak's: the same roles and the same Basic auth for
clients, but no login server on the way of a record that has to be decoded, and one start that waits for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from cluster import https
from cluster.endpoints import BasicAuth, RegistryEndpoint, RegistryRole
from cluster.stack import java
from cluster.stack.context import clean_environment, write_private
from cluster.stack.process import config_digest
from schemas.errors import ReconError
from schemas.events import schema_text

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.stack.context import StackContext

API_PATH = "/apis/ccompat/v7"
COMPATIBILITY = "BACKWARD"

ROLES: dict[RegistryRole, str] = {
    "admin": "sr-admin",
    "pipeline": "sr-readonly",
    "producer": "sr-readonly",  # `recon up` registers the schemas; a producer only looks their ids up
    "reader": "sr-readonly",
}

_HEAP_MIB = 256
_ACCESS = ("--add-opens=java.base/java.lang=ALL-UNNAMED", "--enable-native-access=ALL-UNNAMED")  # JBoss threads, brotli
_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 2.0


class RegistrySetUpError(ReconError):
    """The registry refused a step of the set-up."""


class Registry:
    """The stack's schema registry."""

    name = "registry"

    def __init__(self, context: StackContext) -> None:
        self._context = context
        self._archives = java.ClassArchives(context.settings.cache_dir, context.state_dir)

    def endpoint(self) -> RegistryEndpoint:
        """How to reach it, with a user for each role."""
        return RegistryEndpoint(
            url=f"{self._context.url('registry')}{API_PATH}",
            ca_file=self._context.certificates.ca_file,
            roles={role: BasicAuth(user=role, password=self._context.passwords[f"registry_{role}"]) for role in ROLES},
        )

    def start(self) -> None:
        """Start it, or keep a running one; then compatibility and the event schema."""
        context, folder = self._context, self._context.folder("registry")
        home = context.artifacts.unpacked("registry")
        properties = write_private(folder / "application.properties", self._properties(folder))
        class_path = [home / "quarkus-run.jar"]
        config = config_digest(properties, context.certificates.servers["registry"].cert_file, str(home))
        running = context.processes.alive(self.name)
        if running is None or running.config != config or self.problem() is not None:
            self.stop()
            command = java.command(
                ["io.quarkus.bootstrap.runner.QuarkusEntryPoint"],
                class_path=class_path,
                heap_mib=_HEAP_MIB,
                flags=[
                    f"-Dquarkus.config.locations={properties}",
                    f"-Djava.io.tmpdir={context.folder('tmp')}",
                    *_ACCESS,
                    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
                    *self._archives.flags(self.name, class_path),
                ],
            )
            context.processes.start(self.name, command, config=config, env=clean_environment(), cwd=folder)
            context.processes.wait_ready(self.name, lambda: self.problem() is None, context.settings.start_timeout_ms)
        ensure_subjects(self.endpoint(), [source.topic for source in context.settings.sources if source.canonical])

    def stop(self) -> None:
        """Stop it if it runs."""
        self._archives.stop(self._context.processes, self.name, self._context.settings.stop_timeout_ms)

    def problem(self) -> str | None:
        """Ask for the subjects, as the pipeline does."""
        try:
            with _client(self.endpoint(), "pipeline", _PROBE_TIMEOUT_S) as client:
                response = client.get("/subjects")
        except (httpx.HTTPError, OSError) as error:
            return str(error) or type(error).__name__
        return None if response.is_success else f"GET /subjects: {response.status_code}"

    def _properties(self, folder: Path) -> str:
        context = self._context
        pair = context.certificates.servers["registry"]
        properties: dict[str, Any] = {
            "quarkus.http.host": context.settings.bind_host,
            "quarkus.http.insecure-requests": "disabled",
            "quarkus.http.ssl-port": context.settings.port("registry"),
            "quarkus.http.ssl.certificate.files": pair.cert_file,
            "quarkus.http.ssl.certificate.key-files": pair.key_file,
            "quarkus.http.cors.enabled": "false",
            "quarkus.http.access-log.enabled": "false",
            "quarkus.management.host": context.settings.bind_host,
            "quarkus.management.port": context.settings.port("registry_management"),
            "quarkus.management.ssl.certificate.files": pair.cert_file,
            "quarkus.management.ssl.certificate.key-files": pair.key_file,
            'quarkus.log.category."io.apicurio".level': "WARN",
            'quarkus.log.category."io.quarkus.oidc.runtime.OidcProvider".level': "WARN",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{folder / 'schemas'}",
            "apicurio.datasource.jdbc.initial-size": 2,
            "apicurio.datasource.jdbc.min-size": 2,
            "apicurio.datasource.jdbc.max-size": 10,
            "apicurio.storage.snapshot.location": context.folder("tmp"),
            "apicurio.import.work-dir": context.folder("tmp"),
            "quarkus.http.auth.basic": "true",  # fixed at build for Quarkus; the registry itself asks for it
            "quarkus.security.users.embedded.plain-text": "true",  # the file is 0600
            "apicurio.auth.role-based-authorization": "true",
        }
        for role, registry_role in ROLES.items():
            properties[f"quarkus.security.users.embedded.users.{role}"] = context.passwords[f"registry_{role}"]
            properties[f"quarkus.security.users.embedded.roles.{role}"] = registry_role
        return "".join(f"{key}={value}\n" for key, value in properties.items())


def ensure_subjects(endpoint: RegistryEndpoint, topics: list[str]) -> None:
    """Set compatibility and register the event schema for each topic; what is there already stays as it is."""
    with _client(endpoint, "admin") as client:
        if client.get("/config").json().get("compatibilityLevel") != COMPATIBILITY:
            _expect(client.put("/config", json={"compatibility": COMPATIBILITY}))
        for topic in topics:
            # For each subject too: asked for one, the registry does not speak of the default.
            _expect(client.put(f"/config/{topic}-value", json={"compatibility": COMPATIBILITY}))
            _expect(client.post(f"/subjects/{topic}-value/versions", json={"schema": schema_text()}))


def _client(endpoint: RegistryEndpoint, role: RegistryRole, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
    auth = endpoint.roles[role]
    return https.client(endpoint.ca_file, timeout_s, base_url=endpoint.url, auth=(auth.user, auth.password))


def _expect(response: httpx.Response) -> None:
    if not response.is_success:
        raise RegistrySetUpError(f"{response.request.method} {response.request.url.path}: {response.text}")
