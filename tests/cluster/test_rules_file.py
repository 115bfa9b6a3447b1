"""Rules as people write them, and what the API is given for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.models.rules import RulesBody
from cluster.rules_file import body_of, file_of
from schemas.money import CURRENCY_EXPONENTS
from sources.config.problems import InvalidConfigError

FILE = """
match_window: 45s
time_tolerance: 366d
expected_sources: [CORE, GATEWAY]
tolerances:
  EUR: {absolute: "0.05", percent: 0.1}
  JPY: {absolute: 5}
  KWD: {absolute: "0.125"}
  default: {percent: 0.01}
severity:
  kinds: {AMOUNT: critical}
  amounts: {EUR: {high: 10000, critical: "100000.5"}, KWD: {high: 1, critical: 2}}
second_person_above: {EUR: 20000, JPY: 20000, default: "10000"}
"""


def test_major_units_and_per_cent_become_minor_units_and_basis_points_exactly():
    body = body_of(FILE, "rules.yaml")
    assert body == {
        "match_window_ms": 45_000,
        "time_tolerance_ms": 366 * 86_400_000,
        "expected_sources": ["CORE", "GATEWAY"],
        "default_tolerance": {"absolute_minor": 0, "bps": 1},
        "tolerances": {
            "EUR": {"absolute_minor": 5, "bps": 10},
            "JPY": {"absolute_minor": 5, "bps": 0},
            "KWD": {"absolute_minor": 125, "bps": 0},
        },
        "severities": {
            "kinds": {"AMOUNT": "critical"},
            "amounts": {
                "EUR": {"high_minor": 1_000_000, "critical_minor": 10_000_050},
                "KWD": {"high_minor": 1_000, "critical_minor": 2_000},
            },
            "second_person_above_minor": {"EUR": 2_000_000, "JPY": 20_000, "default": 1_000_000},
        },
    }
    assert RulesBody.model_validate(body).tolerances["EUR"].bps == 10


def test_a_default_in_major_units_is_the_same_amount_in_every_currency():
    body = body_of(
        "tolerances: {default: {absolute: 0.5}}\nseverity: {amounts: {default: {high: 0.5, critical: 10}}}",
        "rules.yaml",
    )
    of = {code: one["absolute_minor"] for code, one in body["tolerances"].items()}
    assert of.keys() == CURRENCY_EXPONENTS.keys()
    assert (of["EUR"], of["KWD"], of["JPY"]) == (50, 500, 0)  # half a yen allows nothing
    levels = body["severities"]["amounts"]
    assert levels["EUR"] == {"high_minor": 50, "critical_minor": 1_000}
    assert levels["JPY"] == {"high_minor": 1, "critical_minor": 10}  # from half a yen on is from one yen on


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tolerances: {EUR: {absolute: 0.005}}", "EUR: 0.005 is part of a minor unit; EUR has 2 decimals"),
        ("tolerances: {JPY: {absolute: 0.5}}", "JPY: 0.5 is part of a minor unit; JPY has 0 decimals"),
        ("tolerances: {EUR: {percent: 0.001}}", "0.001 cannot be taken"),
        ("tolerances: {EUR: {percent: 101}}", "101 cannot be taken"),
        ("tolerances: {GBX: {absolute: 1}}", "'GBX' is no currency of ISO 4217: write the amount in GBP"),
        ("second_person_above: {XAU: 1}", "'XAU' has no minor unit in ISO 4217"),
        ("second_person_above: {eur: 1}", "'eur' is no currency of ISO 4217: write EUR"),
        ("second_person_above: {EUR: 100000000000000}", "EUR: 100000000000000 is too large"),
        ("tolerances: {EUR: {absolute: 1e3}}", "right is a decimal"),
        ("time_tolerance: 367d", "time_tolerance: 367d is out of range"),
        ("match_window: 30", "30 has no unit"),
        ("severity: {amounts: {EUR: {high: 2, critical: 1}}}", "1 is below high"),
        ("severity: {kinds: {AMOUT: low}}", "did you mean AMOUNT?"),
        ("match_windw: 30s", "did you mean match_window?"),
        ("", "is empty"),
        ("a: [", "is no YAML"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_what_would_be_right(text, problem):
    with pytest.raises(InvalidConfigError) as caught:
        body_of(text, "rules.yaml")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("rules.yaml")


MINOR = st.integers(0, 10**15 - 1)
KEYS = st.sampled_from(["EUR", "JPY", "KWD", "CLF"])
BODIES = st.fixed_dictionaries(
    {
        "match_window_ms": st.integers(1, 604_800_000),
        "time_tolerance_ms": st.integers(0, 366 * 86_400_000),
        "default_tolerance": st.fixed_dictionaries({"absolute_minor": st.just(0), "bps": st.integers(0, 10_000)}),
        "tolerances": st.dictionaries(
            KEYS, st.fixed_dictionaries({"absolute_minor": MINOR, "bps": st.integers(0, 10_000)}), max_size=3
        ),
        "expected_sources": st.just(["CORE", "MOBILE"]),
        "severities": st.fixed_dictionaries(
            {
                "kinds": st.just({"AMOUNT": "low"}),
                "amounts": st.dictionaries(
                    KEYS, MINOR.map(lambda m: {"high_minor": m, "critical_minor": m}), min_size=1, max_size=3
                ),
                "second_person_above_minor": st.dictionaries(KEYS | st.just("default"), MINOR, min_size=1, max_size=3),
            }
        ),
    }
)


@given(BODIES)
def test_a_file_that_was_written_is_read_as_the_same_rules(body):
    assert body_of(file_of(body), "rules.yaml") == body


def test_a_default_in_minor_units_is_written_out_by_currency():
    """One minor unit is a cent, a yen or a fils: a file in major units has no one word for it."""
    body = RulesBody.model_validate({"default_tolerance": {"absolute_minor": 1, "bps": 5}}).model_dump()
    again = body_of(file_of(body), "rules.yaml")
    assert again["default_tolerance"] == {"absolute_minor": 0, "bps": 5}
    assert {code: one["absolute_minor"] for code, one in again["tolerances"].items()} == dict.fromkeys(
        CURRENCY_EXPONENTS, 1
    )
    assert again["severities"]["amounts"]["JPY"] == {"high_minor": 1_000_000, "critical_minor": 10_000_000}
