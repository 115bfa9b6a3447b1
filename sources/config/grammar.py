"""The grammar that reading `recon.yaml` and its JSON Schema share: each kind reads a YAML node, or says why not.

Scalars are read by their text, not by YAML's guess at their type: `05`, `NO` and `0.10` are what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

import yaml

from sources.config.problems import LISTED_MAX, Problem, closest

DEPTH_MAX: Final = 24
"""How deep a configuration may be nested, in levels: an alias that holds itself ends here."""
ENTRIES_MAX: Final = 10_000
"""The most entries of one mapping or list."""
DURATION_MS_MAX: Final = 366 * 86_400_000
"""The longest duration, in milliseconds: a leap year."""

_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"


class Reading:
    """One pass over a document: collects problems, remembers where each key stood."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, node: yaml.Node, where: str, what: str, right: str = "") -> None:
        """Note a problem at a node."""
        mark = node.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, where, what, right))


class _Missing:
    """Stands for a value that could not be read; its problem is noted already."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Kind(Protocol):
    """What may stand at a place."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else repr(node.value[:60])


def is_null(node: yaml.Node) -> bool:
    """Whether nothing, or null, stands here."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


@dataclass(frozen=True, slots=True)
class Text:
    """Text; whatever YAML would take it for. `check` gives (what is wrong, what is right) or None."""

    expects: str = "a text"
    pattern: str | None = None
    check: Callable[[str], tuple[str, str] | None] | None = None
    convert: Callable[[str], Any] = str
    empty: bool = False
    characters_max: int = 500
    json: Mapping[str, Any] = field(default_factory=dict)

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            reading.add(node, where, f"is {_describe(node)}", f"right is {self.expects}")
            return MISSING
        text = node.value
        if (not text and not self.empty) or len(text) > self.characters_max:
            reading.add(node, where, "is empty" if not text else "is too long", f"right is {self.expects}")
            return MISSING
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            reading.add(node, where, f"{text[:60]!r} is not {self.expects}", f"right is {self.pattern}")
            return MISSING
        if self.check is not None and (wrong := self.check(text)) is not None:
            reading.add(node, where, *wrong)
            return MISSING
        return self.convert(text)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        # A number or a boolean is taken by its text.
        if self.json:
            return dict(self.json)
        if self.pattern is not None:
            return {"type": "string", "pattern": f"^{self.pattern}$"}
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: Sequence[str]

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if isinstance(node, yaml.ScalarNode) and node.value in self.words and not is_null(node):
            return node.value
        value = node.value if isinstance(node, yaml.ScalarNode) else ""
        right = closest(value, self.words) if value else f"right are {', '.join(self.words[:LISTED_MAX])}"
        if right.startswith("did"):
            right += f" right are {', '.join(self.words[:LISTED_MAX])}"
        reading.add(node, where, f"is {_describe(node)}", right)
        return MISSING

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if isinstance(node, yaml.ScalarNode) and node.value in {"true", "false", "True", "False"}:
            return node.value.lower() == "true"
        reading.add(node, where, f"is {_describe(node)}", "right are true and false")
        return MISSING

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within limits, both included."""

    low: int
    high: int

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"-?[0-9]{1,12}", node.value):
            number = int(node.value)
            if self.low <= number <= self.high:
                return number
        reading.add(node, where, f"is {_describe(node)}", f"right is a whole number from {self.low} to {self.high}")
        return MISSING

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Exact:
    """A decimal of plain digits, not negative."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", node.value):
            return Decimal(node.value)
        reading.add(node, where, f"is {_describe(node)}", 'right is a decimal that is not negative, as "0.05"')
        return MISSING

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": ["string", "number"], "pattern": r"^[0-9]{1,15}(\.[0-9]{1,15})?$", "minimum": 0}


_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = r"[0-9]{1,12}(ms|s|m|min|h|d)"


@dataclass(frozen=True, slots=True)
class Duration:
    """A whole number with its unit, in milliseconds."""

    low_ms: int = 0
    high_ms: int = DURATION_MS_MAX

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        match = re.fullmatch(r"([0-9]{1,12})\s?([A-Za-z]*)", node.value) if isinstance(node, yaml.ScalarNode) else None
        if match is None:
            reading.add(node, where, f"is {_describe(node)}", "right is a duration as 500ms, 30s, 5m, 12h or 3d")
            return MISSING
        if match[2] not in _UNITS_MS:
            what = f"unit {match[2]!r} is none" if match[2] else f"{match[1]} has no unit"
            reading.add(node, where, what, "right are ms, s, m, h, d, as in 30s")
            return MISSING
        value = int(match[1]) * _UNITS_MS[match[2]]
        if not self.low_ms <= value <= self.high_ms:
            reading.add(node, where, f"{node.value} is out of range", f"right are {self.low_ms} to {self.high_ms} ms")
            return MISSING
        return value

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "string", "pattern": f"^{_DURATION}$"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A list; with `single`, one value stands for a list of it."""

    item: Kind
    low: int = 1
    high: int = ENTRIES_MAX
    single: bool = False
    unique: bool = True

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if not isinstance(node, yaml.SequenceNode):
            if self.single and not is_null(node):
                value = self.item.read(node, where, reading)
                return MISSING if value is MISSING else (value,)
            reading.add(node, where, f"is {_describe(node)}", "right is a list")
            return MISSING
        if not self.low <= len(node.value) <= self.high:
            reading.add(node, where, f"has {len(node.value)} entries", f"right are {self.low} to {self.high}")
            return MISSING
        values = [self.item.read(part, f"{where}[{index}]", reading) for index, part in enumerate(node.value)]
        for index, value in enumerate(values):
            if self.unique and value is not MISSING and value in values[:index]:
                reading.add(node.value[index], f"{where}[{index}]", "stands there twice", "right is once")
        return MISSING if MISSING in values else tuple(values)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        many = {"type": "array", "items": self.item.schema(), "minItems": self.low}
        return {"anyOf": [self.item.schema(), many]} if self.single else many


