"""One function per kind of plant: it bends an honest transaction and returns where that must lead."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from producers.emission import Damage, Emission, Event, Outcome, SetAside
from producers.plan import Plan, Plant
from producers.population import other_currency
from schemas.errors import DeadLetterReason
from schemas.events import AMOUNT_MINOR_MAX, Status
from schemas.verdicts import Break, Verdict

DAY_MS = 86_400_000
AMOUNT_SHIFT_MINOR_MIN = 500  # a planted difference stands clear of any sensible tolerance
AMOUNT_SHIFT_SHARE = (0.05, 0.40)  # of the amount
CLOCK_ERROR_MS = (1_000, 60_000)  # beyond the tolerance

MATCHED = Outcome(Verdict.MATCHED)


@dataclass(slots=True)
class Draft:
    """A transaction being bent: one honest SUCCESS emission per source, and the source that will misbehave."""

    rng: random.Random
    plan: Plan
    emissions: list[Emission]
    victim: int  # index into emissions
    next_event_id: Callable[[str], str]

    @property
    def bad(self) -> Emission:
        """The victim's emission."""
        return self.emissions[self.victim]

    @property
    def event(self) -> Event:
        """The victim's event."""
        return self.bad.event

    def bend(self, **changes: object) -> None:
        """Replace fields of the victim's event."""
        self.emissions[self.victim] = replace(self.bad, event=replace(self.event, **changes))  # type: ignore[arg-type]

    def again(self, emission: Emission, **changes: object) -> Emission:
        """A further event of the same source, a little later by both clocks, under an id of its own."""
        pause = self.rng.randint(1, max(1, self.plan.step_ms)) if self.plan.step_ms else 0
        event = emission.event
        later = replace(event, event_id=self.next_event_id(emission.sender), event_time=event.event_time + pause)
        later = replace(later, **changes)  # type: ignore[arg-type]
        return replace(emission, at_ms=emission.at_ms + pause, event=later)

    def set_aside(self, reason: DeadLetterReason, damage: Damage | None = None, **changes: object) -> SetAside:
        """Add a record that must be set aside, sent together with the honest one."""
        event = replace(self.event, event_id=self.next_event_id(self.bad.sender))
        event = replace(event, **changes)  # type: ignore[arg-type]
        self.emissions.append(replace(self.bad, event=event, damage=damage))
        return SetAside(self.bad.topic, event.txn_id, reason)


Truth = tuple[Outcome, SetAside | None]


def _broken(*breaks: Break) -> Truth:
    return Outcome(Verdict.MISMATCHED, breaks), None


def _shifted(draft: Draft) -> int:
    amount = draft.event.amount_minor
    shift = max(AMOUNT_SHIFT_MINOR_MIN, int(amount * draft.rng.uniform(*AMOUNT_SHIFT_SHARE)))
    return amount + shift


def _amount(draft: Draft) -> Truth:
    draft.bend(amount_minor=_shifted(draft))
    return _broken(Break.AMOUNT)


def _currency(draft: Draft) -> Truth:
    draft.bend(currency=other_currency(draft.rng, draft.event.currency))
    return _broken(Break.CURRENCY)


def _status(draft: Draft) -> Truth:
    draft.bend(status=Status.FAILED)
    return _broken(Break.STATUS)


def _stuck(draft: Draft) -> Truth:
    draft.bend(status=Status.PENDING)
    return _broken(Break.STATUS)


def _timestamp(draft: Draft) -> Truth:
    # The honest legs lie within two steps of each other, so the error is counted from beyond them. It points to the
    # past: a clock that runs ahead by more than a day is refused, which would be another kind of finding.
    error = draft.plan.time_tolerance_ms + 2 * draft.plan.step_ms + draft.rng.randint(*CLOCK_ERROR_MS)
    draft.bend(event_time=draft.event.event_time - error)
    return _broken(Break.TIMESTAMP)


def _missing(draft: Draft) -> Truth:
    sender = draft.bad.sender
    del draft.emissions[draft.victim]
    return Outcome(Verdict.MISMATCHED, (Break.MISSING,), missing=(sender,)), None


