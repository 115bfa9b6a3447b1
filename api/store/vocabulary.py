"""Sources and rules as the database has them, read at most every two seconds, and rows turned into shapes by them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from api.db import Database
from api.differences import differing
from api.models.common import FieldProblem
from api.models.rules import RulesBody
from api.models.transactions import TransactionRow
from api.problems import InvalidError
from api.queries import queries
from api.severity import SeverityScale, breaks_of, verdict_of
from api.times import millis
from schemas.events import SourceSpec
from schemas.rules import RuleSet
from schemas.verdicts import Verdict, source_names, unpack_legs

FRESH_S = 2.0


@dataclass(frozen=True)
class Vocabulary:
    """What rows mean: source ids and the rules."""

    sources: tuple[SourceSpec, ...]
    rules: tuple[RuleSet, ...]  # active ones, in order of effective_from
    scale: SeverityScale

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Source names by id."""
        return tuple(source.name for source in self.sources)

    @cached_property
    def _masks(self) -> list[list[str]]:
        """Source names by mask: there are few masks, and every row has three."""
        return [source_names(mask, self.names) for mask in range(1 << len(self.names))]

    def named(self, mask: int) -> list[str]:
        """Names of the sources in a mask."""
        return self._masks[mask & (len(self._masks) - 1)]

    def rule_set(self, version: int) -> RuleSet:
        """One version; the first when the row names one that is unknown here."""
        return next((rules for rules in self.rules if rules.version == version), self.rules[0])

    def source_mask(self, name: str) -> int:
        """The bit of a source. Raises InvalidError for another name: an empty list would say that all is well."""
        if name not in self.names:
            problem = f"there is no {name!r}; there are {', '.join(self.names)}"
            raise InvalidError(errors=[FieldProblem(where="source", problem=problem)])
        return 1 << self.names.index(name)

    def legs(self, packed: str) -> Any:
        """Packed legs as plain data, which the shapes check."""
        return unpack_legs(packed, self.names)

    def transaction(self, row: Any, exception: Any = None) -> TransactionRow:
        """A row of `results`, with what is known of its exception."""
        breaks = breaks_of(row["breaks"])
        mismatched = row["verdict"] == Verdict.MISMATCHED
        legs = self.legs(row["legs"])
        return TransactionRow(
            txn_id=row["txn_id"],
            revision=row["revision"],
            verdict=verdict_of(row["verdict"]),
            final=row["final"],
            breaks=breaks,
            missing_sources=self.named(row["missing"]),
            late_sources=self.named(row["late"]),
            sources=self.named(row["present"]),
            legs=legs,
            differing=differing(legs, self.rule_set(row["rules_version"]), breaks),
            currency=row["currency"],
            amount_minor=row["amount_minor"],
            spread_minor=row["spread_minor"],
            first_arrival=millis(row["first_arrival"]),
            last_arrival=millis(row["last_arrival"]),
            decided_at=millis(row["decided_at"]),
            rules_version=row["rules_version"],
            severity=self.scale.level(breaks, row["amount_minor"], row["currency"]) if mismatched else None,
            exception_state=exception["state"] if exception else ("open" if mismatched else None),
            assignee=exception["assignee"] if exception else None,
        )


def rules_body(stored: Mapping[str, Any]) -> RulesBody:
    """A stored body as a shape; keys that this version does not know are left out."""
    known = {key: value for key, value in stored.items() if key in RulesBody.model_fields}
    try:
        return RulesBody.model_validate(known)
    except ValidationError:
        known.pop("severities", None)
        return RulesBody.model_validate(known)


class VocabularyReader:
    """Reads the vocabulary, and remembers it for two seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: Vocabulary | None = None
        self._read_at = float("-inf")

    async def get(self) -> Vocabulary:
        """The vocabulary. Raises UnavailableError when it was never read and the database does not answer."""
        if self._known is not None and time.monotonic() - self._read_at < FRESH_S:
            return self._known
        sql = queries("rules")
        async with self._db.connection() as connection:
            sources = await connection.fetch(sql["sources"])
            rows = await connection.fetch(sql["active"])
        in_force = [row for row in rows if row["in_force"]]
        self._known = Vocabulary(
            sources=tuple(SourceSpec(row["name"], row["topic"], row["expected"]) for row in sources),
            rules=tuple(RuleSet.from_json(row["version"], millis(row["effective_from"]), row["body"]) for row in rows),
            scale=SeverityScale.of(rules_body(in_force[-1]["body"] if in_force else {}).severities),
        )
        self._read_at = time.monotonic()
        return self._known

    def forget(self) -> None:
        """Read again at the next use."""
        self._read_at = float("-inf")
