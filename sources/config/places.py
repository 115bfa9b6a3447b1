"""Whether the places that a mapping names can exist in the source's format: what never could is a mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

from sources.config.field_grammar import check_steps
from sources.config.grammar import DEPTH_MAX, Reading

_WITH_COLUMNS: Final = frozenset({"csv", "tsv", "xlsx"})
_SIDES: Final = frozenset({"debit", "credit"})
_PATHS: Final = frozenset({"path", "join"}) | _SIDES


@dataclass(frozen=True, slots=True)
class PlaceRules:
    """What places a source may name.

    Args:
        form: its format.
        is_file: whether it reads files instead of a topic.
        heading: whether its rows have names.
    """

    form: str
    is_file: bool
    heading: bool

    def check(self, node: yaml.Node, where: str, reading: Reading, key: str = "", depth: int = 0) -> None:
        """Note what cannot be below a node. `key` is the one under which the node stands."""
        if depth > DEPTH_MAX or key == "values":
            return
        if isinstance(node, yaml.MappingNode):
            for name, part in node.value:
                inner = name.value if isinstance(name, yaml.ScalarNode) else ""
                if key == "indicator" and inner in _SIDES:
                    continue  # words, not places
                self.check(part, f"{where}.{inner}", reading, inner, depth + 1)
            return
        wrong = self._wrong(node, key)
        if wrong is not None:
            reading.add(node, where, *wrong)
        elif isinstance(node, yaml.SequenceNode):
            for index, part in enumerate(node.value):
                self.check(part, f"{where}[{index}]", reading, key, depth + 1)

    def _wrong(self, node: yaml.Node, key: str) -> tuple[str, str] | None:
        """What is wrong with a place, and what is right."""
        if key == "at" and self.form != "fixed":
            return f"means nothing for {self.form}", "at: is for format: fixed; say path: or column:"
        if key == "column" and self.form not in {*_WITH_COLUMNS, "parquet"}:
            return f"means nothing for {self.form}", "at: [from, to]" if self.form == "fixed" else "say path:"
        if key in _PATHS and isinstance(node, yaml.ScalarNode) and node.value:
            return self._wrong_path(node.value)
        return None

    def _wrong_path(self, path: str) -> tuple[str, str] | None:
        if self.form == "fixed":
            return f"{path!r} is a name, and rows of fixed width have none", "right is at: [from, to], as at: [0, 12]"
        if self.form in _WITH_COLUMNS:
            if not self.heading and not path.startswith("#"):
                return f"{path!r} is a heading, and there is none", "right is column: N, from 0"
            return None
        if path.startswith("$"):
            return (
                (f"{path!r} is Kafka's, and the source reads files", "a path of the record") if self.is_file else None
            )
        return check_steps(path)
