"""The parts of the service, put together."""
from __future__ import annotations
from typing import Any
class Services:
    def __getattr__(self, name: str) -> Any: ...
