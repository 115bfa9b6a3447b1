"""Zig-zag varints of at most 64 bits: the numbers of Avro, and of the framing of Protobuf."""

from __future__ import annotations

from typing import Final

BYTES_MAX: Final = 10
"""A number of 64 bits has at most ten bytes of seven bits each."""

_LAST_BYTE_MAX: Final = 1  # of which the tenth has one bit


class BadVarintError(ValueError):
    """Bytes that are no number, or one of more than 64 bits."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. Raises BadVarintError past the end and beyond 64 bits.

    A number written with more bytes than it needs is legal.
    """
    number = shift = 0
    for place in range(at, at + BYTES_MAX):
        try:
            byte = data[place]
        except IndexError:
            raise BadVarintError("the data ends within a number") from None
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if place - at == BYTES_MAX - 1 and byte > _LAST_BYTE_MAX:
                break
            return (number >> 1) ^ -(number & 1), place + 1
        shift += 7
    raise BadVarintError("a number has more than 64 bits")


def write_varint(number: int) -> bytes:
    """The shortest form of a number."""
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
