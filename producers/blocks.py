"""Avro by the block: thousands of events encoded at once with numpy, to the very bytes of the ordinary writer.

Every field but the amount has a fixed width here, so a block of records is a matrix of bytes; the unused bytes of short
amounts are masked out, and what remains is the records end to end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from producers.wire import MAGIC

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]
Ids = npt.NDArray[np.uint64]

ID_PREFIX_BYTES = 2
ID_BYTES = ID_PREFIX_BYTES + 16  # a prefix and 64 bits in hexadecimal
VARINT_BYTES_MAX = 10  # 64 bits, seven a byte
TXN_PREFIX = b"TX"
HEX = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class EventBlock:
    """Columns of events of one source, all of the same length. Texts are indices into the tables of the encoder."""

    txn: Ids
    event: Ids
    amount_minor: Longs
    currency: npt.NDArray[np.intp]
    status: Bytes
    event_time: Longs
    account: npt.NDArray[np.intp]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.txn)


def hex_digits(ids: Ids) -> Bytes:
    """64-bit ids as (n, 16) ASCII digits, most significant first."""
    octets = ids.astype(">u8").view(np.uint8).reshape(-1, 8)
    digits = np.empty((len(ids), 16), dtype=np.uint8)
    digits[:, 0::2] = HEX[octets >> 4]
    digits[:, 1::2] = HEX[octets & 15]
    return digits


def varints(values: Longs) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """Zigzag varints of non-negative longs as a matrix of bytes, as wide as the longest, and which bytes are used.

    Avro specification, "Binary Encoding": seven bits a byte, least significant first, high bit set on all but the last.
    """
    zigzag = values.astype(np.uint64) << np.uint64(1)
    width = max(1, -(-int(zigzag.max(initial=0)).bit_length() // 7))
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(7)
    shifted = zigzag[:, None] >> shifts
    used = shifted > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    octets = (shifted & np.uint64(0x7F)).astype(np.uint8) | np.where(more, np.uint8(0x80), np.uint8(0))
    return octets, used


class BlockEncoder:
    """Encodes blocks of one source's events under one schema id.

    `currencies` all have three letters and `accounts` one common length, which is what makes the fields fixed.
    """

    def __init__(
        self, schema_id: int, source_index: int, prefix: bytes, currencies: list[str], accounts: list[str]
    ) -> None:
        if len(prefix) != ID_PREFIX_BYTES:
            raise ValueError(f"a prefix has {ID_PREFIX_BYTES} bytes, {prefix!r} does not")
        self._header = struct.pack(">bI", MAGIC, schema_id)
        self._source = source_index
        self._prefix = prefix
        self._currencies = _table(currencies)
        self._accounts = _table(accounts)

    def encode(self, block: EventBlock) -> tuple[list[bytes], list[bytes]]:
        """Values and keys of a block, in its order."""
        count = len(block)
        if count == 0:
            return [], []
        txn = np.hstack([_constant(TXN_PREFIX, count), hex_digits(block.txn)])
        amount, amount_used = varints(block.amount_minor)
        event_time, time_used = varints(block.event_time)
        length_of_id = _constant(bytes([ID_BYTES << 1]), count)
        parts: list[Bytes] = [
            _constant(self._header, count),
            length_of_id,
            _constant(self._prefix, count),
            hex_digits(block.event),
            length_of_id,
            txn,
            _constant(bytes([self._source << 1]), count),
            amount,
            self._currencies[block.currency],
            (block.status * np.uint8(2))[:, None],
            event_time,
            self._accounts[block.account],
            _constant(b"\0", count),  # original_txn_id: the union's first branch, null
        ]
        matrix = np.hstack(parts)
        used = np.ones(matrix.shape, dtype=np.bool_)
        at = 0
        for part, mask in (
            (part, {id(amount): amount_used, id(event_time): time_used}.get(id(part))) for part in parts
        ):
            if mask is not None:
                used[:, at : at + part.shape[1]] = mask
            at += part.shape[1]
        ends = np.cumsum(used.sum(axis=1)).tolist()
        data = matrix[used].tobytes()
        starts = [0, *ends[:-1]]
        values = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        return values, _rows(txn)


def _constant(text: bytes, count: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(text, dtype=np.uint8), (count, len(text)))


def _table(texts: list[str]) -> Bytes:
    """Avro strings (length, then bytes) of one common length, one a row."""
    encoded = [text.encode() for text in texts]
    lengths = {len(text) for text in encoded}
    if len(lengths) != 1 or max(lengths) > 63:
        raise ValueError(f"texts of one length up to 63 are needed, found lengths {sorted(lengths)}")
    rows = b"".join(bytes([len(text) << 1]) + text for text in encoded)
    return np.frombuffer(rows, dtype=np.uint8).reshape(len(encoded), -1)


def _rows(matrix: Any) -> list[bytes]:
    width = matrix.shape[1]
    data = np.ascontiguousarray(matrix).tobytes()
    return [data[at : at + width] for at in range(0, len(data), width)]
