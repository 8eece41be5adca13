"""Notifications as rows."""

from __future__ import annotations

import json
from datetime import datetime

from services.budget.domain.notification import Attachment, Notification
from services.budget.store.alerts import SEVERITIES
from services.kernel.database import Transaction

_INSERT = """
INSERT INTO budget.notification (tenant_id, notification_id, event_type, title, text_body,
    html_body, payload_json, severity, link, deduplication_key, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULLIF($10, ''), $11) ON CONFLICT DO NOTHING
"""


async def insert_notification(
    tx: Transaction, tenant_id: str, notification_id: str, notification: Notification, at: datetime
) -> bool:
    """Adds a notification; False when one of its deduplication key is there."""
    status = await tx.driver.execute(
        _INSERT,
        tenant_id,
        notification_id,
        notification.event_type,
        notification.title,
        notification.text_body,
        notification.html_body,
        json.dumps(notification.payload, separators=(",", ":")),
        notification.severity.rank + 1,
        notification.link,
        notification.deduplication_key,
        at,
    )
    if status != "INSERT 0 1":
        return False
    for place, attachment in enumerate(notification.attachments):
        await tx.driver.execute(
            "INSERT INTO budget.notification_attachment VALUES ($1, $2, $3, $4, $5, $6)",
            tenant_id,
            notification_id,
            place,
            attachment.filename,
            attachment.content_type,
            attachment.content,
        )
    return True


async def deliveries_of_key(tx: Transaction, tenant_id: str, deduplication_key: str) -> list[str]:
    """Returns the ids of the deliveries of a notification by its key."""
    rows = await tx.driver.fetch(
        "SELECT delivery_id FROM budget.delivery JOIN budget.notification USING (tenant_id,"
        " notification_id) WHERE tenant_id = $1 AND deduplication_key = $2 ORDER BY delivery_id",
        tenant_id,
        deduplication_key,
    )
    return [row["delivery_id"] for row in rows]


async def find_notification(tx: Transaction, tenant_id: str, notification_id: str) -> Notification:
    """Returns a stored notification with its attachments."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM budget.notification WHERE tenant_id = $1 AND notification_id = $2",
        tenant_id,
        notification_id,
    )
    if row is None:
        raise LookupError("a delivery has no notification")
    files = await tx.driver.fetch(
        "SELECT * FROM budget.notification_attachment"
        " WHERE tenant_id = $1 AND notification_id = $2 ORDER BY place",
        tenant_id,
        notification_id,
    )
    return Notification(
        event_type=row["event_type"],
        title=row["title"],
        text_body=row["text_body"],
        html_body=row["html_body"],
        payload=json.loads(row["payload_json"]),
        severity=SEVERITIES[row["severity"] - 1],
        deduplication_key=row["deduplication_key"] or "",
        link=row["link"],
        attachments=[
            Attachment(file["filename"], file["content_type"], file["content"]) for file in files
        ],
    )
