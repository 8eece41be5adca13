"""ProviderService and WebhookService."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import provider_service_pb2 as messages
from finops.billing.v1 import (
    provider_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from finops.billing.v1 import webhook_service_pb2 as webhooks

from services.billing.api.tenant import as_tenant
from services.billing.convert import provider as convert
from services.billing.service.provider.inbox import Inbox
from services.billing.service.provider.metered import MeteredInvoices
from services.billing.service.provider.settings import Settings

Context = grpc.aio.ServicerContext[Any, Any]


class ProviderServicer(provider_service_pb2_grpc.ProviderServiceServicer):
    """Serves ProviderService."""

    def __init__(self, *, settings: Settings, metered: MeteredInvoices) -> None:
        """Takes the use cases."""
        self._settings = settings
        self._metered = metered

    async def GetProviderSettings(
        self, request: messages.GetProviderSettingsRequest, _: Context
    ) -> messages.GetProviderSettingsResponse:
        """Returns settings."""
        found, outage = await self._settings.get_provider_settings(as_tenant(request.tenant_id))
        return messages.GetProviderSettingsResponse(
            provider_settings=convert.from_settings(found, outage)
        )

    async def UpdateProviderSettings(
        self, request: messages.UpdateProviderSettingsRequest, _: Context
    ) -> messages.UpdateProviderSettingsResponse:
        """Changes settings."""
        tenant_id, change = as_tenant(request.tenant_id), convert.to_change(request)
        found = await self._settings.update_provider_settings(tenant_id, change)
        return messages.UpdateProviderSettingsResponse(
            provider_settings=convert.from_settings(found)
        )

    async def TestProvider(
        self, request: messages.TestProviderRequest, _: Context
    ) -> messages.TestProviderResponse:
        """Tests settings."""
        found = await self._settings.test_provider(as_tenant(request.tenant_id))
        return convert.from_test(found)

    async def ListProviderOperations(
        self, request: messages.ListProviderOperationsRequest, _: Context
    ) -> messages.ListProviderOperationsResponse:
        """Lists steps."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ProviderService/ListProviderOperations")
        return convert.from_operations(await self._settings.list_provider_operations(page))

    async def ListMeteredInvoices(
        self, request: messages.ListMeteredInvoicesRequest, _: Context
    ) -> messages.ListMeteredInvoicesResponse:
        """Lists invoices of metered usage."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ProviderService/ListMeteredInvoices")
        return convert.from_metered(await self._metered.list_metered_invoices(page))

    async def ListMeterRoutes(
        self, request: messages.ListMeterRoutesRequest, _: Context
    ) -> messages.ListMeterRoutesResponse:
        """Lists routes to the provider's meters."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ProviderService/ListMeterRoutes")
        return convert.from_routes(await self._metered.list_meter_routes(page))


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """Serves WebhookService."""

    def __init__(self, *, inbox: Inbox) -> None:
        """Takes the inbox."""
        self._inbox = inbox

    async def ReceiveStripeWebhook(
        self, request: webhooks.ReceiveStripeWebhookRequest, context: Context
    ) -> webhooks.ReceiveStripeWebhookResponse:
        """Stores an event."""
        signature = convert.signature_of(context.invocation_metadata())
        body = request.payload.data
        await self._inbox.receive_stripe_webhook(request.endpoint_id, body, signature)
        return webhooks.ReceiveStripeWebhookResponse()

    async def ListWebhookEvents(
        self, request: webhooks.ListWebhookEventsRequest, _: Context
    ) -> webhooks.ListWebhookEventsResponse:
        """Lists events."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "WebhookService/ListWebhookEvents")
        return convert.from_events(await self._inbox.list_webhook_events(page))

    async def GetWebhookEvent(
        self, request: webhooks.GetWebhookEventRequest, _: Context
    ) -> webhooks.GetWebhookEventResponse:
        """Returns an event."""
        tenant_id = as_tenant(request.tenant_id)
        event = await self._inbox.get_webhook_event(tenant_id, request.webhook_event_id)
        return webhooks.GetWebhookEventResponse(webhook_event=convert.from_event(event))

    async def ReplayWebhookEvent(
        self, request: webhooks.ReplayWebhookEventRequest, _: Context
    ) -> webhooks.ReplayWebhookEventResponse:
        """Handles an event again."""
        tenant_id = as_tenant(request.tenant_id)
        event = await self._inbox.replay_webhook_event(tenant_id, request.webhook_event_id)
        return webhooks.ReplayWebhookEventResponse(webhook_event=convert.from_event(event))
