"""Lists of budgets, versions, increases and periods."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, literal, select
from sqlalchemy.dialects.postgresql import distinct_on

from services.budget.domain.budget import (
    Budget,
    BudgetIncrease,
    BudgetPeriod,
    BudgetState,
    BudgetVersion,
)
from services.budget.domain.calendar import Cadence
from services.budget.domain.terms import Enforcement
from services.budget.store import budgets
from services.budget.store.budgets import increase_of, version_of
from services.budget.store.periods import period_of
from services.budget.tables.budgets import budget as budget_table
from services.budget.tables.budgets import budget_increase as increase_table
from services.budget.tables.budgets import budget_period as period_table
from services.budget.tables.budgets import budget_version as version_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_VERSION_COLUMNS = (
    *("display_name", "amount", "currency_code", "enforcement", "cadence", "department_id"),
    *("user_id", "resource_type", "project"),
)

_CHOICES: Final[Mapping[str, type[Enum]]] = {
    "state": BudgetState,
    "enforcement": Enforcement,
    "cadence": Cadence,
}


async def list_budgets(
    tx: Transaction, page: PageRequest, tokens: PageTokens, now: datetime
) -> Page[Budget]:
    """Returns a page of budgets, filtered and ordered by the version in force."""
    source = budgets_in_force(page.tenant_id, now)
    c = source.c
    texts = (*_VERSION_COLUMNS, "budget_id", "state")
    listing = Listing(
        filters={
            **{
                name: FilterField(FieldType.STRING, c[name])
                for name in texts
                if name not in ("amount", *_CHOICES)
            },
            **{
                name: FilterField(
                    FieldType.CHOICE, c[name], choices={each.name: each.value for each in choices}
                )
                for name, choices in _CHOICES.items()
            },
            "labels": FilterField(FieldType.LABELS, c.labels),
            "create_time": FilterField(FieldType.TIMESTAMP, c.create_time),
        },
        orders={
            "display_name": c.display_name,
            "create_time": c.create_time,
            "update_time": c.update_time,
            "amount": c.amount,
            "budget_id": c.budget_id,
        },
        default_order="create_time desc",
        tie_break="budget_id",
    )
    found = await listing.page(tx, select(source), page, tokens)
    ids = [row["budget_id"] for row in found.items]
    known = await budgets.find_budgets(tx, page.tenant_id, ids)
    return Page([known[budget_id] for budget_id in ids], found.next_page_token)


def budgets_in_force(tenant_id: str, now: datetime) -> Any:
    """Selects each budget with the version in force, the first one before any is."""
    v = version_table.alias("v")
    newest = (
        select(func.max(version_table.c.created_at))
        .where(
            version_table.c.tenant_id == budget_table.c.tenant_id,
            version_table.c.budget_id == budget_table.c.budget_id,
        )
        .scalar_subquery()
    )
    moment = literal(now, period_table.c.period_start.type)
    return (
        select(
            budget_table.c.budget_id,
            budget_table.c.created_at.label("create_time"),
            newest.label("update_time"),
            _state(moment, v.c.terms).label("state"),
            *(v.c[name] for name in _VERSION_COLUMNS),
            v.c.terms["labels"].label("labels"),
        )
        .join(
            v,
            (v.c.tenant_id == budget_table.c.tenant_id)
            & (v.c.budget_id == budget_table.c.budget_id),
        )
        .where(budget_table.c.tenant_id == tenant_id)
        .ext(distinct_on(budget_table.c.budget_id))
        .order_by(
            budget_table.c.budget_id,
            (v.c.effective_at <= moment).desc(),
            case((v.c.effective_at <= moment, v.c.effective_at)).desc().nulls_last(),
            v.c.effective_at,
            v.c.version.desc(),
        )
        .subquery("b")
    )


def _state(moment: ColumnElement[Any], terms: ColumnElement[Any]) -> ColumnElement[str]:
    """States as `Budget.state_at` has them."""
    end_at = func.cast(terms["end_at"].astext, period_table.c.period_start.type)
    return case(
        (budget_table.c.ended_at.is_not(None), "ended"),
        (budget_table.c.is_draft, "draft"),
        (end_at <= moment, "ended"),
        (budget_table.c.started_at > moment, "scheduled"),
        else_="active",
    )


_VERSIONS = Listing(
    filters={
        "version": FilterField(FieldType.INTEGER, version_table.c.version),
        "effective_start_time": FilterField(FieldType.TIMESTAMP, version_table.c.effective_at),
        "author": FilterField(FieldType.STRING, version_table.c.author),
    },
    orders={"version": version_table.c.version},
    default_order="version desc",
    tie_break="version",
)


async def list_versions(
    tx: Transaction, page: PageRequest, tokens: PageTokens, budget_id: str
) -> Page[BudgetVersion]:
    """Returns a page of a budget's versions."""
    found = await _VERSIONS.page(tx, _of(version_table, page, budget_id), page, tokens)
    return Page([version_of(row) for row in found.items], found.next_page_token)


async def list_increases(
    tx: Transaction, page: PageRequest, tokens: PageTokens, budget_id: str, now: datetime
) -> Page[BudgetIncrease]:
    """Returns a page of a budget's increases."""
    c = increase_table.c
    moment = literal(now, c.start_at.type)
    state = case(
        (c.revoked_at <= moment, case((c.revoked_at < c.end_at, "REVOKED"), else_="EXPIRED")),
        (c.start_at > moment, "SCHEDULED"),
        (c.end_at > moment, "ACTIVE"),
        else_="EXPIRED",
    )
    listing = Listing(
        filters={
            "state": FilterField(FieldType.STRING, state),
            "start_time": FilterField(FieldType.TIMESTAMP, c.start_at),
            "end_time": FilterField(FieldType.TIMESTAMP, c.end_at),
        },
        orders={
            "start_time": c.start_at,
            "end_time": c.end_at,
            "increase_id": c.increase_id,
        },
        default_order="start_time desc",
        tie_break="increase_id",
    )
    found = await listing.page(tx, _of(increase_table, page, budget_id), page, tokens)
    return Page([increase_of(row) for row in found.items], found.next_page_token)


_PERIODS = Listing(
    filters={
        "start_time": FilterField(FieldType.TIMESTAMP, period_table.c.period_start),
        "end_time": FilterField(FieldType.TIMESTAMP, period_table.c.period_end),
        "state": FilterField(
            FieldType.STRING, case((period_table.c.closed_at.is_(None), "OPEN"), else_="CLOSED")
        ),
    },
    orders={"start_time": period_table.c.period_start},
    default_order="start_time desc",
    tie_break="start_time",
)


async def list_periods(
    tx: Transaction, page: PageRequest, tokens: PageTokens, budget_id: str
) -> Page[BudgetPeriod]:
    """Returns a page of a budget's periods."""
    found = await _PERIODS.page(tx, _of(period_table, page, budget_id), page, tokens)
    return Page([period_of(row) for row in found.items], found.next_page_token)


def _of(table: Any, page: PageRequest, budget_id: str) -> Select[*tuple[Any, ...]]:
    return select(table).where(table.c.tenant_id == page.tenant_id, table.c.budget_id == budget_id)
