"""The exceptions desk on the database: search, buckets, steps, comments, bulk actions."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import orjson

from api import cursors
from api.access import Role
from api.audit_log import AuditLog, audit_entry
from api.caller import Caller
from api.db import Connection, Database
from api.desk_feed import DeskFeed
from api.models.common import Count, FieldProblem
from api.models.exceptions import (
    BULK_ROWS_MAX,
    BulkApply,
    BulkPreview,
    BulkRequest,
    BulkResult,
    Comment,
    ExceptionAction,
    ExceptionBuckets,
    ExceptionDetail,
    ExceptionEvent,
    ExceptionFilter,
    ExceptionPage,
    ExceptionRow,
    ExceptionSort,
    KindCount,
    NewComment,
)
from api.problems import ConflictError, InvalidError, NotFoundError, SecondPersonError, StaleVersionError
from api.queries import queries
from api.severity import LEVELS, SEVERITY_SQL, breaks_of, money_at_risk
from api.store.amounts import AmountWalk, amount_order, amounts_page, encode_place, read_place
from api.store.search import (
    COLUMNS,
    MISMATCH_SCAN_ROWS,
    MISMATCHES,
    SEARCH_BUDGET_S,
    Filters,
    Found,
    Walk,
    read_cursor,
    walk_page,
)
from api.store.totals import Totals, by_currency
from api.store.vocabulary import Vocabulary, VocabularyReader
from api.store.worth import WorthOrder
from api.times import from_micros, from_millis, micros, millis, millis_or_none, now
from api.workflow import Desk, Step, legal_actions, take
from schemas.audit import AuditEntry
from schemas.covered import ROWS, told
from schemas.events import key_group_of
from schemas.exchange import NO_RATES, ExchangeRates
from schemas.verdicts import Break, Verdict, break_mask

_EXCEPTION = (
    ", e.state, e.version, e.assignee, e.reason_code, e.needs_checker, e.proposed_by, e.resolved_by, e.approved_by, "
    "e.healed_at, e.updated_at, (select count(*) from exception_comments c where c.key_group = r.key_group "
    "and c.txn_id = r.txn_id) as comments"
)
_JOIN = "left join exceptions e on e.key_group = r.key_group and e.txn_id = r.txn_id"
_TOUCHED = ("assigned", "in_review", "mine", "awaiting_me", "resolved")  # found from the touched rows, not from results
SORTED_ROWS_MAX = 20_000  # of what people have in work: so many are put in another order than that of the last change
BULK_BUDGET_S = 4.0  # a bulk action looks for its rows so long

SETTLED_ROWS_MAX = 500  # in one transaction
PROPOSED = "exception.propose"
_EVERY_BREAK = sum(kind.mask for kind in Break)


class ExceptionStore:
    """Every mismatch is an exception; those that nobody has touched have no row of their own."""

    def __init__(
        self,
        db: Database,
        vocabulary: VocabularyReader,
        totals: Totals,
        audit: AuditLog,
        feed: DeskFeed,
        rates: ExchangeRates = NO_RATES,
    ) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._totals = totals
        self._audit = audit
        self._feed = feed
        self._rates = rates

    # Reading

    async def search(
        self, query: ExceptionFilter, caller: Caller, *, sort: ExceptionSort | None, limit: int, cursor: str | None
    ) -> ExceptionPage:
        """A page. Buckets that people have touched are read from their rows, the rest from the mismatches.

        Without `sort` what people have touched comes by the last change, and the rest newest first.
        """
        vocabulary = await self._vocabulary.get()
        is_touched = query.bucket in _TOUCHED
        sort = sort or ("-updated_at" if is_touched else "-decided_at")
        digest = cursors.search_digest(
            "exceptions",
            query.model_dump(exclude={"limit", "cursor", "sort"}),
            sort,
            caller.username,
            self._rates.fingerprint if sort == "-amount_minor" else (),
        )
        if is_touched and sort != "-updated_at":
            return await self._sorted(query, caller, vocabulary, digest, sort=sort, limit=limit, cursor=cursor)
        if sort == "-amount_minor":
            return await self._by_amount(query, vocabulary, digest, limit=limit, cursor=cursor)
        position = read_cursor(cursor, digest)
        if sort == "-updated_at":
            found = await self._touched(query, caller, vocabulary, limit=limit, position=position)
        else:
            found = await self._untouched(
                query, vocabulary, limit=limit, position=position, descending=sort == "-decided_at"
            )
        return ExceptionPage(
            items=[_row(row, vocabulary) for row in found.rows],
            next_cursor=None if found.next_position is None else cursors.encode(digest, found.next_position),
            searched_to=found.searched_to,
        )

    async def _untouched(
        self,
        query: ExceptionFilter,
        vocabulary: Vocabulary,
        *,
        limit: int,
        position: Sequence[Any] | None,
        descending: bool = True,
    ) -> Found:
        """Mismatches that are open, or in no bucket at all: those that are not resolved."""
        walk = Walk(
            descending=descending,
            base=MISMATCHES,
            since_us=None if query.since is None else query.since * 1_000,
            until_us=None if query.until is None else query.until * 1_000,
            scan_rows=MISMATCH_SCAN_ROWS,
        )
        filters = _open_filters(query, vocabulary)
        return await walk_page(
            self._db, walk, filters, limit=limit, position=position, join=_JOIN, columns=COLUMNS + _EXCEPTION
        )

    async def _by_amount(
        self, query: ExceptionFilter, vocabulary: Vocabulary, digest: str, *, limit: int, cursor: str | None
    ) -> ExceptionPage:
        """The same, the largest first, currencies by their worth."""
        walk = AmountWalk(
            "amount_minor",
            WorthOrder(self._rates, descending=True),
            currency=query.currency,
            since_us=None if query.since is None else query.since * 1_000,
            until_us=None if query.until is None else query.until * 1_000,
        )
        found = await amounts_page(
            self._db,
            walk,
            _open_filters(query, vocabulary),
            limit=limit,
            after=read_place(cursor, digest),
            join=_JOIN,
            columns=COLUMNS + _EXCEPTION,
        )
        return ExceptionPage(
            items=[_row(row, vocabulary) for row in found.rows],
            next_cursor=encode_place(digest, found.next_place),
            amount_order=amount_order(self._rates, found.currencies),
        )

    async def _touched(
        self,
        query: ExceptionFilter,
        caller: Caller,
        vocabulary: Vocabulary,
        *,
        limit: int,
        position: Sequence[Any] | None,
    ) -> Found:
        """Rows of `exceptions`, last touched first, in as many bounded walks as the time budget allows."""
        rows: list[Any] = []
        started = time.monotonic()
        while True:
            filters = Filters()
            inner = _touched_rows(query, caller, filters, position, MISMATCH_SCAN_ROWS)
            asked_of_rows = len(filters.arguments)
            conditions = _touched_filters(query, vocabulary, filters)
            rows += await self._db.fetch(
                f"select {COLUMNS}{_EXCEPTION} from ({inner}) e "  # noqa: S608 - fragments of this module
                f"join results r on r.key_group = e.key_group and r.txn_id = e.txn_id "
                f"where {conditions} order by e.updated_at desc, e.txn_id desc limit {limit + 1 - len(rows)}",
                *filters.arguments,
            )
            if len(rows) > limit:
                last = rows[limit - 1]
                return Found(rows[:limit], [micros(last["updated_at"]), last["txn_id"]], None)
            end = await self._db.fetchrow(
                f"select e.updated_at, e.txn_id from ({inner}) e offset {MISMATCH_SCAN_ROWS - 1} limit 1",  # noqa: S608
                *filters.arguments[:asked_of_rows],
            )
            if end is None:
                return Found(rows, None, None)
            position = [micros(end["updated_at"]), end["txn_id"]]
            if time.monotonic() - started > SEARCH_BUDGET_S:
                return Found(rows, list(position), position[0] // 1_000)

    async def _sorted(
        self,
        query: ExceptionFilter,
        caller: Caller,
        vocabulary: Vocabulary,
        digest: str,
        *,
        sort: ExceptionSort,
        limit: int,
        cursor: str | None,
    ) -> ExceptionPage:
        """What people have in work, in another order than that of the last change: all of it is read and sorted.

        Raises InvalidError for what is resolved, and for more than SORTED_ROWS_MAX: these are too many to sort.
        """
        if query.bucket == "resolved":
            problem = FieldProblem(where="query.sort", problem="resolved ones are ordered by the last change")
            raise InvalidError("This order is not possible.", errors=[problem])
        filters = Filters()
        inner = _touched_rows(query, caller, filters, None, SORTED_ROWS_MAX + 1)
        if await self._db.fetchrow(f"select 1 from ({inner}) e offset {SORTED_ROWS_MAX}", *filters.arguments):  # noqa: S608
            problem = FieldProblem(where="query.sort", problem=f"there are more than {SORTED_ROWS_MAX} to put in order")
            raise InvalidError("This order is not possible.", errors=[problem])
        conditions = _touched_filters(query, vocabulary, filters)
        entries = await self._db.fetch(
            "select r.key_group, r.txn_id, r.currency, r.amount_minor, r.decided_at "  # noqa: S608
            f"from ({inner}) e join results r on r.key_group = e.key_group and r.txn_id = e.txn_id where {conditions}",
            *filters.arguments,
        )
        order = WorthOrder(self._rates, descending=True)
        by_amount = sort == "-amount_minor"

        def key(entry: Any) -> Any:
            if by_amount:
                return order.key(entry["currency"], entry["amount_minor"])
            return micros(entry["decided_at"]) * (-1 if sort == "-decided_at" else 1)

        ordered = sorted(sorted(entries, key=lambda entry: entry["txn_id"], reverse=sort != "decided_at"), key=key)
        if cursor is not None:
            # Where the last page ended, whether or not its last row is still there.
            kinds = (str, int, str) if by_amount else (int, str)
            *end, last_id = cursors.decode(cursor, digest, kinds)
            reach = order.key(end[0], end[1]) if by_amount else end[0] * (-1 if sort == "-decided_at" else 1)
            ordered = [
                entry
                for entry in ordered
                if key(entry) > reach
                or (
                    key(entry) == reach
                    and (entry["txn_id"] > last_id if sort == "decided_at" else entry["txn_id"] < last_id)
                )
            ]
        page = ordered[:limit]
        rows = await self._db.fetch(
            f"select {COLUMNS}{_EXCEPTION} from unnest($1::smallint[], $2::text[]) "  # noqa: S608
            "with ordinality hit (key_group, txn_id, place) "
            "join results r on r.key_group = hit.key_group and r.txn_id = hit.txn_id "
            "join exceptions e on e.key_group = r.key_group and e.txn_id = r.txn_id order by hit.place",
            [entry["key_group"] for entry in page],
            [entry["txn_id"] for entry in page],
        )
        following = None
        if len(ordered) > limit:
            last = page[-1]
            place = [last["currency"], last["amount_minor"]] if by_amount else [micros(last["decided_at"])]
            following = cursors.encode(digest, [*place, last["txn_id"]])
        currencies = sorted({entry["currency"] for entry in entries})
        return ExceptionPage(
            items=[_row(row, vocabulary) for row in rows],
            next_cursor=following,
            amount_order=amount_order(self._rates, currencies) if by_amount else None,
        )

    async def buckets(self, caller: Caller) -> ExceptionBuckets:
        """Counts, from running totals and from the few rows in work."""
        sql = queries("exceptions")
        work = await self._db.fetchrow(sql["in_work"], caller.username)
        done = await self._db.fetchrow(sql["resolved"])
        mismatched = (await self._totals.verdicts()).get(Verdict.MISMATCHED.name, 0)
        unresolved = max(0, mismatched - done["settled"])
        return ExceptionBuckets(
            open=Count(value=max(0, unresolved - work["assigned"] - work["in_review"]), relation="exact"),
            assigned=work["assigned"],
            in_review=work["in_review"],
            resolved=done["resolved"],
            mine=work["mine"],
            awaiting_me=work["awaiting"],
        )

    async def detail(self, txn_id: str, caller: Caller) -> ExceptionDetail:
        """One exception. Raises NotFoundError when the transaction is no mismatch and never was a touched one."""
        vocabulary = await self._vocabulary.get()
        sql = queries("exceptions")
        group = key_group_of(txn_id)
        async with self._db.connection() as connection:
            row = await self._result(connection, group, txn_id)
            comments = await connection.fetch(sql["comments"], group, txn_id)
            history = await connection.fetch(sql["history"], group, txn_id)
        return ExceptionDetail(
            exception=_row(row, vocabulary),
            comments=[
                Comment(comment_id=item["comment_id"], author=item["author"], at=millis(item["at"]), text=item["body"])
                for item in comments
            ],
            history=[
                ExceptionEvent(
                    at=millis(item["at"]),
                    actor=item["actor"],
                    action=item["action"],
                    state=item["state"],
                    note=item["note"],
                )
                for item in history
            ],
            actions=legal_actions(_desk(row), caller.username) if caller.role >= Role.ANALYST else [],
        )

    async def _result(self, connection: Connection, group: int, txn_id: str) -> Any:
        row = await connection.fetchrow(queries("exceptions")["result"], group, txn_id)
        if row is None or (row["verdict"] != Verdict.MISMATCHED and row["state"] is None):
            raise NotFoundError("There is no such exception.")
        return row

    # Changing

    async def act(self, txn_id: str, body: ExceptionAction, caller: Caller) -> ExceptionDetail:
        """One step. Raises NotFoundError, StaleVersionError, ConflictError or SecondPersonError."""
        vocabulary = await self._vocabulary.get()
        group = key_group_of(txn_id)
        step = Step(body.action, caller.username, body.assignee, body.reason_code)
        await self._check_assignee(body.assignee)
        sql = queries("exceptions")
        try:
            async with self._db.transaction() as connection:
                row = await self._result(connection, group, txn_id)
                locked = await connection.fetchrow(sql["lock"], group, txn_id)
                version = 0 if locked is None else locked["version"]
                if version != body.version:
                    raise StaleVersionError(f"It is at version {version}.")
                scale = vocabulary.scale
                desk = take(
                    Desk() if locked is None else _desk(locked),
                    step,
                    needs_second_person=scale.needs_second_person(row["amount_minor"], row["currency"]),
                )
                stored = await self._store(connection, group, txn_id, version, desk)
                version = stored["version"]
                step_row = await connection.fetchrow(
                    sql["history_add"], group, txn_id, caller.username, body.action, desk.state, body.note
                )
                details = {
                    "state": desk.state,
                    "version": version,
                    "assignee": desk.assignee,
                    "reason_code": desk.reason_code,
                    "note": body.note,
                    ROWS: _rows(stored, step_row),
                }
                await self._audit.append(
                    connection, [audit_entry(caller, _entry_action(body.action, desk), "transaction", txn_id, details)]
                )
        except asyncpg.CheckViolationError as error:
            raise _refused(error) from error
        await self._feed.changed(txn_id, desk.state, version, desk.assignee, caller.username)
        return await self.detail(txn_id, caller)

    async def _check_assignee(self, assignee: str | None) -> None:
        if assignee is not None and not await self._db.fetchrow(queries("people")["is_assignable"], assignee):
            problem = FieldProblem(where="body.assignee", problem="is no analyst or admin who has signed in")
            raise InvalidError("Nobody by this name can work on it.", errors=[problem])

    async def _store(self, connection: Connection, group: int, txn_id: str, version: int, desk: Desk) -> Any:
        """The row as it is stored. Raises StaleVersionError."""
        sql = queries("exceptions")
        fields = (desk.state, desk.assignee, desk.reason_code, desk.proposed_by, desk.resolved_by)
        if version == 0:
            stored = await connection.fetchrow(sql["insert"], group, txn_id, *fields)
        else:
            stored = await connection.fetchrow(sql["update"], group, txn_id, version, *fields, desk.approved_by)
        if stored is None:
            raise StaleVersionError
        return stored

    async def comment(self, txn_id: str, body: NewComment, caller: Caller) -> Comment:
        """Add a comment; the exception's version stays."""
        group = key_group_of(txn_id)
        async with self._db.transaction() as connection:
            row = await self._result(connection, group, txn_id)
            stored = await connection.fetchrow(
                queries("exceptions")["comment_add"], group, txn_id, caller.username, body.text
            )
            details = {
                "comment_id": stored["comment_id"],
                "text": body.text,
                ROWS: {"exception_comments": [told("exception_comments", stored)]},
            }
            await self._audit.append(
                connection, [audit_entry(caller, "exception.comment", "transaction", txn_id, details)]
            )
        await self._feed.changed(txn_id, row["state"] or "open", row["version"] or 0, row["assignee"], caller.username)
        return Comment(comment_id=stored["comment_id"], author=caller.username, at=millis(stored["at"]), text=body.text)

    # Bulk

    async def preview(self, body: BulkRequest, caller: Caller) -> BulkPreview:
        """What a bulk action would touch, and a token of exactly that."""
        vocabulary = await self._vocabulary.get()
        rows, capped = await self._bulk_rows(body, caller)
        kinds = Counter(kind for row in rows for kind in breaks_of(row["breaks"]))
        return BulkPreview(
            count=len(rows),
            kinds=[KindCount(kind=kind, count=kinds[kind]) for kind in breaks_of(_EVERY_BREAK) if kinds[kind]],
            capped=capped,
            at_risk=by_currency(
                (row["currency"], 1, money_at_risk(row["breaks"], row["amount_minor"], row["spread_minor"]))
                for row in rows
            ),
            second_person=sum(
                vocabulary.scale.needs_second_person(row["amount_minor"], row["currency"]) for row in rows
            )
            if body.action == "resolve"
            else 0,
            token=_bulk_token(body, rows, caller),
        )

    async def apply(self, body: BulkApply, caller: Caller) -> BulkResult:
        """Do it to all of them or to none. Raises StaleVersionError when the set is not the previewed one."""
        vocabulary = await self._vocabulary.get()
        rows, _ = await self._bulk_rows(body, caller)
        if _bulk_token(body, rows, caller) != body.token:
            raise StaleVersionError("What the filter finds has changed since the preview.")
        await self._check_assignee(body.assignee)
        step = Step(body.action, caller.username, body.assignee, body.reason_code)
        changes = [
            (
                row,
                take(
                    _desk(row),
                    step,
                    needs_second_person=vocabulary.scale.needs_second_person(row["amount_minor"], row["currency"]),
                ),
            )
            for row in sorted(rows, key=lambda row: (row["key_group"], row["txn_id"]))  # one order: no deadlocks
        ]
        try:
            async with self._db.transaction() as connection:
                stored = await self._store_all(connection, changes)
                await self._note_all(connection, changes, stored, body, caller)
        except asyncpg.CheckViolationError as error:
            raise _refused(error) from error
        except asyncpg.UniqueViolationError as error:
            raise StaleVersionError("Somebody touched one of them meanwhile.") from error
        for row, desk in changes[:50]:  # the rest is seen at the next refresh
            await self._feed.changed(
                row["txn_id"], desk.state, (row["version"] or 0) + 1, desk.assignee, caller.username
            )
        waiting = sum(desk.state == "in_review" and desk.proposed_by == caller.username for _, desk in changes)
        return BulkResult(changed=len(changes), awaiting_second_person=waiting if body.action == "resolve" else 0)

    async def _bulk_rows(self, body: BulkRequest, caller: Caller) -> tuple[list[Any], bool]:
        """The rows that a filter finds and the action fits, newest first, at most BULK_ROWS_MAX."""
        if body.action == "resolve" and body.reason_code is None:
            raise InvalidError(errors=[FieldProblem(where="body.reason_code", problem="resolve needs one")])
        query = body.filter
        if query.bucket == "resolved":
            raise ConflictError("These are resolved already.")
        vocabulary = await self._vocabulary.get()
        rows: list[Any] = []
        position: Sequence[Any] | None = None
        started = time.monotonic()
        while len(rows) <= BULK_ROWS_MAX:
            limit = BULK_ROWS_MAX + 1 - len(rows)
            if query.bucket in _TOUCHED:
                found = await self._touched(query, caller, vocabulary, limit=limit, position=position)
            else:
                found = await self._untouched(query, vocabulary, limit=limit, position=position)
            rows += found.rows
            position = found.next_position
            if position is None or time.monotonic() - started > BULK_BUDGET_S:
                break
        capped = len(rows) > BULK_ROWS_MAX or position is not None
        fitting = [row for row in rows[:BULK_ROWS_MAX] if body.action in legal_actions(_desk(row), caller.username)]
        return fitting, capped

    async def _store_all(self, connection: Connection, changes: Sequence[tuple[Any, Desk]]) -> dict[str, Any]:
        """The rows as they are stored, by transaction. Raises StaleVersionError."""
        sql = queries("exceptions")
        fresh = [(row, desk) for row, desk in changes if row["version"] is None]
        known = [(row, desk) for row, desk in changes if row["version"] is not None]
        stored: list[Any] = []
        if fresh:
            stored += await connection.fetch(sql["bulk_insert"], *_columns(fresh, with_version=False))
        if known:
            updated = await connection.fetch(sql["bulk_update"], *_columns(known, with_version=True))
            if len(updated) != len(known):
                raise StaleVersionError("Somebody touched one of them meanwhile.")
            stored += updated
        return {row["txn_id"]: row for row in stored}

    async def _note_all(
        self,
        connection: Connection,
        changes: Sequence[tuple[Any, Desk]],
        stored: Mapping[str, Any],
        body: BulkRequest,
        caller: Caller,
    ) -> None:
        if not changes:
            return
        steps = await connection.fetch(
            queries("exceptions")["bulk_history"],
            [row["key_group"] for row, _ in changes],
            [row["txn_id"] for row, _ in changes],
            [desk.state for _, desk in changes],
            caller.username,
            body.action,
            body.note,
        )
        step_of = {row["txn_id"]: row for row in steps}
        asked = {
            "filter": body.filter.model_dump(exclude_none=True),
            "note": body.note,
            "of": len(changes),
            "proposed": sum(_entry_action(body.action, desk) == PROPOSED for _, desk in changes),
        }
        entries = [audit_entry(caller, f"exceptions.bulk_{body.action}", "exceptions", "", asked)]
        entries += [
            audit_entry(
                caller,
                _entry_action(body.action, desk),
                "transaction",
                row["txn_id"],
                {"state": desk.state, "bulk": True, ROWS: _rows(stored[row["txn_id"]], step_of[row["txn_id"]])},
            )
            for row, desk in changes
        ]
        await self._audit.append(connection, entries)

    async def settle(self) -> int:
        """Close what healed and open again what changed; returns how many."""
        sql = queries("exceptions")
        async with self._db.transaction() as connection:
            rows = await connection.fetch(sql["settle_signals"], SETTLED_ROWS_MAX)
            if rows:
                names = list(dict.fromkeys(row["txn_id"] for row in rows))
                groups = [key_group_of(name) for name in names]
                settled = await connection.fetch(sql["settled"], groups, names)
                steps = await connection.fetch(sql["settled_steps"], groups, names)
                by_txn = {row["txn_id"]: row for row in settled}
                entries = [_settled_entry(by_txn[step["txn_id"]], step) for step in steps]
                await self._audit.append(connection, entries)
        for row in rows:
            await self._feed.changed(row["txn_id"], row["state"], row["version"], None, "recon")
        return len(rows)


