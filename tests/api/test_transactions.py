"""Transactions: search, paging, one in full, export, summary, on a real database."""

from __future__ import annotations

import csv
import io
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.app import build_app
from api.db import Database
from api.options import ApiOptions, Limits
from api.routes.transactions import TransactionFilter
from api.services import Ports
from api.store.totals import Totals
from api.store.transactions import TransactionStore
from api.store.vocabulary import VocabularyReader
from schemas.events import Status, key_group_of
from schemas.exchange import ExchangeRates
from schemas.verdicts import Break, Verdict

from .conftest import BASE, SOURCES, Ledger, Server, Tokens

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]
OK = Status.SUCCESS


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.fixture(scope="module", autouse=True)
def _filled(ledger: Ledger) -> None:
    """Fifty that match, one a minute, and a few that do not."""
    for index in range(50):
        ledger.add(f"match-{index:03}", decided_at=BASE + timedelta(minutes=index))
    late = BASE + timedelta(hours=2)
    ledger.add(
        "amount-1",
        {"CORE": (10_000, "EUR", OK), "GATEWAY": (10_500, "EUR", OK), "MOBILE": (10_000, "EUR", OK)},
        breaks=["AMOUNT"],
        decided_at=late,
    )
    ledger.add("missing-1", {"CORE": (700, "USD", OK)}, breaks=["MISSING"], decided_at=late + timedelta(minutes=1))
    ledger.add(
        "status-1",
        {"CORE": (90_000_000, "JPY", OK), "MOBILE": (90_000_000, "JPY", Status.FAILED)},
        breaks=["STATUS"],
        decided_at=late + timedelta(minutes=2),
    )
    ledger.add(
        "=HYPERLINK-1",
        {"CORE": (5, "GBP", OK), "GATEWAY": (6, "GBP", OK)},
        breaks=["AMOUNT"],
        decided_at=late + timedelta(minutes=3),
        account_id="SHORT",
    )
    ledger.add(
        "pending-1",
        {"CORE": (11, "EUR", Status.PENDING)},
        verdict=Verdict.PENDING,
        decided_at=late + timedelta(minutes=4),
    )


HOUR = {"since": ms(BASE), "until": ms(BASE + timedelta(hours=1))}


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["txn_id"] for item in answer.json()["items"]]


SEARCHES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "mismatches": ({"verdict": "MISMATCHED"}, ["=HYPERLINK-1", "status-1", "missing-1", "amount-1"]),
    "pending": ({"verdict": "PENDING"}, ["pending-1"]),
    "by kind": ({"break": "AMOUNT"}, ["=HYPERLINK-1", "amount-1"]),
    "by kinds": ({"break": ["AMOUNT", "STATUS"]}, ["=HYPERLINK-1", "status-1", "amount-1"]),
    "by missing source": ({"missing_source": "MOBILE"}, ["missing-1"]),
    "by source": ({"source": "MOBILE", "verdict": "MISMATCHED"}, ["status-1", "amount-1"]),
    "by currency": ({"currency": "USD"}, ["missing-1"]),
    "by amount": ({"amount_min": 701, "amount_max": 10_500, "verdict": "MISMATCHED"}, ["amount-1"]),
    "by time": (
        {"since": ms(BASE + timedelta(minutes=10)), "until": ms(BASE + timedelta(minutes=12))},
        ["match-011", "match-010"],
    ),
    "oldest first": ({"verdict": "MISMATCHED", "sort": "decided_at", "limit": 2}, ["amount-1", "missing-1"]),
    "largest first, one currency after another": (
        {"verdict": "MISMATCHED", "sort": "-amount_minor"},
        ["amount-1", "=HYPERLINK-1", "status-1", "missing-1"],
    ),
    "every kind of break": (
        {"break": [kind.name for kind in Break]},
        ["=HYPERLINK-1", "status-1", "missing-1", "amount-1"],
    ),
    "by spread": ({"verdict": "MISMATCHED", "sort": "-spread_minor", "limit": 2}, ["amount-1", "=HYPERLINK-1"]),
    "by id": ({"q": "match-007"}, ["match-007"]),
    "by unknown id": ({"q": "match-999"}, []),
    "by the beginning of an id": ({"q": "match-00*", "limit": 3}, ["match-000", "match-001", "match-002"]),
    "by the beginning and more": ({"q": "match-00*", "verdict": "MISMATCHED"}, []),
    "late": ({"late": "true"}, []),
    "not final": ({"final": "false"}, ["pending-1"]),
}


