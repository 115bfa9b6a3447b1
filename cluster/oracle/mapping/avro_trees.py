"""Avro values as trees: records and maps are objects, enums their symbols, decimals their digits.

Other logical types stay the numbers or bytes that are written; a mapping says what they mean.
"""

from __future__ import annotations

from typing import Any

from cluster.oracle.avro import Branch, Schema, read_whole
from cluster.oracle.mapping.values import Number, of_float, of_unscaled


def read(schema: Schema, body: bytes) -> Any:
    """The tree of one whole record. Raises NotAvro."""
    return tree(schema, schema.root, read_whole(schema, body))


def tree(schema: Schema, node: Any, value: Any) -> Any:  # noqa: PLR0911 - one return a type
    """A value as `read_whole` gives it, with the type it was written as, as a tree."""
    node = schema.resolve(node)
    if isinstance(value, Branch):
        return tree(schema, value.node, value.value)
    match schema.kind(node):
        case "record" | "error":
            return {field["name"]: tree(schema, field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [tree(schema, node["items"], item) for item in value]
        case "map":
            return {name: tree(schema, node["values"], part) for name, part in value.items()}
        case "int" | "long":
            return Number(str(value))
        case "float" | "double":
            return of_float(value)
        case "bytes" | "fixed" if isinstance(node, dict) and node.get("logicalType") == "decimal":
            return of_unscaled(int.from_bytes(value, "big", signed=True), int(node.get("scale", 0)))
        case _:
            return value
