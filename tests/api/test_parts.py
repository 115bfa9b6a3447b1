"""The small parts: cursors, masking, CSV, severity, differences, rates, workflow, feed, incidents, metrics."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import cursors
from api.access import ACCESS, Role, highest_role
from api.audit_log import clean
from api.caller import Caller
from api.csvs import ExportSlots, csv_chunk, defuse
from api.differences import differences, differing
from api.feed import FeedMerge, FeedMessage, FeedRing, LiveSocket
from api.incidents import BURST_CALM_MS, BurstDetector
from api.masking import mask_account
from api.metrics import MetricSet, joined
from api.models.exceptions import ActionName
from api.models.rules import AmountLevels, Severities
from api.models.transactions import Leg
from api.problems import ConflictError, InvalidError, SecondPersonError, TooManyError
from api.queries import queries
from api.rates import Rates
from api.severity import SeverityScale
from api.workflow import LEGAL, Desk, Step, legal_actions, take
from schemas.metrics import CATALOGUE, HTTP_REQUESTS, SOCKETS
from schemas.rules import RuleSet, Tolerance

CALLER = Caller("s", "tess", "", Role.ADMIN, 0, "c")


# Cursors


@given(st.integers(-(2**60), 2**60), st.text(max_size=300).filter(lambda text: text.isprintable()))
def test_a_cursor_gives_back_its_position(number: int, text: str) -> None:
    assert cursors.decode(cursors.encode("d", [number, text]), "d", (int, str)) == [number, text]


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidError):
        cursors.decode(text, "digest", (int, str))


def test_a_cursor_of_another_search_is_refused() -> None:
    cursor = cursors.encode(cursors.search_digest("a", {"x": 1}), [1, "t"])
    with pytest.raises(InvalidError):
        cursors.decode(cursor, cursors.search_digest("a", {"x": 2}), (int, str))


# Masking and CSV


@pytest.mark.parametrize(
    ("account", "shown"),
    [("ACC-000123456789", "••••6789"), ("123456789012", "••••9012"), ("12345678901", "••••"), ("", "••••")],
    ids=["long", "twelve", "eleven", "empty"],
)
def test_accounts_are_masked(account: str, shown: str) -> None:
    assert mask_account(account) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d"], ids=repr)
def test_formulas_are_defused(start: str) -> None:
    assert defuse(start + "cmd|' /C calc'!A0") == "'" + start + "cmd|' /C calc'!A0"


def test_csv_quotes_what_needs_quotes_and_leaves_numbers_alone() -> None:
    assert csv_chunk([["a", 'say "x"', -5, "l1\nl2", "-5"]]) == b'a,"say ""x""",-5,"l1\nl2",\'-5\r\n'


def test_a_caller_runs_so_many_exports_at_once() -> None:
    slots = ExportSlots(1)
    slots.take("a")
    slots.take("b")
    with pytest.raises(TooManyError):
        slots.take("a")
    slots.give_back("a")
    slots.take("a")


# Severity and differences


def test_severity_is_the_graver_of_kind_and_amount() -> None:
    scale = SeverityScale.of(Severities(amounts={"JPY": AmountLevels(high_minor=100, critical_minor=1_000)}))
    assert scale.level(["TIMESTAMP"], 99, "JPY") == "low"
    assert scale.level(["TIMESTAMP"], 100, "JPY") == "high"
    assert scale.level(["CONFLICT", "TIMESTAMP"], 1, "EUR") == "high"
    assert scale.level(["AMOUNT"], 10_000_000, "EUR") == "critical"
    assert scale.needs_second_person(1_000_001, "EUR")
    assert not scale.needs_second_person(1_000_000, "EUR")
    # 10,000 whole units, whatever the currency's decimals.
    assert [scale.needs_second_person(10_000 + more, "JPY") for more in (0, 1)] == [False, True]
    assert [scale.needs_second_person(10_000_000 + more, "KWD") for more in (0, 1)] == [False, True]


def leg(amount: int = 100, currency: str = "EUR", status: Any = "SUCCESS", at: int = 1_000) -> dict[str, Any]:
    return Leg(amount_minor=amount, currency=currency, status=status, event_time=at).model_dump()


