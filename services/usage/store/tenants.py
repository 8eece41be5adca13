"""Tenants and the settings that recording and queries need of them."""

from __future__ import annotations

from typing import NamedTuple

from services.kernel.database import Transaction

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
