"""Where everything is and how to log in: what `recon status --json` prints and the stack leaves in `endpoints.json`."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, computed_field

from schemas.errors import ReconError
from schemas.events import DEFAULT_SOURCES, SourceSpec
from schemas.places import ENDPOINTS_FILE

# Ray replaces 127.0.0.1 by the machine's outward address, and then listens on all of them. The switch that keeps it
# from doing so is named after the systems for which its authors made it.
RAY_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

SOURCE_NAMES = tuple(source.name for source in DEFAULT_SOURCES)

KafkaRole = Literal["admin", "pipeline", "producer", "reader"]
RegistryRole = Literal["admin", "pipeline", "producer", "reader"]
PostgresRole = Literal["admin", "owner", "app", "api"]
RedisRole = Literal["app", "admin"]


class StackNotUpError(ReconError):
    """There is no stack to connect to."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        super().__init__(f"no stack is up in {state_dir}; start it with `recon up`")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClientCertificate(_Frozen):
    """A client certificate and its PKCS#8 key, both PEM files."""

    cert_file: Path
    key_file: Path


class BasicAuth(_Frozen):
    """A user name and its password."""

    user: str
    password: str = Field(repr=False)


class DemoUser(BasicAuth):
    """A demonstration user, with the highest role that it has: viewer, analyst or admin."""

    role: str = ""


class KafkaEndpoint(_Frozen):
    """Kafka over TLS; who you are is your client certificate."""

    bootstrap_servers: str
    ca_file: Path
    roles: dict[KafkaRole, ClientCertificate]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def clients(self) -> dict[KafkaRole, dict[str, Any]]:
        """The settings of every role, ready to copy into another client."""
        return {role: self.client_config(role) for role in self.roles}

    def client_config(self, role: KafkaRole) -> dict[str, Any]:
        """Settings for any confluent_kafka (librdkafka) client: `Consumer({**config, "group.id": ...})`."""
        certificate = self.roles[role]
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.ca_file),
            "ssl.certificate.location": str(certificate.cert_file),
            "ssl.key.location": str(certificate.key_file),
            "ssl.endpoint.identification.algorithm": "https",
        }


class RegistryEndpoint(_Frozen):
    """Confluent-compatible schema registry over HTTPS with Basic auth."""

    url: str
    ca_file: Path
    roles: dict[RegistryRole, BasicAuth]

    def client_config(self, role: RegistryRole) -> dict[str, Any]:
        """Settings for confluent_kafka's `SchemaRegistryClient`."""
        auth = self.roles[role]
        return {
            "url": self.url,
            "ssl.ca.location": str(self.ca_file),
            "basic.auth.user.info": f"{auth.user}:{auth.password}",
        }


class PostgresEndpoint(_Frozen):
    """PostgreSQL over TLS: one DSN per role, each with sslmode=verify-full and the CA."""

    roles: dict[PostgresRole, str] = Field(repr=False)
    ca_file: Path

    def dsn(self, role: PostgresRole, database: str | None = None) -> str:
        """Connection URI of a role, by default in the database `recon`."""
        dsn = self.roles[role]
        if database is None:
            return dsn
        parts = urlsplit(dsn)
        return parts._replace(path=f"/{quote(database)}").geturl()

    def connect_kwargs(self, role: PostgresRole, database: str | None = None) -> dict[str, Any]:
        """Arguments for `asyncpg.connect` and `asyncpg.create_pool`, with a verifying ssl context."""
        parts = urlsplit(self.dsn(role, database))
        return {
            "host": parts.hostname,
            "port": parts.port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": unquote(parts.path.lstrip("/")),
            "ssl": ssl.create_default_context(cafile=str(self.ca_file)),
        }

    def for_database(self, database: str) -> PostgresEndpoint:
        """The same server and roles with another database in every DSN."""
        return self.model_copy(update={"roles": {role: self.dsn(role, database) for role in self.roles}})


