"""Tenants and the settings that recording and queries need of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import RowMapping, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.tenant import Tenant
from services.usage.tables import GLOBAL_TENANT, cost_change, rollup_day
from services.usage.tables import tenant as table

_SETTINGS = """
SELECT t.time_zone, t.currency_code, t.price_revision, g.price_revision AS global_price_revision
FROM usage.tenant t, usage.tenant g WHERE t.tenant_id = $1 AND g.tenant_id = '*'
"""

_MAKE = """
WITH tenant AS (
    INSERT INTO usage.tenant (tenant_id, display_name, time_zone, currency_code)
    VALUES ($1, $1, 'UTC', 'USD') ON CONFLICT DO NOTHING
)
INSERT INTO usage.rollup_mark (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING
"""

_TENANTS = Listing(
    filters={
        name: FilterField(FieldType.STRING, table.c[name]) for name in ("tenant_id", "display_name")
    },
    orders={"tenant_id": table.c.tenant_id},
    default_order="tenant_id",
    tie_break="tenant_id",
)


class TenantSettings(NamedTuple):
    """What a tenant's hours, days and prices follow; revisions grow with each change of prices."""

    time_zone: str
    currency_code: str
    price_revision: int
    global_price_revision: int


async def tenant_settings(tx: Transaction, tenant_id: str) -> TenantSettings | None:
    """Returns a tenant's settings; None where the tenant is not known yet."""
    record = await tx.driver.fetchrow(_SETTINGS, tenant_id)
    return None if record is None else TenantSettings(*record)


async def make_tenant(tx: Transaction, tenant_id: str) -> None:
    """Makes a tenant with UTC and USD; nothing where it is there."""
    await tx.driver.execute(_MAKE, tenant_id)


async def bump_revision(tx: Transaction, tenant_id: str) -> bool:
    """Counts a change that cost answers depend on; False where the tenant is not known.

    It locks the tenant until the transaction ends, so that what a change was checked against
    stays as it is.
    """
    statement = update(table).where(table.c.tenant_id == tenant_id)
    bumped = await tx.execute(statement.values(revision=table.c.revision + 1))
    return bumped.rowcount == 1


async def has_usage(tx: Transaction, tenant_id: str) -> bool:
    """Tells whether any usage was ever recorded: it is in the changes, or rolled up from them."""
    change = exists().where(cost_change.c.tenant_id == tenant_id)
    rollup = exists().where(rollup_day.c.tenant_id == tenant_id)
    return bool(await tx.scalar(select(change | rollup)))


async def find_tenant(tx: Transaction, tenant_id: str) -> Tenant | None:
    """Returns a tenant, None where it is not known."""
    found = await tx.execute(select(table).where(table.c.tenant_id == tenant_id))
    row = found.mappings().one_or_none()
    return None if row is None else _tenant_of(row)


async def list_tenants(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, only: str | None
) -> Page[Tenant]:
    """Returns a page of tenants. only: the one tenant to be seen, None for all."""
    tenants = select(table).where(table.c.tenant_id != GLOBAL_TENANT)
    if only is not None:
        tenants = tenants.where(table.c.tenant_id == only)
    found = await _TENANTS.page(tx, tenants, page, tokens)
    return Page([_tenant_of(row) for row in found.items], found.next_page_token)


async def insert_tenant(tx: Transaction, tenant: Tenant) -> bool:
    """Adds a tenant with its mark in the roll-ups; False where its id is taken."""
    statement = insert(table).values(tenant_id=tenant.tenant_id, **_settings_of(tenant))
    if (await tx.execute(statement.on_conflict_do_nothing())).rowcount == 0:
        return False
    await make_tenant(tx, tenant.tenant_id)
    return True


async def update_tenant(tx: Transaction, tenant: Tenant) -> None:
    """Stores a tenant's settings."""
    statement = update(table).where(table.c.tenant_id == tenant.tenant_id)
    await tx.execute(statement.values(_settings_of(tenant)))


def _tenant_of(row: RowMapping) -> Tenant:
    return Tenant(
        row["tenant_id"],
        row["display_name"],
        row["time_zone"],
        row["currency_code"],
        row["created_at"],
    )


def _settings_of(tenant: Tenant) -> dict[str, Any]:
    return {
        "display_name": tenant.display_name,
        "time_zone": tenant.time_zone,
        "currency_code": tenant.currency_code,
    }
