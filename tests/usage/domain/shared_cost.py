"""Short ways to write shared cost, drivers and rules in tests."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.usage.domain.allocation import (
    Allocation,
    CostCell,
    QuantityDriver,
)
from services.usage.domain.allocation_rule import (
    AllocationMethod,
    AllocationRule,
)
from services.usage.domain.event import Attributes

JUNE = datetime(2025, 6, 1, tzinfo=UTC)
SHARED = (("department", "shared"),)


def spend(amount: str, department: str = "shared", **of: Any) -> CostCell:
    fields: dict[str, Any] = {"resource_type": "llm", "unit": "token", "currency_code": "USD"}
    return CostCell(Attributes(**(fields | {"department": department} | of)), Decimal(amount))


def used(quantity: str, department: str, **of: Any) -> QuantityDriver:
    return QuantityDriver(spend("0", department, **of).attributes, Decimal(quantity))


def rule(
    method: AllocationMethod, *targets: str | tuple[str, str], rule_id: str = "r", **fields: Any
) -> AllocationRule:
    pairs = [(target, "1") if isinstance(target, str) else target for target in targets]
    given_fields: dict[str, Any] = {
        "allocation_rule_id": rule_id,
        "source": SHARED,
        "method": method,
        "target_dimension": "department",
        "targets": tuple((value, Decimal(weight)) for value, weight in pairs),
    }
    if method is AllocationMethod.PROPORTIONAL_TO_QUANTITY:
        given_fields |= {"driver_resource_type": "llm", "driver_unit": "token"}
    return AllocationRule(**(given_fields | fields))


def by_department(result: Allocation) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for cost in result.costs:
        department = cost.attributes.department
        sums[department] = sums.get(department, Decimal(0)) + cost.amount
    return sums


def numbers(**amounts: str) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in amounts.items()}