@pytest.mark.parametrize("case", SEARCHES.values(), ids=SEARCHES.keys())
def test_search_finds(case: tuple[dict[str, Any], list[str]], as_user: User) -> None:
    query, expected = case
    assert ids(as_user("vera").get("/transactions", params=query)) == expected


REFUSED: dict[str, dict[str, Any]] = {
    "an order by amount without mismatches": {"sort": "-amount_minor"},
    "an order by id without an id": {"sort": "txn_id"},
    "a wide beginning": {"q": "mat*"},
    "an unknown verdict": {"verdict": "MAYBE"},
    "an unknown parameter": {"verdcit": "MATCHED"},
    "too large a page": {"limit": 501},
    "no page": {"limit": 0},
    "a cursor that is none": {"cursor": "AAAA"},
    "a currency in small letters": {"currency": "eur"},
    "a code that is no currency": {"currency": "GBX"},
    "a source that is none": {"source": "PAPER"},
    "a missing source that is none": {"missing_source": "PAPER", "verdict": "MISMATCHED"},
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED.keys())
def test_search_refuses(query: dict[str, Any], as_user: User) -> None:
    answer = as_user("vera").get("/transactions", params=query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-request"
    assert answer.json()["errors"]


@pytest.mark.parametrize("query", [{"source": "PAPER"}, {"q": "mat*"}], ids=["no-source", "wide-beginning"])
def test_an_export_refuses_before_it_answers(query: dict[str, Any], as_user: User) -> None:
    for _ in range(3):  # and frees its slot
        assert as_user("anna").get("/transactions/export", params=query).status_code == 422


@pytest.mark.parametrize("sort", ["-decided_at", "decided_at"])
def test_pages_are_stable_while_rows_are_added(sort: str, as_user: User, ledger: Ledger) -> None:
    query: dict[str, Any] = {
        "verdict": "MATCHED",
        "limit": 7,
        "sort": sort,
        "since": ms(BASE),
        "until": ms(BASE + timedelta(hours=1)),
    }
    seen: list[str] = []
    cursor: str | None = None
    for page in range(30):
        answer = as_user("vera").get("/transactions", params=query | ({"cursor": cursor} if cursor else {}))
        seen += ids(answer)
        cursor = answer.json()["next_cursor"]
        # A row with the very time of another one, and one beyond the range.
        ledger.add(f"extra-{sort}-{page}", decided_at=BASE + timedelta(hours=3, minutes=page))
        if cursor is None:
            break
    expected = [f"match-{index:03}" for index in range(50)]
    assert seen == (expected if sort == "decided_at" else expected[::-1])


def test_pages_by_prefix_follow_on(as_user: User) -> None:
    first = as_user("vera").get("/transactions", params={"q": "match-*", "limit": 30})
    second = as_user("vera").get(
        "/transactions", params={"q": "match-*", "limit": 30, "cursor": first.json()["next_cursor"]}
    )
    assert ids(first) + ids(second) == [f"match-{index:03}" for index in range(50)]
    assert second.json()["next_cursor"] is None


def test_a_cursor_belongs_to_its_search(as_user: User) -> None:
    page = as_user("vera").get("/transactions", params={"verdict": "MATCHED", "limit": 1}).json()
    query = {"verdict": "MISMATCHED", "limit": 1, "cursor": page["next_cursor"]}
    assert as_user("vera").get("/transactions", params=query).status_code == 422


def test_a_row_says_what_the_contract_says(as_user: User) -> None:
    row = as_user("vera").get("/transactions", params={"q": "amount-1"}).json()["items"][0]
    assert row["legs"]["GATEWAY"]["amount_minor"] == 10_500
    assert (row["verdict"], row["breaks"], row["sources"]) == ("MISMATCHED", ["AMOUNT"], list(SOURCES))
    assert (row["amount_minor"], row["spread_minor"], row["currency"]) == (10_500, 500, "EUR")
    assert (row["severity"], row["exception_state"], row["assignee"]) == ("medium", "open", None)
    assert row["differing"] == {"GATEWAY": ["amount_minor"]}


def test_a_code_that_is_no_currency_is_refused_with_what_is_meant(as_user: User) -> None:
    for path in ("/transactions", "/exceptions"):
        answer = as_user("vera").get(path, params={"currency": "GBX"})
        assert answer.json()["errors"] == [
            {"where": "query.currency", "problem": "'GBX' is no currency of ISO 4217: write the amount in GBP"}
        ]


@pytest.fixture(scope="module")
def by_worth(options: ApiOptions, ports: Ports, tokens: Tokens) -> Iterator[httpx.Client]:
    """A viewer's client of a service that has rates for yen and dollars, and none for pounds."""
    rated = replace(options, rates=ExchangeRates.parse("EUR", "JPY=0.0061,USD=0.92"))
    with Server(build_app(rated, ports)) as server:
        headers = {"Authorization": f"Bearer {tokens('vera')}"}
        with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=30, trust_env=False) as client:
            yield client


