"""What `recon match` prints is read as JSON here, so nothing else in this process may write to the same stream."""

from __future__ import annotations

from tests.quiet import quiet  # noqa: F401
