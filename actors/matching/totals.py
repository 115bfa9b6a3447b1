"""The shape `totals`: items of two sides balance per key (design section 8). N:1, 1:N and N:M.

An item is a (source, item id) under a key. What several events of one item mean is the rule for legs: the latest by
(event_time, arrival, offset) says what the item is; the same again is a DUPLICATE, a contradiction a CONFLICT. Items
count while their leg is SUCCESS. Per key and currency, net = left - right - fees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from actors.matching.decide import allowed_difference, collected, drop_redeliveries, is_progress, tolerances_of
from actors.matching.frames import CURRENCY, EVENT_SCHEMA, RESULT_SCHEMA, source_bit
from schemas.events import SourceSpec, Status
from schemas.rules import RuleSet
from schemas.verdicts import Break, Verdict

# Events of this shape: `txn_id` is the key, `item_id` the transaction within it, `fee_minor` what was kept of it.
ITEM_SCHEMA: Final[dict[str, pl.DataType]] = {**EVENT_SCHEMA, "item_id": pl.String(), "fee_minor": pl.Int64()}

# What a result has beside RESULT_SCHEMA: sums and counts of the currency with the largest sum.
TOTALS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "left_minor": pl.Int64(),
    "right_minor": pl.Int64(),
    "fees_minor": pl.Int64(),
    "net_minor": pl.Int64(),
    "left_items": pl.Int64(),
    "right_items": pl.Int64(),
}

SUM_MAX: Final = 9 * 10**18
"""The largest sum of one key, in minor units: what 64 bits hold."""

_ORDER: Final = ("event_time", "arrival", "offset", "partition")


class SumTooLargeError(ValueError):
    """A key whose amounts add up to more than SUM_MAX."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Which sources (by id) stand on which side, how the sums relate, and whose fees are taken off."""

    left: frozenset[int]
    right: frozenset[int]
    relation: Literal["equal", "at_most"] = "equal"
    fees: Literal["left", "right", "none"] = "none"


def decide_totals(events: pl.DataFrame, rules: RuleSet, sources: Sequence[SourceSpec], sides: Sides) -> pl.DataFrame:
    """Results (RESULT_SCHEMA and TOTALS_SCHEMA) of every key in `events` (ITEM_SCHEMA), all windows having closed.

    A side is missing when none of its items counts, the other side has one that does, and a source of it is expected.
    `amount_minor` is the larger side's sum, `spread_minor` the net without its sign; `legs` is empty.
    Raises SumTooLargeError.
    """
    legs, stories = _legs(events)
    counted = legs.filter(pl.col("status") == Status.SUCCESS).with_columns(
        is_left=pl.col("source").is_in(list(sides.left))
    )
    by_currency = _sums(counted, sides)
    widest = by_currency.select(pl.max_horizontal(pl.col("weight").max(), 0.0)).item()
    if widest is not None and widest > SUM_MAX:
        raise SumTooLargeError(f"a key's amounts add up to more than {SUM_MAX} minor units")
    judged = _with_breaks(by_currency, rules, sides)
    masks = {name: sum(1 << index for index in ids) for name, ids in (("left", sides.left), ("right", sides.right))}
    expected = sum(1 << index for index, source in enumerate(sources) if source.name in rules.expected_sources)
    per_key = judged.group_by("txn_id").agg(
        off=pl.col("off").any(),
        alien=((pl.col("left_items") == 0) | (pl.col("right_items") == 0)).any(),
        left_any=(pl.col("left_items") > 0).any(),
        right_any=(pl.col("right_items") > 0).any(),
        **{name: pl.col(name).sort_by("size", "currency").last() for name in ("currency", "size", *TOTALS_SCHEMA)},
    )
    both = pl.col("left_any") & pl.col("right_any")
    missing = (
        pl.when(pl.col("left_any") & ~pl.col("right_any"))
        .then(masks["right"] & expected)
        .when(pl.col("right_any") & ~pl.col("left_any"))
        .then(masks["left"] & expected)
        .otherwise(0)
    )
    conditions = {
        Break.CONFLICT: pl.col("conflict"),
        Break.DUPLICATE: pl.col("duplicate"),
        Break.AMOUNT: both & pl.col("off"),
        Break.CURRENCY: both & pl.col("alien"),
        Break.MISSING: pl.col("missing") != 0,
    }
    breaks = pl.sum_horizontal(one.cast(pl.Int16) * kind.mask for kind, one in conditions.items())
    return collected(
        stories.lazy()
        .join(per_key.lazy(), on="txn_id", how="left")
        .with_columns(
            pl.col("off", "alien", "left_any", "right_any").fill_null(value=False),
            pl.col("size", *TOTALS_SCHEMA).fill_null(0),
            currency=pl.coalesce("currency", "any_currency"),
        )
        .with_columns(missing=missing)
        .with_columns(breaks=breaks)
        .with_columns(
            verdict=pl.when(pl.col("breaks") == 0).then(Verdict.MATCHED.value).otherwise(Verdict.MISMATCHED.value),
            final=pl.lit(value=True),
            revision=pl.lit(1),
            rules_version=pl.lit(rules.version),
            late=pl.lit(0),
            amount_minor=pl.col("size"),
            spread_minor=pl.col("net_minor").abs(),
            legs=pl.lit(""),
            waits=pl.lit(0),
            closes_at=pl.col("first_arrival") + rules.match_window_ms,
        )
        .select(pl.col(name).cast(dtype) for name, dtype in {**RESULT_SCHEMA, **TOTALS_SCHEMA}.items())
        .sort("txn_id")
    )


