"""Allocation rules as rows; every version of a rule is a row of its own.

Also the directory's lines, because cost is filtered and grouped after it has been moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, select, update

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.allocation_rule import AllocationMethod, AllocationRule
from services.usage.tables import allocation_rule as rule_table
from services.usage.tables import department, directory_user

_LISTING = Listing(
    filters={
        name: FilterField(FieldType.STRING, rule_table.c[name])
        for name in ("allocation_rule_id", "display_name", "method")
    },
    orders={
        "priority": rule_table.c.priority,
        "allocation_rule_id": rule_table.c.allocation_rule_id,
    },
    default_order="priority",
    tie_break="allocation_rule_id",
)


async def allocation_rules(tx: Transaction, tenant_id: str) -> list[AllocationRule]:
    """Returns every version of every rule of a tenant."""
    rows = await tx.execute(select(rule_table).where(rule_table.c.tenant_id == tenant_id))
    return [rule_of(row) for row in rows.mappings()]


async def list_allocation_rules(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[AllocationRule]:
    """Returns a page of the latest version of each rule."""
    latest = (
        select(rule_table.c.allocation_rule_id, func.max(rule_table.c.version).label("version"))
        .where(rule_table.c.tenant_id == page.tenant_id)
        .group_by(rule_table.c.allocation_rule_id)
        .subquery("latest")
    )
    rules = (
        select(rule_table)
        .join(
            latest,
            (latest.c.allocation_rule_id == rule_table.c.allocation_rule_id)
            & (latest.c.version == rule_table.c.version),
        )
        .where(rule_table.c.tenant_id == page.tenant_id)
    )
    found = await _LISTING.page(tx, rules, page, tokens)
    return Page([rule_of(row) for row in found.items], found.next_page_token)


async def add_rule(tx: Transaction, tenant_id: str, rule: AllocationRule) -> None:
    """Adds one version of a rule."""
    await tx.execute(insert(rule_table).values(rule_row(tenant_id, rule)))


async def end_rule(tx: Transaction, tenant_id: str, rule: AllocationRule) -> None:
    """Stores the end of one version."""
    statement = update(rule_table).where(*_is_version(tenant_id, rule))
    await tx.execute(statement.values(effective_end_at=rule.effective_end_at))


async def drop_rule(tx: Transaction, tenant_id: str, rule: AllocationRule) -> None:
    """Deletes one version, which another one replaces through all its time."""
    await tx.execute(delete(rule_table).where(*_is_version(tenant_id, rule)))


def _is_version(tenant_id: str, rule: AllocationRule) -> tuple[ColumnElement[bool], ...]:
    return (
        rule_table.c.tenant_id == tenant_id,
        rule_table.c.allocation_rule_id == rule.allocation_rule_id,
        rule_table.c.version == rule.version,
    )


async def parent_departments(tx: Transaction, tenant_id: str) -> Mapping[str, str]:
    """Returns the parent of each department, "" at the top."""
    columns = (department.c.department_id, department.c.parent_id)
    rows = await tx.execute(select(*columns).where(department.c.tenant_id == tenant_id))
    return {row[0]: row[1] for row in rows}


async def managers_of_users(tx: Transaction, tenant_id: str) -> Mapping[str, str]:
    """Returns the manager of each user, "" at the top."""
    columns = (directory_user.c.user_id, directory_user.c.manager_id)
    rows = await tx.execute(select(*columns).where(directory_user.c.tenant_id == tenant_id))
    return {row[0]: row[1] for row in rows}


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
