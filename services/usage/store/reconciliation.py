"""Compares raw events with roll-ups and feed by local day, and rebuilds roll-ups of a day.

Raw events, roll-ups and the deltas above the mark are of one snapshot, so a comparison is exact
while recording and merging go on: raw = roll-up + deltas above the mark, always.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from services.kernel.database import Transaction
from services.usage.store.rollups import RAW_HOUR, RAW_MEASURES
from services.usage.tables import MEASURES

_COMPARE = """
WITH mark AS MATERIALIZED (
    SELECT transaction_id, sequence FROM usage.rollup_mark WHERE tenant_id = $1
), raw AS (
    SELECT (start_at AT TIME ZONE $2)::date AS day, sum(weight) AS events,
        sum(quantity) AS quantity, sum(billed_cost) AS cost
    FROM usage.event
    WHERE tenant_id = $1 AND start_at >= $3 AND start_at < $4 GROUP BY 1
), tail AS MATERIALIZED (
    SELECT (hour_at AT TIME ZONE $2)::date AS day, events, quantity, billed_cost AS cost
    FROM usage.cost_change c, mark
    WHERE c.tenant_id = $1 AND hour_at >= $3 AND hour_at < $4
      AND (c.transaction_id, c.sequence) > (mark.transaction_id, mark.sequence)
), hourly AS (
    SELECT day, sum(events) AS events, sum(quantity) AS quantity, sum(cost) AS cost FROM (
        SELECT (hour_at AT TIME ZONE $2)::date AS day, events, quantity, billed_cost AS cost
        FROM usage.rollup_hour WHERE tenant_id = $1 AND hour_at >= $3 AND hour_at < $4
        UNION ALL SELECT * FROM tail) x GROUP BY day
), daily AS (
    SELECT day, sum(events) AS events, sum(quantity) AS quantity, sum(cost) AS cost FROM (
        SELECT day, events, quantity, billed_cost AS cost FROM usage.rollup_day
        WHERE tenant_id = $1 AND day >= ($3 AT TIME ZONE $2)::date
          AND day < ($4 AT TIME ZONE $2)::date
        UNION ALL SELECT * FROM tail) x GROUP BY day
), feed AS (
    SELECT (hour_at AT TIME ZONE $2)::date AS day, sum(events) AS events,
        sum(quantity) AS quantity, sum(billed_cost) AS cost
    FROM usage.cost_change
    WHERE tenant_id = $1 AND hour_at >= $3 AND hour_at < $4
      AND NOT EXISTS (SELECT FROM usage.feed_floor WHERE feed = 'usage.cost_change')
    GROUP BY 1
), whole AS (
    SELECT NOT EXISTS (SELECT FROM usage.feed_floor WHERE feed = 'usage.cost_change') AS is_whole
)
SELECT day, name,
    COALESCE(other.events, 0) - COALESCE(raw.events, 0) AS events,
    COALESCE(other.quantity, 0) - COALESCE(raw.quantity, 0) AS quantity,
    COALESCE(other.cost, 0) - COALESCE(raw.cost, 0) AS cost,
    COALESCE(raw.events, 0) AS raw_events, COALESCE(other.events, 0) AS other_events
