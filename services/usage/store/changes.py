"""Cost changes as the feed hands them out, and the dimensions they name."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from services.kernel.database import Transaction
from services.usage.domain.cost_change import CostChange
from services.usage.domain.event import Attributes

COLUMNS = (
    "hour_at",
    "dimension_id",
    "events",
    "failed_events",
    "unpriced_events",
    "quantity",
    "billed_cost",
    "effective_cost",
    "list_cost",
    "contracted_cost",
    "retries",
    "utilization_samples",
    "is_correction",
)

_DIMENSIONS = """
SELECT d.tenant_id, d.dimension_id, d.resource_type, d.unit, d.currency_code, d.user_id,
    COALESCE(NULLIF(d.department, ''), u.department_id, '') AS department, d.project,
    d.resource_id, d.service, d.service_category, d.provider, d.region, d.sub_account_id,
    d.charge_category, d.tags
FROM usage.dimension d
JOIN unnest($1::text[], $2::bigint[]) AS w(tenant_id, dimension_id)
    ON w.tenant_id = d.tenant_id AND w.dimension_id = d.dimension_id
LEFT JOIN usage.directory_user u ON u.tenant_id = d.tenant_id AND u.user_id = d.user_id
"""


def change_of(row: asyncpg.Record) -> CostChange:
    """Builds a change from a row of the feed."""
    return CostChange(*(row[name] for name in COLUMNS))


async def dimensions(
    tx: Transaction, keys: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Attributes]:
    """Returns the attributes of dimensions, with the department that bears the cost."""
    wanted = list(keys)
    records = await tx.driver.fetch(
        _DIMENSIONS, [tenant for tenant, _ in wanted], [number for _, number in wanted]
    )
    return {
        (record["tenant_id"], record["dimension_id"]): Attributes._make(
            [
                *(record[name] for name in Attributes._fields[:-1]),
                tuple(sorted(record["tags"].items())),
            ]
        )
        for record in records
    }


async def horizon(tx: Transaction) -> int:
    """Returns the transaction below which everything has ended."""
    text: str = await tx.driver.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    return int(text)
