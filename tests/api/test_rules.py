"""Rules: drafts, the second person, the lead, and backtests by the engine's own core."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from api.severity import scaled
from schemas.events import Status

from .conftest import BASE, Ledger

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]


def draft(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/rules", json={"body": body, "note": "test"})
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


def test_the_first_version_is_in_force(as_user: User) -> None:
    items = as_user("adam").get("/rules").json()["items"]
    first = next(item for item in items if item["version"] == 1)
    assert (first["state"], first["in_force"], first["effective_from"]) == ("active", True, 0)
    assert first["body"]["severities"]["kinds"]["CONFLICT"] == "high"


def test_a_draft_changes_nothing(as_user: User) -> None:
    made = draft(as_user("adam"), match_window_ms=10_000)
    assert (made["state"], made["in_force"], made["effective_from"]) == ("draft", False, None)
    assert made["body"]["match_window_ms"] == 10_000
    assert as_user("adam").get(f"/rules/{made['version']}").json() == made


INVALID: dict[str, dict[str, Any]] = {
    "no window": {"match_window_ms": 0},
    "a window of weeks": {"match_window_ms": 15 * 86_400_000},
    "a tolerance above all": {"default_tolerance": {"bps": 10_001}},
    "a currency that is none": {"tolerances": {"XQX": {"absolute_minor": 1}}},
    "a source that is none": {"expected_sources": ["CORE", "PAPER"]},
    "a source twice": {"expected_sources": ["CORE", "CORE"]},
    "no sources": {"expected_sources": []},
    "an unknown field": {"windw_ms": 1},
    "an unknown severity": {"severities": {"kinds": {"AMOUNT": "awful"}}},
    "a tolerance in pence": {"tolerances": {"GBX": {"absolute_minor": 1}}},
    "severities in pence": {"severities": {"amounts": {"GBX": {"high_minor": 1, "critical_minor": 2}}}},
    "a second person in pence": {"severities": {"second_person_above_minor": {"GBX": 1}}},
}


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
def test_rules_that_could_not_be_applied_are_refused(body: dict[str, Any], as_user: User) -> None:
    answer = as_user("adam").post("/rules", json={"body": body})
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert errors
    if "GBX" in str(body):
        assert [error["problem"] for error in errors] == ["'GBX' is no currency of ISO 4217: write the amount in GBP"]


def test_activation_takes_a_second_person_and_some_lead(as_user: User) -> None:
    version = draft(as_user("adam"), time_tolerance_ms=7_000)["version"]
    alone = as_user("adam").post(f"/rules/{version}/activate", json={})
    assert (alone.status_code, alone.json()["type"]) == (409, "/problems/second-person")
    soon = as_user("ada").post(f"/rules/{version}/activate", json={"effective_from": int(time.time() * 1000) + 2_000})
    assert soon.status_code == 422
    before = int(time.time() * 1000)
    done = as_user("ada").post(f"/rules/{version}/activate", json={}).json()
    assert (done["state"], done["activated_by"], done["in_force"]) == ("active", "ada", False)
    assert done["effective_from"] >= before + 10_000
    again = as_user("ada").post(f"/rules/{version}/activate", json={})
    assert again.json()["type"] == "/problems/conflict"
    assert as_user("ada").post(f"/rules/{version}/discard").json()["type"] == "/problems/conflict"
    trail = as_user("adam").get("/audit", params={"action": "rules.activate"}).json()["items"]
    assert (trail[0]["actor"], trail[0]["details"]["drafted_by"]) == ("ada", "adam")


def test_a_draft_can_be_discarded_and_then_no_longer_activated(as_user: User) -> None:
    version = draft(as_user("adam"))["version"]
    assert as_user("adam").post(f"/rules/{version}/discard").json()["state"] == "retired"
    assert as_user("ada").post(f"/rules/{version}/activate", json={}).status_code == 409


def test_unknown_versions_are_not_found(as_user: User) -> None:
    for method, path in (("GET", ""), ("POST", "/activate"), ("POST", "/discard"), ("POST", "/backtest")):
        answer = as_user("adam").request(method, f"/rules/9999{path}", json={} if method == "POST" else None)
        assert answer.status_code == 404, path


@pytest.mark.parametrize(
    "statement",
    [
        "update rule_sets set state = 'active', effective_from = now() + '1h' where version = {v}",
        "update rule_sets set state = 'active', effective_from = now() + '1h', activated_by='adam' where version = {v}",
        "update rule_sets set state = 'active', effective_from = now(), activated_by = 'ada' where version = {v}",
        "update rule_sets set body = '{{}}' where version = {v}",
        "update rule_sets set effective_from = 'epoch' where version = 1",
        "insert into rule_sets (version, effective_from, body, state) values (99, 'epoch', '{{}}', 'active')",
        "delete from rule_sets where version = {v}",
    ],
    ids=["nobody", "its author", "no lead", "an edit", "a change of the past", "an active one", "a deletion"],
)
def test_the_database_refuses(statement: str, as_user: User, ledger: Ledger) -> None:
    version = draft(as_user("adam"))["version"]
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.InsufficientPrivilegeError)):
        ledger.sql(statement.format(v=version), role="api")


# Backtests


@pytest.fixture(scope="module")
def history(ledger: Ledger) -> None:
    ok = Status.SUCCESS
    for index in range(20):
        ledger.add(f"bt-match-{index}", decided_at=BASE + timedelta(seconds=index))
    for index in range(5):
        legs = {
            "CORE": (10_000, "EUR", ok),
            "GATEWAY": (10_000 + 10 * index + 10, "EUR", ok),
            "MOBILE": (10_000, "EUR", ok),
        }
        ledger.add(f"bt-amount-{index}", legs, breaks=["AMOUNT"], decided_at=BASE + timedelta(seconds=30 + index))
    ledger.add(
        "bt-missing",
        {"CORE": (77_000, "EUR", ok), "GATEWAY": (77_000, "EUR", ok)},
        breaks=["MISSING"],
        decided_at=BASE + timedelta(seconds=40),
    )


def test_a_backtest_under_the_same_rules_changes_nothing(as_user: User, history: None) -> None:
    report = as_user("adam").post("/rules/1/backtest", json={}).json()
    assert (report["transactions"], report["unchanged"], report["flips"]) == (26, 26, [])
    assert report["complete"] is True
    assert report["breaks_before"] == report["breaks_after"] == {"AMOUNT": 5, "MISSING": 1}


def test_a_backtest_says_what_would_flip_and_how_much_money_is_in_it(as_user: User, history: None) -> None:
    version = draft(as_user("adam"), default_tolerance={"absolute_minor": 30}, expected_sources=["CORE", "GATEWAY"])[
        "version"
    ]
    report = as_user("adam").post(f"/rules/{version}/backtest", json={}).json()
    assert report["unchanged"] == 22
    (flip,) = report["flips"]
    assert (flip["was"], flip["would_be"], flip["count"]) == ("MISMATCHED", "MATCHED", 4)
    assert flip["amounts"] == [{"currency": "EUR", "amount_minor": 10_010 + 10_020 + 10_030 + 77_000, "count": 4}]
    assert report["examples"][0]["txn_id"] == "bt-missing"
    assert report["breaks_after"] == {"AMOUNT": 2}


def test_a_backtest_is_bounded(as_user: User, history: None) -> None:
    report = as_user("adam").post("/rules/1/backtest", json={"rows_max": 10}).json()
    assert (report["transactions"], report["complete"]) == (10, False)


def test_severities_of_the_rules_in_force_decide_who_must_approve(ledger: Ledger) -> None:
    assert ledger.sql("select second_person_above_minor('EUR') as n")[0]["n"] == 1_000_000
    body = '{"severities": {"second_person_above_minor": {"default": 5, "JPY": 7}}}'
    try:
        ledger.sql(f"update rule_sets set body = body || '{body}' where version = 1")
        assert ledger.sql("select second_person_above_minor('EUR') as n")[0]["n"] == 5
        assert ledger.sql("select second_person_above_minor('JPY') as n")[0]["n"] == 7
    finally:
        ledger.sql("update rule_sets set body = body - 'severities' where version = 1")


@pytest.mark.parametrize(
    ("currency", "limit"), [("EUR", 1_000_000), ("JPY", 10_000), ("KWD", 10_000_000), ("CLF", 10**8)]
)
def test_the_database_means_the_same_limit_for_a_second_person(ledger: Ledger, currency: str, limit: int) -> None:
    [row] = ledger.sql(f"select second_person_above_minor('{currency}') as above")
    assert row["above"] == limit == scaled(1_000_000, currency)