def entries(node: yaml.MappingNode, where: str, reading: Reading) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """The entries of a mapping (key, its node, value); a key that stands there twice is a problem and dropped."""
    found: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
    if len(node.value) > ENTRIES_MAX:
        reading.add(node, where, f"has {len(node.value)} entries", f"right are at most {ENTRIES_MAX}")
        return []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            reading.add(key, where, f"a key is {_describe(key)}", "right is a text")
        elif key.tag == _MERGE:
            reading.add(key, where, "merge keys (<<) are not understood", "write the keys out")
        elif key.value in found:
            first = found[key.value][1].start_mark.line + 1
            reading.add(key, f"{where}.{key.value}".lstrip("."), f"stands there twice, first in line {first}")
        else:
            found[key.value] = (key.value, key, value)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping from names of the user's to values of one kind. Names that differ only in case are a problem."""

    name: Kind
    value: Kind
    low: int = 1
    high: int = ENTRIES_MAX
    fold: bool = True

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if not isinstance(node, yaml.MappingNode):
            reading.add(node, where, f"is {_describe(node)}", "right is a mapping of names")
            return MISSING
        found: dict[Any, Any] = {}
        folded: dict[str, str] = {}
        if not self.low <= len(node.value) <= self.high:
            reading.add(node, where, f"has {len(node.value)} entries", f"right are {self.low} to {self.high}")
        for text, key, part in entries(node, where, reading):
            name = self.name.read(key, f"{where}.{text}", reading)
            value = self.value.read(part, f"{where}.{text}", reading)
            if self.fold and text.casefold() in folded:
                reading.add(key, f"{where}.{text}", f"differs from {folded[text.casefold()]} only in case")
            folded.setdefault(text.casefold(), text)
            if name is not MISSING and value is not MISSING:
                if name in found:
                    reading.add(key, f"{where}.{text}", f"is {name} again, which stands there already")
                found[name] = value
        return found

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {
            "type": "object",
            "propertyNames": {key: part for key, part in self.name.schema().items() if key != "type"},
            "additionalProperties": self.value.schema(),
            "minProperties": self.low,
        }


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a mapping: its kind, whether it must be there, what it means."""

    kind: Kind
    means: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """A mapping with known keys. `build` makes the value, given the keys that were there and how to note a problem."""

    keys: Callable[[], Mapping[str, Key]]
    build: Callable[[Found], Any]

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        if where.count(".") + where.count("[") > DEPTH_MAX:
            reading.add(node, where, "is nested too deep", f"right are at most {DEPTH_MAX} levels")
            return MISSING
        known = self.keys()
        if not isinstance(node, yaml.MappingNode):
            reading.add(node, where, f"is {_describe(node)}", f"right is a mapping with {', '.join(known)}"[:200])
            return MISSING
        found = Found(node, where, reading)
        before = len(reading.problems)
        for text, key, part in entries(node, where, reading):
            found.nodes[text] = part
            if text not in known:
                reading.add(key, where, f"unknown key {text!r}", closest(text, known))
            else:
                found.values[text] = known[text].kind.read(part, f"{where}.{text}".lstrip("."), reading)
        for name, key in known.items():
            if key.required and name not in found.nodes:
                reading.add(node, where, f"{name} is missing", key.means)
        if len(reading.problems) > before and any(value is MISSING for value in found.values.values()):
            # What can still be judged is; a value that could not be read is as if it were not there.
            found.broken = True
        return self.build(found)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        properties = {
            name: {**key.kind.schema(), **({"description": key.means} if key.means else {})}
            for name, key in self.keys().items()
        }
        required = [name for name, key in self.keys().items() if key.required]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


@dataclass(slots=True)
class Found:
    """What a mapping held: the values of its known keys, and the nodes for messages."""

    node: yaml.Node
    where: str
    reading: Reading
    values: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, yaml.Node] = field(default_factory=dict)
    broken: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a key; the default where it is absent or could not be read."""
        value = self.values.get(name, default)
        return default if value is MISSING else value

    def __contains__(self, name: str) -> bool:
        """Whether the key was there, readable or not."""
        return name in self.values

    def wrong(self, name: str | None, what: str, right: str = "") -> None:
        """Note a problem at a key, or at the mapping itself."""
        node = self.nodes.get(name, self.node) if name else self.node
        self.reading.add(node, f"{self.where}.{name}".lstrip(".") if name else self.where, what, right)


@dataclass(frozen=True, slots=True)
class Either:
    """A scalar of one kind, or a mapping or list of another."""

    scalar: Kind
    other: Kind

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Any:
        """The value, or MISSING after noting why."""
        kind = self.scalar if isinstance(node, yaml.ScalarNode) else self.other
        return kind.read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"anyOf": [self.scalar.schema(), self.other.schema()]}
