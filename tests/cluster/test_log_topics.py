"""Offsets of topics that were made anew never meet those of the topics before."""

from __future__ import annotations

import pytest

from cluster.log_topics import INCARNATION_OFFSETS, next_base


@pytest.mark.parametrize(
    ("position", "base"),
    [(0, 1), (999_999_999, 1), (INCARNATION_OFFSETS, 2), (INCARNATION_OFFSETS + 5, 2)],
    ids=["nothing read", "nearly full", "second, nothing read", "second"],
)
def test_a_new_incarnation_begins_above_all_that_was_read(position, base):
    assert next_base(position) == base * INCARNATION_OFFSETS
    assert next_base(position) > position
