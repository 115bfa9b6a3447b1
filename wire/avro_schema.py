"""Avro schemas as a tree of nodes with every name resolved, the definitions that a registry refers to included.

Source: Apache Avro 1.12 specification, "Schema Declaration" and "Names".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class BadSchemaError(ValueError):
    """A text that is no Avro schema."""


@dataclass(slots=True, eq=False)
class Primitive:
    """A primitive type, with the logical type that says what it means."""

    kind: str
    logical: str | None = None
    scale: int = 0


@dataclass(slots=True, eq=False)
class Enum:
    """A named list of symbols; a value is the place of its symbol."""

    name: str
    symbols: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Fixed:
    """A named type of so many bytes."""

    name: str
    size: int
    logical: str | None = None
    scale: int = 0


@dataclass(slots=True, eq=False)
class Array:
    """Blocks of items."""

    items: Node


@dataclass(slots=True, eq=False)
class Map:
    """Blocks of names and values."""

    values: Node


@dataclass(slots=True, eq=False)
class Union:
    """One of several types; a value begins with the place of its branch."""

    branches: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Record:
    """A named list of fields. `fields` is filled after the name is known, because a record may contain itself."""

    name: str
    fields: list[tuple[str, Node]] = field(default_factory=list)


Node = Primitive | Enum | Fixed | Array | Map | Union | Record


def parse(text: str, references: Sequence[str] = ()) -> Node:
    """The tree of a schema. `references` are the schemas that define names it uses, each after those it uses itself.

    Raises BadSchemaError.
    """
    named: dict[str, Node] = {}
    known: dict[str, Any] = {}
    try:
        for reference in references:
            raw = json.loads(reference)
            fastavro.parse_schema(raw, named_schemas=known)
            _node(raw, "", named)
        raw = json.loads(text)
        fastavro.parse_schema(raw, named_schemas=known)
        return _node(raw, "", named)
    except BadSchemaError:
        raise
    except Exception as error:  # a registry holds any text, and the parser raises whatever that provokes
        raise BadSchemaError(f"{type(error).__name__}: {error}"[:300]) from error


def own_name(full: str) -> str:
    """A name without its namespace, which schema resolution ignores."""
    return full.rpartition(".")[2]


def _node(raw: Any, namespace: str, named: dict[str, Node]) -> Node:  # noqa: PLR0911 - one return a form
    if isinstance(raw, list):
        return Union(tuple(_node(branch, namespace, named) for branch in raw))
    if isinstance(raw, str):
        if raw in PRIMITIVES:
            return Primitive(raw)
        full = raw if "." in raw else _full(raw, namespace)
        found = named.get(full) or named.get(raw)
        if found is None:
            raise BadSchemaError(f"the name {raw[:80]!r} is not defined")
        return found
    if not isinstance(raw, Mapping) or "type" not in raw:
        raise BadSchemaError(f"no type: {str(raw)[:80]}")
    kind = raw["type"]
    if not isinstance(kind, str):
        return _node(kind, namespace, named)
    match kind:
        case "array":
            return Array(_node(raw["items"], namespace, named))
        case "map":
            return Map(_node(raw["values"], namespace, named))
        case "record" | "error" | "enum" | "fixed":
            return _definition(raw, kind, namespace, named)
        case _ if kind in PRIMITIVES:
            return Primitive(kind, _logical(raw), _scale(raw))
        case _:
            return _node(kind, namespace, named)


def _definition(raw: Mapping[str, Any], kind: str, namespace: str, named: dict[str, Node]) -> Node:
    name = str(raw["name"])
    full = name if "." in name else _full(name, str(raw.get("namespace", namespace) or ""))
    inner = full.rpartition(".")[0]
    if kind == "enum":
        named[full] = Enum(full, tuple(raw["symbols"]))
    elif kind == "fixed":
        named[full] = Fixed(full, int(raw["size"]), _logical(raw), _scale(raw))
    else:
        record = named[full] = Record(full)
        record.fields.extend((str(one["name"]), _node(one["type"], inner, named)) for one in raw["fields"])
    return named[full]


def _full(name: str, namespace: str) -> str:
    return f"{namespace}.{name}" if namespace else name


def _logical(raw: Mapping[str, Any]) -> str | None:
    logical = raw.get("logicalType")
    return logical if isinstance(logical, str) else None


def _scale(raw: Mapping[str, Any]) -> int:
    scale = raw.get("scale", 0)
    return scale if isinstance(scale, int) else 0