BY_WORTH = ["status-1", "amount-1", "missing-1", "=HYPERLINK-1"]  # 549,000 EUR; 105 EUR; 6.44 EUR; no rate


@pytest.mark.parametrize("path", ["/transactions", "/exceptions"])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_the_largest_is_what_is_worth_most(path: str, limit: int, by_worth: httpx.Client) -> None:
    query: dict[str, Any] = {"sort": "-amount_minor", "limit": limit}
    if path == "/transactions":
        query["verdict"] = "MISMATCHED"
    seen: list[str] = []
    while True:
        page = by_worth.get(path, params=query)
        seen += ids(page)
        assert page.json()["amount_order"] == {"base_currency": "EUR", "currencies": 4, "without_rate": ["GBP"]}
        if page.json()["next_cursor"] is None:
            break
        query["cursor"] = page.json()["next_cursor"]
    assert seen == BY_WORTH


def test_the_smallest_first_leaves_what_has_no_rate_at_the_end(by_worth: httpx.Client) -> None:
    found = by_worth.get("/transactions", params={"verdict": "MISMATCHED", "sort": "amount_minor"})
    assert ids(found) == ["missing-1", "amount-1", "status-1", "=HYPERLINK-1"]
    spread = by_worth.get("/transactions", params={"break": "AMOUNT", "sort": "-spread_minor"})
    assert ids(spread) == ["amount-1", "=HYPERLINK-1"]
    one = by_worth.get("/transactions", params={"verdict": "MISMATCHED", "sort": "-amount_minor", "currency": "GBP"})
    assert one.json()["amount_order"] == {"base_currency": "EUR", "currencies": 1, "without_rate": ["GBP"]}


def test_a_cursor_belongs_to_its_rates(by_worth: httpx.Client, as_user: User) -> None:
    query = {"verdict": "MISMATCHED", "sort": "-amount_minor", "limit": 1}
    cursor = by_worth.get("/transactions", params=query).json()["next_cursor"]
    assert as_user("vera").get("/transactions", params=query | {"cursor": cursor}).status_code == 422


FILTERS: dict[str, dict[str, Any]] = {
    "a currency": {"currency": "EUR"},
    "a kind": {"break": "AMOUNT"},
    "a missing source": {"missing_source": "MOBILE"},
    "what is late": {"late": "true"},
    "what is open": {"final": "false"},
    "a time range": HOUR,
    "amounts": {"amount_min": 700, "amount_max": 10_499},
    "the beginning of an id": {"q": "match-0*"},
    "the beginning of an id and a kind": {"q": "pend*", "break": "MISSING"},
}


@pytest.mark.parametrize("query", FILTERS.values(), ids=FILTERS.keys())
def test_list_count_and_export_hold_the_same(query: dict[str, Any], as_user: User) -> None:
    anna = as_user("anna")
    listed, asked = [], dict(query)
    while True:
        page = anna.get("/transactions", params=asked | {"limit": 20})
        listed += ids(page)
        if page.json()["next_cursor"] is None:
            break
        asked["cursor"] = page.json()["next_cursor"]
    exported = [row["txn_id"].removeprefix("'") for row in rows(anna.get("/transactions/export", params=query))]
    assert exported == listed
    assert anna.get("/transactions/count", params=query).json() == {
        "value": len(listed),
        "relation": "exact",
        "at_most": None,
    }


