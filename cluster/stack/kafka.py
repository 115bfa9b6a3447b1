"""Kafka: the log. One KRaft node, TLS with client certificates, and an access list that names each role."""

from __future__ import annotations

import logging
import secrets
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget to export them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from cluster.endpoints import ClientCertificate, KafkaEndpoint, KafkaRole
from cluster.stack import java
from cluster.stack.context import clean_environment, write_private
from cluster.stack.process import config_digest
from schemas.errors import ReconError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cluster.stack.context import StackContext

GROUP_PREFIX = "recon"  # consumer groups of the pipeline and of readers begin with it

_REQUEST_TIMEOUT_S = 20
_MESSAGE_BYTES_MAX = 1 << 20
_PROBE_TIMEOUT_S = 2
_FULL_JIT_HEAP_MIB = 1024

_SILENT = logging.getLogger("recon.stack.kafka.probe")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.start.name = kafka.server.KafkaRaftServer
logger.start.level = info
"""


class KafkaSetUpError(ReconError):
    """Formatting the storage failed; Kafka's words are in the message."""


class Kafka:
    """The stack's broker."""

    name = "kafka"

    def __init__(self, context: StackContext) -> None:
        self._context = context
        self._archives = java.ClassArchives(context.settings.cache_dir, context.state_dir)

    def endpoint(self) -> KafkaEndpoint:
        """How to reach it, with a client certificate for each role."""
        certificates = self._context.certificates
        return KafkaEndpoint(
            bootstrap_servers=self._context.address("kafka"),
            ca_file=certificates.ca_file,
            roles={
                role: ClientCertificate(
                    cert_file=certificates.clients[role].cert_file, key_file=certificates.clients[role].key_file
                )
                for role in ("admin", "pipeline", "producer", "reader")
            },
        )

    def start(self) -> None:
        """Start the broker, or keep a running one; then topics and access rights."""
        context, folder = self._context, self._context.folder("kafka")
        settings = context.settings
        jars = context.artifacts.jars("kafka")
        properties = write_private(folder / "server.properties", self._properties(folder))
        log4j = write_private(folder / "log4j2.properties", _LOG4J)
        flags = [f"-Dlog4j2.configurationFile={log4j}", f"-Djava.io.tmpdir={context.folder('tmp')}"]
        heap_mib = _FULL_JIT_HEAP_MIB if settings.kafka_full_jit else settings.kafka_heap_mib
        config = config_digest(properties, log4j, jars, heap_mib, settings.kafka_full_jit, self._chain())
        running = context.processes.alive(self.name)
        if running is None or running.config != config or self.problem() is not None:
            self.stop()
            self._format(folder, properties, jars, flags)
            command = java.command(
                ["kafka.Kafka", str(properties)],
                class_path=jars,
                heap_mib=heap_mib,
                flags=[*flags, *self._archives.flags(self.name, jars)],
                full_jit=settings.kafka_full_jit,
            )
            context.processes.start(self.name, command, config=config, env=clean_environment(), cwd=folder)
            context.processes.wait_ready(self.name, lambda: self.problem() is None, settings.start_timeout_ms)
        topics = [source.topic for source in settings.sources]
        ensure_topics(self.endpoint(), topics, settings.partitions_per_topic, settings.topic_retention_ms)

    def stop(self) -> None:
        """Stop the broker if it runs; it closes its segments first."""
        self._archives.stop(self._context.processes, self.name, self._context.settings.stop_timeout_ms)

    def problem(self) -> str | None:
        """Ask for the list of topics, as the pipeline does."""
        try:
            admin_client(self.endpoint(), "pipeline").list_topics(timeout=_PROBE_TIMEOUT_S)
        except KafkaException as error:
            return str(error.args[0].str())
        return None

    def _chain(self) -> Path:
        return self._context.certificates.servers["kafka"].chain_file

    def _properties(self, folder: Path) -> str:
        context = self._context
        broker, controller = context.address("kafka"), context.address("kafka_controller")
        properties: dict[str, Any] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"CLIENTS://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENTS://{broker}",
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CLIENTS:SSL,CONTROLLER:SSL",
            "log.dirs": folder / "data",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._chain(),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": context.certificates.ca_file,
            "ssl.client.auth": "required",
            "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:kafka",  # kafka: the broker itself, at its controller
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "num.partitions": context.settings.partitions_per_topic,
            "log.segment.bytes": 256 << 20,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A restart after a kill waits for the old session to end; the broker and its controller share a process.
            "broker.session.timeout.ms": 4_000,
            "broker.heartbeat.interval.ms": 1_000,
            "num.network.threads": 2,
            "num.io.threads": 2,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            "message.max.bytes": _MESSAGE_BYTES_MAX,
            "replica.fetch.max.bytes": _MESSAGE_BYTES_MAX,
        }
        return "".join(f"{key}={value}\n" for key, value in properties.items())

    def _format(self, folder: Path, properties: Path, jars: list[Path], flags: list[str]) -> None:
        if (folder / "data" / "meta.properties").exists():
            return
        shutil.rmtree(folder / "data", ignore_errors=True)
        cluster_id = urlsafe_b64encode(uuid.UUID(bytes=secrets.token_bytes(16), version=4).bytes).decode().rstrip("=")
        command = java.command(
            [
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                cluster_id.replace("-", "A"),
                "--config",
                str(properties),
            ],
            class_path=jars,
            heap_mib=128,
            flags=[*flags, *self._archives.base_flags()],
        )
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, env=clean_environment(), cwd=folder
        )
        if result.returncode != 0:
            raise KafkaSetUpError((result.stdout + result.stderr).strip())


