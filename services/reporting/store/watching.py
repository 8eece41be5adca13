"""Watched series and their hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from services.kernel.database import Transaction
from services.kernel.feed_page import FeedItem
from services.reporting.domain.anomaly.anomaly import Scope
from services.reporting.domain.anomaly.cost_fact import CostFact
from services.reporting.domain.anomaly.watch import Hour, WatchedSeries

_ADD_HOURS = """
INSERT INTO reporting.watched_hour AS stored (tenant_id, series_key, hour_at, cost, events)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::numeric[], $5::bigint[])
ON CONFLICT (tenant_id, series_key, hour_at)
DO UPDATE SET cost = stored.cost + EXCLUDED.cost, events = stored.events + EXCLUDED.events
"""
_ADD_SERIES = """
INSERT INTO reporting.watched_series AS stored
    (tenant_id, series_key, department, service, resource_type, currency_code, newest_at)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
ON CONFLICT (tenant_id, series_key)
DO UPDATE SET newest_at = greatest(stored.newest_at, EXCLUDED.newest_at)
"""
# Until when a series can be judged: while nothing at all is told of a tenant, its usage is late and
# not over; and what is told by the day is late for as long as a day lasts, and another to tell it.
_DUE = """
SELECT *, least(told_until, daily_until) AS judge_until FROM (
    SELECT series.*, least($1, newest_at + $2::interval, tenant.told_at + interval '1 hour')
        AS told_until
    FROM reporting.watched_series AS series JOIN (
        SELECT tenant_id, max(newest_at) AS told_at FROM reporting.watched_series GROUP BY tenant_id
    ) AS tenant USING (tenant_id)
) AS told, LATERAL (
    SELECT CASE WHEN newest_at + interval '48 hours' > $1 AND count(*) <= $4
        THEN newest_at + interval '1 hour' END AS daily_until
    FROM reporting.watched_hour AS hour
    WHERE hour.tenant_id = told.tenant_id AND hour.series_key = told.series_key
    AND hour.hour_at > told.newest_at - interval '14 days'
) AS paced
WHERE told_until > coalesce(judged_until, '-infinity')
AND least(told_until, daily_until) > coalesce(judged_until, '-infinity')
ORDER BY tenant_id, series_key LIMIT $3
"""
DAILY_HOURS_MAX = 28  # with usage in two weeks: each twelfth hour
_HOURS = """
SELECT hour_at, cost, events FROM reporting.watched_hour
WHERE tenant_id = $1 AND series_key = $2 AND hour_at >= $3
"""
_JUDGED = """
UPDATE reporting.watched_series SET judged_until = $3
WHERE tenant_id = $1 AND series_key = $2 AND judged_until IS NOT DISTINCT FROM $4
"""
_FALSE_ALARM = """
UPDATE reporting.watched_series SET false_alarms = greatest(0, false_alarms + $3)
WHERE tenant_id = $1 AND series_key = $2
"""


async def add(tx: Transaction, items: Sequence[FeedItem[CostFact]]) -> None:
    """Adds changes to the hours they belong to."""
    hours: dict[tuple[str, str, datetime], list[Decimal | int]] = defaultdict(
        lambda: [Decimal(0), 0]
    )
    newest: dict[tuple[str, str], tuple[Scope, datetime]] = {}
    for item in items:
        fact = item.fact
        key = fact.scope.key
        hour = hours[item.tenant_id, key, fact.hour_at]
        hour[0] += fact.cost
        hour[1] += fact.events
        known = newest.get((item.tenant_id, key))
        at = fact.hour_at if known is None else max(known[1], fact.hour_at)
        newest[item.tenant_id, key] = (fact.scope, at)
    ordered = sorted(hours)
    await tx.driver.execute(
        _ADD_HOURS,
        *(list(column) for column in zip(*ordered, strict=True)),
        [hours[key][0] for key in ordered],
        [hours[key][1] for key in ordered],
    )
    series = [
        (*key, scope.department, scope.service, scope.resource_type, scope.currency_code, at)
        for key, (scope, at) in sorted(newest.items(), key=lambda pair: pair[0])
    ]
    columns = (list(column) for column in zip(*series, strict=True))
    await tx.driver.execute(_ADD_SERIES, *columns)


async def due(
    tx: Transaction, complete_until: datetime, *, ended_after: object, limit: int
) -> list[WatchedSeries]:
    """Returns series of all tenants with hours that are not judged."""
    rows = await tx.driver.fetch(_DUE, complete_until, ended_after, limit, DAILY_HOURS_MAX)
    return [
        WatchedSeries(
            tenant_id=row["tenant_id"],
            scope=Scope(
                row["department"], row["service"], row["resource_type"], row["currency_code"]
            ),
            judge_until=row["judge_until"],
            judged_until=row["judged_until"],
            false_alarms=row["false_alarms"],
        )
        for row in rows
    ]


async def hours_since(
    tx: Transaction, series: WatchedSeries, since: datetime
) -> dict[datetime, Hour]:
    """Returns the hours of a series that had usage."""
    rows = await tx.driver.fetch(_HOURS, series.tenant_id, series.scope.key, since)
    return {row["hour_at"]: Hour(row["cost"], row["events"]) for row in rows}


async def mark_judged(tx: Transaction, series: WatchedSeries, until: datetime) -> bool:
    """Moves a series on; False when another worker was faster."""
    status = await tx.driver.execute(
        _JUDGED, series.tenant_id, series.scope.key, until, series.judged_until
    )
    return bool(status == "UPDATE 1")


async def count_false_alarm(tx: Transaction, tenant_id: str, key: str, change: int) -> None:
    """Makes a series less sensitive, or again more."""
    await tx.driver.execute(_FALSE_ALARM, tenant_id, key, change)


async def trim(tx: Transaction, before: datetime) -> None:
    """Deletes hours that no verdict stands on any more."""
    await tx.driver.execute("DELETE FROM reporting.watched_hour WHERE hour_at < $1", before)
