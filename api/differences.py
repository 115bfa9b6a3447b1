"""Marks where the legs of a transaction differ: expected, actual, tolerance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from api.models.transactions import CellDifference, LegField
from schemas.rules import RuleSet

Legs = Mapping[str, Mapping[str, Any]]
"""By source, in their order: the fields of `Leg`."""

BREAK_OF: Final[dict[LegField, str]] = {
    "amount_minor": "AMOUNT",
    "currency": "CURRENCY",
    "status": "STATUS",
    "event_time": "TIMESTAMP",
}


def amount_tolerance(rules: RuleSet, legs: Legs) -> int:
    """Spread of amounts that the rules allow, minor units: the strictest among the currencies of the legs."""
    largest = max((leg["amount_minor"] for leg in legs.values()), default=0)
    return min((rules.tolerance(leg["currency"]).allowed_minor(largest) for leg in legs.values()), default=0)


def differing(legs: Legs, rules: RuleSet, breaks: Collection[str]) -> dict[str, list[LegField]]:
    """The cells that break, by source: what lists mark. The same judgement as `differences`."""
    cells: dict[str, list[LegField]] = {}
    if any(kind in breaks for kind in BREAK_OF.values()):
        for cell in differences(legs, rules, breaks):
            if cell.breaking:
                cells.setdefault(cell.source, []).append(cell.field)
    return cells


def differences(legs: Legs, rules: RuleSet, breaks: Collection[str]) -> list[CellDifference]:
    """Every cell that differs from what most sources say; in a tie, from the first source (the book of record).

    Amounts and times agree within the tolerance of the rules: of three clocks, two of them close and one an hour ahead,
    the last is the one that differs. What differs within the tolerance, or is none of the verdict's breaks, is told and
    not called breaking.
    """
    tolerance: dict[LegField, int | None] = {
        "amount_minor": amount_tolerance(rules, legs),
        "currency": None,
        "status": None,
        "event_time": rules.time_tolerance_ms,
    }
    found: list[CellDifference] = []
    for name, kind in BREAK_OF.items():
        values: dict[str, Any] = {source: leg[name] for source, leg in legs.items()}
        if len(set(values.values())) < 2:
            continue
        numeric = name in {"amount_minor", "event_time"}
        allowed = tolerance[name]
        agreeing = _largest_cluster(list(values.values()), allowed or 0) if numeric else list(values.values())
        expected = Counter(agreeing).most_common(1)[0][0]  # the first of equals, in source order
        found += [
            CellDifference(
                source=source,
                field=name,
                expected=expected,
                actual=actual,
                expected_from=[other for other, value in values.items() if value == expected],
                difference=actual - expected if numeric else None,
                tolerance=allowed,
                breaking=kind in breaks and (actual not in agreeing if numeric else True),
            )
            for source, actual in values.items()
            if actual != expected
        ]
    return found


def _largest_cluster(values: list[int], allowed: int) -> list[int]:
    """The most values that lie within `allowed` of each other, in their order; of equally many, the first's."""
    clusters = [[value for value in values if low <= value <= low + allowed] for low in sorted(set(values))]
    most = max(map(len, clusters))
    return min((one for one in clusters if len(one) == most), key=lambda one: values.index(one[0]))
