"""Pricing plans as rows of the tenant `*`, one a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, any_, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.plan import BillingInterval, PlanState, PricingPlan
from services.billing.store.plan_json import rates_json, rates_of
from services.billing.tables.base import GLOBAL_TENANT
from services.billing.tables.catalogue import pricing_plan as table
from services.kernel.database import Transaction
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens


def _in_currency(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
    if comparator is Comparator.EQUAL and isinstance(value, str):
        return literal(value) == any_(table.c.currency_codes)
    return None


_STATE = FilterField(
    FieldType.CHOICE, table.c.state, choices={each.name: each.value for each in PlanState}
)
_PLANS = Listing(
    filters={
        "plan_id": FilterField(FieldType.STRING, table.c.plan_id),
        "display_name": FilterField(FieldType.STRING, table.c.display_name),
        "state": _STATE,
        "currency_code": FilterField(FieldType.STRING, meaning=_in_currency),
        "interval": FilterField(
            FieldType.CHOICE,
            table.c.billing_interval,
            choices={each.name: each.value for each in BillingInterval},
        ),
    },
    orders={
        "display_name": table.c.display_name,
        "create_time": table.c.created_at,
        "plan_id": table.c.plan_id,
    },
    default_order="display_name",
    tie_break="plan_id",
)
_VERSIONS = Listing(
    filters={"version": FilterField(FieldType.INTEGER, table.c.version), "state": _STATE},
    orders={"version": table.c.version},
    default_order="version desc",
    tie_break="version",
)


async def add_plan(tx: Transaction, plan: PricingPlan) -> bool:
    """Adds a version; False where there is one of that number."""
    statement = insert(table).values(**_row(plan)).on_conflict_do_nothing()
    return await tx.scalar(statement.returning(table.c.version)) is not None


async def find_plan(tx: Transaction, plan_id: str, version: int = 0) -> PricingPlan | None:
    """Returns a version of a plan, 0 for its newest; None where there is none."""
    statement = select(table).where(*_of(plan_id))
    if version:
        statement = statement.where(table.c.version == version)
    found = await tx.execute(statement.order_by(table.c.version.desc()).limit(1))
    row = found.mappings().one_or_none()
    return None if row is None else _plan_of(row)


async def plan_versions(tx: Transaction, plan_id: str) -> list[PricingPlan]:
    """Returns every version of a plan, oldest first."""
    found = await tx.execute(select(table).where(*_of(plan_id)).order_by(table.c.version))
    return [_plan_of(row) for row in found.mappings()]


async def list_plans(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, at: datetime, shows_all: bool
) -> Page[PricingPlan]:
    """Returns a page of plans, one version of each.

    shows_all: the newest version whatever its state; else the one that is sold at that instant.
    """
    other = table.alias("other")
    newer = select(other.c.version).where(
        other.c.tenant_id == GLOBAL_TENANT,
        other.c.plan_id == table.c.plan_id,
        other.c.version > table.c.version,
    )
    plans = select(table).where(table.c.tenant_id == GLOBAL_TENANT)
    if shows_all:
        plans = plans.where(~newer.exists())
    else:
        sold = (other.c.state == PlanState.ACTIVE.value) & (other.c.effective_at <= at)
        plans = plans.where(
            table.c.state == PlanState.ACTIVE.value,
            table.c.effective_at <= at,
            table.c.restricted.is_(False),
            ~newer.where(or_(sold, other.c.state == PlanState.RETIRED.value)).exists(),
        )
    found = await _PLANS.page(tx, plans, page, tokens)
    return Page([_plan_of(row) for row in found.items], found.next_page_token)


async def list_versions(
    tx: Transaction, page: PageRequest, tokens: PageTokens, plan_id: str
) -> Page[PricingPlan]:
    """Returns a page of a plan's versions."""
    found = await _VERSIONS.page(tx, select(table).where(*_of(plan_id)), page, tokens)
    return Page([_plan_of(row) for row in found.items], found.next_page_token)


async def retire_plan(tx: Transaction, plan_id: str) -> None:
    """Ends the sale of every version."""
    await tx.execute(
        update(table)
        .where(*_of(plan_id))
        .values(state=PlanState.RETIRED.value, revision=table.c.revision + 1)
    )


async def count_plans(tx: Transaction) -> int:
    """Returns how many versions of plans there are."""
    counted = select(func.count()).select_from(table).where(table.c.tenant_id == GLOBAL_TENANT)
    return await tx.scalar(counted) or 0


def _of(plan_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.tenant_id == GLOBAL_TENANT, table.c.plan_id == plan_id


def _row(plan: PricingPlan) -> dict[str, Any]:
    return {
        "tenant_id": GLOBAL_TENANT,
        "plan_id": plan.plan_id,
        "version": plan.version,
        "display_name": plan.display_name,
        "description": plan.description,
        "state": plan.state.value,
        "billing_interval": plan.interval.value,
        "rates": [rates_json(rates) for rates in plan.rates],
        "currency_codes": list(plan.currency_codes),
        "trial_days": plan.trial_days,
        "features": list(plan.features),
        "restricted": plan.restricted,
        "effective_at": plan.effective_at,
        "created_at": plan.created_at,
        "revision": plan.revision,
    }


def _plan_of(row: RowMapping) -> PricingPlan:
    return PricingPlan(
        plan_id=row["plan_id"],
        version=row["version"],
        display_name=row["display_name"],
        description=row["description"],
        state=PlanState(row["state"]),
        interval=BillingInterval(row["billing_interval"]),
        rates=tuple(rates_of(body) for body in row["rates"]),
        trial_days=row["trial_days"],
        features=tuple(row["features"]),
        restricted=row["restricted"],
        effective_at=row["effective_at"],
        created_at=row["created_at"],
        revision=row["revision"],
    )
