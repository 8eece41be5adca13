"""SubscriptionService, and what BillingService does with subscriptions."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1 import subscription_service_pb2 as service_messages
from finops.billing.v1 import subscription_service_pb2_grpc

from services.billing.api.tenant import as_tenant
from services.billing.convert import subscriptions as convert
from services.billing.convert.values import to_instant
from services.billing.service.changing import SubscriptionChanges
from services.billing.service.subscriptions import Subscriptions

Context = grpc.aio.ServicerContext[Any, Any]


class SubscriptionServicer(subscription_service_pb2_grpc.SubscriptionServiceServicer):
    """Serves SubscriptionService."""

    def __init__(self, *, subscriptions: Subscriptions, changes: SubscriptionChanges) -> None:
        """Takes the use cases."""
        self._subscriptions = subscriptions
        self._changes = changes

    async def ListSubscriptions(
        self, request: service_messages.ListSubscriptionsRequest, _: Context
    ) -> service_messages.ListSubscriptionsResponse:
        """Lists subscriptions."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListSubscriptions")
        return convert.from_subscriptions(await self._subscriptions.list_subscriptions(page))

    async def PreviewSubscriptionChange(
        self, request: service_messages.PreviewSubscriptionChangeRequest, _: Context
    ) -> service_messages.PreviewSubscriptionChangeResponse:
        """Computes what a change charges and credits."""
        tenant_id = as_tenant(request.tenant_id)
        kind, change, at = convert.to_previewed(request)
        preview = await self._changes.preview_subscription_change(
            tenant_id, request.subscription_id, kind, change, effective_at=at
        )
        shown = convert.from_preview(preview)
        return service_messages.PreviewSubscriptionChangeResponse(preview=shown)

    async def ResumeSubscription(
        self, request: service_messages.ResumeSubscriptionRequest, _: Context
    ) -> service_messages.ResumeSubscriptionResponse:
        """Goes on with a paused subscription, or takes back a cancellation."""
        tenant_id = as_tenant(request.tenant_id)
        subscription = await self._subscriptions.resume_subscription(
            tenant_id, request.subscription_id, etag=request.etag
        )
        resumed = convert.from_subscription(subscription)
        return service_messages.ResumeSubscriptionResponse(subscription=resumed)

    async def ListSubscriptionEvents(
        self, request: service_messages.ListSubscriptionEventsRequest, _: Context
    ) -> service_messages.ListSubscriptionEventsResponse:
        """Lists the states a subscription went through."""
        tenant_id, subscription_id = as_tenant(request.tenant_id), request.subscription_id
        page = convert.to_page(
            request, tenant_id, "ListSubscriptionEvents", subscription_id=subscription_id
        )
        return convert.from_events(
            await self._subscriptions.list_subscription_events(page, subscription_id)
        )


class SubscriptionMethods:
    """The methods of BillingService that are about subscriptions."""

    _subscriptions: Subscriptions
    _changes: SubscriptionChanges

    async def CreateSubscription(
        self, request: messages.CreateSubscriptionRequest, _: Context
    ) -> messages.CreateSubscriptionResponse:
        """Subscribes an account to a plan."""
        tenant_id = as_tenant(request.tenant_id)
        wanted = convert.to_new(request)
        subscription = await self._subscriptions.create_subscription(tenant_id, wanted)
        made = convert.from_subscription(subscription)
        return messages.CreateSubscriptionResponse(subscription=made)

    async def GetSubscription(
        self, request: messages.GetSubscriptionRequest, _: Context
    ) -> messages.GetSubscriptionResponse:
        """Gets a subscription."""
        tenant_id = as_tenant(request.tenant_id)
        subscription = await self._subscriptions.get_subscription(
            tenant_id, subscription_id=request.subscription_id, account_id=request.account_id
        )
        found = convert.from_subscription(subscription)
        return messages.GetSubscriptionResponse(subscription=found)

    async def UpdateSubscription(
        self, request: messages.UpdateSubscriptionRequest, _: Context
    ) -> messages.UpdateSubscriptionResponse:
        """Changes the terms of a subscription."""
        tenant_id, wanted = as_tenant(request.tenant_id), request.subscription
        subscription = await self._changes.update_subscription(
            tenant_id,
            wanted.subscription_id,
            convert.to_change(request),
            preview_id=request.preview_id,
            etag=wanted.etag,
        )
        changed = convert.from_subscription(subscription)
        return messages.UpdateSubscriptionResponse(subscription=changed)

    async def PauseSubscription(
        self, request: messages.PauseSubscriptionRequest, _: Context
    ) -> messages.PauseSubscriptionResponse:
        """Stops charging."""
        tenant_id = as_tenant(request.tenant_id)
        has_time = request.HasField("resume_time")
        subscription = await self._subscriptions.pause_subscription(
            tenant_id,
            request.subscription_id,
            resume_at=to_instant(request.resume_time) if has_time else None,
            reason=request.reason,
            etag=request.etag,
        )
        paused = convert.from_subscription(subscription)
        return messages.PauseSubscriptionResponse(subscription=paused)

    async def CancelSubscription(
        self, request: messages.CancelSubscriptionRequest, _: Context
    ) -> messages.CancelSubscriptionResponse:
        """Ends a subscription."""
        tenant_id = as_tenant(request.tenant_id)
        subscription = await self._subscriptions.cancel_subscription(
            tenant_id,
            request.subscription_id,
            immediately=request.immediately,
            reason=request.reason,
            etag=request.etag,
        )
        canceled = convert.from_subscription(subscription)
        return messages.CancelSubscriptionResponse(subscription=canceled)
