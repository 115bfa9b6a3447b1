"""Offsets of topics that were made anew never meet those of the topics before."""

from __future__ import annotations

import pytest

from actors.ports import Incarnation
from cluster.log_topics import INCARNATION_OFFSETS, TopicState, next_base, next_incarnation


@pytest.mark.parametrize(
    ("position", "base"),
    [(0, 1), (999_999_999, 1), (INCARNATION_OFFSETS, 2), (INCARNATION_OFFSETS + 5, 2)],
    ids=["nothing read", "nearly full", "second, nothing read", "second"],
)
def test_a_new_incarnation_begins_above_all_that_was_read(position, base):
    assert next_base(position) == base * INCARNATION_OFFSETS
    assert next_base(position) > position


def test_a_partition_that_was_read_and_not_flushed_begins_above_what_was_read_too():
    found = TopicState("core_txns", 1, "old", "new", {0: 7}, {0: 0, 1: 0})
    bases, skipped = next_incarnation(found, Incarnation("old"), {0: 9})
    assert bases == {0: INCARNATION_OFFSETS, 1: INCARNATION_OFFSETS}
    assert skipped == {}


def test_a_topic_that_is_made_anew_again_begins_above_the_one_before_though_nothing_of_that_is_stored():
    before = Incarnation("second", {0: INCARNATION_OFFSETS})
    found = TopicState("core_txns", 2, "second", "third", {0: 7}, {0: INCARNATION_OFFSETS})
    bases, skipped = next_incarnation(found, before, {0: 7})
    assert bases == {0: 2 * INCARNATION_OFFSETS}
    assert skipped == {}
