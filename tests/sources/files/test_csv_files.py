"""csv and tsv: quotes, encodings, headings, kinds of rows, rows that do not fit."""

from __future__ import annotations

import pytest

from sources.files import csv_files
from sources.files.errors import UnusableFileError
from sources.files.options import Control, Place, RecordKinds
from tests.sources.files.samples import amounts_at, column, opened, reasons, rows


def test_cells_by_heading_and_by_number():
    file = opened(b"id, amount ,note\r\nA,1.50,\r\nB,2,x\r\n", "csv")
    assert column(file, "id") == ["A", "B"]
    assert column(file, "amount") == column(file, "#1") == ["1.50", "2"]
    assert column(file, "note") == [None, "x"]
    assert rows(file) == [2, 3]
    assert next(iter(file.batches())).raw(0) == b"A,1.50,"


def test_quotes_hold_delimiters_quotes_and_line_breaks():
    content = b'id;note\nA;"x;y ""z"""\nB;"one\n\ntwo"\nC;5" pipe\n'
    file = opened(content, "csv", delimiter=";")
    assert column(file, "note") == ['x;y "z"', "one\n\ntwo", '5" pipe']
    assert rows(file) == [2, 3, 6]
    assert next(iter(file.batches())).raw(0) == b'A;"x;y ""z"""'


def test_an_open_quote_is_one_reject_and_swallows_nothing():
    file = opened(b'id,note\nD,"a"b\nA,"open\nB,x\nC,y\nE,z\n', "csv")
    assert column(file, "id") == ["B", "C", "E"]
    assert [row for row, _ in reasons(file)] == [2, 3]
    assert file.rejects[1].reason == "not CSV: a quote is not closed"
    assert file.rejects[1].raw == b'A,"open'


def test_a_row_of_another_width_is_a_reject_but_for_empty_cells():
    file = opened(b"id,amount\nA,1\nB\nC,3,\nD,4,5\n", "csv")
    assert column(file, "id") == ["A", "C"]
    assert reasons(file) == [
        (3, "1 cells where there are 2 columns"),
        (5, "3 cells where there are 2 columns"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str):
    file = opened("naïve\tid\nMüller\tA\n".encode(encoding), "tsv", encoding=encoding)
    assert column(file, "naïve") == ["Müller"]


def test_a_row_that_is_no_text_is_one_reject():
    file = opened(b"id\nA\n\xff\nB\n", "csv")
    assert column(file, "id") == ["A", "B"]
    assert reasons(file) == [(3, "not utf-8: byte 1 of the row is ff")]


def test_preamble_footer_and_no_heading():
    file = opened(b'Report,"of\nMarch"\n\nid,amount\nA,1\nB,2\nTotal,3\n', "csv", skip_rows=3, footer=1)
    assert column(file, "id") == ["A", "B"]
    bare = opened(b"A,1\nB,2\n", "csv", heading=False)
    assert column(bare, "#1") == ["1", "2"]
    assert rows(bare) == [1, 2]


def test_headings_that_cannot_be_told_apart():
    content = b"id,id,\nA,B,C\n"
    with pytest.raises(UnusableFileError, match="two columns are headed 'id'; column: N"):
        opened(content, "csv")
    file = opened(content, "csv", paths=frozenset({"#1"}))
    assert column(file, "#1") == ["B"]
    assert column(file, "#2") == ["C"]
    with pytest.raises(UnusableFileError, match="has no row that could be its heading"):
        opened(b"\n\n", "csv")
    with pytest.raises(UnusableFileError, match="is not one character"):
        opened(content, "csv", delimiter="::")


def test_kinds_of_rows_and_their_control():
    kinds = RecordKinds(Place(column=0), ("SB",), Control(("ST",), count=Place(column=1), sum=Place(column=2)))
    content = b"HD,20240301\nSB,A,1.50,x\nSB,B,2.50,y\nST,2,4.00\n"
    options = {"records": kinds, "amounts": amounts_at(Place(column=2)), "heading": False}
    file = opened(content, "csv", **options)
    assert column(file, "#1") == ["A", "B"]
    assert rows(file) == [2, 3]
    assert file.skipped == {"record kind 'HD'": 1, "record kind 'ST'": 1}
    with pytest.raises(UnusableFileError, match=r"sums up to 4\.01, the rows to 4\.00"):
        opened(content.replace(b"4.00", b"4.01"), "csv", **options)


def test_rows_are_the_same_in_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv_files, "BATCH_ROWS", 3)
    content = b"id\n" + b"".join(b"%d\n" % at for at in range(10))
    file = opened(content, "csv")
    assert column(file, "id") == [str(at) for at in range(10)]
    assert [len(batch.rows) for batch in file.batches()] == [3, 3, 3, 1]
