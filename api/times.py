"""Times between PostgreSQL's timestamps and the API's integers, without a float in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


def millis(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (moment - EPOCH) // _MILLISECOND


def millis_or_none(moment: datetime | None) -> int | None:
    """Milliseconds since 1970, or None."""
    return None if moment is None else millis(moment)


def micros(moment: datetime) -> int:
    """Microseconds since 1970: PostgreSQL's own resolution, so that cursors are exact."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The inverse of `micros`."""
    return EPOCH + timedelta(microseconds=value)


def from_millis(value: int) -> datetime:
    """The moment, UTC."""
    return EPOCH + timedelta(milliseconds=value)


def now() -> datetime:
    """The clock, in one place."""
    return datetime.now(UTC)
