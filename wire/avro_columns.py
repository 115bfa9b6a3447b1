"""Avro as columns: blocks read by polars, for mappings that read by the path.

Where a schema has no block layout (wire.avro_blocks), or a block or a wanted column is of a kind that only the strict
reader knows, nothing is given: the caller reads message by message. A column's text is what `wire.avro_values` and
`wire.records` make of its values, digit by digit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import polars as pl

from wire.avro_blocks import BlockLayout, Column

_SCALE_MAX: Final = 30
"""The most decimals of a column of decimals that is read by the block."""
_DECIMAL_BYTES_MAX: Final = 16
"""The longest decimal that is read by the block, in bytes."""
# Logical types of numbers that become something else than a number.
_MEANINGFUL: Final = frozenset({("int", "date"), ("int", "time-millis"), ("long", "time-micros")})
_KINDS: Final = frozenset({"string", "enum", "boolean", "int", "long"})
_BOOLEANS: Final = {0: "false", -1: "true"}

ColumnTexts = dict[str, tuple[Callable[[], pl.Series], str]]


def columns_of(bodies: list[bytes], layout: BlockLayout, wanted: Collection[str]) -> ColumnTexts | None:
    """By path, the texts of all bodies and what they were, of the wanted paths; None when each must be read by itself.

    `wanted` are paths that `has_columns` of the layout.
    """
    frame = layout.read(bodies)
    if frame is None:
        return None
    found: ColumnTexts = {}
    for path, column in layout.columns.items():
        if column.logical == "decimal" and column.kind == "bytes" and not _are_decimals(frame[path], column.scale):
            return None
        if path in wanted:
            found[path] = _texts(frame[path], column)
    return found


def has_columns(layout: BlockLayout, wanted: Collection[str]) -> bool:
    """Whether all wanted values can be read by the column.

    A path of a record is none: its text would be that of all its fields. Nor are floats, dates and times of day.
    """
    for path in wanted:
        column = layout.columns.get(path)
        if column is None:
            if any(other.startswith(f"{path}.") for other in layout.columns):
                return False
        elif not _has_texts(column):
            return False
    return True


def _has_texts(column: Column) -> bool:
    if column.kind == "bytes":
        return column.logical == "decimal"
    return column.kind in _KINDS and (column.kind, column.logical) not in _MEANINGFUL


def _are_decimals(values: pl.Series, scale: int) -> bool:
    sizes = values.bin.size()
    low, high = sizes.min(), sizes.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return True  # all null
    return low > 0 and high <= _DECIMAL_BYTES_MAX and 0 <= scale <= _SCALE_MAX


def _texts(values: pl.Series, column: Column) -> tuple[Callable[[], pl.Series], str]:
    """The texts of one column, made when they are asked for, and what its values were."""
    match column.kind:
        case "string":
            return (lambda: values), "text"
        case "enum":
            return (lambda: _replaced(values, dict(enumerate(column.symbols)))), "text"
        case "boolean":
            return (lambda: _replaced(values, _BOOLEANS)), "boolean"
        case "bytes":
            return (lambda: _decimals(values, column.scale)), "decimal"
        case _:
            return (lambda: values.cast(pl.String)), "number"


def _replaced(values: pl.Series, meanings: dict[int, str]) -> pl.Series:
    return values.replace_strict(meanings, return_dtype=pl.String)


def _decimals(values: pl.Series, scale: int) -> pl.Series:
    """Two's complement integers with a scale, as plain digits."""
    texts = [None if raw is None else decimal_digits(int.from_bytes(raw, "big", signed=True), scale) for raw in values]
    return pl.Series(values.name, texts, dtype=pl.String)


def decimal_digits(unscaled: int, scale: int) -> str:
    """An integer with so many decimals, written out.

    >>> decimal_digits(-5, 2)
    '-0.05'
    """
    if not scale:
        return str(unscaled)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"
