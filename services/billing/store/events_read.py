"""Up to when each account's events were read, as rows."""

from __future__ import annotations

from datetime import datetime

from services.kernel.transaction import Transaction


async def read_until(tx: Transaction, tenant_id: str) -> datetime | None:
    """Returns up to when the account of a tenant's settings was read, None before the first."""
    found: datetime | None = await tx.driver.fetchval(
        "SELECT read_until FROM billing.provider_events_read WHERE tenant_id = $1", tenant_id
    )
    return found


async def set_read_until(tx: Transaction, tenant_id: str, at: datetime) -> None:
    """Stores up to when it was read."""
    await tx.driver.execute(
        "INSERT INTO billing.provider_events_read AS known (tenant_id, read_until) VALUES ($1, $2)"
        " ON CONFLICT (tenant_id) DO UPDATE"
        " SET read_until = GREATEST(known.read_until, EXCLUDED.read_until)",
        *(tenant_id, at),
    )
