"""Endpoints of a stack that nobody has started, for tests of what is written down and of what does not answer."""

from __future__ import annotations

import pytest

from cluster.endpoints import (
    BasicAuth,
    ClientCertificate,
    Endpoints,
    KafkaEndpoint,
    PostgresEndpoint,
    RedisEndpoint,
    RegistryEndpoint,
    SourceEndpoint,
)
from cluster.stack import certificates


@pytest.fixture
def endpoints(tmp_path):
    tls = certificates.ensure(tmp_path / "tls")
    return Endpoints(
        state_dir=tmp_path,
        kafka=KafkaEndpoint(
            bootstrap_servers="127.0.0.1:1",
            ca_file=tls.ca_file,
            roles={
                role: ClientCertificate(cert_file=pair.cert_file, key_file=pair.key_file)
                for role, pair in tls.clients.items()
            },
        ),
        registry=RegistryEndpoint(
            url="https://localhost:2",
            ca_file=tls.ca_file,
            roles={role: BasicAuth(user=role[0], password="s:1") for role in ("pipeline", "producer", "reader")},
        ),
        postgres=PostgresEndpoint(
            ca_file=tls.ca_file,
            roles={
                role: f"postgresql://recon_{role}:a%2Fb@127.0.0.1:3/recon?sslmode=verify-full"
                for role in ("app", "api", "owner")
            },
        ),
        redis=RedisEndpoint(
            url="rediss://127.0.0.1:4", ca_file=tls.ca_file, roles={"app": BasicAuth(user="recon", password="x y")}
        ),
        sources=(
            SourceEndpoint(name="CORE", topic="core_txns", expected=True),
            SourceEndpoint(name="GATEWAY", topic="gateway_txns", expected=True),
        ),
    )
