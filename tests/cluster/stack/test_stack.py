"""The real stack: who is let in, and what happens when it is started again, killed or changed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import uuid

import asyncpg
import httpx
import jwt
import pytest
import redis
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import ConfigResource
from confluent_kafka.schema_registry import SchemaRegistryClient

from cluster.endpoints import Endpoints
from cluster.settings import Settings
from cluster.stack.kafka import admin_client, ensure_topics
from cluster.stack.stack import Plan, PortTakenError, Stack
from tests.listening import open_to_others

pytestmark = pytest.mark.stack

SERVICES_ONLY = Plan(ray=False, pipeline=False, api=False)


def pids(stack):
    return {status.name: status.pid for status in stack.status() if status.pid}


def produce(config, topic):
    failures = []
    producer = Producer({**config, "message.timeout.ms": 10_000, "log_level": 0})
    producer.produce(topic, b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(15)
    return failures[0]


# Who is let in


def test_the_producer_may_write_and_the_reader_may_not(stack, fresh_topics):
    topic = fresh_topics[0].topic
    assert produce(stack.kafka.client_config("producer"), topic) is None
    assert produce(stack.kafka.client_config("reader"), topic).name() == "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("role", "group", "may"), [("reader", "recon-x", True), ("reader", "others", True), ("producer", "others", False)]
)
def test_the_reader_may_use_any_group_and_the_producer_none(stack, fresh_topics, role, group, may):
    topic = fresh_topics[1].topic
    assert produce(stack.kafka.client_config("producer"), topic) is None
    config = {**stack.kafka.client_config(role), "group.id": group, "auto.offset.reset": "earliest", "log_level": 0}
    consumer = Consumer(config)
    consumer.subscribe([topic])
    try:
        message = consumer.poll(20)
    except KafkaException as error:
        message = error.args[0]
    consumer.close()
    if may:
        assert message.value() == b"x"
    else:
        error = message.error() if hasattr(message, "error") else message
        assert error.name() in {"GROUP_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"}


def test_without_a_client_certificate_the_broker_says_nothing(stack):
    config = stack.kafka.client_config("reader")
    del config["ssl.certificate.location"], config["ssl.key.location"]
    anonymous = Consumer({**config, "group.id": "recon-anonymous", "log_level": 0})
    with pytest.raises(KafkaException):
        anonymous.list_topics(timeout=2)
    anonymous.close()


def test_topics_are_stamped_by_the_broker(stack, stack_settings):
    admin = admin_client(stack.kafka)
    topics = admin.list_topics(timeout=10).topics
    for source in stack.sources:
        assert len(topics[source.topic].partitions) == stack_settings.partitions_per_topic
        resource = ConfigResource(ConfigResource.Type.TOPIC, source.topic)
        [future] = admin.describe_configs([resource]).values()
        assert future.result()["message.timestamp.type"].value == "LogAppendTime"


def test_the_registry_has_the_schema_and_refuses_incompatible_ones(stack):
    with SchemaRegistryClient(stack.registry.client_config("pipeline")) as client:
        for source in stack.sources:
            assert client.get_latest_version(f"{source.topic}-value").version == 1
        assert client.get_compatibility() == "BACKWARD"


@pytest.mark.parametrize(
    ("auth", "method", "expected"),
    [(None, "GET", 401), (("reader", "wrong"), "GET", 401), ("reader", "GET", 200), ("reader", "POST", 403)],
    ids=["nobody", "wrong password", "reader reads", "reader writes"],
)
def test_the_registry_asks_who_one_is(stack, auth, method, expected):
    if isinstance(auth, str):
        known = stack.registry.roles[auth]
        auth = (known.user, known.password)
    verify = ssl.create_default_context(cafile=str(stack.registry.ca_file))
    with httpx.Client(base_url=stack.registry.url, auth=auth, verify=verify, trust_env=False) as client:
        path = "/subjects" if method == "GET" else "/subjects/x-value/versions"
        response = client.request(method, path, json=None if method == "GET" else {"schema": '"string"'})
    assert response.status_code == expected


async def test_postgres_takes_tls_and_passwords_only(stack):
    arguments = stack.postgres.connect_kwargs("app")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(**{**arguments, "ssl": False})
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**{**arguments, "password": "guess"})


async def test_the_application_may_neither_make_tables_nor_enter_other_databases(stack, fresh_db):
    connection = await asyncpg.connect(**fresh_db.connect_kwargs("app"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("create table mine (x int)")
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(**stack.postgres.connect_kwargs("app", "postgres"))


async def test_a_fresh_database_has_every_migration(fresh_db):
    connection = await asyncpg.connect(**fresh_db.connect_kwargs("owner"))
    assert await connection.fetchval("select count(*) from schema_migrations") >= 1
    assert await connection.fetchval("select count(*) from reconciliation_results") == 0
    await connection.close()


def test_redis_knows_its_users_and_their_limits(stack):
    arguments = stack.redis.connect_kwargs()
    with redis.Redis(**arguments) as client:
        assert client.set("k", "v", ex=5)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()
    with redis.Redis(**{**arguments, "username": None, "password": None}) as client, pytest.raises(redis.RedisError):
        client.get("k")
    with redis.Redis(**stack.redis.connect_kwargs("admin")) as client:
        assert client.flushall()


def token(stack, user):
    test_client = stack.keycloak.clients["recon-test"]
    verify = ssl.create_default_context(cafile=str(stack.keycloak.ca_file))
    with httpx.Client(verify=verify, trust_env=False) as client:
        response = client.post(
            f"{stack.keycloak.issuer}/protocol/openid-connect/token",
            data={
                "grant_type": "password",
                "client_id": test_client.client_id,
                "client_secret": test_client.secret,
                "username": user,
                "password": stack.keycloak.users[user].password,
                "scope": "openid",
            },
        )
        keys = client.get(f"{stack.keycloak.issuer}/protocol/openid-connect/certs").json()
    assert response.is_success, response.text
    return response.json()["access_token"], keys


@pytest.mark.parametrize(
    ("user", "roles"),
    [("vera", {"viewer"}), ("anna", {"viewer", "analyst"}), ("adam", {"viewer", "analyst", "admin"})],
    ids=["viewer", "analyst", "admin"],
)
def test_an_access_token_says_who_for_whom_and_with_which_roles(stack, user, roles):
    encoded, keys = token(stack, user)
    header = jwt.get_unverified_header(encoded)
    assert header["alg"] == "ES256"
    key = next(jwt.PyJWK(key) for key in keys["keys"] if key["kid"] == header["kid"])
    claims = jwt.decode(encoded, key, algorithms=["ES256"], audience="recon-api", issuer=stack.keycloak.issuer)
    assert claims["preferred_username"] == user
    assert roles <= set(claims["realm_access"]["roles"])
    assert claims["exp"] - claims["iat"] == 300


def test_everything_listens_on_loopback_only(running_stack):
    assert open_to_others(running_stack) == []


# Starting again


def test_a_wiped_stack_makes_its_certificates_anew(tmp_path):
    wiped = Stack(Settings(state_dir=tmp_path / "state"))
    before = wiped.context.certificates.ca_file.read_bytes()
    wiped.down(wipe=True)
    assert wiped.context.certificates.ca_file.read_bytes() != before


def test_a_second_up_leaves_everything_as_it_is(running_stack):
    before = pids(running_stack)
    again = Stack(running_stack.settings)
    endpoints = again.up(SERVICES_ONLY)
    assert pids(again) == before
    assert endpoints == Endpoints.load(running_stack.settings.state_dir)


@pytest.mark.parametrize("name", ["kafka", "postgres", "redis"])
def test_a_killed_service_is_seen_and_comes_back(running_stack, name):
    before = pids(running_stack)
    running_stack.processes.kill(name)
    state = {status.name: status.state for status in running_stack.status()}
    assert state.pop(name) == "crashed"
    assert set(state.values()) <= {"up", "down"}
    running_stack.up(SERVICES_ONLY)
    after = pids(running_stack)
    assert after.pop(name) != before.pop(name)
    assert after == before
    assert {status.state for status in running_stack.status() if status.name == name} == {"up"}


def test_a_changed_setting_restarts_only_what_it_concerns(running_stack):
    before = pids(running_stack)
    settings = running_stack.settings.model_copy(update={"postgres_shared_buffers_mib": 192})
    Stack(settings).up(SERVICES_ONLY)
    after = pids(running_stack)
    assert [name for name in before if before[name] != after[name]] == ["postgres"]
    running_stack.up(SERVICES_ONLY)


def test_postgres_starts_although_another_process_has_the_pid_it_had(running_stack):
    """After a crash and some time the pid in postmaster.pid is anybody's."""
    running_stack.processes.kill("postgres")
    pid_file = running_stack.settings.state_dir / "postgres" / "data" / "postmaster.pid"
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        lines = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text("".join([f"{bystander.pid}\n", *lines[1:]]))
        running_stack.up(SERVICES_ONLY)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_more_partitions_are_added_and_fewer_are_no_error(running_stack, stack, fresh_topics):
    topic = fresh_topics[2].topic
    admin = admin_client(stack.kafka)
    for wanted, expected in ((6, 6), (2, 6)):
        ensure_topics(stack.kafka, [topic], wanted, -1)
        assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == expected


def test_a_port_that_somebody_else_has_is_named(tmp_path, running_stack):
    settings = running_stack.settings.model_copy(update={"state_dir": tmp_path})
    with pytest.raises(PortTakenError, match=str(settings.port("kafka"))):
        Stack(settings).up(SERVICES_ONLY)
    assert Stack(settings).processes.names() == []


def test_data_outlives_a_restart_of_the_database(running_stack, fresh_db):
    note = uuid.uuid4().hex

    async def write():
        connection = await asyncpg.connect(**fresh_db.connect_kwargs("owner"))
        await connection.execute("create table note (text text)")
        await connection.execute("insert into note values ($1)", note)
        await connection.close()
        running_stack.processes.kill("postgres")

    async def read():
        connection = await asyncpg.connect(**fresh_db.connect_kwargs("owner"))
        try:
            return await connection.fetchval("select text from note")
        finally:
            await connection.execute("drop table note")
            await connection.close()

    asyncio.run(write())
    running_stack.up(SERVICES_ONLY)
    assert asyncio.run(read()) == note
