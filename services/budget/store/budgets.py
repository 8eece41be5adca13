"""Budgets, versions and increases as rows.

Every statement names the tenant, so that a worker's transaction, which sees all tenants, reads and
writes the rows of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from services.budget.domain.budget import Budget, BudgetIncrease, BudgetVersion
from services.budget.store.terms import terms_json, terms_of
from services.budget.tables.budgets import budget as budget_table
from services.budget.tables.budgets import budget_increase as increase_table
from services.budget.tables.budgets import budget_version as version_table
from services.budget.tables.budgets import tenant_revision
from services.kernel.database import Transaction


async def bump_revision(tx: Transaction, tenant_id: str) -> int:
    """Counts a change of the tenant's budgets and returns the number; locks until the end."""
    statement = insert(tenant_revision).values(tenant_id=tenant_id, revision=1)
    statement = statement.on_conflict_do_update(
        index_elements=[tenant_revision.c.tenant_id],
        set_={"revision": tenant_revision.c.revision + 1},
    )
    revision = await tx.scalar(statement.returning(tenant_revision.c.revision))
    return int(revision or 0)


async def revision_of(tx: Transaction, tenant_id: str) -> int:
    """Returns how often the tenant's budgets were changed, 0 for never."""
    statement = select(tenant_revision.c.revision).where(tenant_revision.c.tenant_id == tenant_id)
    return await tx.scalar(statement) or 0


async def add_budget(tx: Transaction, budget: Budget) -> None:
    """Adds a new budget with its first version."""
    await tx.execute(
        insert(budget_table).values(
            tenant_id=budget.tenant_id,
            budget_id=budget.budget_id,
            revision=budget.revision,
            is_draft=budget.is_draft,
            started_at=budget.started_at,
            ended_at=budget.ended_at,
            created_by=budget.created_by,
            created_at=budget.created_at,
        )
    )
    for version in budget.versions:
        await add_version(tx, budget, version)


async def add_version(tx: Transaction, budget: Budget, version: BudgetVersion) -> None:
    """Adds a version of a budget."""
    await tx.execute(
        insert(version_table).values(
            tenant_id=budget.tenant_id,
            budget_id=budget.budget_id,
            version=version.number,
            effective_at=version.effective_at,
            author=version.author,
            reason=version.note,
            created_at=version.created_at,
            terms=terms_json(version.terms),
        )
    )


async def replace_versions(tx: Transaction, budget: Budget) -> None:
    """Stores the only version of a draft anew: no period has run under it."""
    await tx.execute(
        delete(version_table).where(*_is(version_table, budget.tenant_id, budget.budget_id))
    )
    for version in budget.versions:
        await add_version(tx, budget, version)


async def save_budget(tx: Transaction, budget: Budget) -> None:
    """Stores what may change of a budget's own row, its revision included."""
    await tx.execute(
        update(budget_table)
        .where(*_is(budget_table, budget.tenant_id, budget.budget_id))
        .values(
            revision=budget.revision,
            is_draft=budget.is_draft,
            started_at=budget.started_at,
            ended_at=budget.ended_at,
        )
    )


async def find_budget(
    tx: Transaction, tenant_id: str, budget_id: str, *, for_update: bool = False
) -> Budget | None:
    """Returns a budget with all versions and increases. for_update: locks it until the end."""
    statement = select(budget_table).where(*_is(budget_table, tenant_id, budget_id))
    if for_update:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    return (await _with_parts(tx, tenant_id, [row]))[0]


async def find_budgets(
    tx: Transaction, tenant_id: str, budget_ids: Collection[str]
) -> dict[str, Budget]:
    """Returns those of the budgets that exist, by id."""
    statement = select(budget_table).where(
        budget_table.c.tenant_id == tenant_id,
        budget_table.c.budget_id == func.any(list(budget_ids)),
    )
    rows = (await tx.execute(statement)).mappings().all()
    return {budget.budget_id: budget for budget in await _with_parts(tx, tenant_id, rows)}


async def live_budgets(tx: Transaction, tenant_id: str) -> list[Budget]:
    """Returns all budgets of a tenant that are no drafts: ended ones still take late usage."""
    statement = select(budget_table).where(
        budget_table.c.tenant_id == tenant_id, budget_table.c.is_draft.is_(False)
    )
    rows = (await tx.execute(statement)).mappings().all()
    return await _with_parts(tx, tenant_id, rows)


async def add_increase(tx: Transaction, tenant_id: str, increase: BudgetIncrease) -> None:
    """Adds a temporary increase."""
    await tx.execute(
        insert(increase_table).values(
            tenant_id=tenant_id,
            budget_id=increase.budget_id,
            increase_id=increase.increase_id,
            amount=increase.amount,
            start_at=increase.start_at,
            end_at=increase.end_at,
            reason=increase.reason,
            author=increase.author,
            created_at=increase.created_at,
        )
    )


async def revoke_increase(
    tx: Transaction, tenant_id: str, increase: BudgetIncrease, at: datetime
) -> None:
    """Ends a temporary increase early."""
    await tx.execute(
        update(increase_table)
        .where(
            *_is(increase_table, tenant_id, increase.budget_id),
            increase_table.c.increase_id == increase.increase_id,
        )
        .values(revoked_at=at)
    )


def _is(table: Any, tenant_id: str, budget_id: str) -> tuple[Any, ...]:
    return (
        table.c.tenant_id == literal(tenant_id),
        table.c.budget_id == literal(budget_id),
    )


async def _with_parts(tx: Transaction, tenant_id: str, rows: Sequence[RowMapping]) -> list[Budget]:
    """Reads versions and increases of all rows in two statements, however many there are."""
    if not rows:
        return []
    ids = [row["budget_id"] for row in rows]
    versions: dict[str, list[BudgetVersion]] = defaultdict(list)
    found = await tx.execute(
        select(version_table)
        .where(version_table.c.tenant_id == tenant_id, version_table.c.budget_id == func.any(ids))
        .order_by(version_table.c.effective_at, version_table.c.version)
    )
    for row in found.mappings():
        versions[row["budget_id"]].append(version_of(row))
    increases: dict[str, list[BudgetIncrease]] = defaultdict(list)
    found = await tx.execute(
        select(increase_table)
        .where(increase_table.c.tenant_id == tenant_id, increase_table.c.budget_id == func.any(ids))
        .order_by(increase_table.c.start_at, increase_table.c.increase_id)
    )
    for row in found.mappings():
        increases[row["budget_id"]].append(increase_of(row))
    return [
        Budget(
            tenant_id=tenant_id,
            budget_id=row["budget_id"],
            versions=tuple(versions[row["budget_id"]]),
            created_by=row["created_by"],
            created_at=row["created_at"],
            is_draft=row["is_draft"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            increases=tuple(increases[row["budget_id"]]),
            revision=row["revision"],
        )
        for row in rows
    ]


def version_of(row: RowMapping) -> BudgetVersion:
    """Returns the version of a row."""
    return BudgetVersion(
        number=row["version"],
        terms=terms_of(row["terms"]),
        effective_at=row["effective_at"],
        author=row["author"],
        created_at=row["created_at"],
        note=row["reason"],
    )


def increase_of(row: RowMapping) -> BudgetIncrease:
    """Returns the increase of a row."""
    return BudgetIncrease(
        increase_id=row["increase_id"],
        budget_id=row["budget_id"],
        amount=row["amount"],
        start_at=row["start_at"],
        end_at=row["end_at"],
        reason=row["reason"],
        author=row["author"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
