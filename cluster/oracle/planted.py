"""Was everything found that a run planted? Compares a manifest with the ledger's readable view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import asyncpg

from cluster.oracle.differences import Findings
from cluster.oracle.ledger import Ledger
from producers.emission import Planted
from schemas.events import key_group_of

CHUNK = 2_000  # transactions asked for at once


def _chunks(planted: Iterable[Planted]) -> Iterator[list[Planted]]:
    rest = iter(planted)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


async def compare_planted(planted: Iterable[Planted], ledger: Ledger, findings: Findings) -> None:
    """Compare every planted transaction with its result, its redeliveries and its dead letter."""
    for chunk in _chunks(planted):
        ids = list({one.txn_id for one in chunk})
        groups = [key_group_of(txn_id) for txn_id in ids]
        results = {row["txn_id"]: row for row in await ledger.fetch("contract_results", groups, ids)}
        repeats = {row["txn_id"]: row["n"] for row in await ledger.fetch("redelivery_counts", groups, ids)}
        keys = [one.set_aside.key.encode() for one in chunk if one.set_aside is not None]
        letters = {
            (row["topic"], bytes(row["key"]).decode()): row["reason"]
            for row in await ledger.fetch("planted_dead_letters", keys)
        }
        for one in chunk:
            findings.compared[f"planted.{one.kind}"] += 1
            _compare_one(one, results.get(one.txn_id), repeats.get(one.txn_id, 0), letters, findings)


def _compare_one(
    one: Planted,
    row: asyncpg.Record | None,
    repeats: int,
    letters: dict[tuple[str, str], str],
    findings: Findings,
) -> None:
    kind = f"planted.{one.kind}"
    if row is None or not row["final"]:
        findings.differ(kind, one.txn_id, f"final {one.outcome.verdict.name}", "no row" if row is None else "not final")
    else:
        wanted = (
            one.outcome.verdict.name,
            [broken.name for broken in one.outcome.breaks],
            sorted(one.outcome.missing),
            sorted(one.outcome.late),
        )
        found = (row["verdict"], row["breaks"], sorted(row["missing_sources"]), sorted(row["late_sources"]))
        if wanted != found:
            findings.differ(kind, one.txn_id, wanted, found)
    if repeats != one.outcome.redeliveries:
        findings.differ(kind, one.txn_id, f"{one.outcome.redeliveries} redeliveries", repeats)
    if one.set_aside is not None:
        reason = letters.get((one.set_aside.topic, one.set_aside.key))
        if reason != one.set_aside.reason.value:
            findings.differ(kind, one.txn_id, f"dead letter: {one.set_aside.reason.value}", reason or "none")
