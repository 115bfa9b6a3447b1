"""What an event is: statuses, sources, key groups and the limits that every accepted event obeys."""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources


class Status(enum.IntEnum):
    """Status of a leg; the number is the position in the Avro enum and in stored frames."""

    PENDING = 0
    SUCCESS = 1
    FAILED = 2
    REVERSED = 3

    @property
    def is_terminal(self) -> bool:
        """PENDING is the only status that a source is expected to move on from."""
        return self is not Status.PENDING


STATUS_NAMES: tuple[str, ...] = tuple(status.name for status in Status)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One system that reports payments.

    `name` is the symbol in the event, `topic` the Kafka topic it writes to. An expected source is waited for and can be
    missing; an optional one is compared when it speaks and never waited for.
    """

    name: str
    topic: str
    expected: bool = True


# A source's id is its position in the configured tuple. Ids are stored (bit masks in results), so the tuple only grows.
DEFAULT_SOURCES: tuple[SourceSpec, ...] = (
    SourceSpec("CORE", "core_txns"),
    SourceSpec("GATEWAY", "gateway_txns"),
    SourceSpec("MOBILE", "mobile_txns"),
)

SOURCES_MAX = 15  # a set of sources is a smallint bit mask, and its sign bit stays clear

KEY_GROUPS = 128  # fixed for the life of a database: it is part of stored primary keys

ID_BYTES_MAX = 256  # event_id, txn_id, account_id, original_txn_id, in UTF-8 bytes
AMOUNT_MINOR_MAX = 10**15  # ten trillion units of a two-decimal currency; above it is a unit error, not a payment
EVENT_TIME_MIN_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
EVENT_TIME_LEAD_MAX_MS = 86_400_000  # a source's clock may lead the broker's by at most one day

SCHEMA_FILE = "transaction_event.avsc"


def key_group_of(txn_id: str) -> int:
    """Key group of a transaction: CRC-32 (ISO 3309, as in zlib) of the UTF-8 id, modulo `KEY_GROUPS`.

    Stable across processes, versions and languages, because it is stored.
    """
    return zlib.crc32(txn_id.encode()) % KEY_GROUPS


def key_group_of_position(partition: int, offset: int) -> int:
    """Key group of a record that has no readable transaction id, so that a dead letter has one owner too."""
    return (partition * 31 + offset) % KEY_GROUPS


@lru_cache(maxsize=1)
def schema_text() -> str:
    """The Avro schema of `recon.TransactionEvent` as committed, in JSON."""
    return resources.files("schemas").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
