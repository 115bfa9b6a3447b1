"""The version of the API's contract; it rises when a client must change."""

from __future__ import annotations

API_VERSION = "1.0.0"
