"""Masks account ids for those who may not see them whole."""

from __future__ import annotations

MASK = "••••"
SHOWN_CHARS = 4


def mask_account(account_id: str) -> str:
    """The last four characters of an id that is at least three times as long; nothing of a shorter one."""
    return MASK + account_id[-SHOWN_CHARS:] if len(account_id) >= 3 * SHOWN_CHARS else MASK
