"""What is wrong with a configuration, all of it at once, each with its place and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import ReconError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: its line and column (from 1; 0: the file as a whole), the key it is at, and what would be right."""

    line: int
    column: int
    where: str
    what: str
    right: str = ""

    def text(self, file: str) -> str:
        """`recon.yaml:12: reconciliations.payments: unknown key topik; topic is meant?`."""
        place = f"{file}:{self.line}" if self.line else file
        where = f" {self.where}:" if self.where else ""
        return f"{place}:{where} {self.what}" + (f"; {self.right}" if self.right else "")


class InvalidConfigError(ReconError):
    """A configuration that cannot be used. `problems` are all that were found, in the order of their lines."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """What is said of each problem."""
        return [problem.text(self.file) for problem in self.problems]


def closest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...?` for a word close to a known one, else what there is; empty when that would be long."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    if near:
        return f"did you mean {folded[near[0]]}?"
    return f"right are {', '.join(names)}" if 0 < len(names) <= LISTED_MAX else ""


LISTED_MAX = 30
"""The most names that are listed in an error."""
