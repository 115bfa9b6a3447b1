"""What recon can say of a transaction: verdicts, kinds of break, and their stored forms."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence


class Verdict(enum.IntEnum):
    """The number is stored in `results.verdict`."""

    PENDING = 0
    MATCHED = 1
    MISMATCHED = 2


class Break(enum.IntEnum):
    """Kinds of break in order of precedence; the number is the bit in `results.breaks`, and stays what it is."""

    CONFLICT = 0
    DUPLICATE = 1
    AMOUNT = 2
    CURRENCY = 3
    STATUS = 4
    TIMESTAMP = 5
    ATTRIBUTE = 7
    MISSING = 6

    @property
    def mask(self) -> int:
        """The bit of this kind in a mask of breaks."""
        return 1 << self.value


def break_names(mask: int) -> list[str]:
    """Names in a mask of breaks, in order of precedence."""
    return [kind.name for kind in Break if mask & kind.mask]


def break_mask(names: Iterable[str]) -> int:
    """The mask of the named breaks. Raises KeyError for a name that is no break."""
    mask = 0
    for name in names:
        mask |= Break[name].mask
    return mask


def source_names(mask: int, names: Sequence[str]) -> list[str]:
    """Names of the sources in a mask, in order of their ids."""
    return [name for index, name in enumerate(names) if mask >> index & 1]


# Packed legs, the stored form of `legs`: one leg is "source_id:amount_minor:currency:status letter:event_time_ms",
# legs are joined by ";" in order of source id. Thirty bytes a leg, a quarter of the JSON that the view shows.
LEG_SEPARATOR = ";"
FIELD_SEPARATOR = ":"
STATUS_LETTERS = "PSFR"


def unpack_legs(packed: str, names: Sequence[str]) -> dict[str, dict[str, int | str]]:
    """Packed legs as the contract's mapping of source name to amount_minor, currency, status and event_time (ms)."""
    statuses = {"P": "PENDING", "S": "SUCCESS", "F": "FAILED", "R": "REVERSED"}
    legs: dict[str, dict[str, int | str]] = {}
    for part in packed.split(LEG_SEPARATOR) if packed else ():
        source, amount, currency, letter, event_time = part.split(FIELD_SEPARATOR)
        legs[names[int(source)]] = {
            "amount_minor": int(amount),
            "currency": currency,
            "status": statuses[letter],
            "event_time": int(event_time),
        }
    return legs
