"""What leaves a simulator: one record at a planned moment, and what a planted one must lead to."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from schemas.errors import DeadLetterReason
from schemas.events import Status
from schemas.verdicts import Break, Verdict


class Damage(enum.StrEnum):
    """How a record's bytes are spoilt after encoding."""

    EMPTY = "empty"  # no bytes at all
    NO_MAGIC = "no_magic"  # the first byte is not 0
    TRUNCATED = "truncated"  # the tail is missing
    TRAILING = "trailing"  # something follows the record
    BAD_ENUM = "bad_enum"  # an enum index that the schema does not have
    UNKNOWN_SCHEMA = "unknown_schema"  # framed under an id that nobody registered


@dataclass(frozen=True, slots=True)
class Event:
    """The fields of `recon.TransactionEvent`, times in milliseconds since 1970 UTC."""

    event_id: str
    txn_id: str
    source: str
    amount_minor: int
    currency: str
    status: Status
    event_time: int
    account_id: str
    original_txn_id: str | None = None

    def to_avro(self) -> dict[str, str | int | None]:
        """The record as the Avro writer takes it."""
        return {
            "event_id": self.event_id,
            "txn_id": self.txn_id,
            "source": self.source,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "status": self.status.name,
            "event_time": self.event_time,
            "account_id": self.account_id,
            "original_txn_id": self.original_txn_id,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a transaction must end up, once its windows have closed and everything has been read."""

    verdict: Verdict
    breaks: tuple[Break, ...] = ()
    missing: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    redeliveries: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """The dead letter that a planted record must become; `key` is the record's Kafka key."""

    topic: str
    key: str
    reason: DeadLetterReason


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted break (or legal oddity) and its truth."""

    txn_id: str
    kind: str
    source: str
    outcome: Outcome
    set_aside: SetAside | None = None


@dataclass(frozen=True, slots=True)
class Emission:
    """One record: `sender` publishes it to `topic`, `at_ms` milliseconds after the start of the run."""

    at_ms: int
    sender: str
    topic: str
    event: Event
    damage: Damage | None = None

    @property
    def key(self) -> bytes:
        """The Kafka key: the transaction's id, so that its events of one source stay in order."""
        return self.event.txn_id.encode()


@dataclass(slots=True)
class PlannedTransaction:
    """All records of one transaction in the order in which they leave."""

    txn_id: str
    at_ms: int
    emissions: list[Emission]
    outcome: Outcome
    planted: Planted | None = field(default=None)