FROM (
    SELECT 'rollup_hour' AS name, * FROM hourly
    UNION ALL SELECT 'rollup_day', * FROM daily
    UNION ALL SELECT 'feed', * FROM feed
) other
FULL JOIN (
    SELECT n.name, raw.* FROM raw, whole,
        unnest(ARRAY['rollup_hour', 'rollup_day', 'feed']) AS n(name)
    WHERE n.name <> 'feed' OR whole.is_whole
) raw USING (day, name)
ORDER BY day, name
"""

_COLUMNS = ", ".join(MEASURES)
_SUMS = ", ".join(f"sum({measure}) AS {measure}" for measure in MEASURES)
_NEGATED = ", ".join(f"-c.{measure} AS {measure}" for measure in MEASURES)

# What is not in the deltas above the mark must be in the roll-up.
_REBUILD_HOURS = f"""
INSERT INTO usage.rollup_hour (tenant_id, hour_at, dimension_id, {_COLUMNS})
SELECT $1, hour_at, dimension_id, {_SUMS} FROM (
    SELECT {RAW_HOUR} AS hour_at, e.dimension_id, {RAW_MEASURES}
    FROM usage.event e WHERE e.tenant_id = $1 AND e.start_at >= $3 AND e.start_at < $4
    GROUP BY 1, 2
    UNION ALL
    SELECT c.hour_at, c.dimension_id, {_NEGATED}
    FROM usage.cost_change c JOIN usage.rollup_mark m USING (tenant_id)
    WHERE c.tenant_id = $1 AND c.hour_at >= $3 AND c.hour_at < $4
      AND (c.transaction_id, c.sequence) > (m.transaction_id, m.sequence)
) x GROUP BY hour_at, dimension_id
"""

_REBUILD_DAY = f"""
INSERT INTO usage.rollup_day (tenant_id, day, dimension_id, {_COLUMNS})
SELECT $1, $2::date, dimension_id, {_SUMS}
FROM usage.rollup_hour WHERE tenant_id = $1 AND hour_at >= $3 AND hour_at < $4
GROUP BY dimension_id
"""


class DayComparison(NamedTuple):
    """One day and one place, `rollup_hour`, `rollup_day` or `feed`, against raw events."""

    day: date
    compared: str
    event_difference: int
    quantity_difference: Decimal
    cost_difference: Decimal
    raw_events: int
    compared_events: int

    @property
    def is_drift(self) -> bool:
        """Whether the place differs from raw events."""
        differences = (self.event_difference, self.quantity_difference, self.cost_difference)
        return any(difference != 0 for difference in differences)


async def compare_days(
    tx: Transaction, tenant_id: str, time_zone: str, start_at: datetime, end_at: datetime
) -> list[DayComparison]:
    """Compares every local day between two day edges. The feed counts while it is whole."""
    records = await tx.driver.fetch(_COMPARE, tenant_id, time_zone, start_at, end_at)
    return [
        DayComparison(
            record["day"],
            record["name"],
            int(record["events"]),
            record["quantity"],
            record["cost"],
            int(record["raw_events"]),
            int(record["other_events"]),
        )
        for record in records
    ]


async def rebuild_day(
    tx: Transaction, tenant_id: str, time_zone: str, day: date, edges: tuple[datetime, datetime]
) -> None:
    """Makes a local day's roll-ups anew from raw events.

    edges: the day's first instant, and the first after it. The caller's transaction is REPEATABLE
    READ and holds the tenant's mark, so that no delta moves into a roll-up meanwhile.
    """
    await tx.driver.execute(
        "DELETE FROM usage.rollup_hour WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3",
        tenant_id,
        *edges,
    )
    await tx.driver.execute(
        "DELETE FROM usage.rollup_day WHERE tenant_id = $1 AND day = $2", tenant_id, day
    )
    await tx.driver.execute(_REBUILD_HOURS, tenant_id, time_zone, *edges)
    await tx.driver.execute(_REBUILD_DAY, tenant_id, day, *edges)


async def usage_span(tx: Transaction, tenant_id: str) -> tuple[datetime, datetime] | None:
    """Returns the first and last instant of a tenant's raw usage; None without any."""
    record = await tx.driver.fetchrow(
        "SELECT min(start_at) AS first, max(start_at) AS last FROM usage.event"
        " WHERE tenant_id = $1",
        tenant_id,
    )
    if record is None or record["first"] is None:
        return None
    return record["first"], record["last"]


async def tenant_ids(tx: Transaction) -> list[str]:
    """Returns every tenant with usage, for work over all of them."""
    records = await tx.driver.fetch("SELECT tenant_id FROM usage.rollup_mark ORDER BY tenant_id")
    return [record["tenant_id"] for record in records]
