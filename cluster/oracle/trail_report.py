"""What a check of the audit trail found, and what it covered."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

FAULTS_KEPT_MAX: Final = 10_000  # of more there is only the number


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit: which entry says so, what, and where it is: table, row and field as far as known."""

    chain: str
    seq: int
    what: str
    table: str = "audit_logs"
    row: str = ""
    field: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        entry = f"{self.chain} #{self.seq}" if self.chain else ""
        if self.table == "audit_logs":
            return f"{entry}: {self.what}"
        place = " ".join(part for part in (self.table, self.row, self.field and f"field {self.field}") if part)
        return f"{place}: {self.what}" + (f" (entry {entry})" if entry else "")


@dataclass(slots=True)
class TrailReport:
    """The outcome."""

    entries: int = 0
    chains: dict[str, int] = field(default_factory=dict)  # chain: entries
    heads: dict[str, list[Any]] = field(default_factory=dict)  # chain: seq and hash (hex) of its last entry
    anchors: int = 0
    digests: int = 0
    digested_events: int = 0
    retired_digests: int = 0
    dropped_events: int = 0
    covered_results: int = 0  # final results, replaced ones included, that a digest vouches for
    covered_shown: int = 0  # results that are not final
    baseline_results: int = 0  # of the covered ones, those that the baseline took as they were
    uncovered_results: int = 0  # written by an older version after the baseline
    covered_rows: dict[str, int] = field(default_factory=dict)  # table: rows compared with what entries tell
    covered_since: str = ""  # ISO 8601; empty while there is no baseline
    is_covered_from_start: bool = False  # the baseline found no result and no event
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0

    def add(self, fault: Fault) -> None:
        """Count a fault, and keep it while there are not too many."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT_MAX:
            self.faults.append(fault)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "intact": not self.faults}


def iso(at_us: int) -> str:
    """A time in microseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
