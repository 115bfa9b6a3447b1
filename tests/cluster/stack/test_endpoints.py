"""Endpoints: what is written is what is read, and nobody else can read it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cluster.endpoints import (
    Endpoints,
    StackNotUpError,
)


def test_what_is_saved_is_what_is_loaded(endpoints):
    endpoints.save()
    assert Endpoints.load(endpoints.state_dir) == endpoints


def test_the_file_is_for_its_owner_alone(endpoints):
    assert stat.S_IMODE(endpoints.save().stat().st_mode) == 0o600


def test_no_password_shows_where_endpoints_are_printed(endpoints):
    assert "s:1" not in repr(endpoints)
    assert "a%2Fb" not in repr(endpoints)
    assert "x y" not in repr(endpoints)


def test_without_a_stack_there_is_nothing_to_load(tmp_path):
    with pytest.raises(StackNotUpError, match="recon up"):
        Endpoints.load(tmp_path)


def test_the_kafka_settings_verify_the_broker_and_name_the_role(endpoints):
    config = endpoints.kafka.client_config("reader")
    assert config["security.protocol"] == "SSL"
    assert config["ssl.endpoint.identification.algorithm"] == "https"
    assert Path(config["ssl.certificate.location"]).name == "client-reader.pem"


def test_the_saved_file_has_ready_client_settings_for_other_programs(endpoints):
    content = json.loads(endpoints.save().read_text())
    assert content["kafka"]["clients"]["producer"] == endpoints.kafka.client_config("producer")


def test_the_registry_settings_carry_basic_auth(endpoints):
    assert endpoints.registry.client_config("pipeline")["basic.auth.user.info"] == "p:s:1"


def test_the_postgres_arguments_verify_the_server_and_decode_the_password(endpoints):
    arguments = endpoints.postgres.connect_kwargs("app")
    assert arguments["password"] == "a/b"
    assert arguments["database"] == "recon"
    assert arguments["ssl"].check_hostname


def test_another_database_keeps_everything_else(endpoints):
    other = endpoints.postgres.for_database("recon_x")
    assert other.dsn("app") == "postgresql://recon_app:a%2Fb@127.0.0.1:3/recon_x?sslmode=verify-full"


def test_the_redis_url_with_credentials_is_quoted(endpoints):
    assert endpoints.redis.authenticated_url().startswith("rediss://recon:x%20y@127.0.0.1:4/0?ssl_ca_certs=")
