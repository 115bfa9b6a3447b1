"""JSON documents and lines: exact digits, paths to the array, and documents larger than a chunk."""

from __future__ import annotations

import json

import pytest

from sources.files import json_files
from sources.files.errors import UnusableFileError
from tests.sources.files.samples import column, opened, reasons, rows


def test_numbers_keep_the_digits_that_the_file_has():
    file = opened(b'[{"a": 12.340000000000000001, "b": 12345678901234567890}, {"a": 1e2}]', "json")
    assert column(file, "a") == ["12.340000000000000001", "1e2"]
    assert column(file, "b") == ["12345678901234567890", None]
    assert rows(file) == [1, 2]


def test_raw_is_the_record_as_it_was():
    file = opened(b'[ {"a": 1.50} , {"b" : [1, {"c": "}"}]}]', "json")
    batch = next(iter(file.batches()))
    assert [batch.raw(0), batch.raw(1)] == [b'{"a": 1.50}', b'{"b" : [1, {"c": "}"}]}']
    assert column(file, "b[1].c") == [None, "}"]


def test_a_path_leads_to_the_array():
    content = b'{"meta": {"n": "x\\"]"}, "data": [1, {"items": [{"a": 1}, {"a": 2}], "more": null}], "end": [true]}'
    file = opened(content, "json", array="data[1].items")
    assert column(file, "a") == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "array", "why"),
    [
        (b'{"data": [{"a": 1}]}', "", "an object where the array of records should be"),
        (b'{"data": [{"a": 1}]}', "rows", "no member 'rows'"),
        (b'{"data": 5}', "data", "a value where the array of records should be"),
        (b'[{"a": 1}', "", "the document is cut short"),
        (b'[{"a": "x', "", "cut short, or a quote is not closed"),
        (b'[{"a": 1]]', "", r"\] closes nothing"),
        (b'[{"a": 1} {"a": 2}]', "", "a comma or ] is missing"),
        (b'[{"a": 1}] x', "", "something follows the end"),
        (b'{"data": [{"a": 1}], "data": []}', "data", "the name 'data' occurs twice"),
        (b'{"data": [{"a": 1}]', "data", "the document is cut short"),
        (b'[{"a": 1},]', "", "a value is missing"),
        (b"[" * 600, "", "more than 512 levels"),
    ],
)
def test_a_broken_document_says_where(content: bytes, array: str, why: str):
    with pytest.raises(UnusableFileError, match=why) as error:
        opened(content, "json", array=array)
    assert error.value.place.startswith("byte ")


def test_a_bad_record_is_one_reject():
    file = opened(b'[{"a": 1}, {"a": 1, "a": 2}, {"a": tru}, 7, {"a": 3}]', "json")
    assert column(file, "a") == ["1", "3"]
    assert [row for row, _ in reasons(file)] == [2, 3, 4]
    assert "the name 'a' occurs twice" in file.rejects[0].reason
    assert file.rejects[2].reason == "not a JSON object"
    assert file.rejects[0].raw == b'{"a": 1, "a": 2}'


def test_an_empty_array_has_no_records():
    assert column(opened(b" [ ] \n", "json"), "a") == []


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_a_document_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch, chunk: int):
    monkeypatch.setattr(json_files, "CHUNK_BYTES", chunk)
    values = [{"id": f'é"{at}\\', "n": at, "deep": {"list": [[], {}, [at]]}} for at in range(40)]
    content = json.dumps({"head": [1, {"x": "]"}], "data": values, "tail": -1.5e3}, ensure_ascii=False).encode()
    file = opened(content, "json", array="data")
    assert column(file, "id") == [value["id"] for value in values]
    assert column(file, "deep.list[2][0]") == [str(at) for at in range(40)]


def test_a_record_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_files, "RECORD_BYTES_MAX", 100)
    with pytest.raises(UnusableFileError, match="a record is longer than 100 bytes"):
        opened(b'[{"a": "' + b"x" * 200 + b'"}]', "json")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_documents_in_other_encodings(encoding: str):
    file = opened('[{"a": "é"}]'.encode(encoding), "json", encoding=encoding)
    assert column(file, "a") == ["é"]


def test_one_record_a_line():
    content = b'\xef\xbb\xbf{"a": 1.10}\r\n\r\n{"a": "x", "b": null}\nnot json\n[1]\n'
    content += b'{"a": 1, "a": 2}\n{"a": "\xff"}\n{"a": 4}'
    file = opened(content, "jsonl")
    assert column(file, "a") == ["1.10", "x", "4"]
    assert rows(file) == [1, 3, 8]
    assert [row for row, _ in reasons(file)] == [4, 5, 6, 7]
    assert file.rejects[0].raw == b"not json"
    assert file.rejects[3].reason.startswith("not utf-8: byte 8 of the row is ff")
