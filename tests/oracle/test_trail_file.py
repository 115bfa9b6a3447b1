"""An exported trail is checked by itself, whatever its cells hold."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from api.csvs import csv_chunk
from cluster.oracle.trail_file import NotATrailError, check_file
from schemas.audit import GENESIS, AuditEntry, entry_hash

HOSTILE = ["T1", "=cmd()", "'quoted", "''", "+1", "-", "@x", "a,b", 'a"b', "a\r\nb", " =x", "\uff1dx", "", "é"]
HEADING = [
    *("chain", "seq", "occurred_at_us", "actor", "action", "object_type", "object_id", "request_id"),
    *("source_ip", "details", "hash", "prev_hash"),
]


def rows():
    found, previous = [], GENESIS
    for seq, text in enumerate(HOSTILE, start=1):
        moment = datetime(2026, 11, 24, 12, 0, seq, 5, tzinfo=UTC)
        entry = AuditEntry(moment, text, "act", "thing", text, {"why": text, "n": seq}, text, "127.0.0.1")
        digest = entry_hash("api", seq, entry, previous)
        micros = int(moment.timestamp()) * 1_000_000 + 5
        details = orjson.dumps(entry.details, option=orjson.OPT_SORT_KEYS).decode()
        found.append(
            ["api", seq, micros, text, "act", "thing", text, text, "127.0.0.1", details, digest.hex(), previous.hex()]
        )
        previous = digest
    return found


def check(tmp_path, changed):
    path = tmp_path / "audit.csv"
    path.write_bytes(csv_chunk([HEADING, *changed]))
    return check_file(path)


def test_whatever_the_cells_hold_an_export_verifies(tmp_path):
    report = check(tmp_path, rows()[::-1])
    assert report.faults == []
    assert report.chains == {"api": f"1 to {len(HOSTILE)}"}


@pytest.mark.parametrize("column", range(2, 12))
def test_every_changed_cell_is_found(tmp_path, column):
    changed = rows()
    old = changed[4][column]
    changed[4][column] = old + 1 if isinstance(old, int) else {9: '{"n":0}'}.get(column, "00" * 32)
    assert {fault.seq for fault in check(tmp_path, changed).faults} & {5, 6}


def test_what_is_left_out_is_said_and_what_is_slipped_in_is_found(tmp_path):
    kept = [row for row in rows() if row[1] not in {3, 4}]
    assert check(tmp_path, kept).chains == {"api": f"1 to 2, 5 to {len(HOSTILE)}"}
    assert [fault.seq for fault in check(tmp_path, [*rows(), rows()[2]]).faults] == [3]


@pytest.mark.parametrize(
    "content", [b"", b"a,b\r\n1,2\r\n", b"\xff\xfe", ",".join(HEADING).encode() + b"\r\napi,x\r\n"]
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "audit.csv"
    path.write_bytes(content)
    with pytest.raises(NotATrailError):
        check_file(path)
