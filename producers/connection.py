"""How a simulator reaches Kafka and the registry: read from the `endpoints.json` that the stack leaves behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.events import SourceSpec

ROLE = "producer"


class NoEndpointsError(RuntimeError):
    """There is no readable endpoints file, so there is nothing to connect to."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Client settings of the producer role, and the sources with their topics."""

    kafka: dict[str, Any]
    registry: dict[str, Any]
    sources: tuple[SourceSpec, ...]

    @classmethod
    def read(cls, path: Path) -> Connection:
        """Parse an endpoints file. Raises NoEndpointsError naming what is wrong with it."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            kafka, registry = found["kafka"], found["registry"]
            certificate = kafka["roles"][ROLE]
            registry_config: dict[str, Any] = {"url": registry["url"], "ssl.ca.location": registry["ca_file"]}
            if auth := registry.get("roles", {}).get(ROLE):
                registry_config["basic.auth.user.info"] = f"{auth['user']}:{auth['password']}"
            return cls(
                kafka={
                    "bootstrap.servers": kafka["bootstrap_servers"],
                    "security.protocol": "SSL",
                    "ssl.ca.location": kafka["ca_file"],
                    "ssl.certificate.location": certificate["cert_file"],
                    "ssl.key.location": certificate["key_file"],
                    "ssl.endpoint.identification.algorithm": "https",
                },
                registry=registry_config,
                sources=tuple(
                    SourceSpec(source["name"], source["topic"], source["expected"]) for source in found["sources"]
                ),
            )
        except FileNotFoundError:
            raise NoEndpointsError(f"{path} does not exist; start the stack with `recon up`") from None
        except (KeyError, TypeError, ValueError) as error:
            raise NoEndpointsError(f"{path} is not an endpoints file ({error!r})") from error
