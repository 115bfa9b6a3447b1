"""Rule sets: draft, backtest, activate with a second person."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from api.models.rules import Activation, BacktestReport, BacktestRequest, RuleDraft, RuleSetList, RuleSetView
from api.routing import guarded_router
from api.state import CallerDep, ServicesDep

router = guarded_router("/rules", "rules")
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("", operation_id="listRuleSets", summary="All versions")
async def list_rule_sets(services: ServicesDep) -> RuleSetList:
    """Newest first."""
    return await services.rules.all()


@router.post("", operation_id="draftRuleSet", summary="Draft a new version", status_code=201)
async def draft_rule_set(body: RuleDraft, services: ServicesDep, caller: CallerDep) -> RuleSetView:
    """A draft cannot be edited: draft again instead. It judges nothing until it is activated."""
    return await services.rules.draft(body, caller)


@router.get("/{version:segment}", operation_id="getRuleSet", summary="One version")
async def get_rule_set(version: Version, services: ServicesDep) -> RuleSetView:
    """One version with its body."""
    return await services.rules.one(version)


@router.post("/{version:segment}/backtest", operation_id="backtestRuleSet", summary="Judge stored history by a version")
async def backtest_rule_set(version: Version, body: BacktestRequest, services: ServicesDep) -> BacktestReport:
    """Which verdicts would flip, and how much money is in them."""
    return await services.backtests.run(version, body)


@router.post("/{version:segment}/activate", operation_id="activateRuleSet", summary="Put a draft in force")
async def activate_rule_set(
    version: Version, body: Activation, services: ServicesDep, caller: CallerDep
) -> RuleSetView:
    """By somebody other than its author. Transactions that arrive from `effective_from` on are judged by it."""
    return await services.rules.activate(version, body, caller)


@router.post("/{version:segment}/discard", operation_id="discardRuleSet", summary="Discard a draft")
async def discard_rule_set(version: Version, services: ServicesDep, caller: CallerDep) -> RuleSetView:
    """A version that was ever active stays: late events of its time are still judged by it."""
    return await services.rules.discard(version, caller)