async def test_a_count_that_takes_too_long_gives_bounds(
    options: ApiOptions, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(options)
    totals = Totals(db)
    store = TransactionStore(db, VocabularyReader(db), totals, Limits(scan_rows=10))
    query = TransactionFilter.model_validate({"currency": "EUR"})
    try:
        whole = await store.count(query)
        monkeypatch.setattr("api.store.transactions.COUNT_BUDGET_S", -1.0)
        part = await store.count(query)
        everything = sum((await totals.verdicts()).values())
    finally:
        await db.close()
    stored = ledger.sql("select count(*) as n from results where currency = 'EUR'")[0]["n"]
    assert (whole.value, whole.relation) == (stored, "exact")
    assert part.relation == "at_least"
    assert part.at_most == part.value + everything - 10
    assert part.value <= stored <= part.at_most


def test_counts_are_exact_where_it_is_cheap(as_user: User) -> None:
    def count(**query: Any) -> dict[str, Any]:
        result: dict[str, Any] = as_user("vera").get("/transactions/count", params=query).json()
        return result

    mismatched = count(verdict="MISMATCHED")
    assert mismatched["relation"] == "exact"
    assert mismatched["value"] in {4, 14}  # with or without those that the summary's test counts
    assert count(verdict="PENDING") == {"value": 1, "relation": "exact", "at_most": None}
    assert count(currency="USD") == {"value": 1, "relation": "exact", "at_most": None}
    assert count(q="match-00*") == {"value": 10, "relation": "exact", "at_most": None}


# One in full


def test_one_in_full(as_user: User) -> None:
    detail = as_user("anna").get("/transactions/amount-1").json()
    assert [(cell["source"], cell["field"], cell["expected"], cell["actual"]) for cell in detail["differences"]] == [
        ("GATEWAY", "amount_minor", 10_000, 10_500)
    ]
    assert detail["differences"][0]["breaking"] is True
    assert [event["source"] for event in detail["events"]] == list(SOURCES)
    assert detail["events"][0]["account_id"] == "ACC-000123456789"
    assert detail["events"][0]["topic"] == "core_txns"
    assert detail["rules"]["window_closes"] == detail["result"]["first_arrival"] + 30_000
    assert [revision["revision"] for revision in detail["revisions"]] == [1]


def test_viewers_see_masked_accounts(as_user: User) -> None:
    def accounts(txn_id: str, user: str) -> set[str]:
        return {event["account_id"] for event in as_user(user).get(f"/transactions/{txn_id}").json()["events"]}

    assert accounts("amount-1", "vera") == {"••••6789"}
    assert accounts("=HYPERLINK-1", "vera") == {"••••"}
    assert accounts("amount-1", "adam") == {"ACC-000123456789"}


def test_revisions_and_redeliveries_are_shown(as_user: User, ledger: Ledger) -> None:
    ledger.add("revised-1", revision=2, decided_at=BASE - timedelta(days=1))
    group = key_group_of("revised-1")
    ledger.sql(
        "insert into result_history (key_group, txn_id, revision, verdict, final, rules_version, breaks, missing, late,"
        " present, currency, amount_minor, spread_minor, decided_at, legs)"
        " values ($1, 'revised-1', 1, 2, true, 1, 64, 4, 0, 3, 'EUR', 10000, 0, $2, '0:10000:EUR:S:1')",
        group,
        BASE - timedelta(days=2),
    )
    arrival = BASE - timedelta(hours=20)
    ledger.sql(
        "insert into event_blocks values ($1, 900001, 900001, 1, ($2::timestamptz at time zone 'UTC')::date,"
        " '{900001}', '{revised-1}', '{0}', '{ev-again}', '{10000}', '{EUR}', '{1}', array[$3::bigint], array[$3],"
        " '{ACC-000123456789}', '{match-001}', '{1}', '{5}')",
        group,
        arrival,
        int(arrival.timestamp() * 1000),
    )
    ledger.sql("insert into redeliveries values ($1, 900001, 'revised-1', $2)", group, arrival)
    detail = as_user("vera").get("/transactions/revised-1").json()
    assert [(old["revision"], old["verdict"]) for old in detail["revisions"]] == [(2, "MATCHED"), (1, "MISMATCHED")]
    assert detail["revisions"][1]["missing_sources"] == ["MOBILE"]
    assert [event["redelivery"] for event in detail["events"]] == [False, False, False, True]
    assert detail["related"] == ["match-001"]


def test_an_unknown_transaction_is_not_found(as_user: User) -> None:
    answer = as_user("vera").get("/transactions/nobody")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


def test_a_read_is_in_the_audit_trail_of_what_was_read(as_user: User) -> None:
    answer = as_user("vera").get("/transactions/match-003")
    trail = as_user("anna").get("/transactions/match-003/audit").json()["items"]
    assert trail[0]["action"] == "getTransaction"
    assert trail[0]["actor"] == "vera"
    assert trail[0]["request_id"] == answer.headers["x-request-id"]


# Export


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_an_export_holds_all_that_the_filter_finds(as_user: User) -> None:
    found = rows(
        as_user("anna").get(
            "/transactions/export", params={"verdict": "MATCHED", "until": ms(BASE + timedelta(hours=1))}
        )
    )
    assert {row["txn_id"] for row in found} >= {f"match-{index:03}" for index in range(50)}
    assert found[0]["core_amount_minor"] == "10000"


def test_an_export_by_the_beginning_of_an_id_goes_on_to_its_end(
    as_user: User, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.store.transactions.EXPORT_BATCH_ROWS", 20)
    found = rows(as_user("anna").get("/transactions/export", params={"q": "match-*"}))
    assert [row["txn_id"] for row in found] == [f"match-{index:03}" for index in range(50)]
    none = as_user("anna").get("/transactions/export", params={"q": "match-*", "currency": "USD"})
    assert rows(none) == []
    assert none.text.startswith("txn_id,verdict,")


def test_an_export_is_safe_from_formulas(as_user: User) -> None:
    found = rows(as_user("anna").get("/transactions/export", params={"currency": "GBP"}))
    assert [row["txn_id"] for row in found] == ["'=HYPERLINK-1"]


def test_an_export_is_audited_with_its_filter(as_user: User) -> None:
    as_user("anna").get("/transactions/export", params={"currency": "GBP"})
    found = as_user("adam").get("/audit", params={"actor": "anna", "action": "exportTransactions"}).json()["items"]
    assert found[0]["details"]["query"] == {"currency": "GBP"}


# Summary and series


def test_the_summary_comes_from_counters(as_user: User, ledger: Ledger) -> None:
    before = as_user("vera").get("/summary", params={"window_ms": 599_000}).json()
    now = datetime.now(UTC)
    ledger.count("verdict.MATCHED", "EUR", 30, 1, now)
    ledger.count("verdict.MISMATCHED", "CHF", 10, 12_345, now)
    ledger.count("break.AMOUNT", "CHF", 10, 12_345, now)
    ledger.count("events.CORE", "", 40, 0, now)
    time.sleep(1.1)  # for so long totals are remembered
    summary = as_user("vera").get("/summary", params={"window_ms": 600_000}).json()
    assert summary["verdicts"]["MATCHED"] - before["verdicts"]["MATCHED"] == 30
    assert summary["totals"]["MISMATCHED"] - before["totals"]["MISMATCHED"] == 10
    assert summary["open_exceptions"] - before["open_exceptions"] == 10
    assert 0 < summary["match_rate"] < 1
    assert {"kind": "AMOUNT", "count": 10} in summary["breaks"]
    assert {"source": "CORE", "events": 40} in summary["events"]
    assert summary["pipeline"] == "stopped"


def test_totals_survive_the_roll_up(as_user: User, ledger: Ledger) -> None:
    old = datetime.now(UTC) - timedelta(hours=3)
    ledger.sql("update rollups set upto = 'epoch'")
    ledger.sql("delete from stats_by_hour")
    ledger.count("late", "EUR", 7, 70, old)
    ledger.count("late", "EUR", 1, 10, datetime.now(UTC))

    def totals() -> tuple[int, int]:
        time.sleep(1.1)
        week = as_user("vera").get("/summary", params={"window_ms": 7 * 86_400_000 - secrets.randbelow(50)}).json()
        series = as_user("vera").get("/series", params={"metric": "late", "since": ms(old - timedelta(days=1))}).json()
        return week["late"], sum(point["values"]["late"] for point in series["points"])

    assert totals() == (8, 8)
    ledger.sql("select roll_up_stats()")
    ledger.sql("select roll_up_stats()")
    assert ledger.sql("select sum(n)::bigint as n from stats_by_hour where metric = 'late'")[0]["n"] == 7
    assert totals() == (8, 8)


@pytest.mark.parametrize(
    "query",
    [{"since": 10, "until": 5}, {"step_ms": 61_000}, {"since": 0, "until": 10**12, "step_ms": 3_600_000}],
    ids=["backwards", "a broken step", "too many points"],
)
def test_series_refuse(query: dict[str, Any], as_user: User) -> None:
    assert as_user("vera").get("/series", params=query).status_code == 422


def test_sources_are_listed_without_a_pipeline(as_user: User) -> None:
    sources = as_user("vera").get("/sources").json()
    assert sources["at"] is None
    assert [source["name"] for source in sources["items"]] == list(SOURCES)


def test_names_of_people_are_remembered_for_assignment(as_user: User) -> None:
    as_user("anna").get("/me")
    as_user("adam").get("/me")
    people = as_user("anna").get("/people").json()
    assert {person["username"] for person in people} >= {"anna", "adam"}
    assert "vera" not in {person["username"] for person in people}


def test_the_token_of_another_realm_role_changes_nothing_for_reads(rest: Server, tokens: Tokens) -> None:
    answer = httpx.get(f"{rest.url}/api/v1/me", headers={"Authorization": f"bearer {tokens('vera')}"}, trust_env=False)
    assert answer.json()["username"] == "vera"
