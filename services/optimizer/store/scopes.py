"""What scopes cost by day, and which series a scope has once a change has renamed them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from services.kernel.period import Period
from services.kernel.transaction import Transaction
from services.optimizer.domain.subject import Subject

_COLUMNS = [name for name in Subject._fields[:-1] if name != "resource_id"]

_SAME_RESOURCE = """
SELECT other.series_id, other.unit FROM dimension AS other
WHERE other.tenant_id = $1 AND (other.series_id = ANY($2) OR ($3 AND EXISTS (
    SELECT FROM dimension AS part WHERE part.tenant_id = $1 AND part.series_id = ANY($2)
    AND part.resource_id <> '' AND part.resource_id = other.resource_id
    AND part.currency_code = other.currency_code)))
"""

_CACHED = """
SELECT other.series_id, other.unit FROM dimension AS other
WHERE other.tenant_id = $1 AND (other.series_id = ANY($2) OR (other.unit = $3 AND EXISTS (
    SELECT FROM dimension AS part WHERE part.tenant_id = $1 AND part.series_id = ANY($2)
    AND part.resource_id <> '' AND part.resource_id = other.resource_id
    AND part.provider = other.provider AND part.currency_code = other.currency_code)))
"""

_SUBSTITUTED = f"""
SELECT other.series_id, other.unit FROM dimension AS other
WHERE other.tenant_id = $1 AND (other.series_id = ANY($2) OR (other.resource_id LIKE $3 AND EXISTS (
    SELECT FROM dimension AS part WHERE part.tenant_id = $1 AND part.series_id = ANY($2)
    AND part.tags = other.tags AND {
    " AND ".join(f"part.{name} = other.{name}" for name in _COLUMNS)
})))
"""


class DayCost(NamedTuple):
    """What series cost on a UTC day, and their quantity."""

    day: date
    cost: Decimal
    quantity: Decimal


async def series_of_scope(
    tx: Transaction,
    tenant_id: str,
    series_ids: Sequence[int],
    *,
    has_resources: bool = False,
    cached_unit: str = "",
    substitute: str = "",
) -> dict[int, str]:
    """Returns the units of series and of those that a change moves their usage to.

    has_resources: with all others of the same resources and currency, since a change of type or
    region begins a series. cached_unit: with those of it of the same resources. substitute: with
    those that differ in nothing but having this resource; its name may end with a `*`.
    """
    extra: str | bool
    if cached_unit:
        query, extra = _CACHED, cached_unit
    elif substitute:
        query, extra = _SUBSTITUTED, _like(substitute)
    else:
        query, extra = _SAME_RESOURCE, has_resources
    rows = await tx.driver.fetch(query, tenant_id, series_ids, extra)
    return {row["series_id"]: row["unit"] for row in rows}


def _like(name: str) -> str:
    """Returns what LIKE takes for a name that may leave its version open with a `*`."""
    plain = name.removesuffix("*").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return plain + ("%" if name.endswith("*") else "")


async def daily_costs(
    tx: Transaction, tenant_id: str, period: Period, series_ids: Sequence[int]
) -> list[DayCost]:
    """Returns the exact cost of series, all of one currency, of each day that has any."""
    rows = await tx.driver.fetch(
        """
        SELECT day, sum(cost) AS cost, sum(quantity) AS quantity FROM usage_day
        WHERE tenant_id = $1 AND day >= $2 AND day < $3
        AND series_id = ANY($4) GROUP BY day ORDER BY day
        """,
        tenant_id,
        period.start.date(),
        period.end.date(),
        series_ids,
    )
    return [DayCost(*row) for row in rows]


async def series_beside(
    tx: Transaction, tenant_id: str, currency_code: str, series_ids: Sequence[int]
) -> list[int]:
    """Returns all other series that are paid in a currency."""
    found = await tx.driver.fetch(
        "SELECT series_id FROM dimension"
        " WHERE tenant_id = $1 AND currency_code = $2 AND NOT series_id = ANY($3)",
        tenant_id,
        currency_code,
        series_ids,
    )
    return [row["series_id"] for row in found]


async def days_told(tx: Transaction, tenant_id: str, period: Period) -> list[date]:
    """Returns the UTC days that have any usage, in order."""
    found = await tx.driver.fetch(
        "SELECT DISTINCT day FROM usage_day"
        " WHERE tenant_id = $1 AND day >= $2 AND day < $3 ORDER BY day",
        tenant_id,
        period.start.date(),
        period.end.date(),
    )
    return [row["day"] for row in found]
