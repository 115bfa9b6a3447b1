"""Which columns an act may change: the next honest act does not make good what was changed behind the entries' back.

An entry tells the whole row as it found it, so whoever forges a proposal and has it approved would have it told by the
approver's entry. Therefore each entry is compared with what was told before: only the columns of its action may differ,
and who is named in them must be the entry's actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Step:
    """What an action may do to a row: columns it may set, whether it may empty others, and who must be the actor."""

    sets: frozenset[str]
    clears: bool = False
    actors: frozenset[str] = frozenset()  # columns that name whoever did it, if it sets them
    is_counted: bool = True  # one version each; what the database settles may be several at once


def _step(sets: str, *, actors: str = "", clears: bool = False, is_counted: bool = True) -> Step:
    return Step(frozenset(sets.split()), clears, frozenset(actors.split()), is_counted)


# The life of an exception is in api/workflow.py and in the database's function that settles; this is how an auditor
# reads it.
STEPS: Final[Mapping[str, Mapping[str, Step]]] = {
    "exceptions": {
        "exception.assign": _step("state assignee"),
        "exception.unassign": _step("state", clears=True),
        "exception.start_review": _step("state assignee"),
        "exception.propose": _step("state assignee proposed_by reason_code", actors="proposed_by"),
        "exception.resolve": _step("state proposed_by resolved_by reason_code", actors="proposed_by resolved_by"),
        "exception.approve": _step("state approved_by resolved_by", actors="approved_by"),
        "exception.reject": _step("", clears=True),
        "exception.reopen": _step("state", clears=True),
        "exception.healed": _step("state healed_at reason_code", clears=True, is_counted=False),
        "exception.reopened": _step("state", clears=True, is_counted=False),
    },
    "rule_sets": {
        "rules.activate": _step("state effective_from activated_by", actors="activated_by"),
        "rules.discard": _step("state"),
    },
    "ingested_files": {
        "file.writing": _step("name statements log_offset began_at ingested_by"),
        "file.done": _step("state rows rejected done_at"),
    },
    "incidents": {"incident.closed": _step("closed_at")},
}
# Columns that the database sets with every change.
_ALWAYS: Final = frozenset({"version", "updated_at", "needs_checker"})
# A row that nobody has touched is told by nobody: an exception begins open and empty.
_UNTOUCHED: Final[Mapping[str, Mapping[str, Any]]] = {
    "exceptions": {
        "state": "open",
        "version": 0,
        **dict.fromkeys(("assignee", "reason_code", "proposed_by", "resolved_by", "approved_by", "healed_at")),
    },
}


def unexplained(
    table: str, action: str, actor: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Columns that an entry tells otherwise than before although its action does not change them, and what is odd."""
    step = STEPS.get(table, {}).get(action)
    if step is None:
        return
    known = _UNTOUCHED.get(table, {}) if before is None else before
    for name, value in after.items():
        if name not in known or known[name] == value:
            continue
        if name == "version" and step.is_counted and value != known[name] + 1:
            yield name, f"goes from {known[name]} to {value}: a change in between was not told"
        elif name in step.actors and value != actor:
            yield name, f"{action} by {actor!r} tells it as {value!r}"
        elif name not in step.sets | _ALWAYS and not (step.clears and value is None):
            yield name, f"{action} tells it as {value!r}, but it was {known[name]!r} before"
