"""HTTPS to a stack's own services."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx


def client(ca_file: Path, timeout_s: float, **options: Any) -> httpx.Client:
    """A client that trusts this CA alone and takes no proxy from the environment; `options` are httpx.Client's."""
    verify = ssl.create_default_context(cafile=str(ca_file))
    return httpx.Client(verify=verify, timeout=timeout_s, trust_env=False, **options)
