"""What the service needs from elsewhere in recon, filled in by `cluster.serve_app`: the core's judgement, the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from schemas.events import SourceSpec
from schemas.headers import Headers
from schemas.rules import RuleSet

# Columns of the events that a judge takes; times are ms since 1970, amounts minor units, source an id, status a number
# of schemas.events.Status.
JUDGED_COLUMNS = (
    "key_group",
    "seq",
    "txn_id",
    "source",
    "event_id",
    "amount_minor",
    "currency",
    "status",
    "event_time",
    "arrival",
    "partition",
    "offset",
)


class Judge(Protocol):
    """The engine's own rule over closed history."""

    def __call__(self, events: pl.DataFrame, rules: RuleSet, sources: Sequence[SourceSpec]) -> pl.DataFrame:
        """One row per transaction: txn_id, verdict, breaks (numbers and masks of schemas.verdicts), spread_minor."""
        ...


class Republisher(Protocol):
    """Appends a record to a topic."""

    async def __call__(self, topic: str, key: bytes | None, payload: bytes, headers: Headers = ()) -> tuple[int, int]:
        """Partition and offset of the new record. Raises UnavailableError when Kafka does not take it."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the pipeline would set a record aside: a schemas.errors.DeadLetterReason, and what a person should read."""

    reason: str
    detail: str


class Examiner(Protocol):
    """Judges a record as the pipeline would if it arrived now."""

    async def __call__(
        self, topic: str, payload: bytes | None, key: bytes | None = None, headers: Headers = ()
    ) -> Refusal | None:
        """None when it would be accepted. Raises UnavailableError when that cannot be told now."""
        ...


class Decoder(Protocol):
    """Reads the payload of a dead letter as far as the current schema goes."""

    def __call__(self, payload: bytes) -> dict[str, str | int | None]:
        """The decoded fields. Raises ValueError saying what is wrong."""
        ...
