"""What every test gets: no network and no Ray unless it asks for the stack, and one real stack per run if it does.

Fixtures for tests marked `stack`:

`stack`            Endpoints of Kafka, registry, PostgreSQL, Redis and Keycloak, started once per run on ports of its
                   own, with the client `recon-test` for users' tokens.
`ray_stack`        the same with a Ray head.
`fresh_db`         PostgresEndpoint of a new, migrated database, one per module.
`fresh_topics`     new topics (one per configured source) with rights and schemas, one set per module.
`fresh_endpoints`  `stack` with both of these in place: what a pipeline under test is given.

For other tests: `loopback` lets one connect to 127.0.0.1, for a server that the test itself starts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings

# Imported where they are used: the stack's modules take a second that a unit test does not have.
# ruff: noqa: PLC0415
from cluster.endpoints import Endpoints, SourceEndpoint
from cluster.settings import PORT_SPAN, Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from cluster.endpoints import PostgresEndpoint
    from cluster.stack.stack import Stack

# Generated examples have no time limit: on a busy machine one takes longer, and that is no failure.
hypothesis_settings.register_profile("recon", deadline=None)
hypothesis_settings.load_profile("recon")

# Below the range from which the kernel takes outgoing ports, so that a free one stays free until we bind it.
_PORT_BASE_FIRST = 22_000
_PORT_BASE_LAST = 31_900
T = TypeVar("T")

# As in the actors: one thread for polars, and no backtrace when a malformed record makes it panic, which is caught.
# Set before a test imports it, and kept by processes that tests start.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("RUST_BACKTRACE", "0")

_REAL = {"stack", "browser"}


class NoNetworkError(AssertionError):
    """A test that is not marked `stack` or `browser` tried to leave its process."""


def _is_real(request: pytest.FixtureRequest) -> bool:
    return any(request.node.get_closest_marker(name) for name in _REAL)


@pytest.fixture(autouse=True)
def _stay_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every socket connection and `ray.init` raise in tests that are to need neither."""
    if _is_real(request):
        return
    loopback = "loopback" in request.fixturenames
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def allowed(address: Any) -> bool:
        return loopback and isinstance(address, tuple) and address[0] in {"127.0.0.1", "localhost", "::1"}

    def guarded(real: Any) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if allowed(address):
                return real(self, address)
            raise NoNetworkError(f"connection to {address!r}: mark the test `stack`, or use the fixture `loopback`")

        return call

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    monkeypatch.setenv("RAY_ADDRESS", "unit-tests-may-not-start-ray")
    ray = sys.modules.get("ray")
    if ray is not None:

        def init(*_: Any, **__: Any) -> None:
            raise NoNetworkError("ray.init: mark the test `stack`")

        monkeypatch.setattr(ray, "init", init)


@pytest.fixture
def loopback() -> None:
    """Ask for this to connect to 127.0.0.1 from a test that is not marked `stack`."""


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from synchronous code, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _free_port_base() -> int:
    bases = range(_PORT_BASE_FIRST, _PORT_BASE_LAST, PORT_SPAN)
    start = os.getpid() % len(bases)
    for index in range(len(bases)):
        base = bases[(start + index) % len(bases)]
        if all(_is_free(port) for port in range(base, base + PORT_SPAN)):
            return base
    raise RuntimeError("no 20 consecutive free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def free_port_base() -> int:
    """First of so many consecutive ports that nobody has, as settings want them."""
    return _free_port_base()


@pytest.fixture(scope="session")
def stack_settings() -> Iterator[Settings]:
    """Settings of this run's stack: an own folder (RECON_TEST_STATE_DIR if set) and own ports."""
    given = os.environ.get("RECON_TEST_STATE_DIR")
    with tempfile.TemporaryDirectory(prefix="recon-test-", dir="/tmp") as folder:
        yield Settings(
            state_dir=Path(given or folder),
            port_base=_free_port_base(),
            test_client=True,
            postgres_shared_buffers_mib=256,
            ray_dashboard=False,
        )


@pytest.fixture(scope="session")
def running_stack(stack_settings: Settings) -> Iterator[Stack]:
    """The stack itself, for tests that stop, kill or restart a part of it; they leave it whole."""
    from cluster.stack.stack import Plan, Stack

    _skip_if_impossible(stack_settings)
    running = Stack(stack_settings)
    try:
        running.up(Plan(ray=False, pipeline=False, api=False))
        yield running
    finally:
        running.down()


def _skip_if_impossible(settings: Settings) -> None:
    """Without its prerequisites the stack is skipped, but never in CI: there it has to run."""
    if os.environ.get("CI"):
        return
    from cluster.stack.doctor import examine

    lacking = [finding for finding in examine(settings) if finding.level == "failed"]
    if lacking:
        pytest.skip("; ".join(f"{finding.message} ({finding.remedy})" for finding in lacking))


@pytest.fixture(scope="session")
def stack(running_stack: Stack) -> Endpoints:
    """Endpoints of the real services of this run."""
    return Endpoints.load(running_stack.settings.state_dir)


@pytest.fixture(scope="session")
def ray_stack(running_stack: Stack) -> Endpoints:
    """Endpoints of the real services with a Ray head, which this process may join with `ray.init()`."""
    from cluster.stack.stack import Plan

    endpoints = running_stack.up(Plan(ray=True, pipeline=False, api=False))
    assert endpoints.ray is not None
    endpoints.ray.authenticate()
    return endpoints


@pytest.fixture(scope="session")
def _template_database(stack: Endpoints) -> str:
    """A migrated database that is only copied: a copy takes a fifth of the time of the migrations."""
    from cluster import migrate
    from cluster.stack.postgres import create_database

    name = "recon_template"
    run_sync(create_database(stack.postgres, name))
    run_sync(migrate.apply(stack.postgres.connect_kwargs("owner", name)))
    return name


@pytest.fixture(scope="module")
def fresh_db(stack: Endpoints, _template_database: str) -> Iterator[PostgresEndpoint]:
    """A new database with every migration applied and nothing in it; dropped after the module."""
    from cluster.stack.postgres import create_database, drop_database

    name = f"recon_{secrets.token_hex(6)}"
    run_sync(create_database(stack.postgres, name, template=_template_database))
    yield stack.postgres.for_database(name)
    run_sync(drop_database(stack.postgres, name))


@pytest.fixture(scope="module")
def fresh_topics(stack: Endpoints, stack_settings: Settings) -> Iterator[tuple[SourceEndpoint, ...]]:
    """The configured sources on new, empty topics, with every role's rights and a registered schema; deleted after."""
    from cluster.stack.kafka import delete_topics, ensure_topics
    from cluster.stack.registry import ensure_subjects

    suffix = secrets.token_hex(4)
    sources = tuple(source.model_copy(update={"topic": f"{source.topic}_{suffix}"}) for source in stack.sources)
    topics = [source.topic for source in sources]
    ensure_topics(stack.kafka, topics, stack_settings.partitions_per_topic, stack_settings.topic_retention_ms)
    ensure_subjects(stack.registry, topics)
    yield sources
    delete_topics(stack.kafka, topics)


@pytest.fixture(scope="module")
def fresh_endpoints(
    stack: Endpoints, fresh_db: PostgresEndpoint, fresh_topics: tuple[SourceEndpoint, ...]
) -> Endpoints:
    """The stack's endpoints with a database and topics that nobody else uses."""
    return stack.model_copy(update={"postgres": fresh_db, "sources": fresh_topics})
