"""What the entries say the ledger must hold, kept in a file while it is checked, so that memory does not grow with it.

Entries are taken in chain by chain; the rows that they tell are put together to the rows that the tables must have.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cluster.oracle.trail_report import Fault
from cluster.oracle.trail_steps import unexplained
from schemas.covered import COVERED, ROWS

CACHE_KIB: Final = 65_536  # of SQLite's page cache; the rest is on disk
_SCHEMA: Final = """
create table expected (tbl text, key text, told text, seen integer default 0, primary key (tbl, key)) without rowid;
create table flushes (
    at_us integer, key_group_from integer, key_group_to integer, chain text, seq integer, details text,
    primary key (at_us, chain, seq)
) without rowid;
create table shown (txn_id text primary key, at_us integer, sha256 text, chain text, seq integer) without rowid;
"""
# What a row is that no entry has told of in full: the defaults of columns that only people change.
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "dead_letters": {"state": "new", "state_changed_at": None, "state_changed_by": None},
    "exceptions": {},
}
# Details of a flush that its checks need.
_KEPT: Final = (
    *("key_group_from", "key_group_to", "seq_from", "seq_to", "events", "events_sha256"),
    *("blocks_sha256", "raw_sha256"),
    *("final", "results_sha256", "overwriting", "overwriting_sha256"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the trail."""

    chain: str
    seq: int


@dataclass(frozen=True, slots=True)
class VouchedFlush:
    """The entry of a flush: when, which key groups, and what it says of the rows."""

    at_us: int
    place: Place
    details: Mapping[str, Any]

    @property
    def groups(self) -> range:
        """Its key groups."""
        return range(int(self.details["key_group_from"]), int(self.details["key_group_to"]))


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A row as the entries tell it: each column's value, and the entry that says so."""

    columns: Mapping[str, tuple[Any, Place]]

    @property
    def last(self) -> Place:
        """The newest entry about it, as far as the columns show."""
        return max((place for _, place in self.columns.values()), key=lambda place: (place.chain == "api", place.seq))


