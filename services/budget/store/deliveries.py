"""Deliveries as rows: the durable queue and the log of what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, update

from services.budget.domain.delivery import Delivery, DeliveryAttempt, DeliveryState
from services.budget.tables.notifications import delivery as table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField, compile_filter
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_FILTERS = {
    "channel_id": FilterField(FieldType.STRING, table.c.channel_id),
    "event_type": FilterField(FieldType.STRING, table.c.event_type),
    "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
}
_LISTING = Listing(
    filters={
        **_FILTERS,
        "alert_id": FilterField(FieldType.STRING, table.c.alert_id),
        "message_id": FilterField(FieldType.STRING, table.c.message_id),
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in DeliveryState},
        ),
    },
    orders={
        "create_time": table.c.created_at,
        "next_attempt_time": table.c.next_attempt_at,
        "delivery_id": table.c.delivery_id,
    },
    default_order="create_time desc",
    tie_break="delivery_id",
)
_INSERT = """
INSERT INTO budget.delivery (tenant_id, delivery_id, message_id, notification_id, channel_id,
    mail_to, receiver_hint, event_type, alert_id, state, due_at, next_attempt_at, digest_key,
    is_held, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14)
"""
# Some of each receiver, so that a slow one with much to get does not keep the others waiting.
_CLAIM = """
WITH due AS (
    SELECT tenant_id, delivery_id, row_number() OVER (
        PARTITION BY tenant_id, channel_id ORDER BY due_at, delivery_id) AS place
    FROM (
        SELECT tenant_id, delivery_id, channel_id, due_at FROM budget.delivery
        WHERE due_at <= $1 AND NOT is_held
        AND NOT (tenant_id || '/' || channel_id) = ANY($4::text[])
        ORDER BY due_at LIMIT 1000
    ) AS oldest
), locked AS (
    SELECT delivery.tenant_id, delivery.delivery_id FROM due
    JOIN budget.delivery USING (tenant_id, delivery_id)
    WHERE due.place <= $5 AND delivery.due_at <= $1 AND NOT is_held
    ORDER BY due.place, due_at LIMIT $3 FOR UPDATE OF delivery SKIP LOCKED
)
UPDATE budget.delivery AS claimed
SET state = 'sending', due_at = $2, next_attempt_at = NULL,
    attempt_count = attempt_count + 1, round_count = round_count + 1
FROM locked WHERE claimed.tenant_id = locked.tenant_id
AND claimed.delivery_id = locked.delivery_id
RETURNING claimed.*
"""
_CONCLUDE = """
UPDATE budget.delivery SET state = $3, due_at = $4, next_attempt_at = $4,
    delivered_at = CASE WHEN $3 = 'delivered' THEN $5 ELSE delivered_at END
WHERE tenant_id = $1 AND delivery_id = $2 AND state = 'sending' AND attempt_count = $6
"""
_ATTEMPT = """
INSERT INTO budget.delivery_attempt (tenant_id, delivery_id, attempt, attempted_at, latency,
    http_status, response_excerpt, response_digest, error, signature)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
"""
_REPLAY = """
UPDATE budget.delivery SET state = 'queued', due_at = $3, next_attempt_at = $3, round_count = 0
WHERE tenant_id = $1 AND delivery_id = $2
"""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to add. due_at: None for one that is not sent. mail_to: without a channel.

    digest_key: of the group that a rule counts it with. is_held: waits for the group's digest.
    """

    delivery_id: str
    notification_id: str
    channel_id: str
    mail_to: str
    receiver_hint: str
    event_type: str
    alert_id: str
    state: DeliveryState
    due_at: datetime | None
    digest_key: str | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery in a worker's hands. attempt: this one's number. round_count: since a replay."""

    tenant_id: str
    delivery_id: str
    message_id: str
    notification_id: str
    channel_id: str
    mail_to: str
    event_type: str
    alert_id: str
    attempt: int
    round_count: int
    created_at: datetime


def message_id_of(delivery_id: str) -> str:
    """Returns the id a receiver sees, the same in every attempt and replay."""
    return f"msg_{delivery_id}"


async def insert_delivery(
    tx: Transaction, tenant_id: str, delivery: NewDelivery, at: datetime
) -> None:
    """Adds a delivery."""
    await tx.driver.execute(
        _INSERT,
        tenant_id,
        delivery.delivery_id,
        message_id_of(delivery.delivery_id),
        delivery.notification_id,
        delivery.channel_id,
        delivery.mail_to,
        delivery.receiver_hint,
        delivery.event_type,
        delivery.alert_id,
        delivery.state.value,
        delivery.due_at,
        delivery.digest_key,
        delivery.is_held,
        at,
    )


async def claim(
    tx: Transaction,
    now: datetime,
    *,
    lease_until: datetime,
    limit: int,
    busy: Sequence[str],
    per_receiver: int,
) -> list[ClaimedDelivery]:
    """Takes due deliveries of all tenants until the lease ends; another then takes them again.

    busy: `tenant/channel` that have enough in hand. per_receiver: most of one channel at once.
    """
    rows = await tx.driver.fetch(_CLAIM, now, lease_until, limit, list(busy), per_receiver)
    return [
        ClaimedDelivery(
            tenant_id=row["tenant_id"],
            delivery_id=row["delivery_id"],
            message_id=row["message_id"],
            notification_id=row["notification_id"],
            channel_id=row["channel_id"],
            mail_to=row["mail_to"],
            event_type=row["event_type"],
            alert_id=row["alert_id"],
            attempt=row["attempt_count"],
            round_count=row["round_count"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def conclude(
    tx: Transaction,
    claimed: ClaimedDelivery,
    attempt: DeliveryAttempt,
    *,
    state: DeliveryState,
    due_at: datetime | None,
    at: datetime,
) -> None:
    """Stores how an attempt went; the delivery's state only while the claim is still the newest."""
    await insert_attempt(tx, claimed.tenant_id, claimed.delivery_id, claimed.attempt, attempt)
    await tx.driver.execute(
        _CONCLUDE,
        claimed.tenant_id,
        claimed.delivery_id,
        state.value,
        due_at,
        at,
        claimed.attempt,
    )


