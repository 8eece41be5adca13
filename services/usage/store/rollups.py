"""Roll-ups: cost deltas merged into hours and days, and their rebuilding from raw events."""

from __future__ import annotations

from services.kernel.database import Transaction
from services.usage.tables import MEASURES

CHANGES_A_RUN = 200_000  # bounds one merge to about two seconds and 200 MB in the server

_SUMS = ", ".join(f"sum({measure}) AS {measure}" for measure in MEASURES)
_COLUMNS = ", ".join(MEASURES)
_MERGE = ", ".join(f"{measure} = r.{measure} + excluded.{measure}" for measure in MEASURES)

# Only deltas of transactions that had ended before every open one are taken: a delta that commits
# later can then never stand before the mark.
_ROLL_UP = f"""
WITH mark AS MATERIALIZED (
    SELECT m.transaction_id, m.sequence, t.time_zone
    FROM usage.rollup_mark m JOIN usage.tenant t USING (tenant_id)
    WHERE m.tenant_id = $1 FOR UPDATE OF m SKIP LOCKED
), pending AS MATERIALIZED (
    SELECT c.* FROM usage.cost_change c, mark
    WHERE c.tenant_id = $1
      AND (c.transaction_id, c.sequence) > (mark.transaction_id, mark.sequence)
      AND c.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY c.transaction_id, c.sequence LIMIT $2
), hours AS MATERIALIZED (
    SELECT hour_at, dimension_id, {_SUMS} FROM pending GROUP BY hour_at, dimension_id
), by_hour AS (
    INSERT INTO usage.rollup_hour AS r (tenant_id, hour_at, dimension_id, {_COLUMNS})
    SELECT $1, hour_at, dimension_id, {_COLUMNS} FROM hours ORDER BY hour_at, dimension_id
    ON CONFLICT (tenant_id, hour_at, dimension_id) DO UPDATE SET {_MERGE}
), by_day AS (
    INSERT INTO usage.rollup_day AS r (tenant_id, day, dimension_id, {_COLUMNS})
    SELECT $1, (hour_at AT TIME ZONE mark.time_zone)::date AS day, dimension_id, {_SUMS}
    FROM hours, mark GROUP BY 2, 3 ORDER BY 2, 3
    ON CONFLICT (tenant_id, day, dimension_id) DO UPDATE SET {_MERGE}
), last AS (
    SELECT transaction_id, sequence FROM pending
    ORDER BY transaction_id DESC, sequence DESC LIMIT 1
), moved AS (
    UPDATE usage.rollup_mark m
    SET transaction_id = last.transaction_id, sequence = last.sequence, rolled_up_at = now()
    FROM last WHERE m.tenant_id = $1
)
SELECT count(*) FROM pending
"""

_PENDING_TENANTS = """
SELECT m.tenant_id FROM usage.rollup_mark m
WHERE EXISTS (
    SELECT FROM usage.cost_change c
    WHERE c.tenant_id = m.tenant_id
      AND (c.transaction_id, c.sequence) > (m.transaction_id, m.sequence)
      AND c.transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
ORDER BY m.rolled_up_at
"""

# A raw row counts by its weight; NULL costs equal the billed one.
RAW_MEASURES = """
    sum(e.weight) AS events,
    COALESCE(sum(e.weight) FILTER (WHERE e.outcome = 2), 0) AS failed_events,
    COALESCE(sum(e.weight) FILTER (WHERE e.is_unpriced), 0) AS unpriced_events,
    sum(e.weight * e.retries) AS retries,
    sum(e.quantity) AS quantity,
    sum(e.billed_cost) AS billed_cost,
    sum(COALESCE(e.effective_cost, e.billed_cost)) AS effective_cost,
    sum(COALESCE(e.list_cost, e.billed_cost)) AS list_cost,
    sum(COALESCE(e.contracted_cost, e.billed_cost)) AS contracted_cost,
    COALESCE(sum(e.weight * e.latency_ms), 0) AS latency_ms_sum,
    COALESCE(sum(e.weight) FILTER (WHERE e.latency_ms IS NOT NULL), 0) AS latency_samples,
    COALESCE(sum(e.weight * e.utilization), 0) AS utilization_sum,
    COALESCE(sum(e.weight) FILTER (WHERE e.utilization IS NOT NULL), 0) AS utilization_samples,
    COALESCE(sum(e.weight * e.capacity), 0) AS capacity_sum,
    COALESCE(sum(e.weight) FILTER (WHERE e.capacity IS NOT NULL), 0) AS capacity_samples
"""

# Local hours begin on the zone's own minute: the part of its offset below an hour shifts them.
_SHIFT = """make_interval(mins => (extract(epoch FROM (e.start_at AT TIME ZONE $2)
    - (e.start_at AT TIME ZONE 'UTC'))::integer / 60) % 60)"""
RAW_HOUR = f"date_trunc('hour', e.start_at + {_SHIFT}) - {_SHIFT}"


async def pending_tenants(tx: Transaction) -> list[str]:
    """Returns the tenants with deltas to merge, the one that waited longest first."""
    return [record["tenant_id"] for record in await tx.driver.fetch(_PENDING_TENANTS)]


async def roll_up(tx: Transaction, tenant_id: str, *, limit: int = CHANGES_A_RUN) -> int:
    """Merges deltas above the tenant's mark and moves the mark; returns how many.

    0 where there are none, or where another worker has the tenant.
    """
    merged: int = await tx.driver.fetchval(_ROLL_UP, tenant_id, limit)
    return merged


async def lock_mark(tx: Transaction, tenant_id: str) -> None:
    """Keeps workers from merging the tenant's deltas until the transaction ends."""
    await tx.driver.execute(
        "SELECT FROM usage.rollup_mark WHERE tenant_id = $1 FOR UPDATE", tenant_id
    )
