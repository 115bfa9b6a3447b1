"""The life of an exception, as a pure function: which step is legal in which state, and what it changes.

    open ------ assign ------> assigned ------ start_review -----> in_review
    open, assigned, in_review  resolve        -> resolved, or a proposal in in_review when a second person is needed
    in_review with a proposal  approve        -> resolved (by somebody other than the proposer)
                               reject         -> in_review, the proposal dropped
    assigned, in_review        unassign       -> open
    resolved                   reopen         -> open
    any                        heals          -> resolved, by the database itself

The database holds the same rules that matter most (schemas/sql/migrations/0002_service.sql): an approval is of a stored
proposal, maker and checker differ, a version is changed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from api.models.exceptions import ActionName, ExceptionState
from api.problems import ConflictError, SecondPersonError

LEGAL: dict[ActionName, frozenset[ExceptionState]] = {
    "assign": frozenset({"open", "assigned", "in_review"}),
    "unassign": frozenset({"assigned", "in_review"}),
    "start_review": frozenset({"open", "assigned"}),
    "resolve": frozenset({"open", "assigned", "in_review"}),
    "approve": frozenset({"in_review"}),
    "reject": frozenset({"in_review"}),
    "reopen": frozenset({"resolved"}),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """The part of an exception that steps change."""

    state: ExceptionState = "open"
    assignee: str | None = None
    reason_code: str | None = None
    proposed_by: str | None = None
    resolved_by: str | None = None
    approved_by: str | None = None
    healed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What somebody wants to do. `assignee` and `reason_code` are for the steps that take them."""

    action: ActionName
    actor: str
    assignee: str | None = None
    reason_code: str | None = None


def take(desk: Desk, step: Step, *, needs_second_person: bool) -> Desk:  # noqa: PLR0911 - one line per action
    """The exception after a step. Raises ConflictError for an illegal one, SecondPersonError for a maker as checker."""
    if desk.state not in LEGAL[step.action]:
        raise ConflictError(f"{step.action} is not possible while it is {desk.state}.")
    match step.action:
        case "assign":
            state: ExceptionState = "assigned" if desk.state == "open" else desk.state
            return replace(desk, state=state, assignee=step.assignee or step.actor)
        case "unassign":
            return Desk()
        case "start_review":
            return replace(desk, state="in_review", assignee=desk.assignee or step.actor)
        case "resolve":
            return _resolve(desk, step, needs_second_person=needs_second_person)
        case "approve":
            if desk.proposed_by is None:
                raise ConflictError("There is no proposal to approve.")
            if desk.proposed_by == step.actor:
                raise SecondPersonError("You proposed this resolution; somebody else must approve it.")
            return replace(desk, state="resolved", approved_by=step.actor, resolved_by=desk.proposed_by)
        case "reject":
            if desk.proposed_by is None:
                raise ConflictError("There is no proposal to reject.")
            return replace(desk, proposed_by=None, reason_code=None)
        case "reopen":
            if desk.healed:
                raise ConflictError("It has healed: there is no mismatch any more.")
            return Desk()


def _resolve(desk: Desk, step: Step, *, needs_second_person: bool) -> Desk:
    if step.reason_code is None:
        raise ConflictError("A resolution needs a reason_code.")
    if desk.proposed_by is not None:
        raise ConflictError("A proposal waits already: approve or reject it.")
    if needs_second_person:
        return replace(
            desk,
            state="in_review",
            assignee=desk.assignee or step.actor,
            proposed_by=step.actor,
            reason_code=step.reason_code,
        )
    return replace(desk, state="resolved", proposed_by=step.actor, resolved_by=step.actor, reason_code=step.reason_code)


def legal_actions(desk: Desk, actor: str) -> list[ActionName]:
    """What this person may do now."""
    actions = [action for action, states in LEGAL.items() if desk.state in states]
    if desk.proposed_by is None or desk.state != "in_review":
        actions = [action for action in actions if action not in {"approve", "reject"}]
    else:
        actions = [action for action in actions if action != "resolve"]
        if desk.proposed_by == actor:
            actions.remove("approve")
    if desk.healed and "reopen" in actions:
        actions.remove("reopen")
    return actions
