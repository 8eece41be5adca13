"""The demo company's budgets: one of each kind, some of them in trouble."""

from __future__ import annotations

from finops.budget.v1.budget_model_pb2 import (
    BUDGET_CADENCE_DAILY,
    BUDGET_CADENCE_MONTHLY,
    BUDGET_CADENCE_QUARTERLY,
    BUDGET_ENFORCEMENT_ALERT,
    BUDGET_ENFORCEMENT_HARD,
    BUDGET_ENFORCEMENT_THROTTLE,
    THRESHOLD_BASIS_FORECAST,
    AlertThreshold,
    Budget,
    BudgetScope,
    RolloverPolicy,
)
from finops.budget.v1.budget_service_pb2 import ListBudgetsRequest
from finops.common.v1.money_pb2 import Money
from finops_sdk import AsyncClient

from cli.demo import company

LABEL = "demo"
_DESCRIPTION = "Invented for the demo."


def budgets() -> list[Budget]:
    """Returns the budgets; each carries its key as the label `demo`."""
    ahead = [
        AlertThreshold(threshold_ratio="0.8"),
        AlertThreshold(threshold_ratio="1"),
        AlertThreshold(threshold_ratio="1", basis=THRESHOLD_BASIS_FORECAST),
    ]
    return [
        Budget(
            display_name="Demo: whole company",
            scope=BudgetScope(),
            cadence=BUDGET_CADENCE_MONTHLY,
            amount=_dollars("7000"),
            enforcement=BUDGET_ENFORCEMENT_ALERT,
            thresholds=ahead,
            description=_DESCRIPTION,
            labels={LABEL: "company"},
        ),
        Budget(
            display_name="Demo: research",
            scope=BudgetScope(department_id="research"),
            cadence=BUDGET_CADENCE_MONTHLY,
            amount=_dollars("4500"),
            enforcement=BUDGET_ENFORCEMENT_HARD,
            rollover=RolloverPolicy(enabled=True, cap_ratio="0.2"),
            description=_DESCRIPTION,
            labels={LABEL: "research"},
        ),
        Budget(
            display_name="Demo: finance",
            scope=BudgetScope(department_id="finance"),
            cadence=BUDGET_CADENCE_QUARTERLY,
            amount=_dollars("1500"),
            enforcement=BUDGET_ENFORCEMENT_ALERT,
            description=_DESCRIPTION,
            labels={LABEL: "finance"},
        ),
        Budget(
            display_name="Demo: models a day",
            scope=BudgetScope(resource_type="llm"),
            cadence=BUDGET_CADENCE_DAILY,
            amount=_dollars("40"),
            enforcement=BUDGET_ENFORCEMENT_THROTTLE,
            description=_DESCRIPTION,
            labels={LABEL: "models"},
        ),
    ]


async def missing_budgets(client: AsyncClient) -> list[Budget]:
    """Returns the budgets that the suite does not have yet."""
    request = ListBudgetsRequest(
        tenant_id=company.TENANT, filter=f"labels.{LABEL}:*", page_size=100
    )
    known = {each.labels[LABEL] for each in (await client.budgets.ListBudgets(request)).budgets}
    return [each for each in budgets() if each.labels[LABEL] not in known]


def _dollars(amount: str) -> Money:
    return Money(currency_code="USD", amount=amount)