def _rows(stored: Any, step: Any) -> dict[str, Any]:
    """What an entry tells of an exception and of the step that made it so."""
    return {"exceptions": [told("exceptions", stored)], "exception_history": [told("exception_history", step)]}


def _settled_entry(stored: Any, step: Any) -> AuditEntry:
    """The entry of a step that the database took by itself: an exception healed, or was opened again."""
    return AuditEntry(
        occurred_at=now(),
        actor=step["actor"],
        action=f"exception.{step['action']}",
        object_type="transaction",
        object_id=stored["txn_id"],
        details={"state": step["state"], "version": stored["version"], ROWS: _rows(stored, step)},
    )


def _entry_action(action: str, desk: Desk) -> str:
    """What the trail calls a step: resolving what needs a second person only proposes it."""
    return PROPOSED if action == "resolve" and desk.state != "resolved" else f"exception.{action}"


def _columns(changes: Sequence[tuple[Any, Desk]], *, with_version: bool) -> list[list[Any]]:
    keys = [[row["key_group"] for row, _ in changes], [row["txn_id"] for row, _ in changes]]
    versions = [[row["version"] for row, _ in changes]] if with_version else []
    fields = ("state", "assignee", "reason_code", "proposed_by", "resolved_by")
    return keys + versions + [[getattr(desk, name) for _, desk in changes] for name in fields]


