"""The audit trail: entries, chains and what verification found."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.models.common import Body, Millis, Page, Shape


class AuditRow(Shape):
    """One entry of a chain."""

    chain: str
    seq: int
    occurred_at: Millis
    actor: str
    action: str
    object_type: str
    object_id: str
    request_id: str
    source_ip: str
    details: dict[str, Any]
    hash: str = Field(description="Hexadecimal SHA-256.")


class AuditPage(Page):
    """Entries, newest first."""

    items: list[AuditRow]


class AuditList(Shape):
    """The trail of one transaction, newest first."""

    items: list[AuditRow]


class ChainState(Shape):
    """One chain, and how far it has been verified."""

    chain: str
    head_seq: int
    head_hash: str
    anchored_seq: int | None = Field(description="Head as recorded apart from the chain; the chain must reach it.")
    verified_seq: int
    verified_at: Millis | None
    intact: bool | None = Field(description="Null until verified once.")
    problem: str | None


class ChainList(Shape):
    """All chains."""

    items: list[ChainState]


class VerifyRequest(Body):
    """What to verify: everything from the last verified entry on, or from the beginning."""

    from_start: bool = False


class VerifyReport(Shape):
    """What a verification found. Work is bounded by time: call again while `complete` is false."""

    items: list[ChainState]
    entries: int = Field(description="Entries recomputed by this call.")
    complete: bool
    intact: bool
    took_ms: int
