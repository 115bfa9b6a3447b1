"""Transactions: rows of the list, and one transaction in full."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.models.common import (
    AmountOrder,
    BreakName,
    Millis,
    Minor,
    Page,
    SeverityName,
    Shape,
    StatusName,
    VerdictName,
)

TransactionSort = Literal[
    "-decided_at", "decided_at", "-amount_minor", "amount_minor", "-spread_minor", "spread_minor", "txn_id"
]


LegField = Literal["amount_minor", "currency", "status", "event_time"]


class Leg(Shape):
    """What one source says of a transaction."""

    amount_minor: Minor
    currency: str
    status: StatusName
    event_time: Millis = Field(description="By the source's own clock.")


class TransactionRow(Shape):
    """A transaction as listed; the live feed sends the same fields."""

    txn_id: str
    revision: int = Field(description="Rises by one whenever the result changes.")
    verdict: VerdictName
    final: bool = Field(description="False while the match window is open: the breaks are provisional.")
    breaks: list[BreakName] = Field(description="In order of precedence.")
    missing_sources: list[str]
    late_sources: list[str]
    sources: list[str] = Field(description="Sources that have spoken.")
    legs: dict[str, Leg] = Field(description="By source.")
    differing: dict[str, list[LegField]] = Field(
        description="By source, the fields of its leg that break: those outside the largest group of sources that "
        "agree within the tolerance of the rules. The same cells are `breaking` in the transaction's differences."
    )
    currency: str
    amount_minor: Minor = Field(description="The largest leg.")
    spread_minor: Minor = Field(description="The largest leg less the smallest.")
    first_arrival: Millis
    last_arrival: Millis
    decided_at: Millis
    rules_version: int
    severity: SeverityName | None = Field(description="Of a mismatch; null otherwise.")
    exception_state: Literal["open", "assigned", "in_review", "resolved"] | None = Field(
        description="Of the exception that a mismatch is; null when there is none."
    )
    assignee: str | None


class TransactionPage(Page):
    """A page of transactions."""

    items: list[TransactionRow]
    amount_order: AmountOrder | None = Field(
        default=None, description="With an order by amount or spread: how currencies were compared."
    )


class CellDifference(Shape):
    """One field of one leg that differs from what the others say."""

    source: str
    field: LegField
    expected: int | str = Field(description="The value most sources report; in a tie, the first source's.")
    actual: int | str
    expected_from: list[str] = Field(description="The sources that report the expected value.")
    difference: int | None = Field(description="actual - expected for amounts (minor units) and times (ms).")
    tolerance: int | None = Field(description="Spread allowed by the rules: minor units for amounts, ms for times.")
    breaking: bool = Field(description="False when the difference is within tolerance, or no break of the verdict.")


class RawEvent(Shape):
    """One event as it was read from the log."""

    seq: int
    source: str
    topic: str
    event_id: str
    amount_minor: Minor
    currency: str
    status: StatusName
    event_time: Millis
    arrival: Millis = Field(description="When the broker took it.")
    account_id: str = Field(description="Masked for viewers.")
    original_txn_id: str | None
    kafka_partition: int
    kafka_offset: int
    redelivery: bool = Field(
        description="The same event_id with the same content was seen before; counted and otherwise ignored."
    )


class Revision(Shape):
    """A result as it was before the next one replaced it; the newest is the result itself."""

    revision: int
    verdict: VerdictName
    final: bool
    breaks: list[BreakName]
    missing_sources: list[str]
    late_sources: list[str]
    legs: dict[str, Leg]
    currency: str
    amount_minor: Minor
    spread_minor: Minor
    rules_version: int
    decided_at: Millis
    replaced_at: Millis | None = Field(description="Null for the result in force.")


class AppliedRules(Shape):
    """The rules that judged a transaction."""

    version: int
    match_window_ms: int
    time_tolerance_ms: int
    amount_tolerance_minor: Minor = Field(description="For this transaction's currency and largest leg.")
    expected_sources: list[str]
    window_closes: Millis = Field(description="First arrival plus the match window.")


class TransactionDetail(Shape):
    """One transaction in full."""

    result: TransactionRow
    differences: list[CellDifference]
    events: list[RawEvent] = Field(description="In order of arrival.")
    revisions: list[Revision] = Field(description="Newest first.")
    rules: AppliedRules
    related: list[str] = Field(description="Transactions that this one's events refer to (reversals, refunds).")
