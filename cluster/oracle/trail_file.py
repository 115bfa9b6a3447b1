"""Checks an exported audit trail by itself: what is in the file, without the database that it came from.

Each entry's hash must follow from its content and the hash before it, and each entry must name the hash of the one
before it, where that one is in the file. An export may be filtered, and has a limit: what it has is said, by chain.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster.oracle.trail_report import Fault
from schemas.audit import AuditEntry, entry_hash

COLUMNS = (
    *("chain", "seq", "occurred_at_us", "actor", "action", "object_type", "object_id", "request_id", "source_ip"),
    *("details", "hash", "prev_hash"),
)
CELL_CHARS_MAX = 64 << 20  # an entry's details may be long
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotATrailError(ValueError):
    """The file is no exported audit trail."""


@dataclass(slots=True)
class FileReport:
    """What was checked, and what does not fit."""

    entries: int = 0
    chains: dict[str, str] = field(default_factory=dict)  # which entries of each chain the file has
    faults: list[Fault] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "intact": not self.faults,
            "entries": self.entries,
            "chains": self.chains,
            "faults": [{"chain": one.chain, "seq": one.seq, "what": one.what} for one in self.faults],
        }


def check_file(path: Path) -> FileReport:
    """Check an exported trail. Raises NotATrailError for another file, and OSError."""
    csv.field_size_limit(CELL_CHARS_MAX)
    report = FileReport()
    hashes: defaultdict[str, dict[int, tuple[bytes, bytes]]] = defaultdict(dict)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            missing = set(COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise NotATrailError(f"{path.name}: no column {', '.join(sorted(missing))}")
            for row in rows:
                _check(row, hashes, report)
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        if isinstance(error, NotATrailError):
            raise
        raise NotATrailError(f"{path.name}: entry {report.entries + 1} cannot be read: {error}") from error
    if not report.entries:
        raise NotATrailError(f"{path.name} has no entry")
    for chain, found in hashes.items():
        for seq, (_, previous) in found.items():
            if seq - 1 in found and found[seq - 1][0] != previous:
                report.faults.append(Fault(chain, seq, "does not follow from the entry before it"))
        report.chains[chain] = _covered(sorted(found))
    return report


def _check(row: dict[str, Any], hashes: dict[str, dict[int, tuple[bytes, bytes]]], report: FileReport) -> None:
    # A cell that begins with an apostrophe has one that the export added, for spreadsheets.
    text = {name: str(row[name]).removeprefix("'") for name in COLUMNS}
    chain, seq = text["chain"], int(text["seq"])
    entry = AuditEntry(
        occurred_at=EPOCH + timedelta(microseconds=int(text["occurred_at_us"])),
        actor=text["actor"],
        action=text["action"],
        object_type=text["object_type"],
        object_id=text["object_id"],
        details=json.loads(text["details"]),
        request_id=text["request_id"],
        source_ip=text["source_ip"],
    )
    digest, previous = bytes.fromhex(text["hash"]), bytes.fromhex(text["prev_hash"])
    report.entries += 1
    if seq in hashes[chain]:
        report.faults.append(Fault(chain, seq, "is in the file twice"))
    if entry_hash(chain, seq, entry, previous) != digest:
        report.faults.append(Fault(chain, seq, "was changed: its hash does not follow from its content"))
    hashes[chain][seq] = (digest, previous)


def _covered(seqs: list[int]) -> str:
    """Runs of numbers, as in `1 to 40, 52`."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    told = [str(start) if start == stop else f"{start} to {stop}" for start, stop in runs[:10]]
    return ", ".join(told) + (f" and {len(runs) - 10} more runs" if len(runs) > 10 else "")
