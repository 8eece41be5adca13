"""Channels and event subscriptions between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from finops.budget.v1 import channel_service_pb2 as messages
from finops.budget.v1 import notification_model_pb2 as models

from services.budget.convert.alerts import from_severity, to_severity
from services.budget.convert.instants import from_instant, from_optional
from services.budget.convert.merging import merged
from services.budget.domain.alert_errors import etag_of
from services.budget.domain.channel import (
    Channel,
    ChannelKind,
    ChannelSecrets,
    require_same_host,
)
from services.budget.domain.notification import EventSubscription
from services.budget.domain.threshold import Severity
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_SERVICE: Final = "finops.budget.v1.ChannelService"
_MADE_LATER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # the use case sets the instants
_MASK: Final = "***"  # stands for a header's value, in answers and in updates that keep it
_OVERLAP: Final = timedelta(hours=24)
_CHANNEL_FIELDS: Final = (
    *("display_name", "kind", "email_addresses", "address", "signing_secret", "headers"),
    *("severity_min", "disabled"),
)
_CHANNEL_IGNORED: Final = (
    *("channel_id", "tenant_id", "address_hint", "health", "etag", "create_time", "update_time"),
)
_SUBSCRIPTION_FIELDS: Final = ("channel_id", "event_types", "filter", "disabled")
_SUBSCRIPTION_IGNORED: Final = ("subscription_id", "etag", "create_time")


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_channel(message: models.NotificationChannel) -> Channel:
    """Converts a channel without its secrets."""
    kind = models.ChannelKind.Name(message.kind).removeprefix("CHANNEL_KIND_")
    return Channel(
        channel_id=message.channel_id,
        tenant_id=message.tenant_id,
        display_name=message.display_name,
        kind=ChannelKind[kind],
        created_at=_MADE_LATER,
        updated_at=_MADE_LATER,
        email_addresses=tuple(message.email_addresses),
        severity_min=to_severity(message.severity_min) or Severity.INFO,
        is_disabled=message.disabled,
    )


def to_secrets(message: models.NotificationChannel) -> ChannelSecrets:
    """Converts what a channel sends with."""
    return ChannelSecrets(message.address, message.signing_secret, dict(message.headers))


def to_channel_change(
    request: messages.UpdateNotificationChannelRequest,
) -> Callable[[Channel, ChannelSecrets], tuple[Channel, ChannelSecrets]]:
    """Returns what the update makes of a channel; secrets left empty stay. Raises UnknownMaskPath.

    A header whose value is masked, as it was read, keeps its value, unless the channel moves to
    another host: the change then raises InvalidChannel.
    """
    message = request.channel
    fields = fields_to_update(
        message, request.update_mask, updatable=_CHANNEL_FIELDS, ignored=_CHANNEL_IGNORED
    )

    def change(channel: Channel, secrets: ChannelSecrets) -> tuple[Channel, ChannelSecrets]:
        given = to_secrets(message)
        headers, unseen = secrets.headers, list(secrets.headers)
        if "headers" in fields:
            unseen = [name for name, value in given.headers.items() if value == _MASK]
            stored = {name: secrets.headers[name] for name in unseen if name in secrets.headers}
            headers = {**given.headers, **stored}
        kept = ChannelSecrets(
            address=("address" in fields and given.address) or secrets.address,
            signing_secret=("signing_secret" in fields and given.signing_secret)
            or secrets.signing_secret,
            headers=headers,
        )
        if unseen:
            require_same_host(secrets.address, kept.address)
        changed = to_channel(merged(from_channel(channel), message, fields))
        return replace(changed, health=channel.health), kept

    return change


def from_channel(channel: Channel) -> models.NotificationChannel:
    """Converts a channel; no secret is in it."""
    health = channel.health
    return models.NotificationChannel(
        channel_id=channel.channel_id,
        tenant_id=channel.tenant_id,
        display_name=channel.display_name,
        kind=models.ChannelKind.Value(f"CHANNEL_KIND_{channel.kind.name}"),
        email_addresses=channel.email_addresses,
        address_hint=channel.address_hint,
        headers=dict.fromkeys(channel.header_names, _MASK),
        severity_min=from_severity(channel.severity_min),
        disabled=channel.is_disabled,
        health=models.ChannelHealth(
            last_success_time=from_optional(health.last_success_at),
            last_failure_time=from_optional(health.last_failure_at),
            last_error=health.last_error,
            consecutive_failures=health.consecutive_failures,
            queued_count=health.queued_count,
            dead_count=health.dead_count,
        ),
        etag=etag_of(channel.channel_id, channel.revision),
        create_time=from_instant(channel.created_at),
        update_time=from_instant(channel.updated_at),
    )


def from_channels(page: Page[Channel]) -> messages.ListNotificationChannelsResponse:
    """Converts a page."""
    return messages.ListNotificationChannelsResponse(
        channels=map(from_channel, page.items), next_page_token=page.next_page_token
    )


def to_overlap(request: messages.RotateChannelSecretRequest) -> timedelta:
    """Returns how long the old secret signs beside the new one."""
    if not request.HasField("overlap_duration"):
        return _OVERLAP
    return request.overlap_duration.ToTimedelta()


def from_rotated(secret: str, expires_at: datetime) -> messages.RotateChannelSecretResponse:
    """Converts a new secret, which is shown this once."""
    return messages.RotateChannelSecretResponse(
        secret=secret, previous_expire_time=from_instant(expires_at)
    )


def to_subscription(message: models.EventSubscription) -> EventSubscription:
    """Converts a subscription. Raises FieldViolations, InvalidFilter."""
    return EventSubscription(
        subscription_id=message.subscription_id,
        channel_id=message.channel_id,
        event_types=tuple(message.event_types),
        created_at=_MADE_LATER,
        filter=message.filter,
        is_disabled=message.disabled,
    )


def to_subscription_change(
    request: messages.UpdateEventSubscriptionRequest,
) -> Callable[[EventSubscription], EventSubscription]:
    """Returns what the update makes of a subscription. Raises UnknownMaskPath."""
    message = request.subscription
    fields = fields_to_update(
        message, request.update_mask, updatable=_SUBSCRIPTION_FIELDS, ignored=_SUBSCRIPTION_IGNORED
    )
    return lambda kept: to_subscription(merged(from_subscription(kept), message, fields))


def from_subscription(subscription: EventSubscription) -> models.EventSubscription:
    """Converts a subscription."""
    return models.EventSubscription(
        subscription_id=subscription.subscription_id,
        channel_id=subscription.channel_id,
        event_types=subscription.event_types,
        filter=subscription.filter,
        disabled=subscription.is_disabled,
        etag=etag_of(subscription.subscription_id, subscription.revision),
        create_time=from_instant(subscription.created_at),
    )


def from_subscriptions(page: Page[EventSubscription]) -> messages.ListEventSubscriptionsResponse:
    """Converts a page."""
    return messages.ListEventSubscriptionsResponse(
        subscriptions=map(from_subscription, page.items), next_page_token=page.next_page_token
    )
