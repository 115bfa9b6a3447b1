"""Who has signed in: the choice for assignments."""

from __future__ import annotations

import time
from typing import cast

from api.access import Role
from api.audit_log import AuditLog, audit_entry
from api.caller import Caller
from api.db import Database
from api.models.common import Person, RoleName
from api.problems import UnavailableError
from api.queries import queries
from schemas.covered import ROWS, told

SEEN_EVERY_S = 600
PEOPLE_MAX = 500


class People:
    """Remembers callers, at most once in ten minutes each."""

    def __init__(self, db: Database, audit: AuditLog) -> None:
        self._db = db
        self._audit = audit
        self._seen: dict[str, tuple[Role, float]] = {}

    async def seen(self, caller: Caller) -> None:
        """Note a caller. A database that does not answer is not this function's matter."""
        role, at = self._seen.get(caller.username, (None, float("-inf")))
        if role is caller.role and time.monotonic() - at < SEEN_EVERY_S:
            return
        if len(self._seen) > PEOPLE_MAX:
            self._seen.clear()
        self._seen[caller.username] = (caller.role, time.monotonic())
        try:
            await self._note(caller)
        except UnavailableError:
            self._seen.pop(caller.username, None)

    async def _note(self, caller: Caller) -> None:
        """Store a caller; an entry tells of one who is new, or whose role, name or subject is another by now."""
        sql = queries("people")
        given = (caller.username, caller.subject, caller.name, caller.role.label)
        before = await self._db.fetchrow(sql["noted"], caller.username)
        if before is not None and tuple(before.values()) == given:
            await self._db.execute(sql["seen"], caller.username)
            return
        async with self._db.transaction() as connection:
            row = await connection.fetchrow(sql["note"], *given)
            details = {ROWS: {"people": [told("people", row)]}}
            entry = audit_entry(caller, "person.noted", "person", caller.username, details)
            await self._audit.append(connection, [entry])

    async def assignable(self) -> list[Person]:
        """Analysts and admins, by name."""
        rows = await self._db.fetch(queries("people")["assignable"], PEOPLE_MAX)
        return [Person(username=row["username"], name=row["name"], role=cast("RoleName", row["role"])) for row in rows]
