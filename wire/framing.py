"""Confluent framing: a magic byte 0, the schema's id, and for Protobuf the way to the message type."""

from __future__ import annotations

from typing import Final

from wire.varints import read_varint, write_varint

HEADER_BYTES: Final = 5
"""The framing's length in bytes: magic byte 0, then the schema id as a big-endian uint32."""

MESSAGE_INDEXES_MAX: Final = 64
"""The deepest nesting of a Protobuf message type that is followed."""


class BadIndexesError(ValueError):
    """Numbers that are no way to a Protobuf message type."""


def schema_id_of(value: bytes | None) -> int | None:
    """The schema id in the framing, or None when the message is not framed."""
    if value is None or len(value) < HEADER_BYTES or value[0] != 0:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def framed(schema_id: int, body: bytes) -> bytes:
    """A body with its framing."""
    return b"\0" + schema_id.to_bytes(4, "big") + body


def message_indexes(body: bytes) -> tuple[tuple[int, ...], int]:
    """Which message type of a Protobuf file follows, and where the message begins, in bytes.

    The indexes are zig-zag varints after their number; the number 0 alone stands for the file's first message.
    Raises BadIndexesError and BadVarintError for what is no such list.
    """
    count, at = read_varint(body, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= MESSAGE_INDEXES_MAX:
        raise BadIndexesError(f"{count} message indexes; there are 1 to {MESSAGE_INDEXES_MAX}")
    indexes = []
    for _ in range(count):
        index, at = read_varint(body, at)
        if index < 0:
            raise BadIndexesError(f"message index {index} is negative")
        indexes.append(index)
    return tuple(indexes), at


def with_indexes(indexes: tuple[int, ...], body: bytes) -> bytes:
    """A Protobuf message with the way to its type before it."""
    if indexes == (0,):
        return b"\0" + body
    return b"".join(map(write_varint, (len(indexes), *indexes))) + body
