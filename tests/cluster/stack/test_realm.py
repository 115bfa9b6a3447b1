"""The realm: who may do what, and how one may log in."""

from __future__ import annotations

import json

import pytest

from cluster.stack import passwords, realm

SECRETS = {name: f"pw-{name}" for name in passwords.NAMES}


def build(*, test_client=False):
    return realm.build(
        passwords=SECRETS, api_origins=["https://localhost:21007"], audience="recon-api", test_client=test_client
    )


def client(content, client_id):
    return next(entry for entry in content["clients"] if entry["clientId"] == client_id)


def test_there_are_two_analysts_and_two_admins_so_that_one_can_check_the_other():
    roles = [user["realmRoles"][0] for user in build()["users"] if "credentials" in user]
    assert sorted(roles) == ["admin", "admin", "analyst", "analyst", "viewer"]


def test_the_dashboard_logs_in_by_code_with_proof_and_keeps_no_secret():
    dashboard = client(build(), "recon-dashboard")
    assert dashboard["publicClient"]
    assert dashboard["standardFlowEnabled"]
    assert not dashboard["directAccessGrantsEnabled"]
    assert dashboard["attributes"]["pkce.code.challenge.method"] == "S256"
    assert "secret" not in dashboard
    assert dashboard["redirectUris"] == ["https://localhost:21007/*"]
    assert dashboard["webOrigins"] == ["https://localhost:21007"]


def test_the_command_line_logs_in_by_device_only():
    cli = client(build(), "recon-cli")
    assert cli["attributes"]["oauth2.device.authorization.grant.enabled"] == "true"
    assert not cli["standardFlowEnabled"]
    assert not cli["directAccessGrantsEnabled"]


def test_password_grants_exist_in_test_stacks_only():
    assert not any(entry["directAccessGrantsEnabled"] for entry in build()["clients"])
    assert client(build(test_client=True), "recon-test")["directAccessGrantsEnabled"]


@pytest.mark.parametrize("client_id", ["recon-dashboard", "recon-cli", *realm.SERVICES, "recon-test"])
def test_every_access_token_is_made_out_to_the_api(client_id):
    mappers = client(build(test_client=True), client_id)["protocolMappers"]
    assert mappers[0]["config"]["included.custom.audience"] == "recon-api"


def test_tokens_are_short_lived_signed_with_es256_and_guessing_is_slowed_down():
    content = build()
    assert content["accessTokenLifespan"] == 300
    assert content["defaultSignatureAlgorithm"] == "ES256"
    assert content["bruteForceProtected"]
    assert content["sslRequired"] == "all"


def test_the_realm_is_plain_data():
    json.dumps(build())
