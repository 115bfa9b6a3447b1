"""The manifest: one JSON line for every planted transaction, with the outcome that a checker must find.

Line kinds: `run` (the plan; first), `planted` (one per planted transaction, written once its last record has left) and
`summary` (totals; last, absent if the run was killed).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from producers.emission import Outcome, Planted, SetAside
from producers.plan import Plan
from schemas.errors import DeadLetterReason
from schemas.verdicts import Break, Verdict

FORMAT = 1


def planted_to_json(planted: Planted) -> dict[str, Any]:
    """A planted transaction as plain data."""
    line: dict[str, Any] = {
        "line": "planted",
        "txn_id": planted.txn_id,
        "kind": planted.kind,
        "source": planted.source,
        "expect": {
            "verdict": planted.outcome.verdict.name,
            "breaks": [kind.name for kind in planted.outcome.breaks],
            "missing_sources": list(planted.outcome.missing),
            "late_sources": list(planted.outcome.late),
            "redeliveries": planted.outcome.redeliveries,
        },
    }
    if planted.set_aside is not None:
        line["dead_letter"] = {
            "topic": planted.set_aside.topic,
            "key": planted.set_aside.key,
            "reason": planted.set_aside.reason.value,
        }
    return line


def planted_from_json(line: dict[str, Any]) -> Planted:
    """The inverse of `planted_to_json`."""
    expect = line["expect"]
    letter = line.get("dead_letter")
    return Planted(
        txn_id=line["txn_id"],
        kind=line["kind"],
        source=line["source"],
        outcome=Outcome(
            verdict=Verdict[expect["verdict"]],
            breaks=tuple(Break[name] for name in expect["breaks"]),
            missing=tuple(expect["missing_sources"]),
            late=tuple(expect["late_sources"]),
            redeliveries=int(expect["redeliveries"]),
        ),
        set_aside=None
        if letter is None
        else SetAside(letter["topic"], letter["key"], DeadLetterReason(letter["reason"])),
    )


@dataclass(slots=True)
class ManifestWriter:
    """Writes a manifest; a context manager. Without a path it only counts."""

    path: Path | None
    plan: Plan
    start_ms: int
    counts: Counter[str] = field(default_factory=Counter)
    _file: TextIO | None = None

    def __enter__(self) -> Self:
        """Open the file and write the `run` line."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        self._write(
            {
                "line": "run",
                "format": FORMAT,
                "seed": self.plan.seed,
                "run": self.plan.run,
                "rate": self.plan.rate,
                "transactions": self.plan.transactions,
                "breaks": {kind.value: share for kind, share in self.plan.breaks.items()},
                "match_window_ms": self.plan.match_window_ms,
                "time_tolerance_ms": self.plan.time_tolerance_ms,
                "late_margin_ms": self.plan.late_margin_ms,
                "sources": [source.name for source in self.plan.sources],
                "start_ms": self.start_ms,
            }
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, planted: Planted) -> None:
        """One planted transaction, all of whose records have left."""
        self.counts[planted.kind] += 1
        self._write(planted_to_json(planted))

    def summary(self, **totals: object) -> None:
        """The last line."""
        self._write({"line": "summary", "planted": dict(sorted(self.counts.items())), **totals})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def read_manifest(path: Path) -> Iterator[Planted]:
    """The planted transactions of a manifest. Raises ValueError naming the line that is not one."""
    with path.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, start=1):
            try:
                line = json.loads(text)
                if line["line"] == "planted":
                    yield planted_from_json(line)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}:{number}: not a manifest line ({error!r})") from error
