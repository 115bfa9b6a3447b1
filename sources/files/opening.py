"""Opens a file as its configuration says, and says clearly when the file is something else."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sources.files.bai2 import open_bai2
from sources.files.camt import open_camt
from sources.files.contents import Content, in_memory
from sources.files.csv_files import open_csv
from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.fixed import open_fixed
from sources.files.json_files import open_json, open_jsonl
from sources.files.mt940 import open_mt940
from sources.files.opened import OpenedFile, RenumberedRecords
from sources.files.parquet import open_parquet
from sources.files.unpacking import is_workbook, unpack
from sources.files.workbooks import open_xlsx

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sources.files.options import FileOptions
    from sources.files.statements import Statement, StatementKey
    from wire.records import Records

STDIN: Final = "-"
"""The path that means standard input."""

GLOB_FILES_MAX: Final = 100_000
"""The most files that one glob may name."""

_SNIFF_BYTES: Final = 4_096
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_READERS: Final[dict[str, Callable[[Content, FileOptions], OpenedFile]]] = {
    "csv": open_csv,
    "tsv": open_csv,
    "fixed": open_fixed,
    "xlsx": open_xlsx,
    "json": open_json,
    "jsonl": open_jsonl,
    "parquet": open_parquet,
    "camt.053": open_camt,
    "camt.052": open_camt,
    "camt.054": open_camt,
    "mt940": open_mt940,
    "mt942": open_mt940,
    "bai2": open_bai2,
}


def open_file(source: BinaryIO | bytes, name: str, options: FileOptions) -> OpenedFile:
    """A file, or all files of an archive as one. Raises UnusableFileError for what must be set aside as a whole.

    Everything that can be wrong with the whole file is found here, before a record is given: damage, another format,
    totals and balances that do not hold. `batches` of what is returned raises nothing.

    Args:
        source: the file's bytes, or a stream of them; one that cannot be sought (a pipe) is kept first.
        name: for messages; its suffix must not contradict how the file is packed.
        options: how to read it.
    """
    opened = open_members(source, name, options)
    return opened[0] if len(opened) == 1 else ArchiveFile(name, opened)


def open_members(source: BinaryIO | bytes, name: str, options: FileOptions) -> list[OpenedFile]:
    """The files in a file, by name: one, or each member of a zip. Raises UnusableFileError."""
    try:
        content = Content.of(name, in_memory(source) if isinstance(source, bytes) else source)
    except OSError as error:
        raise UnusableFileError(name, "", f"cannot be read ({error})") from error
    return [_open(inner, options) for inner in unpack(content, options.packing)]


def expand(pattern: str) -> list[str]:
    """The files that a path names, in the order of their names; `-` is standard input.

    A path with `*`, `?`, `[...]` or `**` is a glob. A file of just that name comes before what the glob would find.
    Raises UnusableFileError where nothing is found: a source that is silently empty would be a break for every payment.
    """
    if pattern == STDIN:
        return [STDIN]
    if not glob.has_magic(pattern):
        return [pattern]
    found = sorted(one for one in glob.glob(pattern, recursive=True) if not _is_folder(one))  # noqa: PTH207
    if not found and _exists(pattern):
        return [pattern]
    if not found:
        raise UnusableFileError(pattern, "", "no file fits")
    if len(found) > GLOB_FILES_MAX:
        raise UnusableFileError(pattern, "", f"names {len(found)} files; at most {GLOB_FILES_MAX} are read at once")
    return found


class ArchiveFile(OpenedFile):
    """The members of an archive as one file: rows are counted on from member to member, by name."""

    def __init__(self, name: str, members: list[OpenedFile]) -> None:
        self.name = name
        self.digest = _joint_digest(members)
        self.members, self.notes = _distinct(members)
        self.size = sum(member.size for member in members)
        self.statements: tuple[Statement, ...] = tuple(one for member in members for one in member.statements)
        self._rejects: list[RejectedRow] = []
        self._starts: list[int] = []
        self._refuse_contradictions()

    @property
    def rejects(self) -> list[RejectedRow]:
        """Rows that were not taken, numbered as in the archive."""
        return self._rejects

    @property
    def skipped(self) -> Counter[str]:
        """How many rows were passed over on purpose, by reason."""
        total: Counter[str] = Counter()
        for member in self.members:
            total += member.skipped
        return total

    def batches(self, without: Collection[StatementKey] = ()) -> Iterator[Records]:
        """The records of every member."""
        self._rejects = []
        self._starts = []
        known = set(without)
        start = 0
        for member in self.members:
            self._starts.append(start)
            highest = 0
            for batch in member.batches(known):
                self._take_rejects(member, start)
                highest = max(highest, int(batch.rows[-1]) if len(batch.rows) else 0)
                yield RenumberedRecords(batch, start)
            highest = max(highest, self._take_rejects(member, start))
            known |= {statement.key for statement in member.statements}
            start += highest

    def place(self, row: int) -> str:
        """Where a row is, for people: the member, and the row in it."""
        at = max((index for index, start in enumerate(self._starts) if start < row), default=0)
        return self.members[at].place(row - (self._starts[at] if self._starts else 0))

    def close(self) -> None:
        """Closes every member."""
        for member in self.members:
            member.close()

    def _take_rejects(self, member: OpenedFile, start: int) -> int:
        taken = list(member.rejects)
        member.rejects.clear()
        self._rejects.extend(RejectedRow(one.row + start, one.reason, one.raw) for one in taken)
        return max((one.row for one in taken), default=0)

    def _refuse_contradictions(self) -> None:
        seen: dict[StatementKey, str] = {}
        for member in self.members:
            for statement in member.statements:
                if seen.setdefault(statement.key, statement.digest) != statement.digest:
                    raise UnusableFileError(
                        member.name, str(statement), "occurs twice in this archive with different content"
                    )


def _distinct(members: list[OpenedFile]) -> tuple[tuple[OpenedFile, ...], tuple[str, ...]]:
    """The members, each content once, and what is to be said of the others."""
    first: dict[str, OpenedFile] = {}
    notes = []
    for member in members:
        before = first.setdefault(member.digest, member)
        if before is not member:
            notes.append(f"{member.name} has the content of {before.name} and was not read again")
            member.close()
    return tuple(first.values()), tuple(notes)


def _joint_digest(members: list[OpenedFile]) -> str:
    return hashlib.sha256("".join(member.digest for member in members).encode()).hexdigest()


def _open(content: Content, options: FileOptions) -> OpenedFile:
    _must_be(content, options)
    return _READERS[options.format](content, options)


def _must_be(content: Content, options: FileOptions) -> None:
    """The first bytes say beyond doubt what some files are; one that is something else is refused with its name."""
    if not content.size:
        raise UnusableFileError(content.name, "", "is empty", f"a file of format {options.format}")
    found = _what(content)
    wanted = options.format
    fits = {
        "xlsx": found == "xlsx",
        "parquet": found == "parquet",
        "camt.053": found in {"xml", None},
        "camt.052": found in {"xml", None},
        "camt.054": found in {"xml", None},
    }.get(wanted, found in {None, "json"} or (found == "xml" and wanted in {"csv", "tsv", "fixed"}))
    if fits:
        return
    names = {
        "xlsx": "a workbook (xlsx)",
        "parquet": "a Parquet file",
        "xml": "an XML document",
        "json": "a JSON document",
        "pdf": "a PDF",
        "ole": "an old or encrypted workbook (xls)",
        "gz": "packed as gz",
        "zip": "packed as zip",
        "zst": "packed as zst",
        "avro": "an Avro container file",
        None: "text",
    }
    right = f"format: {found}" if found in {"xlsx", "parquet", "json"} else f"a file of format {wanted}"
    if found == "ole":
        right = "a workbook saved as xlsx, without a password"
    raise UnusableFileError(content.name, "byte 0", f"is {names[found]}, configured is {wanted}", right)


def _what(content: Content) -> str | None:
    head = content.head(_SNIFF_BYTES)
    for magic, what in (
        (b"PAR1", "parquet"),
        (b"PARE", "parquet"),
        (_OLE, "ole"),
        (b"%PDF-", "pdf"),
        (b"\x1f\x8b", "gz"),
        (b"\x28\xb5\x2f\xfd", "zst"),
        (b"Obj\x01", "avro"),
    ):
        if head.startswith(magic):
            return what
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "xlsx" if is_workbook(content) else "zip"
    text = head
    for mark in _MARKS:
        text = text.removeprefix(mark)
    text = text.replace(b"\0", b"").lstrip()
    if text.startswith((b"<?xml", b"<!DOCTYPE", b"<Document", b"<")) and text[1:2].isalpha() | (text[1:2] in b"?!"):
        return "xml"
    # A fixed-width row or a message may begin with a bracket too: only a whole sign of JSON says that it is.
    return "json" if text.startswith((b'[{"', b'{"')) else None


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _exists(path: str) -> bool:
    return Path(path).is_file()
