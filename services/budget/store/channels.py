"""Channels and event subscriptions as rows; a channel's secrets are sealed before they get here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from services.budget.domain.channel import Channel, ChannelHealth, ChannelKind
from services.budget.domain.notification import EventSubscription
from services.budget.store.alerts import SEVERITIES
from services.budget.tables.notifications import channel as channels
from services.budget.tables.notifications import event_subscription as subscriptions
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_CHANNELS = Listing(
    filters={
        "channel_id": FilterField(FieldType.STRING, channels.c.channel_id),
        "display_name": FilterField(FieldType.STRING, channels.c.display_name),
        "enabled": FilterField(FieldType.BOOLEAN, channels.c.is_disabled.is_(False)),
        "kind": FilterField(
            FieldType.CHOICE,
            channels.c.kind,
            choices={each.name: each.value for each in ChannelKind},
        ),
    },
    orders={
        "display_name": channels.c.display_name,
        "create_time": channels.c.created_at,
        "channel_id": channels.c.channel_id,
    },
    default_order="display_name",
    tie_break="channel_id",
)
_SUBSCRIPTIONS = Listing(
    filters={
        "subscription_id": FilterField(FieldType.STRING, subscriptions.c.subscription_id),
        "channel_id": FilterField(FieldType.STRING, subscriptions.c.channel_id),
        "enabled": FilterField(FieldType.BOOLEAN, subscriptions.c.is_disabled.is_(False)),
    },
    orders={
        "create_time": subscriptions.c.created_at,
        "subscription_id": subscriptions.c.subscription_id,
    },
    default_order="create_time desc",
    tie_break="subscription_id",
)
_COUNTS = """
SELECT channel_id, count(*) FILTER (WHERE state IN ('queued', 'sending')) AS queued,
    count(*) FILTER (WHERE state = 'dead') AS dead
FROM budget.delivery WHERE tenant_id = $1 AND channel_id = ANY($2::text[])
AND state IN ('queued', 'sending', 'dead') GROUP BY channel_id
"""
_HEALTH = """
UPDATE budget.channel SET
    last_success_at = CASE WHEN $4 = '' THEN $3 ELSE last_success_at END,
    last_failure_at = CASE WHEN $4 = '' THEN last_failure_at ELSE $3 END,
    last_error = CASE WHEN $4 = '' THEN last_error ELSE $4 END,
    consecutive_failures = CASE WHEN $4 = '' THEN 0 ELSE consecutive_failures + 1 END
WHERE tenant_id = $1 AND channel_id = $2
"""


async def insert_channel(tx: Transaction, channel: Channel, secrets: bytes) -> None:
    """Adds a channel. secrets: sealed."""
    values = {"tenant_id": channel.tenant_id, "secrets": secrets} | _channel_values(channel)
    await tx.execute(insert(channels).values(values))


async def update_channel(tx: Transaction, channel: Channel, secrets: bytes) -> None:
    """Stores a channel that was locked. secrets: sealed."""
    values = {"secrets": secrets} | _channel_values(channel)
    statement = update(channels).where(_channel_is(channel.tenant_id, channel.channel_id))
    await tx.execute(statement.values(values))


async def keep_previous_secret(
    tx: Transaction, channel: Channel, secret: bytes, expires_at: datetime
) -> None:
    """Stores the signing secret before, sealed, and until when it signs."""
    statement = update(channels).where(_channel_is(channel.tenant_id, channel.channel_id))
    await tx.execute(
        statement.values(previous_secret=secret, previous_secret_expires_at=expires_at)
    )


async def delete_channel(tx: Transaction, tenant_id: str, channel_id: str) -> None:
    """Removes a channel with its secrets and subscriptions."""
    await tx.execute(delete(channels).where(_channel_is(tenant_id, channel_id)))


async def find_channel(
    tx: Transaction, tenant_id: str, channel_id: str, *, for_update: bool = False
) -> Channel | None:
    """Returns a channel with its health; None where there is none of that id."""
    row = await channel_row(tx, tenant_id, channel_id, for_update=for_update)
    if row is None:
        return None
    counts = await _counts(tx, tenant_id, [channel_id])
    return channel_of(row, counts.get(channel_id, (0, 0)))


async def channel_row(
    tx: Transaction, tenant_id: str, channel_id: str, *, for_update: bool = False
) -> Any:
    """Returns a channel's row with its sealed secrets, for `channel_of`; None for none."""
    statement = select(channels).where(_channel_is(tenant_id, channel_id))
    found = await tx.execute(statement.with_for_update() if for_update else statement)
    return found.mappings().one_or_none()


async def channels_of(
    tx: Transaction, tenant_id: str, channel_ids: list[str]
) -> dict[str, Channel]:
    """Returns the channels of these ids that exist, without the counts of their health."""
    found = await tx.execute(
        select(channels).where(
            channels.c.tenant_id == tenant_id, channels.c.channel_id.in_(channel_ids)
        )
    )
    return {row["channel_id"]: channel_of(row) for row in found.mappings()}


async def list_channels(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Channel]:
    """Returns a page of a tenant's channels."""
    statement = select(channels).where(channels.c.tenant_id == page.tenant_id)
    found = await _CHANNELS.page(tx, statement, page, tokens)
    counts = await _counts(tx, page.tenant_id, [row["channel_id"] for row in found.items])
    items = [channel_of(row, counts.get(row["channel_id"], (0, 0))) for row in found.items]
    return Page(items, found.next_page_token)


