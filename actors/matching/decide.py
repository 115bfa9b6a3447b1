"""What a set of events says about its transactions: the rules of design section 4 as frame expressions.

`decide` is the whole rule: a pure function of events, rule sets and watermarks. The engine runs it over a batch and the
pending rows beside it, the slow path over all events of one transaction, a backtest over history.

For a transaction T with distinct events E (redeliveries dropped), first arrival a0 and window W of the rules at a0:

    leg of a source    its latest event by (event_time, arrival, offset)
    pair of events     neighbours of one source in that order: update, DUPLICATE or CONFLICT
    complete           every expected source has a leg and no leg is PENDING
    decided            some prefix of E in order of (arrival, source, partition, offset) is complete, or the
                       watermark of every source that T waits for has passed a0 + W
    revision           1 + events of E after the decision, which is the first complete prefix within the window, else
                       the close; so it is a function of the log too, however the events were batched

Nearly all transactions are simple: one event a source, all sources expected, all within the window. They need one
group-by. The others (a few in a hundred) are worked out again by `_special`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from actors.matching.frames import CURRENCY, RESULT_SCHEMA, empty, with_leg_columns
from schemas.events import AMOUNT_MINOR_MAX, SOURCES_MAX, SourceSpec, Status
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import LEG_SEPARATOR, Break, Verdict

_AS_WRITTEN = pl.QueryOptFlags.none()
_NOTHING: Mapping[str, pl.Expr] = {}
# What an event says. Two events of one event_id that differ in any of these are two events.
_CONTENT = ("amount_minor", "currency", "status", "event_time", "attributes")
_EVENT = ("txn_id", "source", "event_id")
_ARRIVAL_ORDER = ("arrival", "partition", "offset")
_LEG_ORDER = ("event_time", "arrival", "offset", "partition")
_LOG_ORDER = ("arrival", "source", "partition", "offset")
_COMPARED = (
    "txn_id",
    "key_group",
    "source",
    "bit",
    "status",
    "amount_minor",
    "currency",
    "event_time",
    "arrival",
    "leg",
    "seq",
)
# Amount, source and currency of a leg as one 64-bit number that orders legs by amount: room for each of the latter two.
_SOURCES = 16
_CURRENCIES = 512
assert SOURCES_MAX < _SOURCES and len(CURRENCY.categories) < _CURRENCIES  # noqa: PT018, S101
assert ((AMOUNT_MINOR_MAX + 1) * _SOURCES + _SOURCES) * _CURRENCIES < 2**63  # noqa: S101
_DAY_MS = 86_400_000


def collected(plan: pl.LazyFrame) -> pl.DataFrame:
    """The frame of a plan, worked out as it is written and in memory.

    A step's time is in handing its operations to polars' thread and back, twice 0.1 ms each however few the rows; so
    what follows each other is one plan. To optimise plans this short, or to stream them, costs more than it saves.
    """
    return plan.collect(engine="in-memory", optimizations=_AS_WRITTEN)


def decide(
    events: pl.DataFrame,
    rulebook: Rulebook,
    sources: Sequence[SourceSpec],
    watermarks: Sequence[int],
    carried: Mapping[str, pl.Expr] = _NOTHING,
    *,
    named: bool = False,
) -> pl.DataFrame:
    """Results (RESULT_SCHEMA) of every transaction that has a row in `events` (EVENT_SCHEMA, all its events).

    `watermarks` gives per source id the arrival time in ms up to which that source has been read. A row that is not
    final has verdict PENDING, revision 0 and provisional breaks. `carried` names columns that come with the results:
    what each expression aggregates over the rows of a transaction. With `named` the results have `differing`
    (List(String)), the names of the compared attributes that differ.
    """
    if events.is_empty():
        return empty({**RESULT_SCHEMA, **({"differing": pl.List(pl.String)} if named else {})})
    events = with_leg_columns(events)
    earliest, latest = events["arrival"].min(), events["arrival"].max()
    if not (isinstance(earliest, int) and isinstance(latest, int)):
        raise AssertionError("an event without arrival")
    rows = row_source_ids(rulebook, sources)
    if rulebook.at(earliest) is rulebook.at(latest):
        return _decide_under(_Basis(rulebook.at(earliest), sources, rows, named), events, watermarks, carried)
    first = pl.col("arrival").min().over("txn_id")
    parts: list[pl.DataFrame] = []
    starts = [rules.effective_from_ms for rules in rulebook.rule_sets[1:]]
    for rules, until in zip(rulebook.rule_sets, [*starts, None], strict=True):
        within = (
            first >= rules.effective_from_ms
            if until is None
            else first.is_between(rules.effective_from_ms, until, closed="left")
        )
        judged = events.filter(within)
        if not judged.is_empty():
            parts.append(_decide_under(_Basis(rules, sources, rows, named), judged, watermarks, carried))
    return pl.concat(parts)


def row_source_ids(rulebook: Rulebook, sources: Sequence[SourceSpec]) -> frozenset[int]:
    """Ids of the sources whose events are states of rows."""
    names = rulebook.row_sources
    return frozenset(index for index, source in enumerate(sources) if source.name in names) if names else frozenset()


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a transaction is judged by: the rule set of its first arrival and the configured sources.

    `rows` are ids of sources whose events are states of rows; `named` asks for the names of differing attributes.
    """

    rules: RuleSet
    sources: Sequence[SourceSpec]
    rows: frozenset[int]
    named: bool

    @property
    def expected(self) -> int:
        """A mask of the sources that are waited for."""
        wanted = self.rules.expected_sources
        return sum(1 << index for index, source in enumerate(self.sources) if source.name in wanted)

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the attributes that must agree."""
        return self.rules.compared_attributes

    def calendars(self) -> dict[str, list[int]]:
        """By zone, the sources of whose times only the calendar day counts."""
        found: dict[str, list[int]] = {}
        for index, source in enumerate(self.sources):
            if source.name in self.rules.calendars:
                found.setdefault(self.rules.calendars[source.name], []).append(index)
        return found


def drop_redeliveries(
    events: pl.DataFrame, rows: Collection[int] = frozenset(), beside: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into distinct events and redeliveries.

    A redelivery has the transaction, source, event_id and content of an event that arrived before it. The same event_id
    with other content is another event, and is judged as one. Of the sources `rows`, whose events are states of rows,
    a redelivery repeats the state directly before it: a row may become again what it once was. `beside` names further
    columns of the content.
    """
    ordered = events.sort(*_ARRIVAL_ORDER)
    content = (*_CONTENT, *beside)
    repeats = ~pl.struct(*_EVENT, *content).is_first_distinct()
    if rows:
        again = pl.struct(*content) == pl.struct(*content).shift(1).over(_EVENT)
        repeats = pl.when(pl.col("source").is_in(list(rows))).then(again.fill_null(value=False)).otherwise(repeats)
    repeated = ordered.select(repeats).to_series()
    if not repeated.any():
        return events, events.clear()
    return ordered.filter(~repeated), ordered.filter(repeated)


