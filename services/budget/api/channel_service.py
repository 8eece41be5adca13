"""ChannelService: ways to reach people and programs."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import channel_service_pb2 as messages
from finops.budget.v1 import channel_service_pb2_grpc

from services.budget.api.tenant import as_tenant
from services.budget.convert import channels as convert
from services.budget.convert.deliveries import from_delivery
from services.budget.service.channels import Channels, EventSubscriptions
from services.budget.service.deliveries import Deliveries

Context = grpc.aio.ServicerContext[Any, Any]


class ChannelServicer(channel_service_pb2_grpc.ChannelServiceServicer):
    """Serves ChannelService."""

    def __init__(
        self, *, channels: Channels, subscriptions: EventSubscriptions, deliveries: Deliveries
    ) -> None:
        """Takes the use cases."""
        self._channels = channels
        self._subscriptions = subscriptions
        self._deliveries = deliveries

    async def CreateNotificationChannel(
        self, request: messages.CreateNotificationChannelRequest, _: Context
    ) -> messages.CreateNotificationChannelResponse:
        """Creates a channel."""
        draft = convert.to_channel(request.channel)
        secrets = convert.to_secrets(request.channel)
        tenant_id = as_tenant(request.tenant_id)
        made = await self._channels.create_notification_channel(tenant_id, draft, secrets)
        return messages.CreateNotificationChannelResponse(
            notification_channel=convert.from_channel(made)
        )

    async def GetNotificationChannel(
        self, request: messages.GetNotificationChannelRequest, _: Context
    ) -> messages.GetNotificationChannelResponse:
        """Gets a channel without its secrets."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._channels.get_notification_channel(tenant_id, request.channel_id)
        return messages.GetNotificationChannelResponse(
            notification_channel=convert.from_channel(found)
        )

    async def ListNotificationChannels(
        self, request: messages.ListNotificationChannelsRequest, _: Context
    ) -> messages.ListNotificationChannelsResponse:
        """Lists channels without their secrets."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListNotificationChannels")
        return convert.from_channels(await self._channels.list_notification_channels(page))

    async def UpdateNotificationChannel(
        self, request: messages.UpdateNotificationChannelRequest, _: Context
    ) -> messages.UpdateNotificationChannelResponse:
        """Changes a channel."""
        tenant_id = as_tenant(request.tenant_id)
        channel_id, etag = request.channel.channel_id, request.channel.etag
        change = convert.to_channel_change(request)
        changed = await self._channels.update_notification_channel(
            tenant_id, channel_id, etag, change
        )
        return messages.UpdateNotificationChannelResponse(
            notification_channel=convert.from_channel(changed)
        )

    async def DeleteNotificationChannel(
        self, request: messages.DeleteNotificationChannelRequest, _: Context
    ) -> messages.DeleteNotificationChannelResponse:
        """Deletes a channel and its secrets."""
        tenant_id = as_tenant(request.tenant_id)
        await self._channels.delete_notification_channel(
            tenant_id, request.channel_id, request.etag
        )
        return messages.DeleteNotificationChannelResponse()

    async def TestChannel(
        self, request: messages.TestChannelRequest, _: Context
    ) -> messages.TestChannelResponse:
        """Sends a test message now."""
        tenant_id = as_tenant(request.tenant_id)
        sent = await self._deliveries.test_channel(tenant_id, request.channel_id, request.message)
        return messages.TestChannelResponse(delivery=from_delivery(sent))

    async def RotateChannelSecret(
        self, request: messages.RotateChannelSecretRequest, _: Context
    ) -> messages.RotateChannelSecretResponse:
        """Gives a webhook a new signing secret."""
        tenant_id = as_tenant(request.tenant_id)
        overlap = convert.to_overlap(request)
        made = await self._channels.rotate_channel_secret(tenant_id, request.channel_id, overlap)
        return convert.from_rotated(*made)

    async def CreateEventSubscription(
        self, request: messages.CreateEventSubscriptionRequest, _: Context
    ) -> messages.CreateEventSubscriptionResponse:
        """Creates a subscription."""
        tenant_id = as_tenant(request.tenant_id)
        draft = convert.to_subscription(request.subscription)
        made = await self._subscriptions.create_event_subscription(tenant_id, draft)
        return messages.CreateEventSubscriptionResponse(
            event_subscription=convert.from_subscription(made)
        )

    async def ListEventSubscriptions(
        self, request: messages.ListEventSubscriptionsRequest, _: Context
    ) -> messages.ListEventSubscriptionsResponse:
        """Lists subscriptions."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListEventSubscriptions")
        return convert.from_subscriptions(await self._subscriptions.list_event_subscriptions(page))

    async def UpdateEventSubscription(
        self, request: messages.UpdateEventSubscriptionRequest, _: Context
    ) -> messages.UpdateEventSubscriptionResponse:
        """Changes a subscription."""
        tenant_id = as_tenant(request.tenant_id)
        kept, change = request.subscription, convert.to_subscription_change(request)
        changed = await self._subscriptions.update_event_subscription(
            tenant_id, kept.subscription_id, kept.etag, change
        )
        return messages.UpdateEventSubscriptionResponse(
            event_subscription=convert.from_subscription(changed)
        )

    async def DeleteEventSubscription(
        self, request: messages.DeleteEventSubscriptionRequest, _: Context
    ) -> messages.DeleteEventSubscriptionResponse:
        """Ends a subscription."""
        tenant_id = as_tenant(request.tenant_id)
        await self._subscriptions.delete_event_subscription(
            tenant_id, request.subscription_id, request.etag
        )
        return messages.DeleteEventSubscriptionResponse()
