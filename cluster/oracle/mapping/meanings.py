"""What the logical types of Avro and the named types of Kafka Connect mean, as values of a tree.

Timestamps stay numbers in their unit; a mapping says which that is. Sources: Apache Avro 1.12 specification, "Logical
Types"; Kafka Connect's `Decimal`, `Date` and `Time`; Debezium's documentation, "Temporal types" and "Decimal types".
"""

from __future__ import annotations

import struct
from datetime import date, time, timedelta

from cluster.oracle.mapping.values import Day, Number, of_unscaled

UNSCALED_BYTES_MAX = 1_024
SCALE_MAX = 400
DAY_US = 86_400_000_000
EPOCH_DAY = date(1970, 1, 1)


class NoMeaning(ValueError):  # noqa: N818 - a verdict on bytes, not an error of ours
    """A value that its type has no meaning for."""


def decimal(unscaled: bytes, scale: int) -> Number:
    """A decimal: a big-endian two's complement integer, and the number of its digits behind the mark."""
    if not 0 < len(unscaled) <= UNSCALED_BYTES_MAX or abs(scale) > SCALE_MAX:
        raise NoMeaning(f"a decimal of {len(unscaled)} bytes and scale {scale}")
    return of_unscaled(int.from_bytes(unscaled, "big", signed=True), scale)


def day(days: int) -> Day | Number:
    """The date so many days after 1970-01-01; the number where no calendar has it, as PostgreSQL's infinity."""
    try:
        return Day((EPOCH_DAY + timedelta(days=days)).isoformat())
    except OverflowError:
        return Number(str(days))


def time_of_day(count: int, per_ms: int) -> str | Number:
    """The time of day so many units after midnight; the number outside a day, which MySQL allows."""
    us = count * 1_000 // per_ms
    if not 0 <= us < DAY_US:
        return Number(str(count))
    seconds, rest = divmod(us, 1_000_000)
    return time(seconds // 3_600, seconds // 60 % 60, seconds % 60, rest).isoformat()


def duration(raw: bytes) -> str:
    """Months, days and milliseconds as ISO 8601 has them."""
    months, days, ms = struct.unpack("<III", raw)
    return f"P{months}M{days}DT{ms // 1000}.{ms % 1000:03}S"
