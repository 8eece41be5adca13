"""Budgets and changes as the tests ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import budget_status_model_pb2
from finops.common.v1.money_pb2 import Money
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from tests.budget.conftest import Caller


def at(text: str) -> Timestamp:
    """Returns an instant of ISO 8601 text, in UTC unless it names another zone."""
    instant = datetime.fromisoformat(text)
    stamp = Timestamp()
    stamp.FromDatetime(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    return stamp


def money(amount: str) -> Money:
    """Returns dollars."""
    return Money(currency_code="USD", amount=amount)


def budget_of(**changed: Any) -> model.Budget:
    """Returns a monthly budget of 100 USD over the whole tenant, changed as named."""
    fields: dict[str, Any] = {
        "display_name": "Research",
        "scope": model.BudgetScope(),
        "cadence": model.BUDGET_CADENCE_MONTHLY,
        "amount": money("100"),
    }
    return model.Budget(**(fields | changed))


async def create(caller: Caller, **changed: Any) -> model.Budget:
    """Creates a budget and returns it."""
    request = messages.CreateBudgetRequest(budget=budget_of(**changed))
    return (await caller.budgets.CreateBudget(request)).budget


async def update(
    caller: Caller,
    known: model.Budget,
    *,
    mask: Sequence[str] = (),
    effective: Timestamp | None = None,
    reason: str = "",
    **changed: Any,
) -> model.Budget:
    """Changes fields of a budget and returns it; with its etag unless another is given."""
    fields = {"budget_id": known.budget_id, "etag": known.etag} | changed
    request = messages.UpdateBudgetRequest(
        budget=model.Budget(**fields),
        update_mask=FieldMask(paths=mask),
        effective_time=effective,
        reason=reason,
    )
    return (await caller.budgets.UpdateBudget(request)).budget


async def status_of(
    caller: Caller, budget_id: str, instant: Timestamp | None = None
) -> budget_status_model_pb2.BudgetStatus:
    """Returns how a budget stands."""
    request = messages.GetBudgetStatusRequest(budget_id=budget_id, at_time=instant)
    return (await caller.budgets.GetBudgetStatus(request)).budget_status
