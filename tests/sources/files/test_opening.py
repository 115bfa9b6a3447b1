"""Packed files, archives, streams, globs, and files that are not what was configured."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from pathlib import Path

import pytest
import zstandard

from sources.files import unpacking
from sources.files.errors import UnusableFileError
from sources.files.opening import expand, open_file, open_members
from sources.files.options import FileOptions, cut_path
from tests.sources.files.samples import balance, camt, column, entry, opened, reasons, rows, text_row, xlsx, zipped

TEXT = b"A1\nB2\n"
CELL = cut_path(0, 2)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("f.gz", gzip.compress(TEXT)),
        ("f.txt", gzip.compress(TEXT)),
        ("f.gz", gzip.compress(TEXT[:3]) + gzip.compress(TEXT[3:])),
        ("f.zst", zstandard.compress(TEXT)),
        ("f.zst", zstandard.compress(TEXT[:3]) + zstandard.compress(TEXT[3:])),
        ("f.zip", zipped(f__txt=TEXT)),
        ("-", gzip.compress(TEXT)),
    ],
    ids=["gz", "gz without a suffix", "gz of two members", "zst", "zst of two frames", "zip", "gz from a pipe"],
)
def test_packed_files_are_what_they_unpack_to(name: str, packed: bytes):
    file = opened(packed, "fixed", name=name)
    assert column(file, CELL) == ["A1", "B2"]
    if not name.endswith("zip"):
        assert file.digest == opened(TEXT, "fixed").digest


@pytest.mark.parametrize(
    ("name", "packed", "why"),
    [
        ("f.gz", gzip.compress(TEXT)[:-6], "the gz archive is cut short"),
        ("f.gz", gzip.compress(TEXT)[:-8] + bytes(8), "the gz archive is damaged"),
        ("f.zst", zstandard.compress(TEXT * 100)[:-3], "the zst archive is cut short"),
        ("f.zst", zstandard.compress(os.urandom(2000))[:1000] + bytes(900), "the zst archive is"),
        ("f.zip", zipped(f__txt=TEXT)[:-10], "the zip archive is damaged"),
        ("f.zip", zipped(f__txt=TEXT).replace(b"A1", b"A2"), "the zip archive is damaged"),
        ("f.zip", zipped(), "the zip archive is empty"),
        ("f.gz", TEXT, "is named gz, and is not packed"),
        ("f.zip", gzip.compress(TEXT), "is named zip, and is packed as gz"),
        ("f.gz", gzip.compress(gzip.compress(TEXT)), "is packed twice, inside as gz"),
        ("f", b"", "is empty"),
        ("f.gz", gzip.compress(b""), "is empty"),
    ],
)
def test_a_damaged_archive_is_refused(name: str, packed: bytes, why: str):
    with pytest.raises(UnusableFileError, match=why):
        opened(packed, "fixed", name=name)


def test_an_archive_made_to_fill_a_disk_is_refused(monkeypatch: pytest.MonkeyPatch):
    bomb = gzip.compress(bytes(40 * 1024 * 1024))
    with pytest.raises(UnusableFileError, match="unpacks to more than 250 times its"):
        opened(bomb, "fixed")
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES_MAX", 1_000)
    for packed in (gzip.compress(bytes(1_001)), zstandard.compress(bytes(1_001)), zipped(a=bytes(600), b=bytes(600))):
        with pytest.raises(UnusableFileError, match="unpacks to more than 1000 bytes"):
            opened(packed, "fixed")


def test_a_zip_of_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpacking, "ZIP_MEMBERS_MAX", 1)
    with pytest.raises(UnusableFileError, match="has 2 files; at most 1"):
        opened(zipped(a=TEXT, b=TEXT), "fixed")


def test_the_members_of_a_zip_are_one_file_in_the_order_of_their_names():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("b.txt", b"C3\n\xff\xff\n")
        archive.writestr("folder/", b"")
        archive.writestr("__MACOSX/b.txt", b"junk")
        archive.writestr("a.txt", TEXT)
    file = opened(out.getvalue(), "fixed", name="x.zip")
    assert column(file, CELL) == ["A1", "B2", "C3"]
    assert rows(file) == [1, 2, 3]
    assert reasons(file) == [(4, "not utf-8: byte 1 of the row is ff")]
    assert file.place(3) == "x.zip/b.txt, row 1"
    assert file.place(2) == "x.zip/a.txt, row 2"
    assert [member.name for member in open_members(out.getvalue(), "x.zip", FileOptions(format="fixed"))] == [
        "x.zip/a.txt",
        "x.zip/b.txt",
    ]


def test_a_statement_in_two_members_is_read_once():
    content = camt(balance("OPBD", "1") + balance("CLBD", "3"), entry("2"))
    file = opened(zipped(a__xml=content, b__xml=content), "camt.053")
    assert column(file, "amount") == ["2"]
    other = content.replace(b"B-2", b"B-3")
    with pytest.raises(UnusableFileError, match="occurs twice in this archive with different content"):
        opened(zipped(a__xml=content, b__xml=other), "camt.053")


def test_workbooks_within_a_zip_and_as_they_are():
    book = xlsx({"S": text_row(1, "a") + text_row(2, "1")})
    assert column(opened(book, "xlsx"), "a") == ["1"]
    other = xlsx({"S": text_row(1, "a") + text_row(2, "2")})
    assert column(opened(zipped(x__xlsx=book, y__xlsx=other), "xlsx"), "a") == ["1", "2"]
    assert column(opened(gzip.compress(book), "xlsx"), "a") == ["1"]


def test_a_pipe_is_kept(tmp_path: Path):
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._inner = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            return self._inner.readinto(buffer)

    file = open_file(Pipe(TEXT), "-", FileOptions(format="fixed"))
    assert column(file, CELL) == ["A1", "B2"]
    path = tmp_path / "f.txt"
    path.write_bytes(TEXT)
    with path.open("rb") as stream, open_file(stream, "f.txt", FileOptions(format="fixed")) as same:
        assert (column(same, CELL), same.digest, same.size) == (["A1", "B2"], file.digest, 6)


@pytest.mark.parametrize(
    ("content", "format_", "why"),
    [
        (b"PAR1xxxxPAR1", "jsonl", "is a Parquet file, configured is jsonl; format: parquet"),
        (b"%PDF-1.7", "mt940", "is a PDF, configured is mt940"),
        (b"<?xml version='1.0'?><a/>", "mt940", "is an XML document, configured is mt940"),
        (b"Obj\x01", "bai2", "is an Avro container file, configured is bai2"),
        (b"a,b\n", "parquet", "is text, configured is parquet"),
        (zipped(a__txt=b"x"), "parquet", "is text, configured is parquet"),
    ],
)
def test_a_file_of_another_format_is_named(content: bytes, format_: str, why: str):
    with pytest.raises(UnusableFileError, match=why):
        opened(content, format_)


def test_globs_are_expanded_in_the_order_of_names(tmp_path: Path):
    for name in ("b.csv", "a.csv", "c.txt", "sub/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "odd[1].csv").write_bytes(b"x")
    names = [Path(path).name for path in expand(f"{tmp_path}/*.csv")]
    assert names == ["a.csv", "b.csv", "odd[1].csv"]
    assert [Path(path).name for path in expand(f"{tmp_path}/**/*.csv")][-1] == "d.csv"
    assert expand("-") == ["-"]
    assert expand("plain.csv") == ["plain.csv"]
    assert expand(f"{tmp_path}/odd[1].csv") == [f"{tmp_path}/odd[1].csv"]
    with pytest.raises(UnusableFileError, match="no file fits"):
        expand(f"{tmp_path}/*.nothing")


def test_batches_may_be_read_again():
    file = opened(b"A1\n\xff\n", "fixed")
    assert [reasons(file), reasons(file)] == [[(2, "not utf-8: byte 1 of the row is ff")]] * 2


def test_a_zip_that_lies_about_a_size_is_refused():
    content = bytearray(zipped(f__txt=TEXT * 1000))
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = (5).to_bytes(4, "little")
    with pytest.raises(UnusableFileError):
        opened(bytes(content), "fixed")


def test_random_bytes_are_never_more_than_a_refusal():
    source = random.Random(13)
    for _ in range(200):
        content = source.randbytes(source.randrange(1, 400))
        for format_ in ("fixed", "json", "jsonl", "parquet", "xlsx", "camt.053", "mt940", "mt942", "bai2"):
            try:
                file = opened(content, format_)
                for batch in file.batches():
                    assert len(batch.rows)
            except UnusableFileError as error:
                assert error.why  # noqa: PT017
