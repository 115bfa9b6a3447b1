"""A batch of Kafka messages as columns, and what becomes of each: a value, a reject with its reason, or a skip."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.errors import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire.avro_columns import ColumnTexts

DETAIL_CHARACTERS_MAX = 500
"""The longest text that says why a message was rejected, in characters."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one topic, in order. The sequences have one entry a message, or are empty where nobody needs them.

    `timestamps` are the broker's, in milliseconds since 1970.
    """

    topic: str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] = ()
    headers: Sequence[Sequence[tuple[str, bytes | None]] | None] = ()
    timestamps: Sequence[int] = ()

    def header(self, row: int, name: str) -> bytes | None:
        """The last header of this name, as Kafka's own clients read a repeated one."""
        found = None
        for other, value in (self.headers[row] if self.headers else None) or ():
            if other == name:
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that cannot be read: its index in the batch, why, and what a person should read."""

    row: int
    reason: DeadLetterReason
    detail: str


@dataclass(slots=True)
class Values:
    """Decoded values of a batch, before any mapping.

    Attributes:
        rows: index in the batch of each value, rising.
        values: nested values: mappings, lists, scalars, `Digits` for a JSON number.
        identities: what the envelope says identifies each event; empty without such an envelope.
        operations: what the envelope says happened to the row (`c`, `r`, `u`, `d`); empty without such an envelope.
        blocks: rows whose values came as columns (wire.avro_columns), none of which is in `rows`.
        rejects: messages that cannot be read.
        skipped: messages that carry no event by their nature, by what they are (`tombstone`, `truncate`).
    """

    rows: list[int] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    blocks: list[tuple[list[int], ColumnTexts]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def reject(self, row: int, detail: str, reason: DeadLetterReason = DeadLetterReason.MALFORMED) -> None:
        """Set a message aside."""
        self.rejects.append(Reject(row, reason, detail[:DETAIL_CHARACTERS_MAX]))
