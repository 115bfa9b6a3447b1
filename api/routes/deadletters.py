"""Dead letters: list, inspect, replay, dismiss."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from api.models.common import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX
from api.models.deadletters import DeadLetterDetail, DeadLetterPage, DeadLetterRow, DeadLetterState, ReplayResult
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep
from schemas.errors import DeadLetterReason

router = guarded_router("/dead-letters", "dead letters")
LetterId = Annotated[
    str,
    Path(min_length=5, max_length=300, pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,9}:[0-9]{1,18}$", description="As listed."),
]


@router.get("", operation_id="listDeadLetters", summary="Records that were set aside")
async def list_dead_letters(
    services: ServicesDep,
    state: DeadLetterState | None = None,
    reason: DeadLetterReason | None = None,
    topic: Annotated[str | None, Query(max_length=249)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
) -> DeadLetterPage:
    """Newest first."""
    return await services.dead_letters.search(state=state, reason=reason, topic=topic, limit=limit, cursor=cursor)


@router.get("/{letter_id:segment}", operation_id="getDeadLetter", summary="One record with its bytes")
async def get_dead_letter(letter_id: LetterId, services: ServicesDep) -> DeadLetterDetail:
    """Bytes in hexadecimal, what the current schema makes of them, and whether the pipeline would take them now."""
    return await services.dead_letters.detail(letter_id)


@router.post(
    "/{letter_id:segment}/replay", operation_id="replayDeadLetter", summary="Send a record through the log again"
)
async def replay_dead_letter(letter_id: LetterId, services: ServicesDep, caller: CallerDep) -> ReplayResult:
    """The same bytes, appended to the same topic. 409 `/problems/still-refused` while they are no acceptable event."""
    return await services.dead_letters.replay(letter_id, caller)


@router.post("/{letter_id:segment}/dismiss", operation_id="dismissDeadLetter", summary="Set a record aside for good")
async def dismiss_dead_letter(letter_id: LetterId, services: ServicesDep, caller: CallerDep) -> DeadLetterRow:
    """It stays stored."""
    return await services.dead_letters.dismiss(letter_id, caller)
