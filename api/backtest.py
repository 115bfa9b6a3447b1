"""Judges stored history by a draft: which verdicts would flip, and how much money is in them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import polars as pl

from api.db import Database
from api.models.common import Money
from api.models.rules import BacktestReport, BacktestRequest, Flip, FlipExample
from api.options import Limits
from api.ports import Judge
from api.problems import NotFoundError, TooManyError, UnavailableError
from api.queries import queries
from api.severity import breaks_of, verdict_of
from api.store.vocabulary import Vocabulary, VocabularyReader
from api.store.worth import largest
from api.times import from_millis, millis
from schemas.events import Status
from schemas.exchange import ExchangeRates
from schemas.rules import RuleSet

EXAMPLES_MAX = 50
BATCH_ROWS = 5_000
RUNNING_MAX = 1  # per replica: the core is quick, and yet a backtest must not starve the lists


class Backtests:
    """Runs backtests, one at a time."""

    def __init__(
        self, db: Database, vocabulary: VocabularyReader, judge: Judge | None, limits: Limits, rates: ExchangeRates
    ) -> None:
        self._db = db
        self._rates = rates
        self._vocabulary = vocabulary
        self._judge = judge
        self._limits = limits
        self._running = 0

    async def run(self, version: int, body: BacktestRequest) -> BacktestReport:
        """Judge final results again. Raises NotFoundError, TooManyError or UnavailableError."""
        if self._judge is None:
            raise UnavailableError("No engine is at hand for a backtest.")
        row = await self._db.fetchrow(queries("rules")["one"], version)
        if row is None:
            raise NotFoundError("There is no such version.")
        if self._running >= RUNNING_MAX:
            raise TooManyError(retry_after_s=10)
        self._running += 1
        try:
            return await self._run(RuleSet.from_json(version, 0, row["body"]), body, self._judge)
        finally:
            self._running -= 1

    async def _run(self, rules: RuleSet, body: BacktestRequest, judge: Judge) -> BacktestReport:
        started = time.monotonic()
        vocabulary = await self._vocabulary.get()
        async with self._db.connection() as connection:
            await connection.execute(f"set statement_timeout = {self._limits.export_statement_ms}")
            try:
                results = await connection.fetch(
                    queries("backtest")["results"],
                    from_millis(body.since or 0),
                    from_millis(body.until or 253_402_300_799_999),
                    body.rows_max + 1,
                )
            finally:
                await connection.execute(f"set statement_timeout = {self._limits.statement_ms}")
        complete = len(results) <= body.rows_max
        results = results[: body.rows_max]
        tally = _Tally(self._rates)
        for start in range(0, len(results), BATCH_ROWS):
            batch = results[start : start + BATCH_ROWS]
            events = await self._events(batch, vocabulary)
            judged = await asyncio.to_thread(judge, events, rules, vocabulary.sources)
            tally.add(batch, judged)
        return BacktestReport(
            version=rules.version,
            transactions=len(results),
            since=millis(results[-1]["decided_at"]) if results else None,
            until=millis(results[0]["decided_at"]) if results else None,
            complete=complete,
            unchanged=tally.unchanged,
            flips=tally.flips(),
            breaks_before=dict(tally.before),
            breaks_after=dict(tally.after),
            examples=tally.examples(),
            took_ms=round((time.monotonic() - started) * 1_000),
        )

    async def _events(self, results: Sequence[Any], vocabulary: Vocabulary) -> pl.DataFrame:
        """All events of these results, as the judge takes them."""
        groups: dict[int, list[Any]] = defaultdict(list)
        for row in results:
            groups[row["key_group"]].append(row)
        rows: list[Any] = []
        async with self._db.connection() as connection:
            for group, members in groups.items():
                rows += await connection.fetch(
                    queries("backtest")["events"],
                    group,
                    [seq for row in members for seq in row["event_seqs"]],
                    min(row["first_arrival"] for row in members),
                    max(row["last_arrival"] for row in members),
                )
        ids = {name: index for index, name in enumerate(vocabulary.names)}
        return pl.DataFrame(
            {
                "key_group": [row["key_group"] for row in rows],
                "seq": [row["seq"] for row in rows],
                "txn_id": [row["txn_id"] for row in rows],
                "source": [ids[row["source"]] for row in rows],
                "event_id": [row["event_id"] for row in rows],
                "amount_minor": [row["amount_minor"] for row in rows],
                "currency": [row["currency"] for row in rows],
                "status": [Status[row["status"]].value for row in rows],
                "event_time": [row["event_time"] for row in rows],
                "arrival": [row["arrival"] for row in rows],
                "partition": [row["kafka_partition"] for row in rows],
                "offset": [row["kafka_offset"] for row in rows],
                "attributes": [row["attributes"] for row in rows],
            },
            schema_overrides={"attributes": pl.String},
        )


class _Tally:
    """Adds up what would change."""

    def __init__(self, rates: ExchangeRates) -> None:
        self._rates = rates
        self.unchanged = 0
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self._flips: dict[tuple[int, int], dict[str, tuple[int, int]]] = defaultdict(dict)
        self._examples: list[FlipExample] = []

    def add(self, results: Sequence[Any], judged: pl.DataFrame) -> None:
        """Compare a batch with its new judgement."""
        new = {row["txn_id"]: row for row in judged.select("txn_id", "verdict", "breaks").iter_rows(named=True)}
        for row in results:
            now = new.get(row["txn_id"])
            if now is None:
                continue  # its events are older than what is kept
            self.before.update(breaks_of(row["breaks"]))
            self.after.update(breaks_of(now["breaks"]))
            if now["verdict"] == row["verdict"] and now["breaks"] == row["breaks"]:
                self.unchanged += 1
                continue
            money = self._flips[row["verdict"], now["verdict"]]
            count, amount = money.get(row["currency"], (0, 0))
            money[row["currency"]] = (count + 1, amount + row["amount_minor"])
            self._examples.append(
                FlipExample(
                    txn_id=row["txn_id"],
                    was=verdict_of(row["verdict"]),
                    would_be=verdict_of(now["verdict"]),
                    was_breaks=breaks_of(row["breaks"]),
                    would_be_breaks=breaks_of(now["breaks"]),
                    currency=row["currency"],
                    amount_minor=row["amount_minor"],
                    spread_minor=row["spread_minor"],
                )
            )
        self._examples = self.examples()

    def flips(self) -> list[Flip]:
        """By old and new verdict; the same verdict with other breaks counts too."""
        return [
            Flip(
                was=verdict_of(was),
                would_be=verdict_of(would_be),
                count=sum(count for count, _ in money.values()),
                amounts=[
                    Money(currency=currency, count=count, amount_minor=amount)
                    for currency, (count, amount) in sorted(money.items())
                ],
            )
            for (was, would_be), money in sorted(self._flips.items())
        ]

    def examples(self) -> list[FlipExample]:
        """The largest amounts first."""
        amounts = [(example.currency, example.amount_minor) for example in self._examples]
        return [self._examples[at] for at in largest(self._rates, amounts, EXAMPLES_MAX)]
