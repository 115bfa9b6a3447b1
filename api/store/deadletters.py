"""Dead letters: search, inspect, replay, dismiss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api import cursors
from api.audit_log import AuditLog, audit_entry
from api.caller import Caller
from api.db import Connection, Database
from api.models.deadletters import DeadLetterDetail, DeadLetterPage, DeadLetterRow, LetterRefusal, ReplayResult
from api.problems import ConflictError, NotFoundError, StillRefusedError, UnavailableError
from api.queries import queries
from api.times import from_micros, micros, millis, millis_or_none
from schemas.covered import ROWS, told
from schemas.events import KEY_GROUPS, key_group_of_position
from schemas.headers import unpacked_headers

if TYPE_CHECKING:
    from api.ports import Refusal
    from api.services import Ports

SHOWN_BYTES_MAX = 65_536
HEADER_BYTES = 5  # Confluent framing: a zero byte, then the schema id


class DeadLetterStore:
    """Records that were set aside, and the way back into the log."""

    def __init__(self, db: Database, audit: AuditLog, ports: Ports) -> None:
        self._db = db
        self._audit = audit
        self._ports = ports

    async def search(
        self, *, state: str | None, reason: str | None, topic: str | None, limit: int, cursor: str | None
    ) -> DeadLetterPage:
        """A page, newest first."""
        digest = cursors.search_digest("dead_letters", state, reason, topic)
        position: list[Any] = [None, None, None, None]
        if cursor:
            moment, *rest = cursors.decode(cursor, digest, (int, str, int, int))
            position = [from_micros(moment), *rest]
        rows = await self._db.fetch(queries("deadletters")["search"], *position, state, reason, topic, limit + 1)
        page = rows[:limit]
        following = None
        if len(rows) > limit:
            last = page[-1]
            place = [micros(last["arrival"]), last["topic"], last["kafka_partition"], last["kafka_offset"]]
            following = cursors.encode(digest, place)
        return DeadLetterPage(items=[_row(row) for row in page], next_cursor=following)

    async def _one(self, connection: Connection, letter_id: str) -> Any:
        topic, partition, offset = letter_id.rsplit(":", 2)
        if int(partition) >= 2**31 or int(offset) >= 2**63:
            raise NotFoundError("There is no such dead letter.")
        likely = key_group_of_position(int(partition), int(offset))
        groups = [likely, *(group for group in range(KEY_GROUPS) if group != likely)]
        row = await connection.fetchrow(queries("deadletters")["one"], groups, topic, int(partition), int(offset))
        if row is None:
            raise NotFoundError("There is no such dead letter.")
        return row

    async def detail(self, letter_id: str) -> DeadLetterDetail:
        """One record with its bytes. Raises NotFoundError."""
        async with self._db.connection() as connection:
            row = await self._one(connection, letter_id)
        payload: bytes = row["payload"] or b""
        framed = len(payload) >= HEADER_BYTES and payload[0] == 0
        decoded, problem = None, None
        decode = self._ports.decode
        try:
            decoded = decode(payload) if decode is not None else None
        except ValueError as error:
            problem = str(error)[:500]
        refusal, examined = None, True
        try:
            refusal = await self._examine(row)
        except UnavailableError:
            examined = False
        return DeadLetterDetail(
            letter=_row(row),
            key_hex=None if row["key"] is None else row["key"][:SHOWN_BYTES_MAX].hex(),
            payload_hex=payload[:SHOWN_BYTES_MAX].hex(),
            payload_truncated=len(payload) > SHOWN_BYTES_MAX,
            schema_id=int.from_bytes(payload[1:HEADER_BYTES], "big") if framed else None,
            decoded=decoded,
            decode_problem=problem,
            refusal=None if refusal is None else LetterRefusal(reason=refusal.reason, detail=refusal.detail[:500]),
            examined=examined,
        )

    async def _examine(self, row: Any) -> Refusal | None:
        """Why the pipeline would refuse it today. Raises UnavailableError when that cannot be told."""
        if self._ports.examine is None:
            raise UnavailableError("The schema registry is not configured here.")
        return await self._ports.examine(row["topic"], row["payload"], row["key"], unpacked_headers(row["headers"]))

    async def replay(self, letter_id: str, caller: Caller) -> ReplayResult:
        """Append the same bytes to the same topic, if they are an acceptable event by now.

        Raises NotFoundError, ConflictError, StillRefusedError or UnavailableError.

        The state changes and the audit entry is written before Kafka is asked, in a transaction that commits only once
        Kafka has taken the record: a crash in between leaves the letter new, and a second replay is a redelivery.
        """
        republish = self._ports.republish
        if republish is None:
            raise UnavailableError("Kafka is not configured here.")
        async with self._db.connection() as connection:
            row = await self._one(connection, letter_id)
        refusal = await self._examine(row) if row["state"] != "replayed" else None
        if refusal is not None:
            raise StillRefusedError(f"{refusal.reason}: {refusal.detail}"[:500])
        async with self._db.transaction() as connection:
            row = await self._one(connection, letter_id)
            changed = await self._change(connection, row, "replayed", caller, ["new", "dismissed"])
            topic = row["topic"]
            partition, offset = await republish(
                topic, row["key"], row["payload"] or b"", unpacked_headers(row["headers"])
            )
            details = {"partition": partition, "offset": offset, ROWS: _told(changed)}
            await self._audit.append(
                connection, [audit_entry(caller, "dead_letter.replay", "dead_letter", letter_id, details)]
            )
        return ReplayResult(letter=_row(changed), topic=topic, partition=partition, offset=offset)

    async def dismiss(self, letter_id: str, caller: Caller) -> DeadLetterRow:
        """Set it aside for good. Raises NotFoundError or ConflictError."""
        async with self._db.transaction() as connection:
            row = await self._one(connection, letter_id)
            changed = await self._change(connection, row, "dismissed", caller, ["new"])
            await self._audit.append(
                connection,
                [audit_entry(caller, "dead_letter.dismiss", "dead_letter", letter_id, {ROWS: _told(changed)})],
            )
        return _row(changed)

    async def _change(self, connection: Connection, row: Any, state: str, caller: Caller, allowed: list[str]) -> Any:
        changed = await connection.fetchrow(
            queries("deadletters")["change"],
            row["key_group"],
            row["topic"],
            row["kafka_partition"],
            row["kafka_offset"],
            state,
            caller.username,
            allowed,
        )
        if changed is None:
            raise ConflictError(f"It is {row['state']} already.")
        return changed


def _told(changed: Any) -> dict[str, Any]:
    """What an entry tells of a letter whose state was changed: its place and its state."""
    names = ("topic", "kafka_partition", "kafka_offset", "state", "state_changed_at", "state_changed_by")
    return {"dead_letters": [told("dead_letters", {name: changed[name] for name in names})]}


def _row(row: Any) -> DeadLetterRow:
    return DeadLetterRow(
        id=f"{row['topic']}:{row['kafka_partition']}:{row['kafka_offset']}",
        topic=row["topic"],
        kafka_partition=row["kafka_partition"],
        kafka_offset=row["kafka_offset"],
        arrival=millis(row["arrival"]),
        reason=row["reason"],
        detail=row["detail"],
        size_bytes=row["size_bytes"],
        state=row["state"],
        state_changed_at=millis_or_none(row["state_changed_at"]),
        state_changed_by=row["state_changed_by"],
    )
