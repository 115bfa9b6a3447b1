"""A seeded scenario repeats itself, keeps its promises about time, and its manifest tells the truth."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from cluster.oracle.decoding import Decoder
from cluster.oracle.judge import Seen, judge
from cluster.oracle.records import Refused
from producers.manifest import ManifestWriter, planted_from_json, planted_to_json, read_manifest
from producers.plan import InvalidPlanError, Plan, Plant, parse_breaks
from producers.population import MARKETS, iban
from producers.scenario import Scenario
from producers.wire import Encoder
from schemas.events import DEFAULT_SOURCES, schema_text
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import Verdict

START_MS = 1_790_000_000_000
SCHEMA_ID = 7
FOREVER = 1 << 60
EVERYTHING = dict.fromkeys(Plant, 1 / len(Plant))


def plan(**changes):
    return Plan(**{"seed": 7, "rate": 200.0, "transactions": 2_000, "breaks": parse_breaks(["all=0.01"]), **changes})


def test_the_same_plan_gives_the_same_records():
    first = list(Scenario(plan(), START_MS).emissions())
    assert first == list(Scenario(plan(), START_MS).emissions())


def test_iterating_one_scenario_twice_gives_the_same_records():
    scenario = Scenario(plan(transactions=300), START_MS)
    assert list(scenario.emissions()) == list(scenario.emissions())


def test_the_start_moves_event_times_and_nothing_else():
    moved = Scenario(plan(transactions=300, breaks={}), START_MS + 1_000).emissions()
    for (one, _), (other, _) in zip(
        Scenario(plan(transactions=300, breaks={}), START_MS).emissions(), moved, strict=True
    ):
        assert other.event.event_time == one.event.event_time + 1_000
        assert (one.at_ms, one.event.event_id, one.event.amount_minor) == (
            other.at_ms,
            other.event.event_id,
            other.event.amount_minor,
        )


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"rate": 201.0}, {"breaks": {}}, {"match_window_ms": 5_000}, {"transactions": 1_999}, {"run": "b"}],
    ids=lambda change: next(iter(change)),
)
def test_another_plan_gives_other_ids(change):
    ids = {transaction.txn_id for transaction in Scenario(plan(), START_MS).transactions()}
    assert ids.isdisjoint(transaction.txn_id for transaction in Scenario(plan(**change), START_MS).transactions())


def test_records_leave_in_order_of_time():
    moments = [emission.at_ms for emission, _ in Scenario(plan(breaks=EVERYTHING), START_MS).emissions()]
    assert moments == sorted(moments)


def test_the_rate_is_kept():
    begins = [transaction.at_ms for transaction in Scenario(plan(transactions=10_000), START_MS).transactions()]
    assert 45_000 < begins[-1] < 55_000  # 10,000 at 200 a second, give or take the randomness of a Poisson stream


def test_amounts_and_accounts_look_like_a_bank():
    events = [emission.event for emission, _ in Scenario(plan(breaks={}), START_MS).emissions()]
    currencies = Counter(event.currency for event in events)
    assert {"JPY", "KWD", "EUR"} <= set(currencies)
    assert all(event.amount_minor >= 1 for event in events)
    assert len({event.event_id for event in events}) == len(events)
    for event in events[:200]:
        rearranged = event.account_id[4:] + event.account_id[:4]
        assert int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def test_iban_check_digits_are_those_of_the_published_example():
    assert iban("DE", "370400440532013000") == "DE89370400440532013000"  # ISO 13616 registry, Germany
    assert len(MARKETS) == len({market.currency for market in MARKETS})


def outcomes(scenario_plan: Plan):
    """Run a scenario through bytes, decoding and the oracle, as if Kafka had stamped each record on departure."""
    encoder = Encoder(SCHEMA_ID)
    decoder = Decoder(lambda schema_id: schema_text() if schema_id == SCHEMA_ID else None, DEFAULT_SOURCES)
    offsets = Counter()
    accepted: dict[str, list[Seen]] = {}
    refused = {}
    planted = []
    for emission, truth in Scenario(scenario_plan, START_MS).emissions():
        offset = offsets[emission.topic]
        offsets[emission.topic] += 1
        value = encoder.encode(emission.event, emission.damage)
        try:
            event = decoder.decode(emission.topic, 0, offset, START_MS + emission.at_ms, value)
            accepted.setdefault(event.txn_id, []).append(event)
        except Refused as error:
            assert (emission.topic, emission.key.decode()) not in refused
            refused[emission.topic, emission.key.decode()] = error.reason
        if truth is not None:
            planted.append(truth)
    rules = RuleSet(match_window_ms=scenario_plan.match_window_ms, time_tolerance_ms=scenario_plan.time_tolerance_ms)
    never = [FOREVER] * len(DEFAULT_SOURCES)
    judged = {txn_id: judge(events, Rulebook([rules]), DEFAULT_SOURCES, never) for txn_id, events in accepted.items()}
    return planted, judged, accepted, refused


@pytest.mark.parametrize(
    ("window_ms", "tolerance_ms"),
    [(30_000, 5_000), (5_000, 5_000), (60_000, 500), (1_000, 0)],
    ids=["defaults", "short-window", "tight-clocks", "extremes"],
)
def test_the_manifest_tells_what_the_oracle_finds(window_ms, tolerance_ms):
    planted, judged, accepted, refused = outcomes(
        plan(breaks=EVERYTHING, match_window_ms=window_ms, time_tolerance_ms=tolerance_ms)
    )
    names = [source.name for source in DEFAULT_SOURCES]
    for truth in planted:
        found = judged[truth.txn_id]
        context = f"{truth.kind} {truth.txn_id}"
        assert found.final, context
        assert found.verdict is truth.outcome.verdict, context
        assert found.breaks == truth.outcome.breaks, context
        assert tuple(names[source] for source in found.missing) == truth.outcome.missing, context
        assert tuple(names[source] for source in found.late) == truth.outcome.late, context
        repeats = sum(event.redelivery for event in accepted[truth.txn_id])
        assert repeats == truth.outcome.redeliveries, context
        if truth.set_aside is not None:
            assert refused.pop((truth.set_aside.topic, truth.set_aside.key)) is truth.set_aside.reason, context
    assert refused == {}
    assert {truth.kind for truth in planted} == set(Plant)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_that_is_asked_for_is_planted_even_in_a_short_run(seed):
    chosen = plan(seed=seed, transactions=len(Plant) + 11, breaks=parse_breaks(["all=0.001", "late=0"]))
    counts = Counter(one.planted.kind for one in Scenario(chosen, START_MS).transactions() if one.planted)
    assert set(counts) == set(Plant) - {Plant.LATE}


def test_more_kinds_than_transactions_leave_it_to_chance():
    chosen = plan(transactions=3, breaks=parse_breaks(["all=0.001"]))
    assert len(list(Scenario(chosen, START_MS).transactions())) == 3


def test_what_is_not_planted_matches():
    planted, judged, _, refused = outcomes(plan())
    bent = {truth.txn_id for truth in planted}
    assert 200 < len(bent) < 600
    assert all(found.verdict is Verdict.MATCHED for txn_id, found in judged.items() if txn_id not in bent)
    assert all(not found.late and found.revision == 1 for txn_id, found in judged.items() if txn_id not in bent)
    assert len(refused) == sum(truth.set_aside is not None for truth in planted)


def test_a_run_that_stops_early_claims_only_what_has_left_entirely():
    scenario = Scenario(plan(breaks=EVERYTHING), START_MS)
    sizes = {one.txn_id: len(one.emissions) for one in scenario.transactions()}
    sent = Counter()
    for emission, truth in itertools.islice(scenario.emissions(), 1_500):
        sent[emission.event.txn_id] += 1
        if truth is not None:
            assert sent[truth.txn_id] == sizes[truth.txn_id]


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    path = tmp_path / "runs" / "manifest.jsonl"
    chosen = plan(breaks=EVERYTHING, run="again")
    written = [truth for _, truth in Scenario(chosen, START_MS).emissions() if truth is not None]
    with ManifestWriter(path, chosen, START_MS) as manifest:
        for truth in written:
            manifest.add(truth)
        manifest.summary(sent={})
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["run"] == "again"
    assert list(read_manifest(path)) == written
    assert [planted_from_json(planted_to_json(truth)) for truth in written] == written


def test_a_broken_manifest_is_named_by_line(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"line":"run"}\n{"line":"planted","txn_id":"T1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"manifest\.jsonl:2"):
        list(read_manifest(path))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none"], {}),
        (["amount=0.01,missing=0.02"], {Plant.AMOUNT: 0.01, Plant.MISSING: 0.02}),
        (["all=0.001", "late=0.05"], {**dict.fromkeys(Plant, 0.001), Plant.LATE: 0.05}),
        (["all", "none", "unknown-schema=0.1"], {Plant.UNKNOWN_SCHEMA: 0.1}),
        ([" Amount = 0.5 "], {Plant.AMOUNT: 0.5}),
    ],
    ids=["none", "two-kinds", "all-but-more-late", "later-words-win", "spaces-and-case"],
)
def test_breaks_are_read_from_words(words, expected):
    assert parse_breaks(words) == expected


@pytest.mark.parametrize("words", [["amont=0.1"], ["amount=2"], ["amount=x"], ["all=0.5"]])
def test_breaks_that_cannot_be_planted_are_refused(words):
    with pytest.raises(InvalidPlanError):
        parse_breaks(words)


@pytest.mark.parametrize(
    "change",
    [{"rate": 0}, {"transactions": 0}, {"late_margin_ms": 0}, {"sources": DEFAULT_SOURCES[:1]}],
    ids=["rate", "transactions", "late-margin", "one-source"],
)
def test_plans_that_cannot_be_run_are_refused(change):
    with pytest.raises(InvalidPlanError):
        plan(**change)