class TrailStore:
    """A temporary file of expectations. Use it as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="recon-trail-")
        self._db = sqlite3.connect(Path(self._folder.name) / "trail.sqlite", isolation_level=None)
        self._db.execute("pragma journal_mode = off")
        self._db.execute("pragma synchronous = off")
        self._db.execute(f"pragma cache_size = -{CACHE_KIB}")
        self._db.executescript(_SCHEMA)
        self._db.execute("begin")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Delete the file."""
        self._db.close()
        self._folder.cleanup()

    # -- what entries tell -----------------------------------------------------------------------------------------

    def take_rows(self, place: Place, action: str, actor: str, details: Mapping[str, Any]) -> list[Fault]:
        """Take in the rows that an entry tells, and give what its action does not explain (`trail_steps`).

        What is not in the form of such rows is left out.
        """
        faults: list[Fault] = []
        by_table = details.get(ROWS)
        if not isinstance(by_table, dict):
            return faults
        for table, rows in by_table.items():
            covered = COVERED.get(table)
            if covered is None or not isinstance(rows, list):
                continue
            for row in rows:
                key = row_key(covered.key, row)
                before = self._take_row(place, table, key, row)
                for name, what in unexplained(table, action, actor, before, row):
                    faults.append(Fault(place.chain, place.seq, what, table, named_row(table, key), name))
        return faults

    def _take_row(self, place: Place, table: str, key: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """Put a row together with what was told of it before, which it gives."""
        stored = self._db.execute("select told from expected where tbl = ? and key = ?", (table, key)).fetchone()
        known = json.loads(stored[0]) if stored else {"entries": [], "columns": {}}
        before = {name: value for name, (value, _) in known["columns"].items()} if stored else None
        if stored and not _is_newer(table, known["columns"], row):
            row = {name: value for name, value in row.items() if name not in known["columns"]}
        known["entries"].append([place.chain, place.seq])
        origin = len(known["entries"]) - 1
        known["columns"].update({name: [value, origin] for name, value in row.items()})
        _forget_unused(known)
        self._db.execute(
            "insert into expected (tbl, key, told) values (?, ?, ?) on conflict do update set told = excluded.told",
            (table, key, json.dumps(known)),
        )
        return before

    def take_flush(self, at_us: int, place: Place, details: Mapping[str, Any]) -> None:
        """Take in the entry of a flush."""
        kept = {name: details[name] for name in _KEPT if name in details}
        self._db.execute(
            "insert or ignore into flushes values (?, ?, ?, ?, ?, ?)",
            (at_us, kept["key_group_from"], kept["key_group_to"], place.chain, place.seq, json.dumps(kept)),
        )

        self._db.executemany(
            "insert into shown values (?, ?, ?, ?, ?) on conflict do update set at_us = excluded.at_us,"
            " sha256 = excluded.sha256, chain = excluded.chain, seq = excluded.seq where excluded.at_us > at_us",
            [(txn_id, at_us, sha256, place.chain, place.seq) for txn_id, sha256 in details.get("shown", {}).items()],
        )

    # -- what the checks ask ---------------------------------------------------------------------------------------

    def flushes(self) -> Iterator[VouchedFlush]:
        """Every flush, in order of time."""
        for at_us, chain, seq, details in self._db.execute(
            "select at_us, chain, seq, details from flushes order by at_us, chain, seq"
        ):
            yield VouchedFlush(at_us, Place(chain, seq), json.loads(details))

    def expected(self, table: str, key: str) -> ToldRow | None:
        """What the entries tell of a row of this key, which counts as seen from now on."""
        stored = self._db.execute("select told from expected where tbl = ? and key = ?", (table, key)).fetchone()
        if stored is None:
            return None
        self._db.execute("update expected set seen = 1 where tbl = ? and key = ?", (table, key))
        return _told_row(table, json.loads(stored[0]))

    def unseen(self, table: str) -> Iterator[tuple[str, ToldRow]]:
        """Rows that the entries tell of and that nobody has asked for: key and content."""
        for key, told in self._db.execute("select key, told from expected where tbl = ? and seen = 0", (table,)):
            yield key, _told_row(table, json.loads(told))

    def shown(self, txn_id: str) -> tuple[str, Place] | None:
        """The digest of the newest row of a transaction that was not final, and the flush that wrote it."""
        row = self._db.execute("select sha256, chain, seq from shown where txn_id = ?", (txn_id,)).fetchone()
        return None if row is None else (row[0], Place(row[1], row[2]))

    def every_shown(self, rows: int) -> Iterator[list[tuple[str, Place]]]:
        """Every transaction that was ever shown before it was final, in lists of so many."""
        found = self._db.execute("select txn_id, chain, seq from shown")
        while part := found.fetchmany(rows):
            yield [(txn_id, Place(chain, seq)) for txn_id, chain, seq in part]


def named_row(table: str, key: str) -> str:
    """The key of a row for a person."""
    return " ".join(f"{name}={value}" for name, value in zip(COVERED[table].key, json.loads(key), strict=True))


def row_key(names: Sequence[str], row: Mapping[str, Any]) -> str:
    """The key of a row as text."""
    return json.dumps([row.get(name) for name in names])


def _is_newer(table: str, known: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a row that comes later in the walk was also told later: chains are walked one after the other."""
    match table:
        case "exceptions":
            return bool(row.get("version", 0) >= known.get("version", [0])[0])
        case "dead_letters":  # nothing follows a replay
            return bool(known.get("state", [""])[0] != "replayed")
        case _:
            return True


def _forget_unused(known: dict[str, Any]) -> None:
    """Keep only the entries that some column still comes from."""
    used = sorted({origin for _, origin in known["columns"].values()})
    known["entries"] = [known["entries"][origin] for origin in used]
    places = {origin: place for place, origin in enumerate(used)}
    known["columns"] = {name: [value, places[origin]] for name, (value, origin) in known["columns"].items()}


def _told_row(table: str, known: Mapping[str, Any]) -> ToldRow:
    places = [Place(chain, seq) for chain, seq in known["entries"]]
    columns = {name: (value, places[origin]) for name, (value, origin) in known["columns"].items()}
    for name, value in DEFAULTS.get(table, {}).items():
        columns.setdefault(name, (value, places[0]))
    return ToldRow(columns)