def _bulk_token(body: BulkRequest, rows: Sequence[Any], caller: Caller) -> str:
    """A digest of who does what to which versions."""
    what = [
        caller.username,
        body.action,
        body.assignee,
        body.reason_code,
        sorted((row["txn_id"], row["version"] or 0, row["revision"]) for row in rows),
    ]
    return hashlib.sha256(orjson.dumps(what)).hexdigest()[:40]


def _desk(row: Any) -> Desk:
    if row["state"] is None:
        return Desk()
    return Desk(
        state=row["state"],
        assignee=row["assignee"],
        reason_code=row["reason_code"],
        proposed_by=row["proposed_by"],
        resolved_by=row["resolved_by"],
        approved_by=row["approved_by"],
        healed=row["healed_at"] is not None,
    )


def _row(row: Any, vocabulary: Vocabulary) -> ExceptionRow:
    transaction = vocabulary.transaction(row, row if row["state"] else None)
    severity = transaction.severity or vocabulary.scale.level(transaction.breaks, row["amount_minor"], row["currency"])
    needs = vocabulary.scale.needs_second_person(row["amount_minor"], row["currency"])
    return ExceptionRow(
        txn_id=row["txn_id"],
        state=row["state"] or "open",
        version=row["version"] or 0,
        severity=severity,
        assignee=row["assignee"],
        proposed_by=row["proposed_by"],
        reason_code=row["reason_code"],
        needs_second_person=needs,
        resolved_by=row["resolved_by"],
        approved_by=row["approved_by"],
        updated_at=millis_or_none(row["updated_at"]),
        comments=row["comments"],
        transaction=transaction,
    )


