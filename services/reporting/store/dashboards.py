"""Versions of a tenant's dashboards, and the anomalies that they show.

A change does not take effect at once but when a version begins, `SETTLING` after the first change
that no version holds yet. So a tenant whose usage never stops still gets cached answers, and none
of them is older than that relative to a change. One clock decides, the database's, and a version
that has begun holds every change that was told before it began: what is told later makes the next.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from services.kernel.database import Transaction
from services.kernel.filter import compile_filter
from services.reporting.domain.anomaly.anomaly import Anomaly, State
from services.reporting.store.anomalies import LISTING, anomaly_of
from services.reporting.tables.anomalies import anomaly

# With the feed's own lag it stays below the two seconds in which a change must show.
SETTLING: Final = timedelta(seconds=1)

# Sorted, so that two consumers lock rows in the same order.
_CHANGED = """
INSERT INTO reporting.dashboard_version AS known (tenant_id, version, valid_from)
SELECT tenant, 1, clock_timestamp() + $2::interval FROM unnest($1::text[]) AS tenant ORDER BY tenant
ON CONFLICT (tenant_id) DO UPDATE
SET version = known.version + 1, valid_from = EXCLUDED.valid_from
WHERE known.valid_from <= clock_timestamp()
"""
_RENEW = """
INSERT INTO reporting.dashboard_version AS known (tenant_id, version, valid_from)
VALUES ($1, 1, clock_timestamp())
ON CONFLICT (tenant_id) DO UPDATE SET valid_from = clock_timestamp(),
    version = known.version + (known.valid_from <= clock_timestamp())::int
RETURNING version
"""
_IN_FORCE = """
SELECT version - (valid_from > clock_timestamp())::int FROM reporting.dashboard_version
WHERE tenant_id = $1
"""


async def count_changes(tx: Transaction, tenant_ids: Collection[str]) -> None:
    """Makes the next version of each tenant begin soon, unless one is about to."""
    await tx.driver.execute(_CHANGED, sorted(tenant_ids), SETTLING)


async def count_change_of_all(tx: Transaction) -> None:
    """Begins a new version of every tenant, where it is not known what changed."""
    await tx.driver.execute(
        "UPDATE reporting.dashboard_version SET version = version + 1, valid_from = now()"
    )


async def renew(tx: Transaction, tenant_id: str) -> int:
    """Begins a new version at once, and returns it."""
    version: int = await tx.driver.fetchval(_RENEW, tenant_id)
    return version


async def version_in_force(tx: Transaction, tenant_id: str) -> int:
    """Returns the version that answers are kept under now."""
    version: int | None = await tx.driver.fetchval(_IN_FORCE, tenant_id)
    return version or 0


async def open_anomalies(
    tx: Transaction, tenant_id: str, *, filter_text: str, limit: int
) -> tuple[Anomaly, ...]:
    """Returns what is going on and nobody expected, costliest first. Raises InvalidFilter."""
    column = anomaly.c
    statement = (
        select(anomaly)
        .where(
            column.tenant_id == tenant_id,
            column.state == State.OPEN.value,
            compile_filter(filter_text, LISTING.filters),
        )
        .order_by(column.impact.desc(), column.anomaly_id)
        .limit(limit)
    )
    return tuple(anomaly_of(row) for row in (await tx.execute(statement)).mappings())


async def forget_position(tx: Transaction, consumer: str) -> None:
    """Makes a consumer of a feed begin with the oldest fact that is kept."""
    await tx.driver.execute("DELETE FROM feed_cursor WHERE name = $1", consumer)
