"""The dashboard's list of currencies is the service's."""

import re
from pathlib import Path

from schemas import money

SOURCE = Path(__file__).resolve().parents[2] / "dashboard" / "src" / "lib" / "currencies.ts"


def constant(name):
    text = SOURCE.read_text(encoding="utf-8")
    return re.search(rf"export const {name}\b[^=]*= (.*?);\n", text, re.DOTALL)[1]


def exponents(name):
    groups = re.findall(r"(\d): \[(.*?)\]", constant(name), re.DOTALL)
    return {code: int(places) for places, codes in groups for code in re.findall(r"[A-Z]{3}", codes)}


def test_the_dashboard_knows_the_same_currencies_and_decimals():
    assert exponents("IN_USE") == money.CURRENCY_EXPONENTS
    assert exponents("HISTORIC") == money.HISTORIC_EXPONENTS


def test_the_dashboard_has_the_same_words_for_codes_that_are_none():
    assert dict(re.findall(r'([A-Z]{3}): "([A-Z]{3})"', constant("NOT_ISO"))) == money.NOT_ISO
    assert set(re.findall(r"[A-Z]{3}", constant("WITHOUT_MINOR_UNIT"))) == money._WITHOUT_MINOR_UNIT