async def insert_attempt(
    tx: Transaction, tenant_id: str, delivery_id: str, number: int, attempt: DeliveryAttempt
) -> None:
    """Adds an attempt to the log."""
    await tx.driver.execute(
        _ATTEMPT,
        tenant_id,
        delivery_id,
        number,
        attempt.attempted_at,
        attempt.latency,
        attempt.http_status,
        attempt.response_excerpt,
        attempt.response_digest,
        attempt.error,
        attempt.signature,
    )


async def put_back(tx: Transaction, claimed: ClaimedDelivery, due_at: datetime) -> None:
    """Gives a claim back, as if it had not been made, until an instant."""
    await tx.driver.execute(
        "UPDATE budget.delivery SET state = 'queued', due_at = $3, next_attempt_at = $3,"
        " attempt_count = attempt_count - 1, round_count = round_count - 1"
        " WHERE tenant_id = $1 AND delivery_id = $2 AND state = 'sending' AND attempt_count = $4",
        claimed.tenant_id,
        claimed.delivery_id,
        due_at,
        claimed.attempt,
    )


async def conclude_test(
    tx: Transaction, tenant_id: str, delivery_id: str, state: DeliveryState, at: datetime
) -> None:
    """Stores that the only attempt of a test was made."""
    await tx.driver.execute(
        "UPDATE budget.delivery SET state = $3, attempt_count = 1, delivered_at ="
        " CASE WHEN $3 = 'delivered' THEN $4::timestamptz END"
        " WHERE tenant_id = $1 AND delivery_id = $2",
        tenant_id,
        delivery_id,
        state.value,
        at,
    )


async def replay(tx: Transaction, tenant_id: str, delivery_id: str, at: datetime) -> None:
    """Queues a delivery again, with all its attempts before it."""
    await tx.driver.execute(_REPLAY, tenant_id, delivery_id, at)


async def replay_dead(tx: Transaction, tenant_id: str, text: str, at: datetime) -> int:
    """Queues the dead letters that match a filter again, and returns how many."""
    statement = update(table).where(_dead(tenant_id), compile_filter(text, _FILTERS))
    found = await tx.execute(
        statement.values(state="queued", due_at=at, next_attempt_at=at, round_count=0)
    )
    return found.rowcount


async def find_delivery(
    tx: Transaction, tenant_id: str, delivery_id: str, *, for_update: bool = False
) -> Delivery | None:
    """Returns a delivery without its attempts; None where there is none of that id."""
    statement = select(table).where(
        table.c.tenant_id == tenant_id, table.c.delivery_id == delivery_id
    )
    found = await tx.execute(statement.with_for_update() if for_update else statement)
    row = found.mappings().one_or_none()
    return None if row is None else _delivery_of(row)


async def attempts_of(tx: Transaction, tenant_id: str, delivery_id: str) -> list[DeliveryAttempt]:
    """Returns the attempts of a delivery, oldest first."""
    rows = await tx.driver.fetch(
        "SELECT * FROM budget.delivery_attempt WHERE tenant_id = $1 AND delivery_id = $2"
        " ORDER BY attempt",
        tenant_id,
        delivery_id,
    )
    return [
        DeliveryAttempt(
            attempted_at=row["attempted_at"],
            latency=row["latency"],
            http_status=row["http_status"],
            response_excerpt=row["response_excerpt"],
            response_digest=row["response_digest"],
            error=row["error"],
            signature=row["signature"],
        )
        for row in rows
    ]


async def payload_of(tx: Transaction, tenant_id: str, delivery_id: str) -> str:
    """Returns what is sent to programs, as JSON."""
    found: str | None = await tx.driver.fetchval(
        "SELECT payload_json FROM budget.notification JOIN budget.delivery"
        " USING (tenant_id, notification_id) WHERE tenant_id = $1 AND delivery_id = $2",
        tenant_id,
        delivery_id,
    )
    return found or ""


async def list_deliveries(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Delivery]:
    """Returns a page of a tenant's deliveries."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    if "next_attempt_time" in page.order_by:
        # An order has no place for what will never be tried again.
        statement = statement.where(table.c.next_attempt_at.is_not(None))
    found = await _LISTING.page(tx, statement, page, tokens)
    return Page([_delivery_of(row) for row in found.items], found.next_page_token)


def _dead(tenant_id: str) -> ColumnElement[bool]:
    return (table.c.tenant_id == tenant_id) & (table.c.state == DeliveryState.DEAD.value)


def _delivery_of(row: Any) -> Delivery:
    return Delivery(
        delivery_id=row["delivery_id"],
        message_id=row["message_id"],
        channel_id=row["channel_id"],
        receiver_hint=row["receiver_hint"],
        event_type=row["event_type"],
        alert_id=row["alert_id"],
        state=DeliveryState(row["state"]),
        attempt_count=row["attempt_count"],
        next_attempt_at=row["next_attempt_at"],
        digest_delivery_id=row["digest_delivery_id"],
        created_at=row["created_at"],
        delivered_at=row["delivered_at"],
    )