async def record_health(
    tx: Transaction, tenant_id: str, channel_id: str, at: datetime, error: str
) -> None:
    """Stores how an attempt went. error: "" for a success."""
    await tx.driver.execute(_HEALTH, tenant_id, channel_id, at, error)


async def insert_subscription(
    tx: Transaction, tenant_id: str, subscription: EventSubscription
) -> None:
    """Adds a subscription."""
    values = {"tenant_id": tenant_id} | _subscription_values(subscription)
    await tx.execute(insert(subscriptions).values(values))


async def update_subscription(
    tx: Transaction, tenant_id: str, subscription: EventSubscription
) -> None:
    """Stores a subscription that was locked."""
    where = _subscription_is(tenant_id, subscription.subscription_id)
    values = _subscription_values(subscription)
    await tx.execute(update(subscriptions).where(where).values(values))


async def delete_subscription(tx: Transaction, tenant_id: str, subscription_id: str) -> None:
    """Removes a subscription."""
    await tx.execute(delete(subscriptions).where(_subscription_is(tenant_id, subscription_id)))


async def lock_subscription(
    tx: Transaction, tenant_id: str, subscription_id: str
) -> EventSubscription | None:
    """Returns a subscription and locks it; None where there is none of that id."""
    statement = select(subscriptions).where(_subscription_is(tenant_id, subscription_id))
    row = (await tx.execute(statement.with_for_update())).mappings().one_or_none()
    return None if row is None else _subscription_of(row)


async def list_subscriptions(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[EventSubscription]:
    """Returns a page of a tenant's subscriptions."""
    statement = select(subscriptions).where(subscriptions.c.tenant_id == page.tenant_id)
    found = await _SUBSCRIPTIONS.page(tx, statement, page, tokens)
    return Page([_subscription_of(row) for row in found.items], found.next_page_token)


async def subscribed_tenants(tx: Transaction, tenants: list[str]) -> list[str]:
    """Returns those of the tenants that have a subscription, in one look-up."""
    rows = await tx.driver.fetch(
        "SELECT DISTINCT tenant_id FROM budget.event_subscription"
        " WHERE tenant_id = ANY($1::text[]) AND NOT is_disabled ORDER BY tenant_id",
        tenants,
    )
    return [row["tenant_id"] for row in rows]


async def active_subscriptions(tx: Transaction, tenant_id: str) -> list[EventSubscription]:
    """Returns the subscriptions of a tenant that are not disabled."""
    statement = select(subscriptions).where(
        subscriptions.c.tenant_id == tenant_id, subscriptions.c.is_disabled.is_(False)
    )
    return [_subscription_of(row) for row in (await tx.execute(statement)).mappings()]


def channel_of(row: Any, counts: tuple[int, int] = (0, 0)) -> Channel:
    """Returns the channel of a row. counts: its deliveries that wait, and its dead ones."""
    return Channel(
        channel_id=row["channel_id"],
        tenant_id=row["tenant_id"],
        display_name=row["display_name"],
        kind=ChannelKind(row["kind"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        email_addresses=tuple(row["email_addresses"]),
        address_hint=row["address_hint"],
        header_names=tuple(row["header_names"]),
        severity_min=SEVERITIES[row["severity_min"] - 1],
        is_disabled=row["is_disabled"],
        health=ChannelHealth(
            last_success_at=row["last_success_at"],
            last_failure_at=row["last_failure_at"],
            last_error=row["last_error"],
            consecutive_failures=row["consecutive_failures"],
            queued_count=counts[0],
            dead_count=counts[1],
        ),
        revision=row["revision"],
    )


async def _counts(
    tx: Transaction, tenant_id: str, channel_ids: list[str]
) -> dict[str, tuple[int, int]]:
    rows = await tx.driver.fetch(_COUNTS, tenant_id, channel_ids)
    return {row["channel_id"]: (row["queued"], row["dead"]) for row in rows}


def _channel_values(channel: Channel) -> dict[str, Any]:
    return {
        "channel_id": channel.channel_id,
        "display_name": channel.display_name,
        "kind": channel.kind.value,
        "email_addresses": list(channel.email_addresses),
        "address_hint": channel.address_hint,
        "header_names": list(channel.header_names),
        "severity_min": channel.severity_min.rank + 1,
        "is_disabled": channel.is_disabled,
        "revision": channel.revision,
        "created_at": channel.created_at,
        "updated_at": channel.updated_at,
    }


def _subscription_values(subscription: EventSubscription) -> dict[str, Any]:
    return {
        "subscription_id": subscription.subscription_id,
        "channel_id": subscription.channel_id,
        "event_types": list(subscription.event_types),
        "filter": subscription.filter,
        "is_disabled": subscription.is_disabled,
        "revision": subscription.revision,
        "created_at": subscription.created_at,
    }


def _subscription_of(row: Any) -> EventSubscription:
    return EventSubscription(
        subscription_id=row["subscription_id"],
        channel_id=row["channel_id"],
        event_types=tuple(row["event_types"]),
        created_at=row["created_at"],
        filter=row["filter"],
        is_disabled=row["is_disabled"],
        revision=row["revision"],
    )


def _channel_is(tenant_id: str, channel_id: str) -> ColumnElement[bool]:
    return and_(channels.c.tenant_id == tenant_id, channels.c.channel_id == channel_id)


def _subscription_is(tenant_id: str, subscription_id: str) -> ColumnElement[bool]:
    return and_(
        subscriptions.c.tenant_id == tenant_id,
        subscriptions.c.subscription_id == subscription_id,
    )
