"""Decoded records as plain trees, and the text of what stands at a path.

A tree is made of None, bool, str, bytes, Number, list and dict. A number is kept as the digits of the record, so none
passes through a float.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

STEP = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


@dataclass(frozen=True, slots=True)
class Number:
    """A number, by its text."""

    text: str


class Day(str):
    """A date or a time as ISO 8601 writes it, which the record has as such: no format says how to read it."""

    __slots__ = ()


def of_float(value: float) -> Number:
    """A binary floating-point number by the shortest text that reads back as itself, without an exponent."""
    text = repr(value)
    if "n" in text:  # nan, inf
        return Number(text)
    if "e" in text:
        text = format(Decimal(text), "f")
    return Number(text.removesuffix(".0"))


def of_float32(value: float) -> Number:
    """A number of 32 bits by the fewest digits that are still that number: 0.1, not 0.10000000149."""
    if not math.isfinite(value):
        return Number(repr(value))
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    return Number(format(Decimal(next(text for text in texts if _float32(text) == value)), "f"))


def _float32(text: str) -> float | None:
    """The number of 32 bits nearest to a text; None beyond the largest."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", float(text)))[0])
    except OverflowError:
        return None


def of_unscaled(unscaled: int, scale: int) -> Number:
    """A decimal given as an integer and the number of its digits behind the mark."""
    if scale <= 0:
        return Number(str(unscaled * 10**-scale))
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    return Number(("-" if unscaled < 0 else "") + digits[:-scale] + "." + digits[-scale:])


def steps(path: str) -> list[str | int] | None:
    """The steps of a dotted path, `[n]` as a number; None for what is no path.

    >>> steps("data.legs[0].amount")
    ['data', 'legs', 0, 'amount']
    """
    found: list[str | int] = []
    at = 0
    while at < len(path):
        if found and path[at] == ".":
            at += 1
            name = STEP.match(path, at)
            if name is None or name[1] is None:
                return None
        elif found and path[at] != "[":
            return None
        step = STEP.match(path, at)
        if step is None or (step[1] is None and not found):
            return None
        found.append(step[1] if step[1] is not None else int(step[2]))
        at = step.end()
    return found or None


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file as it was ingested: what stood at each path that was read then."""

    values: dict[str, str]
    kinds: dict[str, str | None]

    def at(self, path: str) -> str | Number | None:
        """What stood at a path."""
        text, kind = self.values.get(path), self.kinds.get(path)
        if text is None:
            return None
        if kind in {"number", "decimal"}:
            return Number(text)
        return Day(text) if kind in {"date", "datetime"} else text


def value_at(tree: Any, path: str) -> Any:
    """What stands at a path, None when there is nothing."""
    if isinstance(tree, FileRow):
        return tree.at(path)
    way = steps(path)
    if way is None:
        return None
    for step in way:
        if isinstance(step, int):
            tree = tree[step] if isinstance(tree, list) and step < len(tree) else None
        else:
            tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def text_of(value: Any) -> str | None:  # noqa: PLR0911 - one return a type
    """A value as text, None for none. Bytes that are not UTF-8 are no text. A list or object becomes compact JSON."""
    match value:
        case None:
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Number():
            return value.text
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
        case _:
            return compact_json(value)


def compact_json(value: Any) -> str:
    """A tree as JSON: no blanks, names in their order, numbers with their digits, letters as they are."""
    match value:
        case Number():
            return value.text
        case dict():
            members = (
                f"{json.dumps(str(name), ensure_ascii=False)}:{compact_json(part)}" for name, part in value.items()
            )
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(compact_json(part) for part in value) + "]"
        case None | bool():
            return json.dumps(value)
        case _:
            return json.dumps(text_of(value), ensure_ascii=False)
