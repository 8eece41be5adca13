"""Detectors' settings and tenants' profiles as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import NamedTuple

from services.kernel.period import zone
from services.kernel.transaction import Transaction
from services.optimizer.domain.settings_of_detector import DetectorSettings
from services.optimizer.domain.usage_change import TenantProfile


class StoredSettings(NamedTuple):
    """Settings and how often they were changed."""

    settings: DetectorSettings
    revision: int


async def load(tx: Transaction, tenant_id: str) -> dict[str, StoredSettings]:
    """Returns the settings that a tenant has changed, by detector."""
    rows = await tx.driver.fetch("SELECT * FROM detector_settings WHERE tenant_id = $1", tenant_id)
    found = {}
    for row in rows:
        values = dict(row)
        del values["tenant_id"]
        revision = values.pop("revision")
        found[row["detector_id"]] = StoredSettings(DetectorSettings(**values), revision)
    return found


async def save(
    tx: Transaction, tenant_id: str, settings: DetectorSettings, *, revision: int
) -> bool:
    """Stores settings as the revision after one; False where another change came before."""
    values = asdict(settings)
    columns = ", ".join(values)
    places = ", ".join(f"${index + 3}" for index in range(len(values)))
    changes = ", ".join(f"{name} = excluded.{name}" for name in values)
    status = await tx.driver.execute(
        f"INSERT INTO detector_settings AS known (tenant_id, revision, {columns})"
        f" VALUES ($1, $2, {places}) ON CONFLICT (tenant_id, detector_id)"
        f" DO UPDATE SET revision = excluded.revision, {changes}"
        " WHERE known.revision = excluded.revision - 1",
        tenant_id,
        revision,
        *(list(value) if isinstance(value, tuple) else value for value in values.values()),
    )
    return status == "INSERT 0 1"


async def schedules(tx: Transaction, tenant_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the schedules that tenants gave detectors, by tenant and detector."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id, detector_id, schedule FROM detector_settings"
        " WHERE tenant_id = ANY($1::text[])",
        list(tenant_ids),
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["tenant_id"], {})[row["detector_id"]] = row["schedule"]
    return found


async def profile(tx: Transaction, tenant_id: str) -> tuple[TenantProfile, datetime] | None:
    """Returns a tenant's profile and when it was asked for, None before."""
    row = await tx.driver.fetchrow("SELECT * FROM tenant WHERE tenant_id = $1", tenant_id)
    if row is None:
        return None
    known = TenantProfile(tenant_id, zone(row["time_zone"]), row["currency_code"])
    return known, row["refreshed_at"]


async def save_profile(tx: Transaction, known: TenantProfile, at: datetime) -> None:
    """Stores a tenant's profile."""
    await tx.driver.execute(
        """
        INSERT INTO tenant VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id) DO UPDATE
        SET time_zone = excluded.time_zone, currency_code = excluded.currency_code,
            refreshed_at = excluded.refreshed_at
        """,
        known.tenant_id,
        known.tz.key,
        known.currency_code,
        at,
    )


async def tenants(tx: Transaction) -> list[str]:
    """Returns all tenants that have usage."""
    rows = await tx.driver.fetch("SELECT DISTINCT tenant_id FROM dimension ORDER BY tenant_id")
    return [row["tenant_id"] for row in rows]