def _late(draft: Draft) -> Truth:
    last = max(emission.at_ms for emission in draft.emissions)
    at_ms = last + draft.plan.match_window_ms + draft.plan.late_margin_ms
    draft.emissions[draft.victim] = replace(draft.bad, at_ms=at_ms)
    return Outcome(Verdict.MATCHED, late=(draft.bad.sender,)), None


def _duplicate(draft: Draft) -> Truth:
    draft.emissions.append(draft.again(draft.bad))
    return _broken(Break.DUPLICATE)


def _conflict(draft: Draft) -> Truth:
    # The later of the two is the source's leg, and it disagrees with the others.
    draft.emissions.append(draft.again(draft.bad, amount_minor=_shifted(draft)))
    return _broken(Break.CONFLICT, Break.AMOUNT)


def _redelivery(draft: Draft) -> Truth:
    pause = draft.rng.randint(0, max(1, draft.plan.match_window_ms // 4))
    draft.emissions.append(replace(draft.bad, at_ms=draft.bad.at_ms + pause))
    return replace(MATCHED, redeliveries=1), None


def _update(draft: Draft) -> Truth:
    settled = draft.again(draft.bad)
    draft.bend(status=Status.PENDING)
    draft.emissions.append(settled)
    return MATCHED, None


def _reversal(draft: Draft) -> Truth:
    txn_id = draft.event.txn_id
    draft.emissions += [
        draft.again(emission, status=Status.REVERSED, original_txn_id=txn_id) for emission in draft.emissions
    ]
    return MATCHED, None


def _malformed(draft: Draft) -> Truth:
    damage = draft.rng.choice(
        [Damage.EMPTY, Damage.NO_MAGIC, Damage.TRUNCATED, Damage.TRAILING, Damage.BAD_ENUM],
    )
    framed = damage not in {Damage.EMPTY, Damage.NO_MAGIC}
    reason = DeadLetterReason.MALFORMED if framed else DeadLetterReason.NOT_FRAMED
    return MATCHED, draft.set_aside(reason, damage)


def _unknown_schema(draft: Draft) -> Truth:
    return MATCHED, draft.set_aside(DeadLetterReason.UNKNOWN_SCHEMA, Damage.UNKNOWN_SCHEMA)


def _wrong_source(draft: Draft) -> Truth:
    names = [source.name for source in draft.plan.sources if source.name != draft.bad.sender]
    return MATCHED, draft.set_aside(DeadLetterReason.WRONG_SOURCE, source=draft.rng.choice(names))


def _bad_amount(draft: Draft) -> Truth:
    amount = draft.rng.choice([-draft.event.amount_minor, AMOUNT_MINOR_MAX + 1])
    return MATCHED, draft.set_aside(DeadLetterReason.BAD_AMOUNT, amount_minor=amount)


def _bad_currency(draft: Draft) -> Truth:
    currency = draft.rng.choice(["XXX", "EU", "eur", ""])
    return MATCHED, draft.set_aside(DeadLetterReason.UNKNOWN_CURRENCY, currency=currency)


def _bad_time(draft: Draft) -> Truth:
    event_time = draft.rng.choice([0, draft.event.event_time + 7 * DAY_MS])
    return MATCHED, draft.set_aside(DeadLetterReason.ABSURD_TIME, event_time=event_time)


def _bad_id(draft: Draft) -> Truth:
    return MATCHED, draft.set_aside(DeadLetterReason.BAD_ID, event_id="")


PLANTERS: dict[Plant, Callable[[Draft], Truth]] = {
    Plant.AMOUNT: _amount,
    Plant.CURRENCY: _currency,
    Plant.STATUS: _status,
    Plant.STUCK: _stuck,
    Plant.TIMESTAMP: _timestamp,
    Plant.MISSING: _missing,
    Plant.LATE: _late,
    Plant.DUPLICATE: _duplicate,
    Plant.CONFLICT: _conflict,
    Plant.REDELIVERY: _redelivery,
    Plant.UPDATE: _update,
    Plant.REVERSAL: _reversal,
    Plant.MALFORMED: _malformed,
    Plant.UNKNOWN_SCHEMA: _unknown_schema,
    Plant.WRONG_SOURCE: _wrong_source,
    Plant.BAD_AMOUNT: _bad_amount,
    Plant.BAD_CURRENCY: _bad_currency,
    Plant.BAD_TIME: _bad_time,
    Plant.BAD_ID: _bad_id,
}
