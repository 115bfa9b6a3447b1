"""What the contract says about one transaction, written so that it can be checked by reading. Pure.

Rules, in the order in which they are applied:

1. Of events with the same (source, event_id) and the same content (amount, currency, status, event_time, attributes)
   the first by (arrival, partition, offset) counts; the rest are redeliveries. The same event_id with other content is
   another event. Of a source of rows the events of one event_id are states of a row: one with the content of the state
   directly before it is a redelivery, one with other content replaces that state.
2. The window opens at the first arrival a0 and closes at a0 + match_window. The rules are those in force at a0.
3. A source's leg is its latest event by (event_time, arrival, offset, partition), of a source of rows the latest among
   the newest states of its rows. From each event of a source to the next (of a source of rows, each newest state): a
   legal progress of status with the same amount and currency is an update, the same status with the same amount and
   currency is DUPLICATE, everything else is CONFLICT.
4. A transaction is complete when every expected source has a leg and no leg is PENDING. It is decided by the first
   event that completes it within the window, else by the close of the window.
5. The close is known once the watermark of every source still waited for is beyond it.
6. Events after the decision make one revision each. An event that arrives after the close marks its source late.
7. Breaks are found over the legs; MISSING only once the transaction is final. Of the times of a source with a calendar
   only the day counts: between it and a time, or another day, there are the days between the two dates.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.events import SourceSpec, Status
from schemas.rules import Rulebook, RuleSet
from schemas.verdicts import FIELD_SEPARATOR, LEG_SEPARATOR, STATUS_LETTERS, Break, Verdict

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    account_id: str | None
    original_txn_id: str | None
    arrival: int
    partition: int
    offset: int
    attributes: Mapping[str, str] = field(default_factory=dict)  # without those that are empty
    redelivery: bool = False
    stored_seq: int = 0  # where the ledger keeps it, filled in by the comparison; 0: not found

    @property
    def stored_attributes(self) -> str | None:
        """The attributes as the ledger keeps them: compact JSON with sorted names, None where there are none."""
        if not self.attributes:
            return None
        return json.dumps(self.attributes, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


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


def _content(event: Seen) -> tuple[int, str, Status, int, str | None]:
    return event.amount_minor, event.currency, event.status, event.event_time, event.stored_attributes


def mark_redeliveries(events: Iterable[Seen], rows: Collection[int] = ()) -> list[Seen]:
    """Set `redelivery` on every event; return the distinct ones in order of arrival (rule 1).

    `rows` are the sources whose events are states of rows.
    """
    told: dict[tuple[int, str], set[object]] = {}  # by source and event_id; of a row only its newest state
    distinct = []
    for event in sorted(events, key=_arrival_order):
        before = told.setdefault((event.source, event.event_id), set())
        content = _content(event)
        event.redelivery = content in before
        if not event.redelivery:
            if event.source in rows:
                before.clear()
            before.add(content)
            distinct.append(event)
    return distinct


class _Standing:
    """The events of one source that count at a moment, and its leg then (rules 1 and 3)."""

    def __init__(self, *, is_rows: bool) -> None:
        self._is_rows = is_rows
        self._rows: dict[str, Seen] = {}  # of a source of rows, by event_id the newest state
        self._events: list[Seen] = []
        self.leg: Seen | None = None

    def take(self, event: Seen) -> None:
        """Let one more event arrive."""
        if self._is_rows:
            self._rows[event.event_id] = event
            self.leg = max(self._rows.values(), key=_own_order)
        else:
            self._events.append(event)
            self.leg = event if self.leg is None else max(self.leg, event, key=_own_order)

    @property
    def events(self) -> list[Seen]:
        """All that count, in their own order."""
        return sorted(self._rows.values() if self._is_rows else self._events, key=_own_order)


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


def _leg_breaks(legs: Sequence[Seen], rules: RuleSet, sources: Sequence[SourceSpec]) -> set[Break]:
    """AMOUNT, CURRENCY, STATUS, TIMESTAMP and ATTRIBUTE among the legs (rule 7)."""
    found = set()
    amounts = [leg.amount_minor for leg in legs]
    largest = max(abs(amount) for amount in amounts)
    allowed = min(rules.tolerance(leg.currency).allowed_minor(largest) for leg in legs)
    if max(amounts) - min(amounts) > allowed:
        found.add(Break.AMOUNT)
    if len({leg.currency for leg in legs}) > 1:
        found.add(Break.CURRENCY)
    if len({leg.status for leg in legs}) > 1:
        found.add(Break.STATUS)
    zones = {index: rules.calendars.get(source.name) for index, source in enumerate(sources)}
    for one, other in itertools.combinations(legs, 2):
        if _apart_ms(one, zones[one.source], other, zones[other.source]) > rules.time_tolerance_ms:
            found.add(Break.TIMESTAMP)
    for name in rules.compared_attributes:
        if len({leg.attributes[name] for leg in legs if name in leg.attributes}) > 1:
            found.add(Break.ATTRIBUTE)
    return found


def _apart_ms(one: Seen, one_zone: str | None, other: Seen, other_zone: str | None) -> int:
    """How far apart two times are. A zone says that of that time only the day counts, as it is there."""
    if one_zone is None and other_zone is None:
        return abs(one.event_time - other.event_time)
    # A moment has the date that it has in the zone of the day that it is compared with.
    first = _date(one.event_time, one_zone or other_zone)
    second = _date(other.event_time, other_zone or one_zone)
    return abs(first - second) // timedelta(milliseconds=1)


def _date(time_ms: int, zone: str | None) -> date:
    """The date of a moment in a zone, which is a name of the IANA database, or an offset as +05:30."""
    moment = EPOCH + timedelta(milliseconds=time_ms)
    if zone is None or zone[0] not in "+-":
        return moment.astimezone(ZoneInfo(zone or "UTC")).date()
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return (moment + ahead if zone[0] == "+" else moment - ahead).date()


def judge(
    events: Iterable[Seen], rulebook: Rulebook, sources: Sequence[SourceSpec], watermarks: Sequence[int]
) -> Judgement:
    """Judge one transaction from all its events (at least one). `watermarks` gives ms per source id.

    Marks redeliveries on the events it is given.
    """
    names = rulebook.row_sources
    rows = frozenset(index for index, source in enumerate(sources) if source.name in names)
    distinct = mark_redeliveries(events, rows)
    first = distinct[0]
    rules = rulebook.at(first.arrival)
    expected = _expected_ids(rules, sources)
    close = first.arrival + rules.match_window_ms

    # Replay the arrivals: legs as they stood after each, and the first moment at which they were complete (rule 4).
    legs: dict[int, Seen] = {}
    standing = {index: _Standing(is_rows=index in rows) for index in range(len(sources))}
    decided_after: int | None = None  # number of events up to and including the one that decided
    ever_complete = False
    for count, event in enumerate(distinct, start=1):
        of_source = standing[event.source]
        of_source.take(event)
        legs[event.source] = of_source.leg or event
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
    found = _leg_breaks(ordered, rules, sources)
    for source in legs:
        found |= _history_breaks(standing[source].events)
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
        breaks=tuple(kind for kind in Break if kind in found),
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
