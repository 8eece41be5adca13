"""Allocation rules as rows; every version of a rule is a row of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, select

from services.kernel.database import Transaction
from services.kernel.money import format_decimal
from services.usage.domain.allocation_rule import AllocationMethod, AllocationRule
from services.usage.tables import allocation_rule as rule_table


async def allocation_rules(tx: Transaction, tenant_id: str) -> list[AllocationRule]:
    """Returns every version of every rule of a tenant."""
    rows = await tx.execute(select(rule_table).where(rule_table.c.tenant_id == tenant_id))
    return [rule_of(row) for row in rows.mappings()]


def rule_of(row: RowMapping) -> AllocationRule:
    """Builds the domain's rule from a row."""
    return AllocationRule(
        allocation_rule_id=row["allocation_rule_id"],
        version=row["version"],
        display_name=row["display_name"],
        priority=row["priority"],
        source=tuple((dimension, value) for dimension, value in row["source"]),
        method=AllocationMethod[row["method"]],
        target_dimension=row["target_dimension"],
        targets=tuple((value, Decimal(weight)) for value, weight in row["targets"]),
        driver_resource_type=row["driver_resource_type"],
        driver_unit=row["driver_unit"],
        effective_start_at=row["effective_start_at"],
        effective_end_at=row["effective_end_at"],
    )


def rule_row(tenant_id: str, rule: AllocationRule) -> dict[str, Any]:
    """Builds the row of one version of a rule."""
    return {
        "tenant_id": tenant_id,
        "allocation_rule_id": rule.allocation_rule_id,
        "version": rule.version,
        "display_name": rule.display_name,
        "priority": rule.priority,
        "source": [list(condition) for condition in rule.source],
        "method": rule.method.name,
        "target_dimension": rule.target_dimension,
        "targets": [[value, format_decimal(weight)] for value, weight in rule.targets],
        "driver_resource_type": rule.driver_resource_type,
        "driver_unit": rule.driver_unit,
        "effective_start_at": rule.effective_start_at,
        "effective_end_at": rule.effective_end_at,
    }