def test_a_differing_cell_is_marked_with_what_most_sources_say() -> None:
    rules = RuleSet(default_tolerance=Tolerance(absolute_minor=5), time_tolerance_ms=500)
    found = differences({"CORE": leg(), "GATEWAY": leg(110), "MOBILE": leg(at=1_400)}, rules, ["AMOUNT"])
    assert [(cell.source, cell.field, cell.expected, cell.actual, cell.difference) for cell in found] == [
        ("GATEWAY", "amount_minor", 100, 110, 10),
        ("MOBILE", "event_time", 1_000, 1_400, 400),
    ]
    assert [(cell.breaking, cell.tolerance) for cell in found] == [(True, 5), (False, 500)]


def test_in_a_tie_the_first_source_is_the_book_of_record() -> None:
    found = differences({"CORE": leg(currency="EUR"), "MOBILE": leg(currency="USD")}, RuleSet(), ["CURRENCY"])
    assert [(cell.source, cell.expected, cell.expected_from) for cell in found] == [("MOBILE", "EUR", ["CORE"])]


@pytest.mark.parametrize(
    ("times", "expected", "breaking"),
    [
        ((0, 1_000, 3_600_000), 0, {"MOBILE"}),  # two clocks a second apart, one an hour ahead
        ((3_600_000, 0, 1_000), 0, {"CORE"}),  # the same, and the one that is ahead is the book of record
        ((0, 3_600_000, 3_600_900), 3_600_000, {"CORE"}),
        ((0, 1_000, 4_000), 0, set()),  # all within the tolerance
        ((0, 10_000, 20_000), 0, {"GATEWAY", "MOBILE"}),  # no two agree: the book of record is what they differ from
    ],
)
def test_a_time_differs_from_the_largest_cluster_within_the_tolerance(
    times: tuple[int, int, int], expected: int, breaking: set[str]
) -> None:
    legs = {name: leg(at=at) for name, at in zip(("CORE", "GATEWAY", "MOBILE"), times, strict=True)}
    rules, breaks = RuleSet(time_tolerance_ms=5_000), ["TIMESTAMP"] if breaking else []
    found = differences(legs, rules, breaks)
    assert {cell.expected for cell in found} == {expected}
    assert {cell.source for cell in found if cell.breaking} == breaking
    # Lists mark what the transaction's own screen calls breaking, and nothing else.
    assert differing(legs, rules, breaks) == {source: ["event_time"] for source in breaking}


def test_an_amount_differs_from_those_that_agree_within_the_tolerance() -> None:
    legs = {"CORE": leg(900), "GATEWAY": leg(1_000), "MOBILE": leg(1_004)}
    rules = RuleSet(default_tolerance=Tolerance(absolute_minor=5))
    found = differences(legs, rules, ["AMOUNT"])
    assert differing(legs, rules, ["AMOUNT"]) == {"CORE": ["amount_minor"]}
    assert {cell.source: cell.breaking for cell in found} == {"CORE": True, "MOBILE": False}


def test_agreeing_legs_have_no_differences() -> None:
    assert differences({"CORE": leg(), "GATEWAY": leg()}, RuleSet(), []) == []
    assert differences({"CORE": leg()}, RuleSet(), ["MISSING"]) == []


def test_what_is_no_break_of_the_verdict_is_told_and_not_marked() -> None:
    """Where only calendar dates are compared, times of one day differ and break nothing."""
    legs = {"CORE": leg(at=0), "GATEWAY": leg(at=80_000_000)}
    assert [cell.breaking for cell in differences(legs, RuleSet(), ["MISSING"])] == [False]
    assert differing(legs, RuleSet(), ["MISSING"]) == {}


# Rates


def test_rates_let_a_burst_through_and_then_the_sustained_rate() -> None:
    moment = [0.0]
    rates = Rates(10, 20, lambda: moment[0])
    for _ in range(20):
        rates.take("a")
    with pytest.raises(TooManyError) as refused:
        rates.take("a")
    assert refused.value.headers["Retry-After"] == "1"
    rates.take("b")
    moment[0] += 0.1
    rates.take("a")
    with pytest.raises(TooManyError):
        rates.take("a")


# Workflow: design's table, step by step


def walk(*steps: tuple[str, ActionName], big: bool = False) -> Desk:
    desk = Desk()
    for actor, action in steps:
        desk = take(desk, Step(action, actor, reason_code="timing"), needs_second_person=big)
    return desk


def test_a_small_one_is_resolved_by_one_person() -> None:
    desk = walk(("anna", "assign"), ("anna", "start_review"), ("anna", "resolve"))
    assert (desk.state, desk.resolved_by, desk.approved_by) == ("resolved", "anna", None)


