"""A file's bytes as readers get them: unpacked, seekable, with their digest."""

from __future__ import annotations

import hashlib
import io
import tempfile
import weakref
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES: Final = 1 << 20
"""How much is read at a time, in bytes."""

MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Up to this size an unpacked file, or what came by a pipe, stays in memory; beyond it a temporary file holds it."""


class Content:
    """One file without its packing.

    Args:
        name: for messages; `archive.zip/member.csv` for a member of an archive.
        stream: seekable.
        size: in bytes.
        digest: SHA-256 of the unpacked bytes, hexadecimal: the same content packed again is the same file.
    """

    def __init__(self, name: str, stream: BinaryIO, size: int, digest: str) -> None:
        self.name = name
        self.stream = stream
        self.size = size
        self.digest = digest

    @classmethod
    def keep(cls, name: str, chunks: Iterator[bytes]) -> Content:
        """Keeps what arrives in pieces."""
        # Closed when nobody holds the Content any more: a reader comes back to it.
        held = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX)  # noqa: SIM115
        digest = hashlib.sha256()
        size = 0
        try:
            for chunk in chunks:
                digest.update(chunk)
                held.write(chunk)
                size += len(chunk)
        except BaseException:
            held.close()
            raise
        held.seek(0)
        content = cls(name, held, size, digest.hexdigest())  # type: ignore[arg-type]
        weakref.finalize(content, held.close)
        return content

    @classmethod
    def of(cls, name: str, stream: BinaryIO) -> Content:
        """What a stream holds from here on: read where it lies if it can be sought, else kept."""
        if not stream.seekable():
            return cls.keep(name, chunks(stream))
        start = stream.tell()
        if start:
            return cls.keep(name, chunks(stream))
        digest = hashlib.sha256()
        size = 0
        for chunk in chunks(stream):
            digest.update(chunk)
            size += len(chunk)
        stream.seek(0)
        return cls(name, stream, size, digest.hexdigest())

    def head(self, count: int) -> bytes:
        """The first bytes."""
        self.stream.seek(0)
        return self.stream.read(count)

    def tail(self, count: int) -> bytes:
        """The last bytes."""
        self.stream.seek(max(0, self.size - count))
        return self.stream.read(count)

    def piece(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, excluded."""
        self.stream.seek(start)
        return self.stream.read(end - start)

    def rewound(self) -> BinaryIO:
        """The stream at its beginning."""
        self.stream.seek(0)
        return self.stream

    def all(self) -> bytes:
        """Everything; for formats whose reader needs it at once."""
        return self.rewound().read()


def chunks(stream: BinaryIO, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """What is left in a stream, piece by piece."""
    while chunk := stream.read(size):
        yield chunk


def in_memory(content: bytes) -> BinaryIO:
    """Bytes as a stream."""
    return io.BytesIO(content)
