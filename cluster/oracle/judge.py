"""What the contract says about one transaction, written so that it can be checked by reading. Pure.

Rules, in the order in which they are applied:

1. Of events with the same (source, event_id) and the same content (amount, currency, status, event_time) the first by
   (arrival, partition, offset) counts; the rest are redeliveries. The same event_id with other content is another
   event.
2. The window opens at the first arrival a0 and closes at a0 + match_window. The rules are those in force at a0.
3. A source's leg is its latest event by (event_time, arrival, offset, partition). From each event of a source to the
   next: a legal progress of status with the same amount and currency is an update, the same status with the same amount
   and currency is DUPLICATE, everything else is CONFLICT.
4. A transaction is complete when every expected source has a leg and no leg is PENDING. It is decided by the first
   event that completes it within the window, else by the close of the window.
5. The close is known once the watermark of every source still waited for is beyond it.
6. Events after the decision make one revision each. An event that arrives after the close marks its source late.
7. Breaks are found over the legs; MISSING only once the transaction is final.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.events import SourceSpec, Status
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import FIELD_SEPARATOR, LEG_SEPARATOR, STATUS_LETTERS, Break, Verdict

PROGRESS: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.PENDING, Status.SUCCESS),
        (Status.PENDING, Status.FAILED),
        (Status.PENDING, Status.REVERSED),
        (Status.SUCCESS, Status.REVERSED),
    }
)


@dataclass(slots=True)
class Seen:
    """One accepted record of the log. Times in ms since 1970; `source` is the position in the configured tuple."""

    source: int
    event_id: str
    txn_id: str
    amount_minor: int
    currency: str
    status: Status
    event_time: int
    account_id: str
    original_txn_id: str | None
    arrival: int
    partition: int
    offset: int
    redelivery: bool = False
    stored_seq: int = 0  # where the ledger keeps it, filled in by the comparison; 0: not found


@dataclass(frozen=True, slots=True)
class Judgement:
    """What must be true of a transaction. Sets of sources are sorted tuples of their ids."""

    txn_id: str
    verdict: Verdict
    final: bool
    revision: int
    rules_version: int
    breaks: tuple[Break, ...]
    missing: tuple[int, ...]
    late: tuple[int, ...]
    legs: tuple[Seen, ...]  # in order of source
    currency: str
    amount_minor: int
    spread_minor: int
    first_arrival: int
    last_arrival: int
    close: int

    @property
    def packed_legs(self) -> str:
        """The legs in the stored form that `schemas.verdicts` describes."""
        return LEG_SEPARATOR.join(
            FIELD_SEPARATOR.join(
                (
                    str(leg.source),
                    str(leg.amount_minor),
                    leg.currency,
                    STATUS_LETTERS[leg.status],
                    str(leg.event_time),
                )
            )
            for leg in self.legs
        )


def _arrival_order(event: Seen) -> tuple[int, int, int, int]:
    return event.arrival, event.source, event.partition, event.offset


def _own_order(event: Seen) -> tuple[int, int, int, int]:
    return event.event_time, event.arrival, event.offset, event.partition


def mark_redeliveries(events: Iterable[Seen]) -> list[Seen]:
    """Set `redelivery` on every event; return the distinct ones in order of arrival (rule 1)."""
    known: set[tuple[int, str, int, str, Status, int]] = set()
    distinct = []
    for event in sorted(events, key=_arrival_order):
        identity = (
            event.source,
            event.event_id,
            event.amount_minor,
            event.currency,
            event.status,
            event.event_time,
        )
        event.redelivery = identity in known
        if not event.redelivery:
            known.add(identity)
            distinct.append(event)
    return distinct


def _expected_ids(rules: RuleSet, sources: Sequence[SourceSpec]) -> tuple[int, ...]:
    return tuple(index for index, source in enumerate(sources) if source.name in rules.expected_sources)


def _complete(legs: dict[int, Seen], expected: Sequence[int]) -> bool:
    for source in expected:
        if source not in legs:
            return False
    return all(leg.status is not Status.PENDING for leg in legs.values())


def _history_breaks(own: list[Seen]) -> set[Break]:
    """CONFLICT and DUPLICATE among the events of one source, given in their own order (rule 3)."""
    found = set()
    for earlier, later in itertools.pairwise(own):
        same_money = earlier.amount_minor == later.amount_minor and earlier.currency == later.currency
        if same_money and (earlier.status, later.status) in PROGRESS:
            continue
        if same_money and earlier.status is later.status:
            found.add(Break.DUPLICATE)
        else:
            found.add(Break.CONFLICT)
    return found


def _leg_breaks(legs: Sequence[Seen], rules: RuleSet) -> set[Break]:
    """AMOUNT, CURRENCY, STATUS and TIMESTAMP among the legs (rule 7)."""
    found = set()
    amounts = [leg.amount_minor for leg in legs]
    allowed = min(rules.tolerance(leg.currency).allowed_minor(max(amounts)) for leg in legs)
    if max(amounts) - min(amounts) > allowed:
        found.add(Break.AMOUNT)
    if len({leg.currency for leg in legs}) > 1:
        found.add(Break.CURRENCY)
    if len({leg.status for leg in legs}) > 1:
        found.add(Break.STATUS)
    times = [leg.event_time for leg in legs]
    if max(times) - min(times) > rules.time_tolerance_ms:
        found.add(Break.TIMESTAMP)
    return found


def judge(
    events: Iterable[Seen], rulebook: Rulebook, sources: Sequence[SourceSpec], watermarks: Sequence[int]
) -> Judgement:
    """Judge one transaction from all its events (at least one). `watermarks` gives ms per source id.

    Marks redeliveries on the events it is given.
    """
    distinct = mark_redeliveries(events)
    first = distinct[0]
    rules = rulebook.at(first.arrival)
    expected = _expected_ids(rules, sources)
    close = first.arrival + rules.match_window_ms

    # Replay the arrivals: legs as they stood after each, and the first moment at which they were complete (rule 4).
    legs: dict[int, Seen] = {}
    decided_after: int | None = None  # number of events up to and including the one that decided
    ever_complete = False
    for count, event in enumerate(distinct, start=1):
        held = legs.get(event.source)
        if held is None or _own_order(event) > _own_order(held):
            legs[event.source] = event
        if not ever_complete and _complete(legs, expected):
            ever_complete = True
            if event.arrival <= close:
                decided_after = count
    in_time = sum(1 for event in distinct if event.arrival <= close)
    if decided_after is None:
        decided_after = in_time

    waited_for = {source for source in expected if source not in legs}
    waited_for |= {source for source, leg in legs.items() if leg.status is Status.PENDING}
    closed = all(watermarks[source] > close for source in waited_for)
    final = ever_complete or closed

    ordered = tuple(legs[source] for source in sorted(legs))
    found = _leg_breaks(ordered, rules)
    for source in legs:
        own = sorted((event for event in distinct if event.source == source), key=_own_order)
        found |= _history_breaks(own)
    missing = tuple(source for source in expected if source not in legs) if final else ()
    if missing:
        found.add(Break.MISSING)
    if not final:
        verdict = Verdict.PENDING
    elif found:
        verdict = Verdict.MISMATCHED
    else:
        verdict = Verdict.MATCHED

    amounts = [leg.amount_minor for leg in ordered]
    return Judgement(
        txn_id=first.txn_id,
        verdict=verdict,
        final=final,
        revision=1 + len(distinct) - decided_after if final else 0,
        rules_version=rules.version,
        breaks=tuple(sorted(found)),
        missing=missing,
        late=tuple(sorted({event.source for event in distinct if event.arrival > close})),
        legs=ordered,
        currency=next(leg.currency for leg in ordered if leg.amount_minor == max(amounts)),
        amount_minor=max(amounts),
        spread_minor=max(amounts) - min(amounts),
        first_arrival=first.arrival,
        last_arrival=distinct[-1].arrival,
        close=close,
    )
