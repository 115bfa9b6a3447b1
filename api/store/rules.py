"""Rule sets: drafts, activation by a second person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.audit_log import AuditLog, audit_entry
from api.caller import Caller
from api.db import Database
from api.desk_feed import DeskFeed
from api.models.common import FieldProblem
from api.models.rules import Activation, RuleDraft, RuleSetList, RuleSetView
from api.problems import ConflictError, InvalidError, NotFoundError, SecondPersonError
from api.queries import queries
from api.store.vocabulary import VocabularyReader, rules_body
from api.times import from_millis, millis, millis_or_none, now
from schemas.covered import ROWS, told
from schemas.errors import InvalidRulesError
from schemas.money import CURRENCY_EXPONENTS, why_no_currency
from schemas.rules import CONFIGURED_KEYS, RULES_LEAD_MS, RuleSet


class RuleStore:
    """Versions of the rules."""

    def __init__(self, db: Database, vocabulary: VocabularyReader, audit: AuditLog, feed: DeskFeed) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._audit = audit
        self._feed = feed

    async def all(self) -> RuleSetList:
        """Newest first."""
        return RuleSetList(items=[_view(row) for row in await self._db.fetch(queries("rules")["all"])])

    async def one(self, version: int) -> RuleSetView:
        """One version. Raises NotFoundError."""
        row = await self._db.fetchrow(queries("rules")["one"], version)
        if row is None:
            raise NotFoundError("There is no such version.")
        return _view(row)

    async def draft(self, body: RuleDraft, caller: Caller) -> RuleSetView:
        """Store a draft. Raises InvalidError when the rules could not be applied."""
        vocabulary = await self._vocabulary.get()
        sql = queries("rules")
        stored = body.body.model_dump() | of_configuration(await self._db.fetch(sql["active"]))
        problems = [
            FieldProblem(where="body.body.expected_sources", problem=f"{name!r} is not a configured source")
            for name in body.body.expected_sources
            if vocabulary.names and name not in vocabulary.names
        ]
        problems += [
            FieldProblem(where=f"body.body.severities.{name}", problem=why_no_currency(code))
            for name in ("amounts", "second_person_above_minor")
            for code in stored["severities"][name]
            if code != "default" and code not in CURRENCY_EXPONENTS
        ]
        try:
            RuleSet.from_json(1, 0, stored)
        except InvalidRulesError as error:
            problems.append(FieldProblem(where=f"body.body.{error.field}", problem=error.problem))
        if problems:
            raise InvalidError("The rules could not be applied.", errors=problems)
        async with self._db.transaction() as connection:
            await connection.execute(sql["draft_lock"])
            row = await connection.fetchrow(sql["draft"], stored, caller.username, body.note)
            version: int = row["version"]
            await self._audit.append(
                connection,
                [
                    audit_entry(
                        caller,
                        "rules.draft",
                        "rules",
                        str(version),
                        {"body": stored, "note": body.note, ROWS: _told(row)},
                    )
                ],
            )
        return await self.one(version)

    async def activate(self, version: int, body: Activation, caller: Caller) -> RuleSetView:
        """Put a draft in force. Raises NotFoundError, ConflictError, SecondPersonError or InvalidError."""
        draft = await self.one(version)
        if draft.state != "draft":
            raise ConflictError(f"Version {version} is {draft.state}.")
        if draft.created_by == caller.username:
            raise SecondPersonError("You drafted this version; somebody else must activate it.")
        earliest = millis(now()) + RULES_LEAD_MS
        if body.effective_from is not None and body.effective_from < earliest:
            problem = FieldProblem(where="body.effective_from", problem=f"must be at least {RULES_LEAD_MS} ms ahead")
            raise InvalidError(errors=[problem])
        moment = from_millis(body.effective_from or earliest)
        sql = queries("rules")
        async with self._db.transaction() as connection:
            await connection.execute(sql["draft_lock"])
            configured = of_configuration(await connection.fetch(sql["active"]))
            drafted = of_configuration([await connection.fetchrow(sql["one"], version)])
            if drafted != configured:
                raise ConflictError("The configuration of the sources has changed since this draft; draft it again.")
            row = await connection.fetchrow(sql["activate"], version, moment, caller.username)
            if row is None:
                raise ConflictError(f"Version {version} is no draft any more.")
            details = {"effective_from_ms": millis(moment), "drafted_by": draft.created_by, ROWS: _told(row)}
            await self._audit.append(
                connection, [audit_entry(caller, "rules.activate", "rules", str(version), details)]
            )
        self._vocabulary.forget()
        await self._feed.publish("rules", {"version": version, "effective_from": millis(moment)})
        return await self.one(version)

    async def discard(self, version: int, caller: Caller) -> RuleSetView:
        """Discard a draft. Raises NotFoundError or ConflictError."""
        draft = await self.one(version)
        async with self._db.transaction() as connection:
            row = await connection.fetchrow(queries("rules")["discard"], version)
            if row is None:
                raise ConflictError(f"Version {version} is {draft.state}: only a draft can be discarded.")
            await self._audit.append(
                connection, [audit_entry(caller, "rules.discard", "rules", str(version), {ROWS: _told(row)})]
            )
        return await self.one(version)


def of_configuration(rows: Sequence[Any]) -> dict[str, Any]:
    """What the newest of these rule sets says by the configuration of the sources: nobody drafts that."""
    if not rows:
        return {}
    body = rows[-1]["body"]
    return {name: body[name] for name in CONFIGURED_KEYS if name in body}


def _told(row: Any) -> dict[str, Any]:
    return {"rule_sets": [told("rule_sets", row)]}


def _view(row: Any) -> RuleSetView:
    return RuleSetView(
        version=row["version"],
        state=row["state"],
        in_force=bool(row["in_force"]),
        effective_from=millis_or_none(row["effective_from"]) if row["state"] == "active" else None,
        body=rules_body(row["body"]),
        note=row["note"],
        created_by=row["created_by"],
        created_at=millis(row["created_at"]),
        activated_by=row["activated_by"],
    )