def _touched_rows(
    query: ExceptionFilter, caller: Caller, filters: Filters, position: Sequence[Any] | None, rows: int
) -> str:
    """A bucket's rows of `exceptions` behind a position, last touched first, `rows` at most."""
    clauses = ["x.state = 'resolved'" if query.bucket == "resolved" else "x.state <> 'resolved'"]
    match query.bucket:
        case "assigned" | "in_review" | "open":
            clauses.append(f"x.state = '{query.bucket}'")
        case "mine":
            clauses.append(f"x.assignee = {filters.place(caller.username)}::text")
        case "awaiting_me":
            me = filters.place(caller.username)
            clauses += ["x.state = 'in_review'", "x.proposed_by is not null", f"x.proposed_by <> {me}::text"]
        case _:
            pass
    if position is not None:
        moment, txn_id = from_micros(position[0]), position[1]
        clauses.append(f"(x.updated_at, x.txn_id) < ({filters.place(moment)}, {filters.place(txn_id)})")
    return (
        f"select * from exceptions x where {' and '.join(clauses)} "  # noqa: S608 - fragments of this module
        f"order by x.updated_at desc, x.txn_id desc limit {rows}"
    )


def _touched_filters(query: ExceptionFilter, vocabulary: Vocabulary, filters: Filters) -> str:
    """The query's conditions on touched rows, after the arguments that `filters` has already."""
    _filters(query, vocabulary, filters)
    if query.since is not None:
        filters.add("r.decided_at >= {}", from_millis(query.since))
    if query.until is not None:
        filters.add("r.decided_at < {}", from_millis(query.until))
    return filters.text


