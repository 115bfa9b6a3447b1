"""What happened in a run, as a table: kinds of trouble, and what came of them. What never happens is not tested."""

from __future__ import annotations

from collections import Counter

from tests.simulation.history import KINDS

# Beside the kinds of trouble: counted by the twins (tests.simulation.services, World.happened).
OUTCOMES = {
    "taken_over": "a shard began where an earlier owner was",
    "fenced": "an owner found that it has a successor",
    "found_committed": "a flush was offered again, and had been committed",
    "refused_as_decided": "a flush was refused: a transaction in it was decided before",
    "gap": "a batch was refused: something before it had not come",
    "repeat": "a batch came that was taken before, whole or in part",
    "spilled": "open transactions were spilled",
    "dead_letter": "a record was set aside",
    "redelivery": "an event was marked as a redelivery",
    "shown_open": "an open transaction was shown",
    "revised": "a decided transaction was revised",
    "matched": "a transaction ended as MATCHED",
    "mismatched": "a transaction ended as MISMATCHED",
    "missing": "a transaction ended with a source missing",
    "late": "a transaction ended with a source late",
    "by_later_rules": "a transaction was judged by rules that were switched to",
}
# The engine's own words (names of events in its log).
SAID = {
    "located": "a reader asked the shards where to read on",
    "reader_waits": "a reader waited for something",
    "reader_halts": "a reader halted until an operator decided",
    "flush_postponed": "a flush had to be offered again",
    "spill_unavailable_keeping_in_memory": "a shard went on without Redis",
    "spill_lost_rebuilding": "a shard read its open transactions back from the ledger",
    "rules_unavailable": "a shard waited for the rules before it judged",
    "check_postponed": "a shard could not ask whether a transaction was decided",
    "revision_impossible_past_retention": "a revision was impossible: its events are past keeping",
    "replacing_silent_actor": "the supervisor replaced an actor that said nothing",
    "partitions_changed": "the supervisor dealt the partitions out anew",
    "supervisor_waits": "the supervisor waited for something",
}
HISTORIES_ENOUGH = 1_000  # in so many everything happens


def table(happened: Counter[str]) -> str:
    """Three lists of what happened and how often."""
    lists = (
        ("went wrong", {name: kind.what for name, kind in KINDS.items()}),
        ("came of it", OUTCOMES),
        ("was said", SAID),
    )
    lines: list[str] = []
    for title, names in lists:
        lines.append(f"{title:<37} {'times':>7}")
        lines += [f"  {name:<35} {happened[name] or 'never':>7}  {words}" for name, words in names.items()]
    return "\n".join(lines) + "\n"


def never(happened: Counter[str]) -> list[str]:
    """Names of what should happen in a long run and did not."""
    return [name for name in (*KINDS, *OUTCOMES, *SAID) if not happened[name]]
