"""A record of the log as Kafka gave it, and the two ways in which it may be no event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import DeadLetterReason


class Refused(Exception):  # noqa: N818 - a verdict on a record, not an error of ours
    """The record is no acceptable event, so it must be set aside."""

    def __init__(self, reason: DeadLetterReason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


class Skipped(Exception):  # noqa: N818 - a verdict on a record, not an error of ours
    """The record is neither an event nor a mistake: nobody is to hear of it."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record. `offset` is the ledger's, `arrival` the broker's stamp in ms since 1970."""

    topic: str
    partition: int
    offset: int
    arrival: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()

    def header(self, name: str) -> bytes | None:
        """The last header of this name."""
        found = None
        for other, content in self.headers:
            if other == name:
                found = content
        return found
