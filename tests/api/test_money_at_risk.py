"""Money at risk: what open exceptions may cost. Its own module: its transactions are in no other list."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.severity import money_at_risk
from schemas.events import Status

from .conftest import SOURCES, Ledger

pytestmark = pytest.mark.stack

User = Callable[[str], httpx.Client]


def test_money_at_risk_is_what_may_be_lost_by_open_exceptions(as_user: User, ledger: Ledger) -> None:
    now = datetime.now(UTC)

    def legs(*amounts: int) -> dict[str, Any]:
        return {name: (amount, "AUD", Status.SUCCESS) for name, amount in zip(SOURCES, amounts, strict=False)}

    ledger.add("risk-amount", legs(10_000, 10_000, 9_900), breaks=["AMOUNT"], decided_at=now)
    ledger.add("risk-both", legs(20_000, 19_000), breaks=["AMOUNT", "MISSING"], decided_at=now)
    ledger.add("risk-time", legs(50_000, 50_000, 50_000), breaks=["TIMESTAMP"], decided_at=now)
    ledger.add("risk-done", legs(70_000), breaks=["MISSING"], decided_at=now)
    anna = as_user("anna")
    body = {"action": "resolve", "version": 0, "reason_code": "fee_or_fx", "note": "Known."}
    assert anna.post("/exceptions/risk-done/actions", json=body).json()["exception"]["state"] == "resolved"
    ledger.sql("select refresh_desk_ageing()")
    time.sleep(1.1)  # for so long totals are remembered
    summary = anna.get("/summary", params={"window_ms": 780_000}).json()
    assert [money for money in summary["at_risk"] if money["currency"] == "AUD"] == [
        {"currency": "AUD", "amount_minor": 100 + 20_000, "count": 3}
    ]
    assert summary["at_risk_total"] is None
    assert summary["at_risk_unrated"] == []


def test_sql_and_python_see_the_same_money_at_risk(ledger: Ledger) -> None:
    for mask in range(256):
        row = ledger.sql("select money_at_risk($1::smallint, -900, 70) as at_risk", mask)
        assert row[0]["at_risk"] == money_at_risk(mask, -900, 70), mask
