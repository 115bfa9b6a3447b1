"""gz, zip and zst: what is packed is unpacked with a limit on everything, for an archive may be made to fill a disk."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from sources.files.contents import CHUNK_BYTES, Content, chunks
from sources.files.errors import UnusableFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPACKED_BYTES_MAX: Final = 16 * 1024**3
"""The most that one file, or all members of an archive together, may unpack to, in bytes."""

UNPACK_RATIO_MAX: Final = 250
"""The most unpacked bytes for one packed byte, beyond UNPACK_RATIO_FREE_BYTES. Payments pack 5 to 40 fold."""

UNPACK_RATIO_FREE_BYTES: Final = 32 * 1024 * 1024
"""Up to this many unpacked bytes the ratio does not matter."""

ZIP_MEMBERS_MAX: Final = 1_000
"""The most files in one zip."""

ZSTD_WINDOW_BYTES_MAX: Final = 128 * 1024 * 1024
"""The largest window that a zst file may ask for, in bytes."""

# One block of zst says in a few bytes up to 128 KiB: this much input at a time gives at most 64 MiB of output.
_ZSTD_INPUT_BYTES: Final = 2_048

_MAGIC: Final = (("gz", b"\x1f\x8b"), ("zst", b"\x28\xb5\x2f\xfd"), ("zip", b"PK\x03\x04"), ("zip", b"PK\x05\x06"))
_OF_DESKTOPS: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_SUFFIXES: Final = {".gz": "gz", ".zip": "zip", ".zst": "zst"}


def packing_of(head: bytes) -> str | None:
    """How a file is packed by its first bytes; none of the formats that recon reads can begin with them but xlsx."""
    for name, magic in _MAGIC:
        if head.startswith(magic):
            return name
    return None


def unpack(content: Content, packing: str) -> list[Content]:
    """The files in a file: one, or the members of a zip by name. Raises UnusableFileError.

    A workbook is a zip too, and stays as it is.
    """
    found = packing_of(content.head(4))
    if packing == "auto":
        by_name = next((kind for suffix, kind in _SUFFIXES.items() if content.name.lower().endswith(suffix)), None)
        if by_name is not None and found != by_name:
            raise UnusableFileError(
                content.name,
                "",
                f"is named {by_name}, and is {f'packed as {found}' if found else 'not packed'}",
                "its name should say what it is",
            )
        packing = found or "none"
    elif packing not in ("none", found):
        raise UnusableFileError(content.name, "", f"is not {packing}", "packing: auto goes by the file's first bytes")
    match packing:
        case "gz":
            return [_checked(Content.keep(_inner_name(content.name, ".gz"), _limited(content, _gunzip(content))))]
        case "zst":
            return [_checked(Content.keep(_inner_name(content.name, ".zst"), _limited(content, _unzst(content))))]
        case "zip":
            return _unzip(content)
    return [content]


def is_workbook(content: Content) -> bool:
    """Whether a zip is a spreadsheet's."""
    try:
        with zipfile.ZipFile(content.rewound()) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(names & {"xl/workbook.xml", "xl/workbook.bin", "content.xml"})


def _checked(inner: Content) -> Content:
    if (again := packing_of(inner.head(4))) is not None and not (again == "zip" and is_workbook(inner)):
        raise UnusableFileError(inner.name, "", f"is packed twice, inside as {again}", "pack a file once")
    return inner


def _inner_name(name: str, suffix: str) -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


def _limited(content: Content, pieces: Iterator[bytes], already: int = 0) -> Iterator[bytes]:
    total = already
    for piece in pieces:
        total += len(piece)
        if total > UNPACKED_BYTES_MAX:
            raise UnusableFileError(content.name, "", f"unpacks to more than {UNPACKED_BYTES_MAX} bytes")
        if total > UNPACK_RATIO_FREE_BYTES and total > content.size * UNPACK_RATIO_MAX:
            raise UnusableFileError(
                content.name, "", f"unpacks to more than {UNPACK_RATIO_MAX} times its {content.size} bytes"
            )
        yield piece


def _gunzip(content: Content) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=content.rewound()) as unpacked:
            yield from chunks(unpacked)  # type: ignore[arg-type]
    except EOFError as error:
        raise UnusableFileError(content.name, "", "the gz archive is cut short") from error
    except (gzip.BadGzipFile, zlib.error, OSError) as error:
        raise UnusableFileError(content.name, "", f"the gz archive is damaged ({error})") from error


def _unzst(content: Content) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    frame = reader.decompressobj()
    begun = False
    try:
        for chunk in chunks(content.rewound(), _ZSTD_INPUT_BYTES):
            left = chunk
            while left:
                if frame.eof:
                    frame = reader.decompressobj()
                begun = True
                piece = frame.decompress(left)
                left = frame.unused_data if frame.eof else b""
                if piece:
                    yield piece
    except zstandard.ZstdError as error:
        raise UnusableFileError(content.name, "", f"the zst archive is damaged ({error})") from error
    if begun and not frame.eof:
        raise UnusableFileError(content.name, "", "the zst archive is cut short")


def _unzip(content: Content) -> list[Content]:
    if is_workbook(content):
        return [content]
    try:
        with zipfile.ZipFile(content.rewound()) as archive:
            members = sorted(
                (
                    member
                    for member in archive.infolist()
                    if not member.is_dir() and not _is_of_a_desktop(member.filename)
                ),
                key=lambda member: member.filename,
            )
            if not members:
                raise UnusableFileError(content.name, "", "the zip archive is empty")
            if len(members) > ZIP_MEMBERS_MAX:
                raise UnusableFileError(
                    content.name, "", f"the zip archive has {len(members)} files; at most {ZIP_MEMBERS_MAX} are read"
                )
            unpacked: list[Content] = []
            for member in members:
                name = f"{content.name}/{member.filename}"
                if member.flag_bits & 1:
                    raise UnusableFileError(name, "", "is encrypted", "recon has no password for archives")
                already = sum(one.size for one in unpacked)
                pieces = _limited(content, _member(archive, member), already)
                unpacked.append(_checked(Content.keep(name, pieces)))
            return unpacked
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        ValueError,
        RuntimeError,
        LookupError,
    ) as error:
        raise UnusableFileError(content.name, "", f"the zip archive is damaged ({error})") from error


def _is_of_a_desktop(name: str) -> bool:
    """Whether a desktop put a file into an archive for itself."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].lower() in _OF_DESKTOPS


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as unpacked:
        yield from _pieces(unpacked)


def _pieces(stream: object) -> Iterator[bytes]:
    reader: BinaryIO = stream  # type: ignore[assignment]
    yield from chunks(reader, CHUNK_BYTES)
