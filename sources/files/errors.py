"""Why a file, or one of its rows, is not taken."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import ReconError


class UnusableFileError(ReconError):
    """A file that is set aside as a whole: damaged, of another format, or with totals that do not hold.

    Args:
        file: its name, as it was given.
        place: where in it: `row 17`, `byte 4096`, `statement 00012/001`; empty for the file as a whole.
        why: what is wrong.
        right: what would be right; empty where `why` says it.
    """

    def __init__(self, file: str, place: str, why: str, right: str = "") -> None:
        self.file = file
        self.place = place
        self.why = why
        self.right = right
        super().__init__(f"{file}{', ' if place else ''}{place}: {why}{'; ' if right else ''}{right}")


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not taken: its number in the file (from 1), why, and its bytes as the file has them."""

    row: int
    reason: str
    raw: bytes
