"""What surrounds the endpoints: errors, limits, headers, health, dead letters, the dashboard's files, outages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import build_app
from api.options import ApiOptions, PublicConfig, TokenOptions
from api.services import Ports
from cluster.acceptance import Acceptance
from cluster.endpoints import Endpoints
from cluster.serve_app import dashboard_dir
from producers.emission import Event
from producers.wire import encoders
from schemas.events import Status, key_group_of_position

from .conftest import BASE, Ledger, Server, Tokens, TrustedKey

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]

UNREGISTERED = b"\x00\x7f\xff\xff\x07"  # framing with an id so high that no other test's schema has it


@pytest.fixture(scope="module")
def small(options: ApiOptions, ports: Ports, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An app with small limits and a dashboard of three files."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><title>recon</title>")
    (folder / "assets" / "app-1a2b.js").write_text("export {}")
    limits = replace(options.limits, body_bytes=2_000, rate_per_s=1, rate_burst_requests=8)
    with Server(build_app(replace(options, limits=limits, dashboard_dir=folder, replica="small"), ports)) as server:
        yield server


def test_health_needs_nothing(rest: Server) -> None:
    assert httpx.get(f"{rest.url}/healthz", trust_env=False).json() == {"status": "ok"}


def test_readiness_names_what_is_missing(rest: Server) -> None:
    answer = httpx.get(f"{rest.url}/readyz", trust_env=False)
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "not_ready": [], "degraded": ["pipeline"]}


def test_the_dashboard_is_told_where_to_sign_in(rest: Server, options: ApiOptions) -> None:
    config = httpx.get(f"{rest.url}/config.json", trust_env=False).json()
    assert config["keycloak_url"] == options.public.keycloak_url
    assert (config["realm"], config["client_id"]) == ("recon", "recon-dashboard")


def test_metrics_name_operations(as_user: User, rest: Server) -> None:
    as_user("vera").get("/me")
    answer = httpx.get(f"{rest.url}/metrics", headers=as_user("vera").headers, trust_env=False)
    assert 'recon_http_requests_total{operation="getMe",replica="local",status="200"}' in answer.text


def test_every_answer_carries_security_headers_and_an_id(rest: Server) -> None:
    for path in ("/healthz", "/api/v1/me", "/nowhere"):
        headers = httpx.get(rest.url + path, headers={"X-Request-Id": "abcd-1234"}, trust_env=False).headers
        assert headers["x-request-id"] == "abcd-1234"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "connect-src 'self' https://" in policy


def test_a_strange_request_id_is_replaced(rest: Server) -> None:
    headers = httpx.get(rest.url + "/healthz", headers={"X-Request-Id": "a b<script>"}, trust_env=False).headers
    assert headers["x-request-id"] != "a b<script>"


def test_cors_is_closed(rest: Server, tokens: Tokens) -> None:
    headers = {"Origin": "https://evil.invalid", "Authorization": f"Bearer {tokens('vera')}"}
    answer = httpx.get(f"{rest.url}/api/v1/me", headers=headers, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers
    preflight = httpx.options(
        f"{rest.url}/api/v1/me",
        headers={"Origin": "https://evil.invalid", "Access-Control-Request-Method": "GET"},
        trust_env=False,
    )
    assert preflight.status_code in {401, 405}
    assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nowhere", 404), ("DELETE", "/api/v1/me", 405), ("GET", "/nowhere", 404)],
    ids=["unknown path", "unknown method", "outside"],
)
def test_errors_are_problems(method: str, path: str, status: int, rest: Server) -> None:
    answer = httpx.request(method, rest.url + path, trust_env=False)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_body_that_is_no_json_is_a_problem_and_is_not_echoed(as_user: User) -> None:
    answer = as_user("adam").post("/rules", content=b'{"secret": ', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "secret" not in answer.text


def test_large_bodies_are_refused(small: Server, tokens: Tokens) -> None:
    headers = {"Authorization": f"Bearer {tokens('adam')}", "Content-Type": "application/json"}
    url = f"{small.url}/api/v1/rules"
    declared = httpx.post(url, content=b"x" * 3_000, headers=headers, trust_env=False)
    assert declared.status_code == 413

    def pieces() -> Any:
        for _ in range(30):
            yield b" " * 100

    streamed = httpx.post(url, content=pieces(), headers=headers, trust_env=False)
    assert streamed.status_code == 413
    assert streamed.json()["type"] == "/problems/too-large"


def test_a_caller_that_is_too_fast_is_slowed(small: Server, options: ApiOptions, trusted_key: TrustedKey) -> None:
    headers = {"Authorization": f"Bearer {trusted_key.sign(options, sub='fast')}"}
    with httpx.Client(trust_env=False, headers=headers) as fast:
        # Eight at once and one a second: on a busy machine it takes a few more to be faster than that.
        answers = (fast.get(f"{small.url}/api/v1/me") for _ in range(100))
        codes = []
        for answer in answers:
            codes.append(answer.status_code)
            if answer.status_code == 429:
                break
    assert codes == [200] * (len(codes) - 1) + [429]
    assert len(codes) > 8
    assert int(answer.headers["retry-after"]) >= 1
    other = {"Authorization": f"Bearer {trusted_key.sign(options, sub='other')}"}
    assert httpx.get(f"{small.url}/api/v1/me", headers=other, trust_env=False).status_code == 200


def test_the_dashboard_is_served_with_its_page_for_every_route(small: Server) -> None:
    for path in ("/", "/transactions", "/exceptions/TX%201"):
        page = httpx.get(small.url + path, trust_env=False)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
        assert "<title>recon</title>" in page.text
    asset = httpx.get(f"{small.url}/assets/app-1a2b.js", trust_env=False)
    assert "immutable" in asset.headers["cache-control"]
    for path in ("/assets/gone.js", "/api/v1/nowhere", "/favicon.ico"):
        assert httpx.get(small.url + path, trust_env=False).status_code == 404, path
    outside = httpx.get(f"{small.url}/..%2f..%2f..%2f..%2fetc%2fpasswd", trust_env=False)
    assert "root:" not in outside.text


# Dead letters


@pytest.fixture(scope="module")
def event(stack: Endpoints) -> bytes:
    """An acceptable record of core_txns."""
    made = Event("ev-1", "TX-1", "CORE", 100, "EUR", Status.SUCCESS, int(BASE.timestamp() * 1000), "ACC-1")
    encoder = encoders(stack.registry.client_config("producer"), ["core_txns"])["core_txns"]
    return encoder.encode(made)


@pytest.fixture(scope="module")
def letters(ledger: Ledger, event: bytes) -> None:
    for offset in range(5):
        ledger.sql(
            "insert into dead_letters values ($1, 'core_txns', 1, $2, $3, $4, 'because', $5, $6)",
            key_group_of_position(1, offset),
            offset,
            BASE,
            "malformed" if offset else "not_framed",
            b"key",
            UNREGISTERED + bytes([offset]) * 80_000 if offset < 3 else event,
        )


def test_dead_letters_are_listed_newest_first_and_paged(as_user: User, letters: None) -> None:
    first = as_user("adam").get("/dead-letters", params={"limit": 3}).json()
    second = as_user("adam").get("/dead-letters", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    ids = [item["id"] for item in first["items"] + second["items"]]
    assert ids == [f"core_txns:1:{offset}" for offset in (4, 3, 2, 1, 0)]
    framed = as_user("adam").get("/dead-letters", params={"reason": "not_framed"}).json()["items"]
    assert [item["id"] for item in framed] == ["core_txns:1:0"]


def test_a_dead_letter_is_shown_with_its_bytes(as_user: User, letters: None) -> None:
    detail = as_user("adam").get("/dead-letters/core_txns:1:2").json()
    assert detail["payload_hex"].startswith("007fffff0702")
    assert (detail["payload_truncated"], detail["schema_id"], detail["key_hex"]) == (True, 0x7FFFFF07, b"key".hex())
    assert detail["decoded"] is None
    assert detail["decode_problem"]
    assert detail["examined"]
    assert detail["refusal"]["reason"] == "unknown_schema"
    mended = as_user("adam").get("/dead-letters/core_txns:1:3").json()
    assert (mended["examined"], mended["refusal"], mended["decoded"]["txn_id"]) == (True, None, "TX-1")
    assert as_user("adam").get("/dead-letters/core_txns:1:99").status_code == 404


def test_what_is_still_no_event_is_not_replayed(as_user: User, letters: None, ports: Ports) -> None:
    sent = len(ports.republished)  # type: ignore[attr-defined]
    answer = as_user("adam").post("/dead-letters/core_txns:1:2/replay")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/still-refused")
    assert answer.json()["detail"].startswith("unknown_schema: ")
    assert len(ports.republished) == sent  # type: ignore[attr-defined]
    assert as_user("adam").get("/dead-letters/core_txns:1:2").json()["letter"]["state"] == "new"


def test_without_a_registry_a_letter_is_shown_and_not_replayed(
    options: ApiOptions, ports: Ports, stack: Endpoints, trusted_key: TrustedKey, letters: None
) -> None:
    away = Acceptance({"url": "http://127.0.0.1:9"}, stack.source_specs(), stack.postgres.connect_kwargs("api"))
    headers = {"Authorization": f"Bearer {trusted_key.sign(options)}"}
    with contextlib.closing(away), Server(build_app(options, replace(ports, examine=away))) as server:
        url = f"{server.url}/api/v1/dead-letters/core_txns:1:3"
        shown = httpx.get(url, headers=headers, trust_env=False, timeout=60).json()
        assert (shown["examined"], shown["refusal"]) == (False, None)
        answer = httpx.post(f"{url}/replay", headers=headers, trust_env=False, timeout=60)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")


@pytest.mark.parametrize(
    ("change", "topic", "reason"),
    [
        (lambda event: event, "core_txns", None),
        (lambda event: event, "mobile_txns", "wrong_source"),
        (lambda event: event, "old_txns", "unknown_topic"),
        (lambda event: event[:-3], "core_txns", "malformed"),
        (lambda event: event + b"x", "core_txns", "malformed"),
        (lambda event: b"{" + event[1:], "core_txns", "not_framed"),
        (lambda event: b"\0\x7f\0\0\x01" + event[5:], "core_txns", "unknown_schema"),
        (lambda event: event.replace(b"EUR", b"EUX"), "core_txns", "unknown_currency"),
        (lambda _: None, "core_txns", "not_framed"),
    ],
)
async def test_a_record_is_judged_as_the_pipeline_would(
    change: Callable[[bytes], bytes | None], topic: str, reason: str | None, event: bytes, stack: Endpoints
) -> None:
    with contextlib.closing(
        Acceptance(stack.registry.client_config("reader"), stack.source_specs(), stack.postgres.connect_kwargs("api"))
    ) as judge:
        for _ in range(2):
            refusal = await judge(topic, change(event))
            assert (refusal and refusal.reason) == reason


def test_a_dead_letter_is_replayed_once_and_audited(as_user: User, letters: None, ports: Ports) -> None:
    done = as_user("adam").post("/dead-letters/core_txns:1:3/replay").json()
    assert (done["letter"]["state"], done["letter"]["state_changed_by"], done["topic"]) == (
        "replayed",
        "adam",
        "core_txns",
    )
    sent = ports.republished  # type: ignore[attr-defined]
    assert sent[-1][:2] == ("core_txns", b"key")
    again = as_user("adam").post("/dead-letters/core_txns:1:3/replay")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/conflict")
    trail = as_user("adam").get("/audit", params={"action": "dead_letter.replay"}).json()["items"]
    assert trail[0]["object_id"] == "core_txns:1:3"


def test_a_dismissed_dead_letter_can_still_be_replayed(as_user: User, letters: None) -> None:
    assert as_user("adam").post("/dead-letters/core_txns:1:4/dismiss").json()["state"] == "dismissed"
    assert as_user("adam").post("/dead-letters/core_txns:1:4/dismiss").status_code == 409
    assert as_user("adam").post("/dead-letters/core_txns:1:4/replay").status_code == 200


# What is down


def test_without_a_database_reads_are_refused_and_health_stays(
    options: ApiOptions, ports: Ports, trusted_key: TrustedKey
) -> None:
    broken = replace(options, postgres={**options.postgres, "port": 9}, replica="broken")
    headers = {"Authorization": f"Bearer {trusted_key.sign(options)}"}
    with Server(build_app(broken, ports)) as server, httpx.Client(trust_env=False, timeout=30) as http:
        assert http.get(f"{server.url}/healthz").status_code == 200
        ready = http.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["not_ready"]) == (503, ["postgres"])
        answer = http.get(f"{server.url}/api/v1/transactions", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
        assert answer.headers["retry-after"]


def test_without_redis_and_keycloak_readiness_says_so(options: ApiOptions) -> None:
    broken = replace(
        options,
        redis_url="rediss://127.0.0.1:9/0",
        tokens=TokenOptions(issuer="https://127.0.0.1:9", jwks_url="https://127.0.0.1:9/certs"),
        public=PublicConfig("https://127.0.0.1:9"),
        replica="broken-2",
    )
    with Server(build_app(broken)) as server, httpx.Client(trust_env=False, timeout=30) as http:
        ready = http.get(f"{server.url}/readyz").json()
        assert ready["not_ready"] == ["signing_keys"]
        assert ready["degraded"] == ["redis", "pipeline"]
        answer = http.get(f"{server.url}/api/v1/me", headers={"Authorization": "Bearer a.b.c"})
        assert answer.status_code in {401, 503}


def test_the_built_dashboard_path_is_not_required() -> None:
    assert dashboard_dir().parts[-2:] == ("dashboard", "dist")
    assert isinstance(dashboard_dir(), Path)