def _decide_under(
    basis: _Basis, events: pl.DataFrame, watermarks: Sequence[int], carried: Mapping[str, pl.Expr]
) -> pl.DataFrame:
    rules, expected = basis.rules, basis.expected
    if basis.compared:
        events = _with_compared(events, basis.compared)
    # All are judged as if they were simple, in one plan with the test whether they are.
    beside = {**_calendar_columns(basis.calendars()), **_differing(basis.compared)}
    totals = _totals(events.lazy(), carried, beside).with_columns(
        conflict=pl.lit(value=False),
        duplicate=pl.lit(value=False),
        prefix_decided=pl.lit(value=False),
        late=pl.lit(0, pl.Int32),
        revision=pl.lit(1, pl.Int32),
        simple=(pl.col("present").bitwise_count_ones() == pl.col("n"))
        & (pl.col("present") & ~expected == 0)
        & (pl.col("last_arrival") - pl.col("first_arrival") <= rules.match_window_ms),
    )
    judged = _judge(totals, events, basis, watermarks, (*carried, "simple"))
    if judged["simple"].all():
        return judged.drop("simple")
    others = judged.lazy().filter(~pl.col("simple")).select("txn_id", *carried)
    several = collected(events.lazy().join(others, on="txn_id", how="semi"))
    totals, legs = _special(several, basis, beside)
    totals = totals.join(others, on="txn_id")
    special = _judge(totals, legs, basis, watermarks, tuple(carried))
    return collected(pl.concat([judged.lazy().filter("simple").drop("simple"), special.lazy()]))


