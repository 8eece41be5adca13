"""Reconciliations and the drifts they found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import insert, select, update

from services.budget.domain.budget import BudgetPeriod
from services.budget.domain.reconciliation import (
    BudgetDrift,
    Reconciliation,
    ReconciliationState,
    ReconciliationTrigger,
)
from services.budget.store.periods import COLUMNS, period_of
from services.budget.tables.ledger import budget_drift, reconciliation
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

_r = reconciliation.c
_d = budget_drift.c

_RECONCILIATIONS: Final = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, _r.state, choices={s.name: int(s) for s in ReconciliationState}
        ),
        "trigger": FilterField(
            FieldType.CHOICE,
            _r.started_by,
            choices={t.name: int(t) for t in ReconciliationTrigger},
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, _r.created_at),
        "drift_count": FilterField(FieldType.INTEGER, _r.drift_count),
    },
    orders={"create_time": _r.created_at, "reconciliation_id": _r.reconciliation_id},
    default_order="create_time desc",
    tie_break="reconciliation_id",
)

# A budget may differ in several periods, so the period's start breaks the tie.
_DRIFTS: Final = Listing(
    filters={
        "budget_id": FilterField(FieldType.STRING, _d.budget_id),
        "repaired": FilterField(FieldType.BOOLEAN, _d.is_repaired),
    },
    orders={
        "budget_id": _d.budget_id,
        "difference": _d.difference,
        "period_start": _d.period_start,
    },
    default_order="budget_id",
    tie_break="period_start",
)

_COMPARED = f"""
SELECT {COLUMNS}, settled FROM budget.budget_period
WHERE tenant_id = $1 AND budget_id = $2 AND period_start = $3 FOR UPDATE
"""


class ComparedRow(NamedTuple):
    """A locked period and the part of its spent that stands on settlements alone."""

    row: BudgetPeriod
    settled: Decimal


async def add(tx: Transaction, one: Reconciliation) -> None:
    """Adds a reconciliation."""
    await tx.execute(
        insert(reconciliation).values(
            tenant_id=one.tenant_id,
            reconciliation_id=one.reconciliation_id,
            state=int(one.state),
            started_by=int(one.trigger),
            is_repairing=one.is_repairing,
            budget_ids=list(one.budget_ids),
            start_at=one.start_at,
            end_at=one.end_at,
            done_units=0,
            total_units=0,
            drift_count=0,
            repaired_count=0,
            error="",
            author=one.author,
            created_at=one.created_at,
            updated_at=one.updated_at,
        )
    )


async def save(tx: Transaction, one: Reconciliation) -> None:
    """Stores how far a reconciliation is."""
    await tx.execute(
        update(reconciliation)
        .where(_r.tenant_id == one.tenant_id, _r.reconciliation_id == one.reconciliation_id)
        .values(
            state=int(one.state),
            done_units=one.done_units,
            total_units=one.total_units,
            drift_count=one.drift_count,
            repaired_count=one.repaired_count,
            error=one.error,
            updated_at=one.updated_at,
            ended_at=one.ended_at,
        )
    )


async def find(tx: Transaction, tenant_id: str, reconciliation_id: str) -> Reconciliation | None:
    """Returns one reconciliation."""
    statement = select(reconciliation).where(
        _r.tenant_id == tenant_id, _r.reconciliation_id == reconciliation_id
    )
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _reconciliation_of(row)


async def list_reconciliations(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[Reconciliation]:
    """Returns a page of reconciliations."""
    statement = select(reconciliation).where(_r.tenant_id == page.tenant_id)
    found = await _RECONCILIATIONS.page(tx, statement, page, tokens)
    return Page([_reconciliation_of(row) for row in found.items], found.next_page_token)


async def list_drifts(
    tx: Transaction, page: PageRequest, tokens: PageTokens, reconciliation_id: str
) -> Page[BudgetDrift]:
    """Returns a page of what a reconciliation found."""
    statement = select(budget_drift).where(
        _d.tenant_id == page.tenant_id, _d.reconciliation_id == reconciliation_id
    )
    found = await _DRIFTS.page(tx, statement, page, tokens)
    return Page([_drift_of(row) for row in found.items], found.next_page_token)


async def lock_compared(
    tx: Transaction, tenant_id: str, budget_id: str, period: Period
) -> ComparedRow | None:
    """Returns and locks a period for a comparison."""
    row = await tx.driver.fetchrow(_COMPARED, tenant_id, budget_id, period.start)
    return None if row is None else ComparedRow(period_of(row), row["settled"])


async def add_drift(
    tx: Transaction, tenant_id: str, reconciliation_id: str, drift: BudgetDrift
) -> BudgetDrift:
    """Adds a drift, or replaces what an earlier attempt of the same job found; returns it stored.

    The entry of a repair is the newest of the budget, whose period the transaction holds.
    """
    if drift.is_repaired:
        entry_id = await tx.driver.fetchval(
            "SELECT max(entry_id) FROM budget.ledger_entry WHERE tenant_id = $1 AND budget_id = $2",
            tenant_id,
            drift.budget_id,
        )
        drift = replace(drift, entry_id=entry_id)
    await tx.driver.execute(
        """
        INSERT INTO budget.budget_drift (tenant_id, reconciliation_id, budget_id, period_start,
            period_end, currency_code, ledger_spent, usage_spent, difference, cause, is_repaired,
            entry_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (tenant_id, reconciliation_id, budget_id, period_start) DO NOTHING
        """,
        tenant_id,
        reconciliation_id,
        drift.budget_id,
        drift.period.start,
        drift.period.end,
        drift.currency_code,
        drift.ledger_spent,
        drift.usage_spent,
        drift.difference,
        drift.cause,
        drift.is_repaired,
        drift.entry_id,
    )
    return drift


async def tenants_with_budgets(tx: Transaction) -> list[str]:
    """Returns every tenant that has a budget in force."""
    rows = await tx.driver.fetch(
        "SELECT DISTINCT tenant_id FROM budget.budget_period WHERE closed_at IS NULL ORDER BY 1"
    )
    return [row["tenant_id"] for row in rows]


async def allocated_budgets(tx: Transaction) -> dict[tuple[str, str], str]:
    """Returns the budgets in force that count allocated cost, of all tenants.

    By (tenant_id, budget_id): the newest change of the tenant's cost that is counted.
    """
    rows = await tx.driver.fetch(
        """
        SELECT DISTINCT v.tenant_id, v.budget_id,
            COALESCE(revision.counted_sequence, '') AS counted
        FROM budget.budget_version AS v
        JOIN budget.budget AS b USING (tenant_id, budget_id)
        LEFT JOIN budget.tenant_revision AS revision USING (tenant_id)
        WHERE (v.terms ->> 'includes_allocated')::boolean AND NOT b.is_draft AND b.ended_at IS NULL
        ORDER BY 1, 2
        """
    )
    return {(row["tenant_id"], row["budget_id"]): row["counted"] for row in rows}


def _reconciliation_of(row: Mapping[Any, Any]) -> Reconciliation:
    return Reconciliation(
        tenant_id=row["tenant_id"],
        reconciliation_id=row["reconciliation_id"],
        state=ReconciliationState(row["state"]),
        trigger=ReconciliationTrigger(row["started_by"]),
        is_repairing=row["is_repairing"],
        budget_ids=tuple(row["budget_ids"]),
        start_at=row["start_at"],
        end_at=row["end_at"],
        author=row["author"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        done_units=row["done_units"],
        total_units=row["total_units"],
        drift_count=row["drift_count"],
        repaired_count=row["repaired_count"],
        error=row["error"],
        ended_at=row["ended_at"],
    )


def _drift_of(row: Mapping[Any, Any]) -> BudgetDrift:
    return BudgetDrift(
        budget_id=row["budget_id"],
        period=Period(row["period_start"], row["period_end"]),
        currency_code=row["currency_code"],
        ledger_spent=row["ledger_spent"],
        usage_spent=row["usage_spent"],
        cause=row["cause"],
        is_repaired=row["is_repaired"],
        entry_id=row["entry_id"],
    )
