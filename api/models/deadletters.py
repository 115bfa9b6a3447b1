"""Dead letters: records that could not be read as events."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.models.common import Millis, Page, Shape

DeadLetterState = Literal["new", "replayed", "dismissed"]


class DeadLetterRow(Shape):
    """A record that was set aside."""

    id: str = Field(description="`topic:partition:offset`.")
    topic: str
    kafka_partition: int
    kafka_offset: int
    arrival: Millis
    reason: str
    detail: str
    size_bytes: int
    state: DeadLetterState
    state_changed_at: Millis | None
    state_changed_by: str | None


class DeadLetterPage(Page):
    """Dead letters, newest first."""

    items: list[DeadLetterRow]


class LetterRefusal(Shape):
    """Why a record is no acceptable event."""

    reason: str
    detail: str


class DeadLetterDetail(Shape):
    """One record with its bytes."""

    letter: DeadLetterRow
    key_hex: str | None
    payload_hex: str = Field(description="The first 64 KiB.")
    payload_truncated: bool
    schema_id: int | None = Field(description="From the framing, when the record is framed.")
    decoded: dict[str, str | int | None] | None = Field(description="What the current schema makes of it, if anything.")
    decode_problem: str | None
    refusal: LetterRefusal | None = Field(
        description="Why the pipeline would set it aside again if it arrived now; null when it would accept it, or "
        "when that is not known. A replay is refused for the same reason."
    )
    examined: bool = Field(description="Whether that is known: false while the schema registry does not answer.")


class ReplayResult(Shape):
    """Where the replayed record went."""

    letter: DeadLetterRow
    topic: str
    partition: int
    offset: int