class RedisEndpoint(_Frozen):
    """Redis over TLS with ACL users (`admin` may flush and reconfigure, `app` may not); `url` carries no password."""

    url: str
    ca_file: Path
    roles: dict[RedisRole, BasicAuth]

    def connect_kwargs(self, role: RedisRole = "app") -> dict[str, Any]:
        """Arguments for `redis.Redis` and `redis.asyncio.Redis`."""
        parts = urlsplit(self.url)
        return {
            "host": parts.hostname,
            "port": parts.port,
            "username": self.roles[role].user,
            "password": self.roles[role].password,
            "ssl": True,
            "ssl_ca_certs": str(self.ca_file),
            "ssl_check_hostname": True,
        }

    def authenticated_url(self, role: RedisRole = "app") -> str:
        """A `rediss://` URL with user, password and CA, for libraries that take only a URL. Never log it."""
        parts = urlsplit(self.url)
        user, password = quote(self.roles[role].user), quote(self.roles[role].password)
        return f"{parts.scheme}://{user}:{password}@{parts.netloc}/0?ssl_ca_certs={quote(str(self.ca_file))}"


class KeycloakClient(_Frozen):
    """An OpenID Connect client; `secret` is None for public ones."""

    client_id: str
    secret: str | None = Field(default=None, repr=False)


class KeycloakEndpoint(_Frozen):
    """Keycloak: who may log in. `users` are the realm's demonstration users with generated passwords."""

    url: str
    issuer: str
    realm: str
    ca_file: Path
    admin: BasicAuth
    clients: dict[str, KeycloakClient]
    users: dict[str, DemoUser]


class ApiEndpoint(_Frozen):
    """REST API, live feed and dashboard, over HTTPS; the server's own certificate is there for whoever serves it."""

    url: str
    host: str
    port: int
    ca_file: Path
    cert_file: Path
    key_file: Path


class RayEndpoint(_Frozen):
    """The Ray cluster; every client needs the token."""

    address: str
    dashboard_url: str
    token_file: Path
    temp_dir: Path

    @property
    def on_loopback(self) -> bool:
        """Whether the cluster is this machine's alone."""
        host = self.address.rpartition(":")[0]
        return host == "localhost" or host.startswith("127.")

    def environment(self) -> dict[str, str]:
        """Variables that a process must have before it imports ray: to be let in, and to stay on loopback if Ray is."""
        return {
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            **(RAY_LOOPBACK if self.on_loopback else {}),
        }

    def authenticate(self) -> None:
        """Give this process token and address; call it before the first `ray.init()`, which then needs no more."""
        os.environ.update(self.environment())
        raylet = sys.modules.get("ray._raylet")
        if raylet is not None:  # ray was imported already, and read its variables then
            raylet.Config.initialize("")
            if self.on_loopback:
                sys.modules["ray._private.ray_constants"].ENABLE_RAY_CLUSTER = False  # type: ignore[attr-defined]


class SourceEndpoint(_Frozen):
    """A configured source and the topic it writes to. `canonical` is false where a mapping reads its records."""

    name: str
    topic: str
    expected: bool
    canonical: bool = True

    def spec(self) -> SourceSpec:
        """The same as the vocabulary's plain value."""
        return SourceSpec(self.name, self.topic, self.expected)


class Endpoints(_Frozen):
    """All endpoints of one stack. It carries passwords: the file is mode 0600, and no log line may show it."""

    state_dir: Path
    kafka: KafkaEndpoint
    registry: RegistryEndpoint
    postgres: PostgresEndpoint
    redis: RedisEndpoint
    keycloak: KeycloakEndpoint | None = None
    api: ApiEndpoint | None = None
    ray: RayEndpoint | None = None
    sources: tuple[SourceEndpoint, ...]

    @classmethod
    def load(cls, state_dir: Path) -> Endpoints:
        """Read what the stack in `state_dir` left. Raises StackNotUpError when there is none."""
        try:
            text = (state_dir / ENDPOINTS_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise StackNotUpError(state_dir) from None
        return cls.model_validate_json(text)

    def save(self) -> Path:
        """Write `endpoints.json` (mode 0600, replaced atomically) and return its path."""
        path = self.state_dir / ENDPOINTS_FILE
        draft = path.with_suffix(".tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
        draft.replace(path)
        return path

    def refuse_simulation(self) -> None:
        """Raise ReconError where a source would not know simulated traffic, which is recon's own records."""
        foreign = [source.name for source in self.sources if not source.canonical or source.name not in SOURCE_NAMES]
        if foreign:
            raise ReconError(
                f"the configuration has sources that simulated traffic does not know: {', '.join(foreign)}; "
                f"simulators write recon's own records of {', '.join(SOURCE_NAMES)}"
            )

    def source_specs(self) -> tuple[SourceSpec, ...]:
        """The configured sources as the vocabulary's plain values, in order of their ids."""
        return tuple(source.spec() for source in self.sources)
