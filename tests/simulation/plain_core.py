"""`actors.matching.decide.decide`, answered by the oracle's judge: the same columns, one transaction at a time.

Most of what a history costs is the plan that polars makes for each step, however few its rows. So most histories play
the pipeline around the rules with this in the place of `decide`, and the others play the real core. A test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from actors.matching.frames import RESULT_SCHEMA
from actors.matching.state import PENDING_SCHEMA
from cluster.oracle.judge import Judgement, Seen, judge
from schemas.events import SourceSpec, Status
from schemas.rules import Rulebook
from schemas.verdicts import Break

_STATUS: Final = {int(status): status for status in Status}
# What actors.matching.state carries from step to step.
_CARRIED: Final = {"seen_ms": min, "published": max, "checked": any}
_CARRYING_SCHEMA: Final = {**RESULT_SCHEMA, **{name: PENDING_SCHEMA[name] for name in _CARRIED}}


def decide(
    events: pl.DataFrame,
    rulebook: Rulebook,
    sources: Sequence[SourceSpec],
    watermarks: Sequence[int],
    carried: Mapping[str, Any] = MappingProxyType({}),
) -> pl.DataFrame:
    """See actors.matching.decide.decide. Raises ValueError for carried columns that nobody here knows."""
    if carried and carried.keys() != _CARRIED.keys():
        raise ValueError(f"carried columns {sorted(carried)}, not {sorted(_CARRIED)}")
    by_txn: dict[str, list[dict[str, Any]]] = {}
    for row in events.iter_rows(named=True):
        by_txn.setdefault(row["txn_id"], []).append(row)
    results: list[dict[str, Any]] = []
    for rows in by_txn.values():
        seen = [_seen(row) for row in rows]
        result = _result(judge(seen, rulebook, sources, watermarks), rulebook, sources)
        result["key_group"] = rows[0]["key_group"]
        result["event_seqs"] = [one.stored_seq for one in seen if not one.redelivery]
        result |= {name: _CARRIED[name](row[name] for row in rows) for name in carried}
        results.append(result)
    # A list of rows becomes a frame in a quarter of the time that a dictionary of columns takes, when rows are few.
    return pl.DataFrame(results, schema=_CARRYING_SCHEMA if carried else RESULT_SCHEMA)


def _seen(row: Mapping[str, Any]) -> Seen:
    return Seen(
        source=row["source"],
        event_id=row["event_id"],
        txn_id=row["txn_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        status=_STATUS[row["status"]],
        event_time=row["event_time"],
        account_id="",
        original_txn_id=None,
        arrival=row["arrival"],
        partition=row["partition"],
        offset=row["offset"],
        stored_seq=row["seq"],
    )


def _result(judged: Judgement, rulebook: Rulebook, sources: Sequence[SourceSpec]) -> dict[str, Any]:
    """What a judgement says, in the columns of RESULT_SCHEMA."""
    expected = rulebook.at(judged.first_arrival).expected_sources
    present = _mask(leg.source for leg in judged.legs)
    absent = _mask(index for index, source in enumerate(sources) if source.name in expected) & ~present
    open_legs = _mask(leg.source for leg in judged.legs if leg.status is Status.PENDING)
    breaks = _mask(one.value for one in judged.breaks) if judged.final or len(judged.legs) > 1 else 0
    if open_legs and not judged.final:
        breaks &= ~Break.STATUS.mask  # an open leg is expected to move on
    return {
        "txn_id": judged.txn_id,
        "verdict": judged.verdict.value,
        "final": judged.final,
        "revision": judged.revision,
        "rules_version": judged.rules_version,
        "breaks": breaks,
        "missing": _mask(judged.missing),
        "late": _mask(judged.late),
        "present": present,
        "currency": judged.currency,
        "amount_minor": judged.amount_minor,
        "spread_minor": judged.spread_minor,
        "first_arrival": judged.first_arrival,
        "last_arrival": judged.last_arrival,
        "legs": judged.packed_legs,
        "waits": absent | open_legs,
        "closes_at": judged.close,
    }


def _mask(bits: Any) -> int:
    return sum(1 << bit for bit in bits)
