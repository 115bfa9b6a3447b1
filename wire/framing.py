"""Confluent framing: a magic byte 0, the schema's id, and for Protobuf the way to the message type."""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 5
"""The framing's length in bytes: magic byte 0, then the schema id as a big-endian uint32."""

MESSAGE_INDEXES_MAX: Final = 64
"""The deepest nesting of a Protobuf message type that is followed."""

_VARINT_BYTES_MAX: Final = 10
_LAST_BYTE_MAX: Final = 1  # the tenth byte of a 64-bit number has one bit


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
    Raises ValueError for what is no such list.
    """
    count, at = read_varint(body, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= MESSAGE_INDEXES_MAX:
        raise ValueError(f"{count} message indexes; there are 1 to {MESSAGE_INDEXES_MAX}")
    indexes = []
    for _ in range(count):
        index, at = read_varint(body, at)
        if index < 0:
            raise ValueError(f"message index {index} is negative")
        indexes.append(index)
    return tuple(indexes), at


def with_indexes(indexes: tuple[int, ...], body: bytes) -> bytes:
    """A Protobuf message with the way to its type before it."""
    if indexes == (0,):
        return b"\0" + body
    return b"".join(map(write_varint, (len(indexes), *indexes))) + body


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint and where it ends. Raises ValueError beyond 64 bits or past the end."""
    number = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(data):
            raise ValueError("the data ends within a number")
        byte = data[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if place == _VARINT_BYTES_MAX - 1 and byte > _LAST_BYTE_MAX:
                break
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise ValueError("a number has more than 64 bits")


def write_varint(number: int) -> bytes:
    """A zig-zag varint."""
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
