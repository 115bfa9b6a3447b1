"""Any id of a transaction is addressable, and every path answers methods as HTTP says, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS, build_app
from api.options import ApiOptions
from api.paths import path_as_sent
from api.routing import GuardedRoute
from api.services import Ports

from .conftest import Ledger, Server, Tokens

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]

# Id, and how it is written in a path. Banks choose ids; a literal of ours is told apart by any of its letters encoded.
IDS = {
    "a slash": ("2026/11/0001", "2026%2F11%2F0001"),
    "a small escape": ("a/b", "a%2fb"),
    "a slash first and last": ("/a/", "%2Fa%2F"),
    "an escape in the id": ("a%2Fb", "a%252Fb"),
    "a percent sign": ("100%", "100%25"),
    "a question and a hash": ("what?#1", "what%3F%231"),
    "a space and a plus": ("a b+c", "a%20b+c"),
    "a dot": ("TX.2026.1.gz", "TX.2026.1.gz"),
    "another script": ("Überweisung-日本", quote("Überweisung-日本", safe="")),
    "the list's count": ("count", "%63ount"),
    "the list's export": ("export", "expor%74"),
    "the desk's buckets": ("buckets", "%62uckets"),
    "the desk's bulk": ("bulk", "bul%6b"),
    "a part of an operation": ("x/audit", "x%2Faudit"),
}


@pytest.fixture(scope="module", autouse=True)
def _written(ledger: Ledger) -> None:
    for txn_id, _ in IDS.values():
        ledger.add(txn_id, breaks=["DUPLICATE"])


@pytest.fixture(scope="module")
def console(options: ApiOptions, ports: Ports, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The app with a dashboard in front."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><title>recon</title>")
    with Server(build_app(replace(options, dashboard_dir=folder, replica="console"), ports)) as server:
        yield server


@pytest.mark.parametrize(("txn_id", "written"), IDS.values(), ids=IDS.keys())
def test_any_id_is_addressable(txn_id: str, written: str, as_user: User) -> None:
    anna = as_user("anna")
    found = anna.get(f"/transactions/{written}")
    assert (found.status_code, found.json()["result"]["txn_id"]) == (200, txn_id)
    trail = anna.get(f"/transactions/{written}/audit").json()["items"]
    assert {entry["object_id"] for entry in trail} == {txn_id}
    assert anna.get(f"/exceptions/{written}").json()["exception"]["txn_id"] == txn_id
    acted = anna.post(f"/exceptions/{written}/actions", json={"action": "assign", "version": 0})
    assert (acted.status_code, acted.json()["exception"]["txn_id"]) == (200, txn_id)
    assert anna.post(f"/exceptions/{written}/comments", json={"text": "seen"}).status_code == 201


def test_the_literals_of_the_lists_stay_where_they_are(as_user: User) -> None:
    assert as_user("vera").get("/transactions/count").json()["value"] == len(IDS)
    assert as_user("anna").get("/transactions/export").headers["content-type"].startswith("text/csv")
    assert "open" in as_user("vera").get("/exceptions/buckets").text


def test_a_plain_slash_is_no_part_of_an_id(as_user: User) -> None:
    for path in ("/transactions/2026/11/0001", "/transactions/a/b", "/transactions/"):
        assert as_user("vera").get(path).status_code == 404, path


def test_every_parameter_of_a_path_is_read_as_sent() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert any(route.param_convertors for route in routes)
    for route in routes:
        assert not route.param_convertors or isinstance(route, GuardedRoute)
        assert {convertor.regex for convertor in route.param_convertors.values()} <= {"[^/]+"}, route.path
        assert route.path.count("{") == route.path.count(":segment}"), route.path


def test_a_server_that_keeps_no_raw_path_gets_one() -> None:
    assert path_as_sent({"type": "http", "path": "/api/v1/transactions/a b"}) == "/api/v1/transactions/a%20b"


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [
        ("/api/v1/summary", 200, "GET, HEAD"),
        ("/api/v1/transactions", 200, "GET, HEAD"),
        ("/api/v1/transactions/count", 200, "GET, HEAD"),
        ("/api/v1/transactions/100%25", 200, "GET, HEAD"),
        ("/api/v1/transactions/nobody", 404, "GET, HEAD"),
        ("/api/v1/rules", 200, "GET, HEAD, POST"),
        ("/api/v1/audit/verify", 405, "POST"),
        ("/healthz", 200, "GET, HEAD"),
        ("/readyz", 200, "GET, HEAD"),
        ("/metrics", 200, "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("front", ["rest", "console"])
def test_head_is_a_get_without_a_body(
    path: str, status: int, allow: str, front: str, request: pytest.FixtureRequest, tokens: Tokens
) -> None:
    url = request.getfixturevalue(front).url + path
    headers = {"Authorization": f"Bearer {tokens('adam')}"}
    get = httpx.get(url, headers=headers, trust_env=False)
    head = httpx.head(url, headers=headers, trust_env=False)
    assert (get.status_code, head.status_code, head.content) == (status, status, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert "content-length" in head.headers
    refused = httpx.delete(url, headers=headers, trust_env=False)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)
    assert refused.json()["type"] == "/problems/http-405"


def test_head_needs_a_token_where_get_does(rest: Server) -> None:
    assert httpx.head(f"{rest.url}/api/v1/summary", trust_env=False).status_code == 401


def test_head_of_an_export_is_audited_and_frees_its_slot(as_user: User) -> None:
    for _ in range(4):  # two at a time are allowed
        answer = as_user("arno").head("/transactions/export")
        assert (answer.status_code, answer.content) == (200, b"")
    found = as_user("adam").get("/audit", params={"actor": "arno", "action": "exportTransactions"}).json()["items"]
    assert len(found) == 4


def test_paths_of_the_api_are_never_the_dashboards(console: Server) -> None:
    for path in ("/api/v1/nowhere", "/api%2Fv1%2Fme", "/api/v1/transactions/a/b"):
        answer = httpx.get(console.url + path, headers={"Accept": "text/html"}, trust_env=False)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("written", [written for _, written in IDS.values()], ids=IDS.keys())
def test_a_link_to_any_transaction_opens_the_dashboard(written: str, console: Server) -> None:
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = httpx.get(f"{console.url}/transactions/{written}", headers=headers, trust_env=False)
    assert page.status_code == 200
    assert "<title>recon</title>" in page.text


def test_a_missing_file_is_not_the_page(console: Server) -> None:
    for path, accept in (("/assets/gone.js", "text/html"), ("/gone.js", "*/*"), ("/favicon.ico", "image/*")):
        answer = httpx.get(console.url + path, headers={"Accept": accept}, trust_env=False)
        assert answer.status_code == 404, path