def _with_compared(events: pl.DataFrame, compared: Sequence[str]) -> pl.DataFrame:
    """Events with a String column `attribute:NAME` for each compared attribute."""
    told = pl.col("attributes").str.json_decode(pl.Struct(dict.fromkeys(compared, pl.String())))
    return events.with_columns(told.struct.field(name).alias(f"attribute:{name}") for name in compared)


def _totals(
    legs: pl.LazyFrame, carried: Mapping[str, pl.Expr] = _NOTHING, beside: Mapping[str, pl.Expr] = _NOTHING
) -> pl.LazyFrame:
    """Per transaction what comparison needs. `present` is a sum of bits: its population is n only if all differ.

    Amount and currency are those of the largest leg, the first in source order of several: one number orders them so.
    `beside` are further aggregates over the legs.
    """
    currency = pl.col("currency").to_physical().cast(pl.Int64)
    # Negative amounts are in order too: the remainder below is that of floor division.
    largest = (pl.col("amount_minor") * _SOURCES + (_SOURCES - 1 - pl.col("source").cast(pl.Int64))) * _CURRENCIES
    needed = dict.fromkeys(
        [*_COMPARED, *(name for one in (*carried.values(), *beside.values()) for name in one.meta.root_names())]
    )
    return (
        legs.select(*needed, rank=largest + currency)
        .sort("source", maintain_order=True)
        .group_by("txn_id")
        .agg(
            pl.col("key_group").first(),
            n=pl.len(),
            present=pl.col("bit").sum(),
            open_legs=pl.col("bit").filter(pl.col("status") == Status.PENDING).sum(),
            amount_low=pl.col("amount_minor").min(),
            amount_minor=pl.col("amount_minor").max(),
            currency_low=pl.col("currency").to_physical().min(),
            currency_high=pl.col("currency").to_physical().max(),
            status_low=pl.col("status").min(),
            status_high=pl.col("status").max(),
            event_time_low=pl.col("event_time").min(),
            event_time_high=pl.col("event_time").max(),
            first_arrival=pl.col("arrival").min(),
            last_arrival=pl.col("arrival").max(),
            currency=pl.col("rank").max(),
            legs=pl.col("leg"),
            event_seqs=pl.col("seq"),
            **carried,
            **beside,
        )
        .with_columns(
            pl.col("legs").list.join(LEG_SEPARATOR),
            (pl.col("currency") % _CURRENCIES).cast(pl.UInt8).cat.to(CURRENCY),
        )
    )


