"""Starting the pipeline: what is refused before any actor is made."""

from __future__ import annotations

import pytest

from cluster.pipeline import check_sources
from schemas.errors import ReconError
from schemas.events import DEFAULT_SOURCES, SourceSpec


def test_a_source_that_no_event_can_name_is_refused_by_name():
    check_sources(DEFAULT_SOURCES)
    with pytest.raises(ReconError, match="CARD is no symbol"):
        check_sources((*DEFAULT_SOURCES, SourceSpec("CARD", "card_txns")))
