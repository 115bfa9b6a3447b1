"""The exceptions desk: every mismatch is an exception that somebody settles, or that heals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.models.common import (
    TEXT_CHARS_MAX,
    AmountOrder,
    Body,
    BreakName,
    Count,
    CurrencyCode,
    Millis,
    Money,
    Page,
    SeverityName,
    Shape,
    TimeBound,
)
from api.models.transactions import TransactionRow
from schemas.verdicts import Break

BULK_ROWS_MAX = 2_000

ExceptionState = Literal["open", "assigned", "in_review", "resolved"]
ReasonCode = Literal[
    "timing",
    "source_error",
    "duplicate_posting",
    "fee_or_fx",
    "written_off",
    "corrected_at_source",
    "false_alarm",
    "healed",
]
GivenReason = Literal[
    "timing", "source_error", "duplicate_posting", "fee_or_fx", "written_off", "corrected_at_source", "false_alarm"
]
ActionName = Literal["assign", "unassign", "start_review", "resolve", "approve", "reject", "reopen"]
BucketName = Literal["open", "assigned", "in_review", "resolved", "mine", "awaiting_me"]
ExceptionSort = Literal["-decided_at", "decided_at", "-amount_minor", "-updated_at"]


class Comment(Shape):
    """What somebody wrote on an exception."""

    comment_id: int
    author: str
    at: Millis
    text: str


class ExceptionEvent(Shape):
    """One step of an exception's life."""

    at: Millis
    actor: str
    action: str
    state: ExceptionState
    note: str


class ExceptionRow(Shape):
    """An exception as listed."""

    txn_id: str
    state: ExceptionState
    version: int = Field(
        description="0 until somebody touches it. Send it back with every change; a stale one gets 409."
    )
    severity: SeverityName
    assignee: str | None
    proposed_by: str | None = Field(description="Who proposed the resolution that waits for a second person.")
    reason_code: ReasonCode | None
    needs_second_person: bool = Field(description="The amount is above the four-eyes threshold of its currency.")
    resolved_by: str | None
    approved_by: str | None
    updated_at: Millis | None
    comments: int
    transaction: TransactionRow


class ExceptionPage(Page):
    """A page of exceptions."""

    items: list[ExceptionRow]
    amount_order: AmountOrder | None = Field(
        default=None, description="With an order by amount or spread: how currencies were compared."
    )


class ExceptionDetail(Shape):
    """One exception with its history."""

    exception: ExceptionRow
    comments: list[Comment]
    history: list[ExceptionEvent]
    actions: list[ActionName] = Field(description="What the caller may do to it now.")


class ExceptionBuckets(Shape):
    """Counts for the desk's tabs."""

    open: Count
    assigned: int
    in_review: int
    resolved: int
    mine: int
    awaiting_me: int = Field(description="Proposals by others that the caller may approve.")


class ExceptionAction(Body):
    """A change to one exception."""

    action: ActionName
    version: int = Field(ge=0, le=2**31 - 1, description="The version that the change is based on.")
    assignee: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="For `assign`; the caller when left out."
    )
    reason_code: GivenReason | None = Field(default=None, description="For `resolve`.")
    note: Annotated[str, Field(max_length=TEXT_CHARS_MAX)] = ""


class NewComment(Body):
    """A comment to add."""

    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


class ExceptionFilter(Body):
    """Which exceptions; everything left out matches all."""

    bucket: BucketName | None = None
    breaks: list[BreakName] = Field(default_factory=list, max_length=len(Break), description="Any of these kinds.")
    only: bool = Field(
        default=False, description="With `breaks`: leave out what shows another kind beside them, however grave."
    )
    missing_source: Annotated[str, Field(max_length=64)] | None = None
    currency: CurrencyCode | None = None
    severity: SeverityName | None = None
    amount_min: Annotated[int, Field(ge=0, le=10**15)] | None = None
    amount_max: Annotated[int, Field(ge=0, le=10**15)] | None = None
    since: TimeBound | None = None
    until: TimeBound | None = None
    assignee: Annotated[str, Field(max_length=128)] | None = None


class BulkRequest(Body):
    """An action on everything that a filter finds."""

    filter: ExceptionFilter
    action: Literal["assign", "unassign", "start_review", "resolve"]
    assignee: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    reason_code: GivenReason | None = None
    note: Annotated[str, Field(max_length=TEXT_CHARS_MAX)] = ""


class KindCount(Shape):
    """How many exceptions show one kind of break; one that shows several counts for each."""

    kind: BreakName
    count: int


class BulkPreview(Shape):
    """What a bulk action would touch."""

    count: int
    kinds: list[KindCount] = Field(description="In order of precedence.")
    capped: bool = Field(
        description=f"More than {BULK_ROWS_MAX} match: narrow the filter, or act on the first of them."
    )
    at_risk: list[Money]
    second_person: int = Field(description="How many would wait for a second person.")
    token: str = Field(
        description="Pass it to the bulk action; it refuses when what the filter finds has changed since."
    )


class BulkApply(BulkRequest):
    """A bulk action, bound to its preview."""

    token: Annotated[str, Field(min_length=1, max_length=128)]


class BulkResult(Shape):
    """What a bulk action did."""

    changed: int
    awaiting_second_person: int