def _special(events: pl.DataFrame, basis: _Basis, beside: Mapping[str, pl.Expr]) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Totals and legs of transactions with several events of a source, optional sources, or late arrivals."""
    distinct, _ = drop_redeliveries(events, basis.rows)
    ranked = collected(distinct.lazy().sort("txn_id", "source", *_LEG_ORDER).with_row_index("rank"))
    superseded = _superseded(ranked, basis.rows)
    pairs = (
        ranked.lazy()
        .filter(~superseded)
        .with_columns(
            same_source=(
                (pl.col("txn_id") == pl.col("txn_id").shift(1)) & (pl.col("source") == pl.col("source").shift(1))
            ).fill_null(value=False),
            is_leg=(
                (pl.col("txn_id") != pl.col("txn_id").shift(-1)) | (pl.col("source") != pl.col("source").shift(-1))
            ).fill_null(value=True),
        )
        .with_columns(
            same_money=(pl.col("amount_minor") == pl.col("amount_minor").shift(1))
            & (pl.col("currency") == pl.col("currency").shift(1)),
            same_status=pl.col("status") == pl.col("status").shift(1),
            progress=is_progress(pl.col("status").shift(1), pl.col("status")),
        )
    )
    duplicate = pl.col("same_source") & pl.col("same_money") & pl.col("same_status")
    update = pl.col("same_source") & pl.col("same_money") & pl.col("progress")
    kinds = collected(pairs.with_columns(duplicate=duplicate, conflict=pl.col("same_source") & ~duplicate & ~update))
    legs = collected(kinds.lazy().filter("is_leg").select(events.columns))
    if superseded.any():
        # A state that was replaced is no event of its own any more, and yet what it made of the transaction is history.
        replaced = ranked.filter(superseded).with_columns(duplicate=pl.lit(value=False), conflict=pl.lit(value=False))
        kinds = pl.concat([kinds, replaced], how="diagonal")
    history = (
        kinds.lazy()
        .sort("txn_id", *_LOG_ORDER)
        .with_columns(
            position=pl.int_range(pl.len(), dtype=pl.Int32).over("txn_id"),
            closes_at=pl.col("arrival").min().over("txn_id") + basis.rules.match_window_ms,
        )
    )
    is_late = pl.col("arrival") > pl.col("closes_at")
    history = history.with_columns(complete=_complete_prefixes(basis.sources, basis.expected), is_late=is_late)
    if superseded.any():
        history = _with_states_followed(history, ranked.filter(superseded)["txn_id"], basis).lazy()
    in_time = pl.col("complete") & ~pl.col("is_late")
    late_bits = [
        ((pl.col("source") == index) & pl.col("is_late")).any().cast(pl.Int32) * (1 << index)
        for index in range(len(basis.sources))
    ]
    story = (
        history.group_by("txn_id")
        .agg(
            conflict=pl.col("conflict").any(),
            duplicate=pl.col("duplicate").any(),
            prefix_decided=pl.col("complete").any(),
            late=pl.sum_horizontal(late_bits),
            late_events=pl.col("is_late").sum().cast(pl.Int32),
            after_decision=(pl.len().cast(pl.Int32) - 1 - pl.col("position").filter(in_time).min()),
            first_arrival=pl.col("arrival").min(),
            last_arrival=pl.col("arrival").max(),
            event_seqs=pl.col("seq"),
        )
        .with_columns(revision=1 + pl.coalesce("after_decision", "late_events"))
    )
    totals = (
        _totals(legs.lazy(), beside=beside).drop("first_arrival", "last_arrival", "event_seqs").join(story, on="txn_id")
    )
    return totals.drop("late_events", "after_decision"), legs


def _superseded(events: pl.DataFrame, rows: Collection[int]) -> pl.Series:
    """Boolean, a value for each event: whether it is a state of a row that a later state has replaced."""
    if not rows:
        return pl.repeat(value=False, n=len(events), dtype=pl.Boolean, eager=True)
    newest = (
        events.lazy()
        .with_row_index("place")
        .sort(*_ARRIVAL_ORDER)
        .filter(pl.struct(*_EVENT).is_last_distinct() | ~pl.col("source").is_in(list(rows)))
        .collect()["place"]
    )
    return ~pl.int_range(len(events), dtype=pl.UInt32, eager=True).is_in(newest.implode())


def _with_states_followed(history: pl.LazyFrame, txn_ids: pl.Series, basis: _Basis) -> pl.DataFrame:
    """The history with `complete` worked out again for these transactions, in which states of rows were replaced.

    The leg of a source is no running maximum there: a new state may have an earlier time than the one that it replaces.
    Such transactions are few, so their events are gone through one by one.
    """
    followed = collected(history)
    concerned = followed["txn_id"].is_in(txn_ids.unique().implode())
    complete = followed["complete"].to_list()
    columns = ["txn_id", "source", "event_id", "rank", "status"]
    legs: dict[int, dict[str, tuple[int, bool]]] = {}  # by source and row, or event: rank, and whether it is terminal
    current = None
    for place, (txn_id, source, event_id, rank, status) in zip(
        concerned.arg_true(), followed.filter(concerned).select(columns).iter_rows(), strict=True
    ):
        if txn_id != current:
            current, legs = txn_id, {}
        seen, held = legs.setdefault(source, {}), (rank, status != Status.PENDING)
        if source in basis.rows:
            seen[event_id] = held
        else:
            seen[""] = max(seen.get("", held), held)
        complete[place] = all(
            source in legs for source in range(len(basis.sources)) if basis.expected >> source & 1
        ) and all(max(states.values())[1] for states in legs.values())
    return followed.with_columns(complete=pl.Series(complete, dtype=pl.Boolean))


def _complete_prefixes(sources: Sequence[SourceSpec], expected: int) -> pl.Expr:
    """Whether the events up to each row, in log order, make the transaction complete.

    Per source the running maximum of rank says which event is the leg so far; its lowest bit carries whether that leg
    is terminal. A source without a leg so far has -1.
    """
    coded = pl.col("rank").cast(pl.Int64) * 2 + (pl.col("status") != Status.PENDING).cast(pl.Int64)
    complete = pl.lit(value=True)
    for index in range(len(sources)):
        leg = pl.when(pl.col("source") == index).then(coded).otherwise(-1).cum_max().over("txn_id")
        settled = leg % 2 == 1
        complete &= (leg >= 0) & settled if expected >> index & 1 else (leg < 0) | settled
    return complete


def _judge(
    totals: pl.LazyFrame, legs: pl.DataFrame, basis: _Basis, watermarks: Sequence[int], carried: Sequence[str]
) -> pl.DataFrame:
    """Breaks, decision and verdict from per-transaction totals; columns named in `carried` are passed on."""
    rules, expected, compared = basis.rules, basis.expected, basis.compared
    apart = _apart(basis.calendars())
    closes_at = pl.col("first_arrival") + rules.match_window_ms
    if not _tolerates_nothing(rules):
        totals = _with_allowed_spread(collected(totals), legs, rules).lazy()
    allowed = pl.lit(0, pl.Int64) if _tolerates_nothing(rules) else pl.col("allowed")
    closed = pl.lit(value=True)
    for index, watermark in enumerate(watermarks):
        closed &= (pl.col("waits") & (1 << index) == 0) | (pl.col("closes_at") < watermark)
    final = pl.col("prefix_decided") | closed
    conditions = {
        Break.CONFLICT: pl.col("conflict"),
        Break.DUPLICATE: pl.col("duplicate"),
        Break.AMOUNT: pl.col("spread_minor") > pl.col("allowed"),
        Break.CURRENCY: pl.col("currency_low") != pl.col("currency_high"),
        # An open leg is expected to move on, so before the decision it is no disagreement yet.
        Break.STATUS: (pl.col("status_low") != pl.col("status_high"))
        & (pl.col("final") | (pl.col("status_low") != Status.PENDING)),
        Break.TIMESTAMP: apart > rules.time_tolerance_ms,
        Break.ATTRIBUTE: pl.any_horizontal(pl.lit(value=False), *(f"differs:{name}" for name in compared)),
        Break.MISSING: (pl.col("missing") != 0) & pl.col("final"),
    }
    shown = pl.col("final") | (pl.col("n") >= 2)
    breaks = pl.sum_horizontal(condition.cast(pl.Int16) * kind.mask for kind, condition in conditions.items())
    verdict = (
        pl.when(~pl.col("final"))
        .then(Verdict.PENDING.value)
        .when(pl.col("breaks") == 0)
        .then(Verdict.MATCHED.value)
        .otherwise(Verdict.MISMATCHED.value)
    )
    return collected(
        totals.with_columns(
            missing=pl.lit(expected, pl.Int32) & ~pl.col("present"),
            spread_minor=pl.col("amount_minor") - pl.col("amount_low"),
            closes_at=closes_at,
            allowed=allowed,
        )
        .with_columns(waits=pl.col("missing") | pl.col("open_legs"))
        .with_columns(final=final)
        .with_columns(breaks=pl.when(shown).then(breaks).otherwise(0))
        .with_columns(
            verdict=verdict,
            revision=pl.when(pl.col("final")).then(pl.col("revision")).otherwise(0),
            missing=pl.when(pl.col("final")).then(pl.col("missing")).otherwise(0),
            rules_version=pl.lit(rules.version, pl.Int32),
        )
        .select(*(pl.col(name).cast(dtype) for name, dtype in RESULT_SCHEMA.items()), *_names_of(basis), *carried)
    )


def _differing(compared: Sequence[str]) -> dict[str, pl.Expr]:
    """Whether the legs that tell an attribute tell different things, for each compared attribute."""
    found: dict[str, pl.Expr] = {}
    for name in compared:
        told = pl.col(f"attribute:{name}")
        found[f"differs:{name}"] = (told.min() != told.max()).fill_null(value=False)
    return found


def _names_of(basis: _Basis) -> list[pl.Expr]:
    """The column `differing`, where it is asked for: names of the attributes that differ, if a result shows that."""
    if not basis.named:
        return []
    shown = pl.col("breaks") & Break.ATTRIBUTE.mask != 0
    names = [pl.when(shown & pl.col(f"differs:{name}")).then(pl.lit(name)) for name in basis.compared]
    listed = pl.concat_list(names).list.drop_nulls() if names else pl.lit([], pl.List(pl.String))
    return [listed.alias("differing")]


def _calendar_columns(calendars: Mapping[str, Sequence[int]]) -> dict[str, pl.Expr]:
    """What the comparison of times needs of the legs, where some are days: ranges of times and days."""
    if not calendars:
        return {}
    is_day = pl.col("source").is_in([index for indexes in calendars.values() for index in indexes])
    timed = pl.col("event_time").filter(~is_day)
    columns = {"timed_low": timed.min(), "timed_high": timed.max()}
    for zone, indexes in calendars.items():
        days = _days(pl.col("event_time"), zone)
        here = pl.col("source").is_in(indexes)
        columns |= {
            f"days_low:{zone}": days.filter(here).min(),
            f"days_high:{zone}": days.filter(here).max(),
            f"timed_days_low:{zone}": days.filter(~is_day).min(),
            f"timed_days_high:{zone}": days.filter(~is_day).max(),
        }
    return columns


def _apart(calendars: Mapping[str, Sequence[int]]) -> pl.Expr:
    """How far apart the times of a transaction's legs are at most, in ms.

    Two times: the time between them. A day and a time, or two days: the days between the two dates, the time's date
    being that in the day's own zone. So a booking date agrees with every moment of its day.
    """
    if not calendars:
        return pl.col("event_time_high") - pl.col("event_time_low")
    days = [
        difference
        for zone in calendars
        for difference in (
            pl.col(f"days_high:{zone}") - pl.col(f"timed_days_low:{zone}"),
            pl.col(f"timed_days_high:{zone}") - pl.col(f"days_low:{zone}"),
        )
    ]
    highest = pl.max_horizontal(f"days_high:{zone}" for zone in calendars)
    lowest = pl.min_horizontal(f"days_low:{zone}" for zone in calendars)
    return pl.max_horizontal(
        pl.col("timed_high") - pl.col("timed_low"), *(one * _DAY_MS for one in (*days, highest - lowest))
    ).fill_null(0)


def _days(time_ms: pl.Expr, zone: str) -> pl.Expr:
    """Days since 1970 of a time's date in a zone (a name of the IANA database, or an offset as +05:30)."""
    if zone[0] in "+-":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) // timedelta(milliseconds=1)
        return (time_ms + (offset if zone[0] == "+" else -offset)).floordiv(_DAY_MS)
    local = pl.from_epoch(time_ms, time_unit="ms").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return local.dt.date().cast(pl.Int32).cast(pl.Int64)


