"""Avro binary data by the letter of the specification, for the oracle alone.

Written beside the engine's reader and sharing nothing with it, so that a mistake in one of them shows as a difference.
It walks the schema as fastavro parsed it; it is slow, and easy to check by reading.
Source: Apache Avro 1.12 specification, "Binary Encoding" and "Schema Resolution".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

BLOCK_ITEMS_MAX = 1_000_000  # of one array or map in one record
_COMPLEX = frozenset({"record", "error", "enum", "fixed", "array", "map"})


class NotAvro(ValueError):  # noqa: N818 - a verdict on bytes, not an error of ours
    """The bytes are not one whole value of the schema."""


class Schema:
    """A registered schema with what it refers to. Raises whatever fastavro raises for a text that is no schema."""

    def __init__(self, text: str, references: Sequence[str] = ()) -> None:
        named: dict[str, Any] = {}
        for reference in references:
            fastavro.parse_schema(json.loads(reference), named_schemas=named)
        self.root: Any = fastavro.parse_schema(json.loads(text), named_schemas=named)
        self._named = named

    def resolve(self, node: Any) -> Any:
        """The definition behind a name, and the type inside a wrapper; a dict or list, or a primitive's name."""
        while True:
            if isinstance(node, str) and node in self._named:
                return self._named[node]
            if isinstance(node, Mapping) and node["type"] not in _COMPLEX:
                if isinstance(node["type"], str) and node["type"] not in self._named:
                    return node  # a primitive, perhaps with a logical type
                node = node["type"]
                continue
            return node

    def kind(self, node: Any) -> str:
        """`union`, or the name of the type."""
        node = self.resolve(node)
        if isinstance(node, list):
            return "union"
        return str(node["type"]) if isinstance(node, Mapping) else str(node)


class Cursor:
    """A place in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count < 0 or self.at + count > len(self.data):
            raise NotAvro(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self) -> int:
        """A variable-length zig-zag number of at most 64 bits."""
        groups = []
        while True:
            (byte,) = self.take(1)
            groups.append(byte & 0x7F)
            if byte & 0x80 == 0:
                break
            if len(groups) == 10:
                raise NotAvro("a number of more than ten bytes")
        raw = sum(group << 7 * place for place, group in enumerate(groups))
        if raw >= 1 << 64:
            raise NotAvro("a number of more than 64 bits")
        return raw >> 1 if raw & 1 == 0 else -(raw >> 1) - 1


def read_whole(schema: Schema, data: bytes) -> Any:
    """The value of all the bytes. A union's value is (branch, value). Raises NotAvro."""
    cursor = Cursor(data)
    try:
        value = _read(schema, schema.root, cursor)
    except RecursionError as error:
        raise NotAvro("nested too deeply") from error
    if cursor.at != len(data):
        raise NotAvro(f"{len(data) - cursor.at} bytes are left over")
    return value


class Branch:
    """A union's value, with the branch that was written."""

    def __init__(self, node: Any, value: Any) -> None:
        self.node = node
        self.value = value


def _read(schema: Schema, node: Any, cursor: Cursor) -> Any:  # noqa: PLR0911, PLR0912 - one branch a type
    node = schema.resolve(node)
    match schema.kind(node):
        case "null":
            return None
        case "boolean":
            (byte,) = cursor.take(1)
            if byte > 1:
                raise NotAvro(f"a boolean of {byte}")
            return byte == 1
        case "int":
            number = cursor.long()
            if not -(1 << 31) <= number < 1 << 31:
                raise NotAvro(f"an int of {number}")
            return number
        case "long":
            return cursor.long()
        case "float":
            return struct.unpack("<f", cursor.take(4))[0]
        case "double":
            return struct.unpack("<d", cursor.take(8))[0]
        case "bytes":
            return cursor.take(cursor.long())
        case "string":
            return _text(cursor)
        case "fixed":
            return cursor.take(node["size"])
        case "enum":
            return _pick(node["symbols"], cursor.long())
        case "union":
            branch = _pick(node, cursor.long())
            return Branch(branch, _read(schema, branch, cursor))
        case "array":
            return _items(cursor, lambda: _read(schema, node["items"], cursor))
        case "map":
            entries = _items(cursor, lambda: (_text(cursor), _read(schema, node["values"], cursor)))
            if len(dict(entries)) != len(entries):
                raise NotAvro("a name twice in one map")
            return dict(entries)
        case "record" | "error":
            return {field["name"]: _read(schema, field["type"], cursor) for field in node["fields"]}
        case kind:
            raise NotAvro(f"no type {kind!r}")


def _text(cursor: Cursor) -> str:
    try:
        return cursor.take(cursor.long()).decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise NotAvro("text that is not UTF-8") from error


def _pick(choices: Sequence[Any], index: int) -> Any:
    if index < 0 or index >= len(choices):
        raise NotAvro(f"number {index} of {len(choices)}")
    return choices[index]


def _items(cursor: Cursor, one: Any) -> list[Any]:
    items: list[Any] = []
    while count := cursor.long():
        end = None
        if count < 0:
            size = cursor.long()
            end = cursor.at + size
        if len(items) + abs(count) > BLOCK_ITEMS_MAX:
            raise NotAvro(f"more than {BLOCK_ITEMS_MAX} items")
        items.extend(one() for _ in range(abs(count)))
        if end is not None and cursor.at != end:
            raise NotAvro("a block of another size than it says")
    return items