def test_a_big_one_waits_for_a_second_person() -> None:
    desk = walk(("anna", "resolve"), big=True)
    assert (desk.state, desk.proposed_by) == ("in_review", "anna")
    with pytest.raises(SecondPersonError):
        take(desk, Step("approve", "anna"), needs_second_person=True)
    done = take(desk, Step("approve", "arno"), needs_second_person=True)
    assert (done.state, done.resolved_by, done.approved_by) == ("resolved", "anna", "arno")


def test_a_rejected_proposal_can_be_made_again() -> None:
    desk = walk(("anna", "resolve"), ("arno", "reject"), ("anna", "resolve"), big=True)
    assert desk.proposed_by == "anna"


def test_what_has_healed_is_not_opened_by_hand() -> None:
    with pytest.raises(ConflictError):
        take(Desk(state="resolved", healed=True), Step("reopen", "anna"), needs_second_person=False)


@pytest.mark.parametrize("state", ["open", "assigned", "in_review", "resolved"])
@pytest.mark.parametrize("action", list(LEGAL))
def test_steps_are_legal_only_where_the_table_says_so(state: Any, action: ActionName) -> None:
    desk = Desk(state=state, assignee="anna" if state == "assigned" else None, proposed_by=None)
    try:
        take(desk, Step(action, "arno", reason_code="timing"), needs_second_person=False)
        legal = True
    except ConflictError:
        legal = False
    assert legal == (state in LEGAL[action] and action not in {"approve", "reject"})


@given(st.lists(st.tuples(st.sampled_from(["anna", "arno"]), st.sampled_from(list(LEGAL))), max_size=12), st.booleans())
def test_what_is_offered_is_exactly_what_is_possible(steps: list[tuple[str, ActionName]], big: bool) -> None:
    desk = Desk()
    for actor, action in steps:
        offered = action in legal_actions(desk, actor)
        try:
            after = take(desk, Step(action, actor, reason_code="timing"), needs_second_person=big)
        except (ConflictError, SecondPersonError):
            assert not offered
            continue
        assert offered
        desk = after
        if desk.state == "resolved" and big:
            assert desk.approved_by not in {None, desk.proposed_by}


# The feed


def message(seq: int, size: int = 10) -> FeedMessage:
    return FeedMessage(seq, b"x" * size)


def flush(seq: int, matched: int = 1) -> dict[str, Any]:
    results = [{"txn_id": f"T{seq}"}]
    counts = {"MATCHED": matched}
    return {"seq": seq, "first_seq": seq, "at": 100 + seq, "omitted": 0, "counts": counts, "results": results}


def test_a_flush_after_a_pause_goes_at_once_and_the_next_ones_wait_for_one_another() -> None:
    merge = FeedMerge(wait_ms=100, bytes_max=1_000)
    assert (merge.due_in_ms(0), merge.take(0)) == (None, None)
    merge.add(flush(1), 10)
    assert merge.due_in_ms(0) == 0
    assert merge.take(0) == (flush(1), 10)
    merge.add(flush(2), 10)
    assert merge.due_in_ms(30) == 70
    merge.add(flush(3, matched=4), 20)
    assert merge.due_in_ms(99) == 1
    assert merge.due_in_ms(100) == 0
    both, size = merge.take(100) or ({}, 0)
    assert (both["first_seq"], both["seq"], both["at"], both["counts"], size) == (2, 3, 102, {"MATCHED": 5}, 30)
    assert [result["txn_id"] for result in both["results"]] == ["T2", "T3"]
    merge.add(flush(4), 10)
    assert merge.due_in_ms(350) == 0  # it was quiet


def test_much_that_waits_does_not_wait_and_a_clock_that_goes_back_stops_nothing() -> None:
    merge = FeedMerge(wait_ms=100, bytes_max=1_000)
    merge.add(flush(1), 10)
    merge.take(5_000)
    merge.add(flush(2), 10)
    assert merge.due_in_ms(4_000) == 0
    assert merge.due_in_ms(5_001) == 99
    merge.add(flush(3), 990)
    assert merge.due_in_ms(5_001) == 0
    merge.clear()
    assert merge.due_in_ms(5_001) is None


def test_the_ring_replays_what_it_still_has() -> None:
    ring = FeedRing(messages_max=3, bytes_max=1_000)
    for seq in range(1, 6):
        ring.append(message(seq))
    assert (ring.oldest, ring.newest) == (3, 5)
    assert ring.after(5) is None
    assert [ring.after(seq).seq for seq in (2, 3, 4)] == [3, 4, 5]  # type: ignore[union-attr]
    for seq in (0, 1, 6, 99):
        with pytest.raises(LookupError):
            ring.after(seq)


