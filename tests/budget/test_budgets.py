"""Budgets over a real connection: created, read, changed, listed, ended."""

from __future__ import annotations

from typing import Any

from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as messages
from finops.common.v1.money_pb2 import Money

from tests.budget.conftest import Caller


def budget_of(**changed: Any) -> model.Budget:
    """Returns a monthly budget of 100 USD over the whole tenant, changed as named."""
    fields: dict[str, Any] = {
        "display_name": "Research",
        "scope": model.BudgetScope(),
        "cadence": model.BUDGET_CADENCE_MONTHLY,
        "amount": Money(currency_code="USD", amount="100"),
    }
    return model.Budget(**(fields | changed))


async def create(caller: Caller, **changed: Any) -> model.Budget:
    """Creates a budget and returns it."""
    request = messages.CreateBudgetRequest(budget=budget_of(**changed))
    return (await caller.budgets.CreateBudget(request)).budget


async def test_a_budget_is_created_with_its_defaults_and_read_back(caller: Caller) -> None:
    made = await create(caller)

    request = messages.GetBudgetRequest(budget_id=made.budget_id)
    found = (await caller.budgets.GetBudget(request)).budget
    assert found == made
    assert found.state == model.BUDGET_STATE_ACTIVE
    assert found.version == 1
    assert [each.threshold_ratio for each in found.thresholds] == ["0.5", "0.75", "0.9", "1"]
    assert found.period_rule.time_zone == "UTC"
    assert found.start_time.ToDatetime().isoformat() == "2026-03-01T00:00:00"
