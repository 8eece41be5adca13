"""Outages of payment providers, as rows: one for each account that does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from services.billing.domain.outage import ProviderOutage
from services.kernel.transaction import Transaction

_FIELDS = tuple(each.name for each in fields(ProviderOutage))

# The update waits for whoever ends the outage, and begins another one then; so nothing is made to
# wait for an outage that is over.
_BEGIN = """
INSERT INTO billing.provider_outage AS known
    (tenant_id, began_at, probe_count, next_probe_at, error) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id) DO UPDATE SET error = EXCLUDED.error
RETURNING (xmax = 0) AS is_new
"""


def _of(row: Mapping[str, Any]) -> ProviderOutage:
    return ProviderOutage(**{name: row[name] for name in _FIELDS})


async def begin(tx: Transaction, outage: ProviderOutage) -> bool:
    """Adds an outage, and locks it; returns False for one that is known."""
    return bool(
        await tx.driver.fetchval(
            _BEGIN,
            *(outage.tenant_id, outage.began_at, outage.probe_count, outage.next_probe_at),
            outage.error,
        )
    )


async def find(tx: Transaction, tenant_id: str) -> ProviderOutage | None:
    """Returns the outage of an account, None while it answers."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.provider_outage WHERE tenant_id = $1", tenant_id
    )
    return None if row is None else _of(dict(row))


async def hold_all(tx: Transaction) -> list[str]:
    """Returns the tenants of all outages, none of which ends before this transaction."""
    rows = await tx.driver.fetch("SELECT tenant_id FROM billing.provider_outage FOR SHARE")
    return [row["tenant_id"] for row in rows]


async def prolong(
    tx: Transaction, outage: ProviderOutage, *, next_probe_at: datetime, error: str
) -> bool:
    """Notes a vain probe; returns False where another noted one meanwhile, or the outage ended."""
    return bool(
        await tx.driver.fetchval(
            "UPDATE billing.provider_outage SET probe_count = probe_count + 1, next_probe_at = $3,"
            " error = $4 WHERE tenant_id = $1 AND probe_count = $2 RETURNING true",
            *(outage.tenant_id, outage.probe_count, next_probe_at, error),
        )
    )


async def end(tx: Transaction, tenant_id: str) -> None:
    """Deletes the outage, once whoever made something wait for it has stored that."""
    await tx.driver.execute("DELETE FROM billing.provider_outage WHERE tenant_id = $1", tenant_id)


async def overdue(tx: Transaction, before: datetime) -> list[str]:
    """Returns the tenants whose account should have been asked before then."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id FROM billing.provider_outage WHERE next_probe_at < $1", before
    )
    return [row["tenant_id"] for row in rows]
