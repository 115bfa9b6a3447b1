"""What the logical types of binary encodings and of Kafka Connect mean, exactly."""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Final

import numpy as np

DECIMAL_BYTES_MAX: Final = 1024
"""The longest unscaled number of a decimal, in bytes."""

DECIMAL_SCALE_MAX: Final = 400
"""The largest scale of a decimal, in digits and either direction."""

VARIABLE_DECIMAL_NAME: Final = "io.debezium.data.VariableScaleDecimal"
"""Debezium's record of `scale` and `value`, for columns whose decimals have no scale in common."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAY_US: Final = 86_400_000_000


class BadDecimalError(ValueError):
    """Bytes and a scale that are no decimal."""


def exact_decimal(unscaled: bytes, scale: int) -> Decimal:
    """The decimal of a big-endian two's complement integer and its scale, with every digit. Raises BadDecimalError."""
    if not 0 < len(unscaled) <= DECIMAL_BYTES_MAX:
        raise BadDecimalError(f"a decimal of {len(unscaled)} bytes; right are 1 to {DECIMAL_BYTES_MAX}")
    if abs(scale) > DECIMAL_SCALE_MAX:
        raise BadDecimalError(f"a decimal has scale {scale}; at most {DECIMAL_SCALE_MAX}")
    number = int.from_bytes(unscaled, "big", signed=True)
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale))


def exact_float32(value: float) -> Decimal | float:
    """A float of 32 bits by the fewest digits that read back as that float: 0.1, not 0.10000000149011612.

    Infinities and NaN, which no decimal stands for, come back as they are.
    """
    return Decimal(str(np.float32(value)).removesuffix(".0")) if math.isfinite(value) else value


def date_of_days(days: int) -> date | int:
    """The date so many days after 1970-01-01.

    Beyond the years 1 to 9999 the number comes back: PostgreSQL's `infinity` is such a date, and a record that has one
    in a column that nobody reads is a good record.
    """
    return date.fromordinal(_EPOCH_DAY + days) if 0 < _EPOCH_DAY + days <= date.max.toordinal() else days


def time_of_ms(ms: int) -> time | int:
    """The time of day so many milliseconds after midnight; outside a day, which MySQL allows, the number."""
    found = time_of_us(ms * 1000)
    return ms if isinstance(found, int) else found


def time_of_us(us: int) -> time | int:
    """The time of day so many microseconds after midnight; outside a day, which MySQL allows, the number."""
    if not 0 <= us < _DAY_US:
        return us
    seconds, rest = divmod(us, 1_000_000)
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60, rest)