def _legs(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The leg of every item, and per key what its events say together."""
    distinct, _ = drop_redeliveries(
        events.with_columns(pl.col("currency").cast(CURRENCY)), beside=("item_id", "fee_minor")
    )
    item = ("txn_id", "source", "item_id")
    same_item = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in item).fill_null(value=False)
    is_last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in item).fill_null(value=True)
    before = pl.col("status").shift(1)
    kinds = collected(
        distinct.lazy()
        .sort(*item, *_ORDER)
        .with_columns(
            same_item=same_item,
            is_leg=is_last,
            same_money=pl.all_horizontal(
                pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("amount_minor", "currency", "fee_minor")
            ),
            same_status=pl.col("status") == before,
            progress=is_progress(before, pl.col("status")),
        )
        .with_columns(duplicate=pl.col("same_item") & pl.col("same_money") & pl.col("same_status"))
        .with_columns(
            conflict=pl.col("same_item")
            & ~pl.col("duplicate")
            & ~(pl.col("same_money") & pl.col("progress")).fill_null(value=False)
        )
    )
    stories = kinds.group_by("txn_id").agg(
        pl.col("key_group").first(),
        conflict=pl.col("conflict").any(),
        duplicate=pl.col("duplicate").any(),
        present=source_bit().unique().sum(),
        any_currency=pl.col("currency").first(),
        first_arrival=pl.col("arrival").min(),
        last_arrival=pl.col("arrival").max(),
        event_seqs=pl.col("seq"),
    )
    return kinds.filter("is_leg").select(*ITEM_SCHEMA), stories


def _sums(counted: pl.DataFrame, sides: Sides) -> pl.DataFrame:
    """Per key and currency: sums and counts of the two sides, fees, and the net."""
    left, right = pl.col("is_left"), ~pl.col("is_left")
    fees = {"left": left, "right": right, "none": pl.lit(value=False)}[sides.fees]
    return counted.group_by("txn_id", "currency").agg(
        left_minor=pl.col("amount_minor").filter(left).sum(),
        right_minor=pl.col("amount_minor").filter(right).sum(),
        fees_minor=pl.col("fee_minor").filter(fees).sum(),
        left_items=left.sum().cast(pl.Int64),
        right_items=right.sum().cast(pl.Int64),
        weight=(pl.col("amount_minor").abs() + pl.col("fee_minor").fill_null(0).abs()).cast(pl.Float64).sum(),
    )


def _with_breaks(sums: pl.DataFrame, rules: RuleSet, sides: Sides) -> pl.DataFrame:
    """With the net, the size, and whether the relation does not hold within the tolerance."""
    gap = pl.col("net_minor") if sides.relation == "at_most" else pl.col("net_minor").abs()
    return (
        sums.join(tolerances_of(rules), on="currency", how="left")
        .with_columns(
            net_minor=pl.col("left_minor") - pl.col("right_minor") - pl.col("fees_minor"),
            size=pl.max_horizontal(pl.col("left_minor").abs(), pl.col("right_minor").abs()),
        )
        # A currency that one side alone has is a break of its own.
        .with_columns(off=(gap > allowed_difference()) & (pl.col("left_items") > 0) & (pl.col("right_items") > 0))
    )
