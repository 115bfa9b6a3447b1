"""Writes `artifacts.lock.json`: every Java artifact of the stack with its SHA-256 (`make lock` runs it; needs jgo)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jgo.maven import Dependency, MavenContext

from cluster.stack.artifacts import LOCK_FILE

KAFKA_VERSION = "4.4.0"
LOG4J_VERSION = "2.25.5"
KEYCLOAK_VERSION = "26.7.3"
APICURIO_VERSION = "3.3.3"
POSTGRES_VERSION = "18.6.0"

# zonky's names for the processors, by `platform.machine()`
POSTGRES_MACHINES = {"x86_64": "amd64", "aarch64": "arm64v8"}

_DOWNLOADS_AT_ONCE = 8


def _entry(path: Path, component: Any, classifier: str, packaging: str) -> dict[str, Any]:
    return {
        "group": component.groupId,
        "artifact": component.artifactId,
        "version": component.version,
        "classifier": classifier,
        "packaging": packaging,
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _one(context: Any, group: str, name: str, version: str, classifier: str = "", packaging: str = "jar") -> Any:
    component = context.project(group, name).at_version(version)
    artifact = component.artifact(classifier=classifier, packaging=packaging)
    return _entry(artifact.resolve(), component, classifier, packaging)


def _kafka(context: Any) -> list[dict[str, Any]]:
    # raw: log4j's parent POM manages the version of kafka-clients too, and would pull it back by a major version.
    roots = [
        Dependency(context.project(group, name).at_version(version).artifact(), raw=True)
        for group, name, version in (
            ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
            ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
        )
    ]
    direct, transitive = context.resolver.resolve(roots)
    wanted = sorted(
        {
            (d.groupId, d.artifactId, d.version, d.classifier or "", d.type)
            for d in direct + transitive
            if not d.optional
        }
    )
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return list(pool.map(lambda coordinate: _one(context, *coordinate), wanted))


def build() -> dict[str, list[dict[str, Any]]]:
    """Resolve everything afresh (some 500 MB) and return the lock's content."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=120)
        lock = {
            "kafka": _kafka(context),
            "keycloak": [_one(context, "org.keycloak", "keycloak-quarkus-dist", KEYCLOAK_VERSION, packaging="zip")],
            "registry": [
                _one(context, "io.apicurio", "apicurio-registry-app", APICURIO_VERSION, "all", packaging="tar.gz")
            ],
        }
        for machine, name in POSTGRES_MACHINES.items():
            artifact = f"embedded-postgres-binaries-linux-{name}"
            lock[f"postgres-{machine}"] = [_one(context, "io.zonky.test.postgres", artifact, POSTGRES_VERSION)]
        return lock


if __name__ == "__main__":
    LOCK_FILE.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {LOCK_FILE.name}")
