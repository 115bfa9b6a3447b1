"""Numbers of binary encodings as exact decimals."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

import numpy as np

DECIMAL_BYTES_MAX: Final = 1024
"""The longest unscaled number of a decimal, in bytes."""

DECIMAL_SCALE_MAX: Final = 400
"""The largest scale of a decimal, in digits and either direction."""

VARIABLE_DECIMAL_NAME: Final = "io.debezium.data.VariableScaleDecimal"
"""Debezium's record of `scale` and `value`, for columns whose decimals have no scale in common."""


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
