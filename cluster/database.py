"""Runs a command's work on the database, and says so plainly when PostgreSQL does not do its part."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg

from schemas.errors import ReconError

T = TypeVar("T")


class DatabaseError(ReconError):
    """PostgreSQL does not answer, or refuses."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"PostgreSQL: {error}; `recon doctor` may know more")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The work's outcome. Raises DatabaseError."""
    try:
        return asyncio.run(work)
    except (OSError, asyncpg.PostgresError) as error:
        raise DatabaseError(error) from error
