"""Keeps the engine's log out of the tests' output: what it warns of is played on purpose here."""

from __future__ import annotations

from tests.quiet import quiet  # noqa: F401
