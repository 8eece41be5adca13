"""Deliveries that a grouping rule counts, and holds for one digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.kernel.database import Transaction

_DIGESTS = """
SELECT tenant_id, channel_id, mail_to, digest_key FROM budget.delivery
WHERE due_at <= $1 AND is_held AND state = 'queued'
GROUP BY tenant_id, channel_id, mail_to, digest_key LIMIT $2
"""
_COLLECTED = """
SELECT delivery.*, title FROM budget.delivery JOIN budget.notification
    USING (tenant_id, notification_id)
WHERE tenant_id = $1 AND channel_id = $2 AND mail_to = $3 AND digest_key = $4
AND is_held AND state = 'queued' ORDER BY delivery.created_at, delivery_id FOR UPDATE OF delivery
"""
_SEND_ALONE = """
UPDATE budget.delivery SET is_held = false WHERE tenant_id = $1 AND delivery_id = $2
"""
_DIGEST = """
UPDATE budget.delivery SET state = 'digested', due_at = NULL, next_attempt_at = NULL,
    is_held = false, digest_delivery_id = $3 WHERE tenant_id = $1 AND delivery_id = ANY($2::text[])
"""
_RECENT = """
SELECT count(*) AS recent, min(due_at) FILTER (WHERE is_held AND state = 'queued') AS until
FROM budget.delivery WHERE tenant_id = $1 AND digest_key = $2 AND created_at > $3
AND channel_id = $4 AND mail_to = $5
"""


@dataclass(frozen=True, slots=True)
class CollectedGroup:
    """What waits for one digest: of one receiver and one group."""

    tenant_id: str
    channel_id: str
    mail_to: str
    digest_key: str


@dataclass(frozen=True, slots=True)
class CollectedDelivery:
    """One delivery that waits for a digest."""

    delivery_id: str
    event_type: str
    alert_id: str
    receiver_hint: str
    title: str
    created_at: datetime


async def recent_of_group(
    tx: Transaction, group: CollectedGroup, since: datetime
) -> tuple[int, datetime | None]:
    """Returns how many deliveries a group had since an instant, and when its digest is due."""
    row = await tx.driver.fetchrow(
        _RECENT, group.tenant_id, group.digest_key, since, group.channel_id, group.mail_to
    )
    return (0, None) if row is None else (row["recent"], row["until"])


async def due_groups(tx: Transaction, now: datetime, limit: int) -> list[CollectedGroup]:
    """Returns groups of all tenants whose time of collecting is over."""
    rows = await tx.driver.fetch(_DIGESTS, now, limit)
    return [CollectedGroup(*row) for row in rows]


async def collected(tx: Transaction, group: CollectedGroup) -> list[CollectedDelivery]:
    """Returns and locks what a group has collected, oldest first."""
    rows = await tx.driver.fetch(
        _COLLECTED, group.tenant_id, group.channel_id, group.mail_to, group.digest_key
    )
    return [
        CollectedDelivery(
            row["delivery_id"],
            row["event_type"],
            row["alert_id"],
            row["receiver_hint"],
            row["title"],
            row["created_at"],
        )
        for row in rows
    ]


async def send_alone(tx: Transaction, tenant_id: str, delivery_id: str) -> None:
    """Takes a delivery out of its group."""
    await tx.driver.execute(_SEND_ALONE, tenant_id, delivery_id)


async def mark_digested(
    tx: Transaction, tenant_id: str, delivery_ids: Sequence[str], digest_delivery_id: str
) -> None:
    """Stores in which digest deliveries went out."""
    await tx.driver.execute(_DIGEST, tenant_id, list(delivery_ids), digest_delivery_id)
