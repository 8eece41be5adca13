"""A new budget counts what was spent before it, each cost once, whatever arrives meanwhile."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import ledger_service_pb2 as ledger

from services.budget.bootstrap import BudgetService
from services.budget.service import backtesting
from services.budget.store import periods
from services.kernel.database import Database
from services.kernel.workers import Loop
from tests.budget.conftest import NOW, Caller
from tests.budget.making import budget_of, create
from tests.budget.test_statuses import replay
from tests.support.server import refused
from tests.support.waiting import eventually


async def test_costs_that_arrive_while_budgets_are_made_count_once(
    caller: Caller, built: BudgetService, budget_database: Database
) -> None:
    feed = next(each for each in built.workers if getattr(each, "name", "") == "cost feed")
    assert isinstance(feed, Loop)
    following = asyncio.create_task(feed.run())

    async def record() -> None:
        for _ in range(25):
            await caller.record("0.01")

    async def make() -> list[str]:
        return [(await create(caller)).budget_id for _ in range(6)]

    _, _, ids = await asyncio.gather(record(), record(), make())

    await caller.record("0.5")  # the last of the feed: when it is counted, all is
    seen: list[Decimal] = []

    async def is_counted() -> bool:
        async with budget_database.read(caller.tenant_id) as tx:
            found = await periods.periods_of(tx, caller.tenant_id, ids, NOW)
        seen[:] = [found[each].totals.spent for each in ids]
        return all(each >= 1 for each in seen)

    try:
        await eventually(is_counted)
    finally:
        await feed.stop()
        await following
        assert seen == [1] * 6


async def test_a_budget_is_not_stored_half_counted(
    caller: Caller, budget_database: Database
) -> None:
    async with budget_database.system_transaction() as tx:
        await periods.mark_counted(tx, {caller.tenant_id: "9" * 40})

    refusal = await refused(create(caller))

    assert refusal.reason == "FILL_CONTENDED"
    listed = await caller.budgets.ListBudgets(messages.ListBudgetsRequest())
    assert list(listed.budgets) == []


async def test_a_replay_of_too_much_usage_is_refused(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtesting, "EVENTS_MAX", 2)
    for _ in range(3):
        await caller.record("1")

    refusal = await refused(replay(caller, budget_of()))

    assert refusal.reason == "BACKTEST_TOO_LARGE"


async def test_a_request_made_twice_makes_one_budget(caller: Caller) -> None:
    await caller.record("7")
    request = messages.CreateBudgetRequest(budget=budget_of(), request_id="once")

    first, second = await asyncio.gather(
        caller.budgets.CreateBudget(request), caller.budgets.CreateBudget(request)
    )

    assert first == second
    found = ledger.ListBudgetPeriodsRequest(budget_id=first.budget.budget_id)
    listed = (await caller.ledger.ListBudgetPeriods(found)).periods
    assert [Decimal(each.totals.spent.amount) for each in listed] == [7]
