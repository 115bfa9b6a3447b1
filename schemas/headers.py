"""A record's headers as the ledger keeps them: JSON, in their order, each a name and its value in base64 or null."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

Headers = Sequence[tuple[str, bytes | None]]


def packed_headers(headers: Headers | None) -> str | None:
    """Headers as JSON text; None for none."""
    if not headers:
        return None
    return json.dumps([[name, None if value is None else base64.b64encode(value).decode()] for name, value in headers])


def unpacked_headers(stored: Any) -> list[tuple[str, bytes | None]]:
    """The inverse, from JSON text or from what it decodes to; none for null."""
    pairs = json.loads(stored) if isinstance(stored, str) else stored or []
    return [(name, None if value is None else base64.b64decode(value)) for name, value in pairs]
