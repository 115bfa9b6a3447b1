"""The exceptions desk: maker and checker, versions, bulk, healing, and what the database itself refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from schemas.events import Status, key_group_of

from .conftest import BASE, Ledger

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]
SMALL, BIG = 5_000, 2_000_000  # minor units; a second person is needed above 1,000,000
_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _people(as_user: User) -> None:
    for user in ("anna", "arno", "adam"):
        as_user(user).get("/me")


@pytest.fixture
def make(ledger: Ledger) -> Callable[..., str]:
    """A new mismatch; returns its id."""

    def make(amount: int = SMALL, kind: str = "AMOUNT", currency: str = "EUR") -> str:
        number = next(_numbers)
        txn_id = f"exc-{number:04}"
        legs = {"CORE": (amount, currency, Status.SUCCESS), "GATEWAY": (amount - 1, currency, Status.SUCCESS)}
        ledger.add(txn_id, legs, breaks=[kind], decided_at=BASE + timedelta(seconds=number), events=False)
        return txn_id

    return make


def act(client: httpx.Client, txn_id: str, action: str, version: int, **more: Any) -> httpx.Response:
    return client.post(f"/exceptions/{txn_id}/actions", json={"action": action, "version": version, **more})


def test_an_untouched_mismatch_is_an_open_exception(as_user: User, make: Callable[..., str]) -> None:
    detail = as_user("vera").get(f"/exceptions/{make()}").json()
    assert (detail["exception"]["state"], detail["exception"]["version"]) == ("open", 0)
    assert detail["actions"] == []
    assert as_user("vera").get("/exceptions/nobody").status_code == 404


def test_a_small_one_is_settled_by_one_person(as_user: User, make: Callable[..., str]) -> None:
    anna, txn_id = as_user("anna"), make()
    assert act(anna, txn_id, "assign", 0).json()["exception"]["assignee"] == "anna"
    assert act(anna, txn_id, "start_review", 1).json()["exception"]["state"] == "in_review"
    done = act(anna, txn_id, "resolve", 2, reason_code="timing", note="Posted a day later.").json()
    assert (done["exception"]["state"], done["exception"]["resolved_by"], done["exception"]["version"]) == (
        "resolved",
        "anna",
        3,
    )
    assert [step["action"] for step in done["history"]] == ["resolve", "start_review", "assign"]
    trail = anna.get(f"/transactions/{txn_id}/audit").json()["items"]
    assert {"exception.assign", "exception.start_review", "exception.resolve"} <= {entry["action"] for entry in trail}


def test_a_big_one_needs_a_second_person(as_user: User, make: Callable[..., str]) -> None:
    anna, arno, txn_id = as_user("anna"), as_user("arno"), make(BIG)
    proposed = act(anna, txn_id, "resolve", 0, reason_code="written_off").json()
    assert (proposed["exception"]["state"], proposed["exception"]["proposed_by"]) == ("in_review", "anna")
    assert "approve" not in proposed["actions"]
    alone = act(anna, txn_id, "approve", 1)
    assert (alone.status_code, alone.json()["type"]) == (409, "/problems/second-person")
    waiting = arno.get("/exceptions", params={"bucket": "awaiting_me"}).json()["items"]
    assert txn_id in {item["txn_id"] for item in waiting}
    mine = anna.get("/exceptions", params={"bucket": "awaiting_me"}).json()["items"]
    assert txn_id not in {item["txn_id"] for item in mine}
    done = act(arno, txn_id, "approve", 1).json()["exception"]
    assert (done["state"], done["resolved_by"], done["approved_by"]) == ("resolved", "anna", "arno")


def test_a_rejected_proposal_goes_back(as_user: User, make: Callable[..., str]) -> None:
    txn_id = make(BIG)
    act(as_user("anna"), txn_id, "resolve", 0, reason_code="timing")
    back = act(as_user("arno"), txn_id, "reject", 1, note="No evidence.").json()["exception"]
    assert (back["state"], back["proposed_by"], back["reason_code"]) == ("in_review", None, None)


def test_a_stale_edit_is_refused(as_user: User, make: Callable[..., str]) -> None:
    txn_id = make()
    act(as_user("anna"), txn_id, "assign", 0)
    late = act(as_user("arno"), txn_id, "assign", 0)
    assert (late.status_code, late.json()["type"]) == (409, "/problems/stale-version")
    ahead = act(as_user("arno"), txn_id, "assign", 7)
    assert ahead.status_code == 409


def test_an_illegal_step_is_refused(as_user: User, make: Callable[..., str]) -> None:
    assert act(as_user("anna"), make(), "reopen", 0).json()["type"] == "/problems/conflict"
    assert act(as_user("anna"), make(), "resolve", 0).json()["type"] == "/problems/conflict"
    assert act(as_user("anna"), make(), "resolve", 0, reason_code="healed").status_code == 422


def test_only_people_who_can_work_are_assigned(as_user: User, make: Callable[..., str]) -> None:
    txn_id = make()
    assert act(as_user("anna"), txn_id, "assign", 0, assignee="nobody").status_code == 422
    assert act(as_user("anna"), txn_id, "assign", 0, assignee="vera").status_code == 422
    assert act(as_user("anna"), txn_id, "assign", 0, assignee="arno").json()["exception"]["assignee"] == "arno"
    mine = as_user("arno").get("/exceptions", params={"bucket": "mine"}).json()["items"]
    assert txn_id in {item["txn_id"] for item in mine}


def test_comments_stay(as_user: User, make: Callable[..., str], ledger: Ledger) -> None:
    txn_id = make()
    for user, text in (("anna", "Asked the gateway team."), ("arno", "<script>alert(1)</script>")):
        assert as_user(user).post(f"/exceptions/{txn_id}/comments", json={"text": text}).status_code == 201
    detail = as_user("vera").get(f"/exceptions/{txn_id}").json()
    assert [(note["author"], note["text"]) for note in detail["comments"]] == [
        ("anna", "Asked the gateway team."),
        ("arno", "<script>alert(1)</script>"),
    ]
    assert detail["exception"]["comments"] == 2
    assert detail["exception"]["version"] == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ledger.sql("update exception_comments set body = 'x'", role="owner")
    assert as_user("anna").post(f"/exceptions/{txn_id}/comments", json={"text": " "}).status_code == 422


def test_filters_and_buckets(as_user: User, make: Callable[..., str]) -> None:
    anna = as_user("anna")
    before = anna.get("/exceptions/buckets").json()
    odd = make(BIG * 10, "CONFLICT", "KWD")
    taken = make(SMALL, "STATUS", "KWD")
    act(anna, taken, "assign", 0)
    done = make(SMALL, "STATUS", "KWD")
    act(anna, done, "resolve", 0, reason_code="timing")

    def found(**query: Any) -> set[str]:
        items = anna.get("/exceptions", params={"currency": "KWD", **query}).json()["items"]
        return {item["txn_id"] for item in items}

    assert found() == {odd, taken}
    assert found(bucket="open") == {odd}
    assert found(bucket="assigned") == {taken}
    assert found(bucket="resolved") == {done}
    assert found(severity="critical") == {odd}
    assert found(severity="medium") == {taken}
    assert found(amount_min=BIG) == {odd}
    assert found(**{"break": "STATUS"}) == {taken}
    assert found(assignee="anna") == {taken}
    assert found(sort="-amount_minor") == {odd, taken}
    after = anna.get("/exceptions/buckets").json()
    assert after["assigned"] - before["assigned"] == 1
    assert after["resolved"] - before["resolved"] == 1
    assert after["mine"] - before["mine"] == 1


def test_pages_of_touched_ones_follow_on(as_user: User, make: Callable[..., str]) -> None:
    made = [make(currency="SEK") for _ in range(5)]
    for txn_id in made:
        act(as_user("anna"), txn_id, "assign", 0)
    seen: list[str] = []
    query: dict[str, Any] = {"bucket": "assigned", "currency": "SEK", "limit": 2}
    while True:
        page = as_user("anna").get("/exceptions", params=query).json()
        seen += [item["txn_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


ORDERS: dict[str, list[int]] = {  # places in the order of making; made oldest first
    "-decided_at": [3, 2, 1, 0],
    "decided_at": [0, 1, 2, 3],
    "-amount_minor": [1, 0, 3, 2],  # CZK before HUF: no rates are set
    "-updated_at": [3, 2, 1, 0],
}


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_what_is_in_work_comes_in_every_order(
    sort: str, limit: int, as_user: User, make: Callable[..., str], ledger: Ledger
) -> None:
    anna = as_user("anna")
    made = [
        make(SMALL, currency="CZK"),
        make(BIG, currency="CZK"),
        make(1_000, currency="HUF"),
        make(2_000, currency="HUF"),
    ]
    for txn_id in made:
        act(anna, txn_id, "assign", 0)
    seen: list[str] = []
    query: dict[str, Any] = {"bucket": "mine", "sort": sort, "limit": limit}
    while True:
        page = anna.get("/exceptions", params=query).json()
        seen += [item["txn_id"] for item in page["items"] if item["txn_id"] in made]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [made[at] for at in ORDERS[sort]]
    refused = anna.get("/exceptions", params={"bucket": "resolved", "sort": sort})
    assert refused.status_code == (200 if sort == "-updated_at" else 422)


def test_a_bucket_is_read_to_its_end_however_few_of_it_pass(
    as_user: User, make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.store.exceptions.MISMATCH_SCAN_ROWS", 3)
    anna = as_user("anna")
    rare = make(currency="BGN")
    act(anna, rare, "assign", 0)
    for _ in range(8):
        act(anna, make(currency="RON"), "assign", 0)
    found = anna.get("/exceptions", params={"bucket": "assigned", "currency": "BGN"}).json()
    assert [item["txn_id"] for item in found["items"]] == [rare]
    assert found["next_cursor"] is None


# Bulk


def test_a_bulk_action_does_what_its_preview_says(as_user: User, make: Callable[..., str]) -> None:
    anna = as_user("anna")
    small, big = make(SMALL, currency="NOK"), make(BIG, currency="NOK")
    request = {"filter": {"currency": "NOK"}, "action": "resolve", "reason_code": "fee_or_fx", "note": "Fees of March."}
    preview = anna.post("/exceptions/bulk/preview", json=request).json()
    assert (preview["count"], preview["second_person"], preview["capped"]) == (2, 1, False)
    # What is at risk is the difference: their legs are one minor unit apart.
    assert preview["at_risk"] == [{"currency": "NOK", "amount_minor": 2, "count": 2}]
    done = anna.post("/exceptions/bulk", json=request | {"token": preview["token"]})
    assert done.json() == {"changed": 2, "awaiting_second_person": 1}
    assert anna.get(f"/exceptions/{small}").json()["exception"]["state"] == "resolved"
    waiting = anna.get(f"/exceptions/{big}").json()["exception"]
    assert (waiting["state"], waiting["proposed_by"], waiting["reason_code"]) == ("in_review", "anna", "fee_or_fx")
    trail = as_user("adam").get("/audit", params={"action": "exceptions.bulk_resolve"}).json()["items"]
    assert (trail[0]["details"]["of"], trail[0]["details"]["proposed"]) == (2, 1)
    for one, action in ((small, "exception.resolve"), (big, "exception.propose")):
        entries = anna.get(f"/transactions/{one}/audit").json()["items"]
        assert [entry["action"] for entry in entries if entry["action"].startswith("exception.")] == [action]


def test_only_a_kind_leaves_out_what_shows_another_beside_it(as_user: User, ledger: Ledger) -> None:
    anna = as_user("anna")
    for number, breaks in enumerate((["TIMESTAMP"], ["TIMESTAMP", "AMOUNT"], ["CONFLICT", "TIMESTAMP"], ["AMOUNT"])):
        legs = {"CORE": (SMALL, "SEK", Status.SUCCESS), "GATEWAY": (SMALL - 1, "SEK", Status.SUCCESS)}
        ledger.add(f"only-{number}", legs, breaks=breaks, decided_at=BASE + timedelta(seconds=number), events=False)
    chosen = {"currency": "SEK", "breaks": ["TIMESTAMP"]}
    any_of = anna.post("/exceptions/bulk/preview", json={"filter": chosen, "action": "assign"}).json()
    assert any_of["count"] == 3
    assert {one["kind"]: one["count"] for one in any_of["kinds"]} == {"CONFLICT": 1, "AMOUNT": 1, "TIMESTAMP": 3}
    only = anna.post("/exceptions/bulk/preview", json={"filter": {**chosen, "only": True}, "action": "assign"}).json()
    assert (only["count"], only["kinds"]) == (1, [{"kind": "TIMESTAMP", "count": 1}])
    page = anna.get("/exceptions", params={"currency": "SEK", "break": "TIMESTAMP", "only": True}).json()
    assert [item["txn_id"] for item in page["items"]] == ["only-0"]


def test_a_bulk_action_on_a_changed_set_is_refused(as_user: User, make: Callable[..., str]) -> None:
    anna = as_user("anna")
    make(currency="DKK")
    request = {"filter": {"currency": "DKK"}, "action": "assign"}
    token = anna.post("/exceptions/bulk/preview", json=request).json()["token"]
    other = make(currency="DKK")
    refused = anna.post("/exceptions/bulk", json=request | {"token": token})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/stale-version")
    assert anna.get(f"/exceptions/{other}").json()["exception"]["state"] == "open"
    stolen = as_user("arno").post("/exceptions/bulk", json=request | {"token": token})
    assert stolen.status_code == 409


def test_a_bulk_resolve_needs_a_reason(as_user: User) -> None:
    request = {"filter": {"currency": "DKK"}, "action": "resolve"}
    assert as_user("anna").post("/exceptions/bulk/preview", json=request).status_code == 422


# Healing


def revise(ledger: Ledger, txn_id: str, **changes: Any) -> None:
    """What a late event does: the matcher updates the result in place."""
    sets = ", ".join(f"{name} = {value}" for name, value in changes.items())
    group = key_group_of(txn_id)
    ledger.sql(
        f"update results set revision = revision + 1, {sets} where key_group = {group} and txn_id = '{txn_id}'",
        role="app",
    )
    ledger.sql("select apply_exception_signals(100)", role="api")


def test_what_heals_is_closed_with_that_reason(as_user: User, make: Callable[..., str], ledger: Ledger) -> None:
    untouched, touched = make(currency="PLN"), make(currency="PLN")
    act(as_user("anna"), touched, "assign", 0)
    for txn_id in (untouched, touched):
        revise(ledger, txn_id, verdict=1, breaks=0)
        healed = as_user("anna").get(f"/exceptions/{txn_id}").json()
        assert (healed["exception"]["state"], healed["exception"]["reason_code"]) == ("resolved", "healed")
        assert healed["history"][0]["action"] == "healed"
        assert healed["actions"] == []
    assert as_user("anna").get("/exceptions", params={"currency": "PLN"}).json()["items"] == []


def test_what_changes_after_it_was_resolved_is_open_again(
    as_user: User, make: Callable[..., str], ledger: Ledger
) -> None:
    txn_id = make()
    act(as_user("anna"), txn_id, "resolve", 0, reason_code="timing")
    revise(ledger, txn_id, late=2)
    assert as_user("anna").get(f"/exceptions/{txn_id}").json()["exception"]["state"] == "resolved"
    revise(ledger, txn_id, breaks=5, spread_minor=900)
    again = as_user("anna").get(f"/exceptions/{txn_id}").json()["exception"]
    assert (again["state"], again["resolved_by"]) == ("open", None)


def test_what_was_accepted_and_heals_later_keeps_its_reason(
    as_user: User, make: Callable[..., str], ledger: Ledger
) -> None:
    txn_id = make()
    act(as_user("anna"), txn_id, "resolve", 0, reason_code="timing")
    revise(ledger, txn_id, verdict=1, breaks=0)
    assert as_user("anna").get(f"/exceptions/{txn_id}").json()["exception"]["reason_code"] == "timing"


# What the database refuses, whoever asks with the service's own rights

BIG_ONE = "insert into exceptions (key_group, txn_id, state, reason_code, proposed_by, resolved_by, approved_by)"


def refused_by_database(ledger: Ledger, query: str) -> bool:
    try:
        ledger.sql(query, role="api")
    except (asyncpg.CheckViolationError, asyncpg.InsufficientPrivilegeError):
        return True
    return False


def test_the_database_knows_maker_and_checker(as_user: User, make: Callable[..., str], ledger: Ledger) -> None:
    txn_id = make(BIG)
    group = key_group_of(txn_id)
    where = f"where key_group = {group} and txn_id = '{txn_id}'"
    assert refused_by_database(ledger, f"{BIG_ONE} values ({group}, '{txn_id}', 'resolved', 'timing', 'a', 'a', null)")
    assert refused_by_database(ledger, f"{BIG_ONE} values ({group}, '{txn_id}', 'resolved', 'timing', 'a', 'a', 'b')")
    assert refused_by_database(
        ledger, f"{BIG_ONE} values ({group}, '{txn_id}', 'resolved', 'healed', null, null, null)"
    )
    act(as_user("anna"), txn_id, "resolve", 0, reason_code="timing")
    resolve = "update exceptions set version = version + 1, state = 'resolved'"
    assert refused_by_database(ledger, f"{resolve} {where}")
    assert refused_by_database(ledger, f"{resolve}, approved_by = 'anna' {where}")
    assert refused_by_database(ledger, f"{resolve}, approved_by = 'arno', proposed_by = 'mallory' {where}")
    assert refused_by_database(ledger, f"{resolve}, needs_checker = false {where}")
    assert refused_by_database(ledger, f"{resolve}, reason_code = 'healed' {where}")
    assert refused_by_database(ledger, f"update exceptions set assignee = 'x' {where}")  # the version must rise
    assert refused_by_database(ledger, f"delete from exceptions {where}")
    assert not refused_by_database(ledger, f"{resolve}, approved_by = 'arno' {where}")


def test_the_service_cannot_touch_what_the_pipeline_wrote(ledger: Ledger) -> None:
    for statement in (
        "update results set verdict = 1",
        "delete from results",
        "insert into event_blocks select * from event_blocks",
        "update event_blocks set events = 0",
        "delete from event_blocks",
        "insert into stats_by_minute values (0, now(), 'x', '', 1, 1)",
        "update checkpoints set epoch = 99",
        "delete from exception_signals",
        "update exception_counts set n = 0",
        "delete from exception_history",
        "drop table results",
    ):
        assert refused_by_database(ledger, statement), statement