def _open_filters(query: ExceptionFilter, vocabulary: Vocabulary) -> Filters:
    """The query's conditions on mismatches: open ones, or without a bucket those that are not resolved."""
    filters = _filters(query, vocabulary)
    filters.add("coalesce(e.state, 'open') = 'open'" if query.bucket else "e.state is distinct from 'resolved'")
    return filters


def _filters(query: ExceptionFilter, vocabulary: Vocabulary, filters: Filters | None = None) -> Filters:
    filters = filters or Filters()
    if query.breaks:
        filters.add("r.breaks & {}::smallint <> 0", break_mask(query.breaks))
        if query.only:
            filters.add("r.breaks & ~{}::smallint = 0", break_mask(query.breaks))
    if query.missing_source is not None:
        filters.add("r.missing & {}::smallint <> 0", vocabulary.source_mask(query.missing_source))
    if query.currency is not None:
        filters.add("r.currency = {}::text", query.currency)
    if query.amount_min is not None:
        filters.add("r.amount_minor >= {}::bigint", query.amount_min)
    if query.amount_max is not None:
        filters.add("r.amount_minor <= {}::bigint", query.amount_max)
    if query.assignee is not None:
        filters.add("e.assignee = {}::text", query.assignee)
    if query.severity is not None:
        scale = vocabulary.scale
        level = SEVERITY_SQL.format(
            critical=f"{filters.place(scale.mask('critical'))}::smallint",
            high=f"{filters.place(scale.mask('high'))}::smallint",
            medium=f"{filters.place(scale.mask('medium'))}::smallint",
            amounts=filters.place(dict(scale.thresholds)),
        )
        filters.conditions.append(f"{level} = {LEVELS.index(query.severity)}")
    return filters


def _refused(error: asyncpg.CheckViolationError) -> ConflictError | SecondPersonError:
    """What the database would not take: its own rules on maker and checker come first."""
    name = error.constraint_name or ""
    if name in {"exceptions_maker_is_not_checker", "exceptions_checked_when_needed"}:
        return SecondPersonError("Somebody other than the proposer must approve this.")
    return ConflictError(str(error.args[0])[:200] if error.args else "")
