"""Who may call what: every operation by every kind of caller, on the real Keycloak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.access import ACCESS, PUBLIC, Role, allowed_operations, matrix
from api.app import bare_app
from api.openapi import document
from cluster.cli.login import SignInFailedError, service_token

if TYPE_CHECKING:
    from pathlib import Path

    from api.options import ApiOptions
    from cluster.endpoints import Endpoints

    from .conftest import Server, Tokens, TrustedKey

pytestmark = pytest.mark.stack

BODIES: dict[str, Any] = {
    "actOnException": {"action": "assign", "version": 0},
    "addExceptionComment": {"text": "hello"},
    "previewBulkAction": {"filter": {}, "action": "assign"},
    "applyBulkAction": {"filter": {}, "action": "assign", "token": "x"},
    "draftRuleSet": {"body": {}},
    "backtestRuleSet": {"rows_max": 1},
    "activateRuleSet": {},
    "verifyAudit": {},
}
PARAMETERS = {"txn_id": "no-such-transaction", "version": "999", "letter_id": "core_txns:0:1"}
USERS = {"viewer": "vera", "analyst": "anna", "admin": "adam"}


def operations() -> list[tuple[str, str, str]]:
    found = []
    for path, methods in document(bare_app())["paths"].items():
        for method, operation in methods.items():
            found.append((operation["operationId"], method.upper(), path.format(**PARAMETERS)))
    return found


OPERATIONS = operations()


def call(server: Server, operation: str, method: str, path: str, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.request(
        method, server.url + path, headers=headers, json=BODIES.get(operation), timeout=30, trust_env=False
    )


def test_every_operation_is_in_the_table() -> None:
    assert {operation for operation, _, _ in OPERATIONS} == set(ACCESS) | PUBLIC


def test_the_matrix_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + matrix())  # noqa: T201 - the run shows who may do what


@pytest.mark.parametrize("case", OPERATIONS, ids=[operation for operation, _, _ in OPERATIONS])
def test_an_operation_opens_to_its_roles_and_to_nobody_else(
    case: tuple[str, str, str], rest: Server, tokens: Tokens, options: ApiOptions, trusted_key: TrustedKey
) -> None:
    operation, method, path = case
    refused = {
        "no token": None,
        "garbage": "not.a.token",
        "expired": trusted_key.sign(options, iat=1_700_000_000, exp=1_700_000_300),
        "wrong audience": trusted_key.sign(options, aud="another-api"),
    }
    for kind, token in refused.items():
        answer = call(rest, operation, method, path, token)
        if operation in PUBLIC:
            assert answer.status_code == 200, kind
            continue
        assert answer.status_code == 401, kind
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["type"] == "/problems/not-signed-in"
    for role in Role:
        answer = call(rest, operation, method, path, tokens(USERS[role.label]))
        if operation in PUBLIC or role >= ACCESS[operation].role:
            assert answer.status_code not in {401, 403, 500}, (role.label, answer.text)
        else:
            assert answer.status_code == 403, role.label
            assert answer.json()["type"] == "/problems/not-allowed"


def test_a_token_without_a_role_is_refused(rest: Server, options: ApiOptions, trusted_key: TrustedKey) -> None:
    token = trusted_key.sign(options, realm_access={"roles": ["offline_access"]})
    assert call(rest, "getSummary", "GET", "/api/v1/summary", token).status_code == 403


@pytest.mark.parametrize(
    ("client_id", "role"), [("recon-service", Role.VIEWER), ("recon-service-analyst", Role.ANALYST)]
)
def test_a_service_signs_in_with_its_secret_and_has_its_role(
    client_id: str, role: Role, rest: Server, stack: Endpoints, tmp_path: Path
) -> None:
    assert stack.keycloak is not None
    me = call(rest, "getMe", "GET", "/api/v1/me", service_token(stack.keycloak, client_id)).json()
    assert (me["username"], me["role"]) == (f"service-account-{client_id}", role.label)
    assert me["allowed"] == allowed_operations(role)
    wrong = tmp_path / "secret"
    wrong.write_text("guessed")
    with pytest.raises(SignInFailedError, match="refused"):
        service_token(stack.keycloak, client_id, wrong)


def test_a_client_without_a_secret_is_no_service(stack: Endpoints) -> None:
    assert stack.keycloak is not None
    for client_id in ("recon-dashboard", "nobody"):
        with pytest.raises(SignInFailedError, match="--secret-file"):
            service_token(stack.keycloak, client_id)


def test_the_dashboard_client_has_no_direct_grants(stack: Any, tokens: Tokens) -> None:
    login = stack.keycloak.users["vera"]
    answer = tokens.ask(
        {"grant_type": "password", "client_id": "recon-dashboard", "username": login.user, "password": login.password}
    )
    assert answer["error"] == "unauthorized_client"


def test_a_denied_call_is_in_the_audit_trail(rest: Server, tokens: Tokens) -> None:
    denied = call(rest, "listRuleSets", "GET", "/api/v1/rules", tokens("vera"))
    query = "/api/v1/audit?actor=vera&action=access.denied"
    found = call(rest, "searchAudit", "GET", query, tokens("adam")).json()["items"]
    assert found[0]["object_id"] == "listRuleSets"
    assert found[0]["request_id"] == denied.json()["request_id"]
