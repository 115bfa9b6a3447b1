"""What a comparison found: how much was compared, and every way in which the ledger departs from the log."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES_PER_KIND_MAX = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One departure: its kind (`table.what`), which row, what the log says and what the ledger says."""

    kind: str
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.kind}: {self.subject}: expected {self.expected}, found {self.found}"


@dataclass(slots=True)
class Findings:
    """Counts of everything compared and of every departure, with the first examples of each kind.

    `tally` counts what the ledger's rows add up to, in the names of its own counters.
    """

    compared: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[Difference]] = field(default_factory=lambda: defaultdict(list))

    def differ(self, kind: str, subject: str, expected: object, found: object) -> None:
        """Note one departure."""
        self.by_kind[kind] += 1
        if len(self.examples[kind]) < EXAMPLES_PER_KIND_MAX:
            self.examples[kind].append(Difference(kind, subject, str(expected), str(found)))

    @property
    def total(self) -> int:
        """All departures."""
        return sum(self.by_kind.values())

    @property
    def mendable(self) -> int:
        """Departures that a little time may mend.

        Rows of the log are written with the positions, so those are exact at once. A decision may follow a moment
        later: a window that has just closed, a revision, the mark of a redelivery.
        """
        return sum(
            count
            for kind, count in self.by_kind.items()
            if kind.startswith("results.") or kind == "raw_events.redelivery"
        )

    def first(self, limit: int) -> list[Difference]:
        """Up to `limit` examples, the kinds taken in turn so that none hides another."""
        queues = [list(examples) for _, examples in sorted(self.examples.items())]
        found: list[Difference] = []
        while queues and len(found) < limit:
            found.extend(queue.pop(0) for queue in queues)
            queues = [queue for queue in queues if queue]
        return found[:limit]

    def to_json(self, limit: int) -> dict[str, Any]:
        """Plain data."""
        return {
            "compared": dict(sorted(self.compared.items())),
            "differences": self.total,
            "by_kind": dict(sorted(self.by_kind.items())),
            "examples": [asdict(difference) for difference in self.first(limit)],
        }
