"""Fixed width: cuts in characters, encodings, kinds of rows with control totals."""

from __future__ import annotations

import pytest

from sources.files.errors import UnusableFileError
from sources.files.options import Control, Place, RecordKinds, cut_path
from tests.sources.files.samples import amounts_at, column, opened, reasons, rows
from wire.records import BadPathError

ID, AMOUNT = cut_path(2, 8), cut_path(8, 16)
KINDS = RecordKinds(
    type=Place(at=(0, 2)),
    data=("SB",),
    control=Control(type=("ST",), count=Place(at=(2, 8)), sum=Place(at=(8, 20))),
)
AMOUNTS = amounts_at(Place(at=(8, 16)))
FILE = ["HD20240301", "SBA00001  100.50", "SBA00002    0.25", "ST000002      100.75"]


def content(lines: list[str], encoding: str = "utf-8", end: str = "\r\n") -> bytes:
    return end.join([*lines, ""]).encode(encoding)


def test_cells_are_cut_by_characters_without_the_blanks_that_fill_them():
    file = opened(content(FILE), "fixed")
    assert column(file, ID) == ["202403", "A00001", "A00002", "000002"]
    assert column(file, AMOUNT) == ["01", "100.50", "0.25", "10"]
    assert column(file, cut_path(30, 40)) == [None] * 4
    assert rows(file) == [1, 2, 3, 4]
    assert next(iter(file.batches())).raw(1) == b"SBA00001  100.50"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "shift_jis", "gb18030", "euc_jp", "cp932"]
)
def test_positions_count_characters_in_every_encoding(encoding: str):
    file = opened(content(["日本語A1  12", "東京B2   34"], encoding), "fixed", encoding=encoding)
    assert column(file, cut_path(0, 3)) == ["日本語", "東京B"]
    assert column(file, cut_path(5, 9)) == ["12", "34"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso8859-15"])
def test_single_byte_encodings(encoding: str):
    file = opened(content(["Müller 5"], encoding), "fixed", encoding=encoding)
    assert column(file, cut_path(0, 6)) == ["Müller"]


@pytest.mark.parametrize("end", [b"\x25", b"\x15", b"\x0d\x25"])
def test_mainframe_files_with_line_ends(end: bytes):
    lines = [line.encode("cp037") for line in ("SBÄ0001", "SBB0002")]
    file = opened(end.join([*lines, b""]), "fixed", encoding="cp037")
    assert column(file, cut_path(2, 7)) == ["Ä0001", "B0002"]


def test_mainframe_files_without_line_ends():
    file = opened("SBÄ0001 SBB0002 ".encode("cp037"), "fixed", encoding="cp037", record_bytes=8)
    assert column(file, cut_path(2, 7)) == ["Ä0001", "B0002"]
    short = opened("SBÄ0001 SBB0".encode("cp037"), "fixed", encoding="cp037", record_bytes=8)
    assert reasons(short) == [(2, "4 bytes where a row has 8")]


def test_a_row_that_is_no_text_is_one_reject():
    file = opened(b"SBA1\nSB\xff1\nSBA3\n", "fixed")
    assert column(file, cut_path(2, 4)) == ["A1", "A3"]
    assert reasons(file) == [(2, "not utf-8: byte 3 of the row is ff")]
    assert file.rejects[0].raw == b"SB\xff1"


def test_a_mark_that_contradicts_the_encoding_is_refused():
    with pytest.raises(UnusableFileError, match="begins with the byte order mark of utf-16-le; encoding: utf-16"):
        opened(content(FILE, "utf-16"), "fixed")
    with pytest.raises(UnusableFileError, match="is marked as utf-8, and encoding says cp1252"):
        opened(content(FILE, "utf-8-sig"), "fixed", encoding="cp1252")
    with pytest.raises(UnusableFileError, match="needs a byte order mark"):
        opened(content(FILE), "fixed", encoding="utf-16")
    with pytest.raises(UnusableFileError, match="'utf-9' is no encoding"):
        opened(content(FILE), "fixed", encoding="utf-9")


def test_preamble_and_footer():
    file = opened(b"Bank\n\nA1\nA2\n\nend of file\n\n", "fixed", skip_rows=2, footer=1)
    assert column(file, cut_path(0, 2)) == ["A1", "A2"]
    assert rows(file) == [3, 4]


def test_a_name_is_no_path():
    file = opened(content(FILE), "fixed")
    with pytest.raises(BadPathError, match=r"right is at: \[from, to\]"):
        column(file, "amount")


def test_rows_of_a_kind_are_the_data():
    file = opened(content(FILE), "fixed", records=KINDS, amounts=AMOUNTS)
    assert column(file, ID) == ["A00001", "A00002"]
    assert column(file, AMOUNT) == ["100.50", "0.25"]
    assert rows(file) == [2, 3]
    assert file.skipped == {"record kind 'HD'": 1, "record kind 'ST'": 1}
    assert next(iter(file.batches())).raw(1) == b"SBA00002    0.25"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([*FILE[:3], "ST000003      100.75"], "row 4: the control record counts 3 rows, there are 2"),
        ([*FILE[:3], "ST000002      100.76"], r"row 4: the control record sums up to 100\.76, the rows to 100\.75"),
        ([*FILE[:2], FILE[3]], "counts 2 rows, there are 1"),
        (FILE[:3], "has no control record ST; the file may be cut short"),
        ([*FILE, FILE[1]], "row 5: no control record ST follows"),
        ([FILE[0], FILE[1], "SBA00002    x.25", FILE[3]], "row 3: its amount is no number"),
        ([*FILE[:3], "STxxxxxx      100.75"], "the control record's count: 'xxxxxx' is no amount"),
    ],
    ids=["count", "sum", "row lost", "trailer lost", "row after", "amount unread", "count unread"],
)
def test_a_control_record_that_does_not_hold_sets_the_file_aside(lines: list[str], why: str):
    with pytest.raises(UnusableFileError, match=why):
        opened(content(lines), "fixed", records=KINDS, amounts=AMOUNTS)


def test_a_control_record_for_each_batch_and_one_for_all():
    second = ["SBA00003    1.00", "ST000001        1.00", "ST000003      101.75"]
    file = opened(content([*FILE, *second]), "fixed", records=KINDS, amounts=AMOUNTS)
    assert column(file, ID) == ["A00001", "A00002", "A00003"]


def test_a_hash_total_counts_amounts_without_their_signs():
    lines = ["SBA00001   -2.00", "SBA00002    3.00", "ST000002        5.00"]
    assert column(opened(content(lines), "fixed", records=KINDS, amounts=AMOUNTS), ID) == ["A00001", "A00002"]
    lines[2] = "ST000002        1.00"
    assert column(opened(content(lines), "fixed", records=KINDS, amounts=AMOUNTS), ID) == ["A00001", "A00002"]


def test_control_records_hold_over_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sources.files.fixed.BATCH_ROWS", 3)
    lines = [f"SBA{at:05}    1.00" for at in range(10)]
    file = opened(content([*lines, "ST000010       10.00"]), "fixed", records=KINDS, amounts=AMOUNTS)
    assert len(column(file, ID)) == 10
    with pytest.raises(UnusableFileError, match="counts 11 rows, there are 10"):
        opened(content([*lines, "ST000011       10.00"]), "fixed", records=KINDS, amounts=AMOUNTS)