def test_the_ring_is_bounded_by_bytes_too() -> None:
    ring = FeedRing(messages_max=100, bytes_max=25)
    for seq in range(1, 10):
        ring.append(message(seq))
    assert ring.size_bytes == 20
    ring.append(message(10, size=500))
    assert (ring.oldest, ring.newest) == (10, 10)


def test_a_gap_makes_a_new_beginning() -> None:
    ring = FeedRing(100, 1_000)
    ring.append(message(1))
    ring.append(message(5))
    assert (ring.oldest, ring.newest) == (5, 5)


def test_a_socket_that_does_not_acknowledge_is_slow_after_a_while() -> None:
    socket = LiveSocket("x", CALLER, set(), 0)
    socket.sent(50, limit_bytes=100, now_ms=0)
    assert socket.wants_mark(50)
    socket.marked()
    assert not socket.wants_mark(50)
    socket.sent(60, limit_bytes=100, now_ms=1_000)
    assert not socket.is_slow(now_ms=2_000, slow_ms=1_000)
    assert socket.is_slow(now_ms=2_001, slow_ms=1_000)
    socket.acked(limit_bytes=100)
    assert socket.unacked_bytes == 60
    assert not socket.is_slow(now_ms=9_999, slow_ms=1_000)


# Incidents


def test_a_burst_opens_once_and_closes_when_it_has_been_calm() -> None:
    burst = BurstDetector()
    said = []
    for second in itertools.count():
        now = second * 1_000
        bad = 60 if 30 <= second < 40 else 1
        burst.add(now, 100 - bad, bad)
        change = burst.tick(now)
        if change:
            said.append((second, change))
        if second > 120:
            break
    assert [change for _, change in said] == ["open", "close"]
    assert 30 <= said[0][0] <= 33
    assert said[1][0] * 1_000 >= 40_000 + BURST_CALM_MS


def test_a_high_usual_share_is_no_burst() -> None:
    burst = BurstDetector()
    burst.baseline = 0.08
    for second in range(60):
        burst.add(second * 1_000, 80, 20)
        assert burst.tick(second * 1_000) is None


def test_few_mismatches_are_no_burst_whatever_their_share() -> None:
    burst = BurstDetector()
    for second in range(60):
        burst.add(second * 1_000, 0, 4)
        assert burst.tick(second * 1_000) is None


# The rest


def test_metrics_of_replicas_are_joined_under_their_names() -> None:
    one, two = MetricSet(), MetricSet()
    one[HTTP_REQUESTS].labels("getMe", "200").inc(3)
    two[SOCKETS].set(7)
    text = joined({"a": one.exposition(), "b": two.exposition()})
    assert 'recon_http_requests_total{operation="getMe",replica="a",status="200"} 3.0' in text
    assert 'recon_live_sockets{replica="b"} 7.0' in text
    assert text.count("# TYPE recon_live_sockets gauge") == 1


def test_the_catalogue_names_each_metric_once_and_explains_it() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(metric.meaning.endswith(".") and metric.name.startswith("recon_") for metric in CATALOGUE)


def test_audit_details_come_back_from_json_unchanged() -> None:
    dirty = {"a\0": "x\ud800\0" + "y" * 600, "n": 2**70, "f": 0.1, "l": [True, None, ("t",)], "o": SimpleNamespace()}
    cleaned = clean(dirty)
    assert cleaned["a\ufffd"].startswith("x?\ufffdy")
    assert len(cleaned["a\ufffd"]) == 501
    assert cleaned["n"] == 2**70
    assert cleaned["f"] == "0.1"
    assert cleaned["l"] == [True, None, ["t"]]


def test_roles_are_cumulative() -> None:
    assert highest_role(["viewer", "admin", "x"]) is Role.ADMIN
    assert highest_role([]) is None
    assert all(access.role in Role for access in ACCESS.values())


@pytest.mark.parametrize(
    "file", ["audit", "backtest", "deadletters", "exceptions", "overview", "people", "rules", "transactions"]
)
def test_every_query_is_named_and_described(file: str) -> None:
    for name, text in queries(file).items():
        assert text.startswith("--"), name


def test_no_task_is_left_behind_by_importing() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
