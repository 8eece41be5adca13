"""How often work of a kind cost how much."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from services.budget.domain.estimate import CostBucket
from services.kernel.database import Transaction

WEEKS: Final = 5  # what is older says little about today's prices

_ADD = """
INSERT INTO budget.cost_history AS stored
    (tenant_id, resource_type, resource_id, currency_code, week, upper, samples)
SELECT tenant_id, resource_type, resource_id, currency_code, $1, upper, samples
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::bigint[])
AS input(tenant_id, resource_type, resource_id, currency_code, upper, samples)
ON CONFLICT (tenant_id, resource_type, resource_id, currency_code, week, upper)
DO UPDATE SET samples = stored.samples + EXCLUDED.samples
"""

_FIND = """
SELECT currency_code, upper, sum(samples)::bigint AS samples FROM budget.cost_history
WHERE tenant_id = $1 AND resource_type = $2 AND resource_id = $3 AND week >= $4
GROUP BY currency_code, upper ORDER BY currency_code, upper
"""


class CostSample(NamedTuple):
    """One call's cost, as the bucket it falls into; the order is that of the locks."""

    tenant_id: str
    resource_type: str
    resource_id: str
    currency_code: str
    upper: Decimal


async def add(tx: Transaction, samples: Counter[CostSample], day: date) -> None:
    """Counts samples into the week of a day."""
    if not samples:
        return
    keys = sorted(samples)
    columns = [list(column) for column in zip(*keys, strict=True)]
    await tx.driver.execute(_ADD, _week(day), *columns, [samples[key] for key in keys])


async def histories(
    tx: Transaction, tenant_id: str, resource_type: str, resource_id: str, day: date
) -> dict[str, list[CostBucket]]:
    """Returns the buckets of a kind of work by currency, in rising order."""
    since = _week(day) - timedelta(weeks=WEEKS - 1)
    rows = await tx.driver.fetch(_FIND, tenant_id, resource_type, resource_id, since)
    found: dict[str, list[CostBucket]] = {}
    for row in rows:
        bucket = CostBucket(row["upper"], row["samples"])
        found.setdefault(row["currency_code"], []).append(bucket)
    return found


async def trim(tx: Transaction, day: date) -> None:
    """Deletes the weeks that no estimate looks at any more."""
    await tx.driver.execute(
        "DELETE FROM budget.cost_history WHERE week < $1", _week(day) - timedelta(weeks=WEEKS)
    )


def _week(day: date) -> date:
    return day - timedelta(days=day.weekday())