def _tolerates_nothing(rules: RuleSet) -> bool:
    return not rules.tolerances and rules.default_tolerance.absolute_minor == rules.default_tolerance.bps == 0


def _with_allowed_spread(totals: pl.DataFrame, legs: pl.DataFrame, rules: RuleSet) -> pl.DataFrame:
    """Add `allowed`, the largest spread that still agrees, in minor units: the strictest of the legs' currencies."""
    sizes = totals.lazy().select("txn_id", size=pl.max_horizontal(pl.col("amount_minor"), -pl.col("amount_low")))
    strictest = (
        legs.lazy()
        .select("txn_id", "currency")
        .join(sizes, on="txn_id")
        .join(tolerances_of(rules).lazy(), on="currency")
        .group_by("txn_id")
        .agg(allowed=allowed_difference().min())
    )
    return collected(totals.lazy().join(strictest, on="txn_id", how="left"))


def tolerances_of(rules: RuleSet) -> pl.DataFrame:
    """`absolute_minor` and `bps` of every currency."""
    names = CURRENCY.categories
    return pl.DataFrame(
        {
            "currency": names,
            "absolute_minor": [rules.tolerance(name).absolute_minor for name in names],
            "bps": [rules.tolerance(name).bps for name in names],
        },
        schema={"currency": CURRENCY, "absolute_minor": pl.Int64, "bps": pl.Int64},
    )


def allowed_difference() -> pl.Expr:
    """What amounts may differ by, in minor units: by the columns of `tolerances_of` and `size`, the largest amount."""
    size = pl.col("size")
    # floor(size * bps / 10,000) without the product overflowing 64 bits
    relative = size // 10_000 * pl.col("bps") + size % 10_000 * pl.col("bps") // 10_000
    return pl.max_horizontal(pl.col("absolute_minor"), relative)


def is_progress(before: pl.Expr, after: pl.Expr) -> pl.Expr:
    """Whether a status moves on as it may: PENDING to any other, SUCCESS to REVERSED."""
    return ((before == Status.PENDING) & (after != Status.PENDING)) | (
        (before == Status.SUCCESS) & (after == Status.REVERSED)
    )