def admin_client(endpoint: KafkaEndpoint, role: KafkaRole = "admin") -> Any:
    """A confluent_kafka AdminClient that says nothing of its own: a broker that is still starting is no news."""
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.max.ms": 200}
    return AdminClient({**endpoint.client_config(role), **quiet}, logger=_SILENT)


def ensure_topics(endpoint: KafkaEndpoint, topics: list[str], partitions: int, retention_ms: int) -> None:
    """Make topics as the pipeline needs them, give each role its rights on them, and bring existing ones in line.

    Partitions are added where there are fewer; more than that cannot be taken away, and do no harm.
    """
    admin = admin_client(endpoint)
    config = {
        "message.timestamp.type": "LogAppendTime",  # arrival is the broker's word, not a producer's
        "retention.ms": str(retention_ms),
        "max.message.bytes": str(_MESSAGE_BYTES_MAX),
    }
    present = admin.list_topics(timeout=_REQUEST_TIMEOUT_S).topics
    missing = [
        NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
        for topic in topics
        if topic not in present
    ]
    if missing:
        _settle(admin.create_topics(missing).values(), KafkaError.TOPIC_ALREADY_EXISTS)
    more = [NewPartitions(t, partitions) for t in topics if t in present and len(present[t].partitions) < partitions]
    if more:
        _settle(admin.create_partitions(more).values())
    kept = [topic for topic in topics if topic in present]
    if kept:
        _settle(admin.incremental_alter_configs([_config_resource(topic, config) for topic in kept]).values())
    _settle(admin.create_acls(_rights(topics)).values())


def delete_topics(endpoint: KafkaEndpoint, topics: list[str]) -> None:
    """Delete topics with all that is in them; missing ones are fine."""
    admin = admin_client(endpoint)  # has to live until its futures are done
    _settle(admin.delete_topics(topics).values(), KafkaError.UNKNOWN_TOPIC_OR_PART)


_READERS = ("pipeline", "reader")
_READ = (AclOperation.READ, AclOperation.DESCRIBE)
_WRITE = (AclOperation.WRITE, AclOperation.DESCRIBE)


def _rights(topics: list[str]) -> list[Any]:
    bindings = []
    for topic in topics:
        bindings += [_allow(ResourceType.TOPIC, topic, "producer", operation) for operation in _WRITE]
        bindings += [_allow(ResourceType.TOPIC, topic, role, operation) for role in _READERS for operation in _READ]
    # A producer may send a transaction. Its id is its own choice; idempotence is what a transaction rests on.
    transactions = ResourceType.TRANSACTIONAL_ID
    bindings += [_allow(transactions, "*", "producer", operation) for operation in _WRITE]
    bindings.append(_allow(ResourceType.BROKER, "kafka-cluster", "producer", AclOperation.IDEMPOTENT_WRITE))
    groups = ResourcePatternType.PREFIXED
    bindings += [_allow(ResourceType.GROUP, GROUP_PREFIX, role, AclOperation.READ, groups) for role in _READERS]
    # Whoever looks on brings a group name of their own; it gives no right to any topic.
    bindings.append(_allow(ResourceType.GROUP, "*", "reader", AclOperation.READ))
    return bindings


def _allow(kind: Any, name: str, role: str, operation: Any, pattern: Any = ResourcePatternType.LITERAL) -> Any:
    return AclBinding(kind, name, pattern, f"User:{role}", "*", operation, AclPermissionType.ALLOW)


def _config_resource(topic: str, config: dict[str, str]) -> Any:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    return ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)


def _settle(futures: Iterable[Any], *accepted: int) -> None:
    """Wait for requests to the broker; errors with an accepted code are as good as success."""
    for future in futures:
        try:
            future.result(timeout=_REQUEST_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in accepted:
                raise
