"""Avro values as trees: records and maps are objects, enums their symbols, and logical types what they mean."""

from __future__ import annotations

import uuid
from typing import Any

from cluster.oracle.avro import Branch, Schema, read_whole
from cluster.oracle.mapping import meanings
from cluster.oracle.mapping.values import Number, of_float, of_float32

VARIABLE_DECIMAL = "io.debezium.data.VariableScaleDecimal"


def read(schema: Schema, body: bytes) -> Any:
    """The tree of one whole record. Raises NotAvro, and NoMeaning."""
    return tree(schema, schema.root, read_whole(schema, body))


def tree(schema: Schema, node: Any, value: Any) -> Any:
    """A value as `read_whole` gives it, with the type it was written as, as a tree."""
    node = schema.resolve(node)
    if isinstance(value, Branch):
        return tree(schema, value.node, value.value)
    match schema.kind(node):
        case "record" | "error":
            if node["name"] == VARIABLE_DECIMAL:
                scale, unscaled = _bare(value.get("scale")), _bare(value.get("value"))
                if isinstance(scale, int) and isinstance(unscaled, bytes):
                    return meanings.decimal(unscaled, scale)
            return {field["name"]: tree(schema, field["type"], value[field["name"]]) for field in node["fields"]}
        case "array":
            return [tree(schema, node["items"], item) for item in value]
        case "map":
            return {name: tree(schema, node["values"], part) for name, part in value.items()}
        case kind:
            return _meant(kind, node if isinstance(node, dict) else {}, value)


def _meant(kind: str, node: dict[str, Any], value: Any) -> Any:  # noqa: PLR0911 - one return a type
    match kind, node.get("logicalType"):
        case (("bytes" | "fixed"), "decimal"):
            return meanings.decimal(value, int(node.get("scale", 0)))
        case "int", "date":
            return meanings.day(value)
        case "int", "time-millis":
            return meanings.time_of_day(value, per_ms=1)
        case "long", "time-micros":
            return meanings.time_of_day(value, per_ms=1_000)
        case "fixed", "uuid" if node["size"] == 16:
            return str(uuid.UUID(bytes=value))
        case "fixed", "duration" if node["size"] == 12:
            return meanings.duration(value)
        case (("int" | "long"), _):
            return Number(str(value))
        case "float", _:
            return of_float32(value)
        case "double", _:
            return of_float(value)
        case _:
            return value


def _bare(value: Any) -> Any:
    return _bare(value.value) if isinstance(value, Branch) else value
