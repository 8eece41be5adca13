"""Settings of the detection, and maintenance windows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import Scope, Severity
from services.reporting.domain.anomaly.cost_fact import CostFact
from services.reporting.domain.anomaly.settings import AnomalySettings, MaintenanceWindow
from services.reporting.tables.anomaly_settings import anomaly_settings, maintenance_window

s = anomaly_settings.c
w = maintenance_window.c
LISTING = Listing(
    filters={
        "window_id": FilterField(FieldType.STRING, w.window_id),
        "start_time": FilterField(FieldType.TIMESTAMP, w.start_at),
        "end_time": FilterField(FieldType.TIMESTAMP, w.end_at),
    },
    orders={"start_time": w.start_at, "window_id": w.window_id},
    default_order="start_time desc",
    tie_break="window_id",
)
# Taken alone by who regroups the series of a tenant, together by who adds to them.
_SERIES_LOCK = 7_310_004
_REGROUP = """
WITH moved AS (
    DELETE FROM reporting.watched_hour WHERE tenant_id = $1 RETURNING *
), named AS (
    SELECT moved.hour_at, moved.cost, moved.events, series.currency_code,
        CASE WHEN 'department' = ANY($2::text[]) THEN series.department ELSE '' END AS department,
        CASE WHEN 'service' = ANY($2::text[]) THEN series.service ELSE '' END AS service,
        CASE WHEN 'resource_type' = ANY($2::text[]) THEN resource_type ELSE '' END AS resource_type
    FROM moved JOIN reporting.watched_series AS series USING (tenant_id, series_key)
)
SELECT department, service, resource_type, currency_code, hour_at, sum(cost) AS cost,
    sum(events)::bigint AS events
FROM named GROUP BY department, service, resource_type, currency_code, hour_at
"""


async def find(tx: Transaction, tenant_id: str, *, is_locked: bool = False) -> AnomalySettings:
    """Returns a tenant's settings, the defaults where it has none."""
    found = await of_tenants(tx, [tenant_id], is_locked=is_locked)
    return found[tenant_id]


async def of_tenants(
    tx: Transaction, tenant_ids: Collection[str], *, is_locked: bool = False
) -> dict[str, AnomalySettings]:
    """Returns the settings of tenants."""
    statement = select(anomaly_settings).where(s.tenant_id.in_(tenant_ids))
    if is_locked:
        statement = statement.with_for_update()
    rows = (await tx.execute(statement)).mappings()
    found = {row["tenant_id"]: _settings(row) for row in rows}
    return {name: found.get(name) or AnomalySettings(name) for name in tenant_ids}


async def save(tx: Transaction, settings: AnomalySettings) -> None:
    """Stores settings as they are now."""
    values = {
        "tenant_id": settings.tenant_id,
        "is_disabled": settings.is_disabled,
        "sensitivity": settings.sensitivity,
        "impact_min": settings.impact_min,
        "group_by": list(settings.group_by),
        "grace_hours": settings.grace_hours,
        "severity_min": settings.severity_min.value,
        "channel_ids": list(settings.channel_ids),
        "version": settings.version,
        "updated_at": settings.updated_at,
    }
    statement = upsert(anomaly_settings).values(values)
    changed = {name: statement.excluded[name] for name in values if name != "tenant_id"}
    await tx.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=changed))


async def hold_grouping(tx: Transaction) -> None:
    """Keeps others from regrouping series until the transaction ends."""
    await tx.driver.execute("SELECT pg_advisory_xact_lock_shared($1)", _SERIES_LOCK)


async def regroup(tx: Transaction, settings: AnomalySettings) -> list[CostFact]:
    """Takes a tenant's series out, and returns their hours summed by the new dimensions."""
    await tx.driver.execute("SELECT pg_advisory_xact_lock($1)", _SERIES_LOCK)
    rows = await tx.driver.fetch(_REGROUP, settings.tenant_id, list(settings.group_by))
    await tx.driver.execute(
        "DELETE FROM reporting.watched_series WHERE tenant_id = $1", settings.tenant_id
    )
    return [
        CostFact(
            Scope(row["department"], row["service"], row["resource_type"], row["currency_code"]),
            row["hour_at"],
            row["cost"],
            row["events"],
        )
        for row in rows
    ]


async def judged_until(tx: Transaction, tenant_id: str, until: datetime) -> None:
    """Lets all series of a tenant count as judged up to an instant."""
    await tx.driver.execute(
        "UPDATE reporting.watched_series SET judged_until = $2 WHERE tenant_id = $1",
        tenant_id,
        until,
    )


async def add_window(tx: Transaction, window: MaintenanceWindow) -> None:
    """Stores a new window."""
    await tx.execute(
        insert(maintenance_window).values(
            tenant_id=window.tenant_id,
            window_id=window.window_id,
            display_name=window.display_name,
            start_at=window.period.start,
            end_at=window.period.end,
            filter=window.filter,
            author=window.author,
            created_at=window.created_at,
        )
    )


async def remove_window(
    tx: Transaction, tenant_id: str, window_id: str
) -> MaintenanceWindow | None:
    """Deletes a window and returns it, None where there is none."""
    statement = (
        delete(maintenance_window)
        .where(w.tenant_id == tenant_id, w.window_id == window_id)
        .returning(*w)
    )
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _window(row)


async def windows_since(
    tx: Transaction, tenant_id: str, since: datetime
) -> list[MaintenanceWindow]:
    """Returns the windows of a tenant that end after an instant."""
    statement = select(maintenance_window).where(w.tenant_id == tenant_id, w.end_at > since)
    return [_window(row) for row in (await tx.execute(statement)).mappings()]


async def page(
    tx: Transaction, request: PageRequest, tokens: PageTokens
) -> Page[MaintenanceWindow]:
    """Returns a page of a tenant's windows."""
    statement = select(maintenance_window).where(w.tenant_id == request.tenant_id)
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([_window(row) for row in found.items], found.next_page_token)


def _settings(row: Mapping[Any, Any]) -> AnomalySettings:
    return AnomalySettings(
        tenant_id=row["tenant_id"],
        is_disabled=row["is_disabled"],
        sensitivity=row["sensitivity"],
        impact_min=row["impact_min"],
        group_by=tuple(row["group_by"]),
        grace_hours=row["grace_hours"],
        severity_min=Severity(row["severity_min"]),
        channel_ids=tuple(row["channel_ids"]),
        version=row["version"],
        updated_at=row["updated_at"],
    )


def _window(row: Mapping[Any, Any]) -> MaintenanceWindow:
    return MaintenanceWindow(
        tenant_id=row["tenant_id"],
        window_id=row["window_id"],
        display_name=row["display_name"],
        period=Period(row["start_at"], row["end_at"]),
        filter=row["filter"],
        author=row["author"],
        created_at=row["created_at"],
    )
