"""DeliveryService: notifications on their way."""

from __future__ import annotations

from typing import Any

import grpc
from finops.budget.v1 import delivery_service_pb2 as messages
from finops.budget.v1 import delivery_service_pb2_grpc

from services.budget.api.tenant import as_tenant
from services.budget.convert import deliveries as convert
from services.budget.service.deliveries import Deliveries

Context = grpc.aio.ServicerContext[Any, Any]


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Serves DeliveryService."""

    def __init__(self, *, deliveries: Deliveries) -> None:
        """Takes the use cases."""
        self._deliveries = deliveries

    async def ListDeliveries(
        self, request: messages.ListDeliveriesRequest, _: Context
    ) -> messages.ListDeliveriesResponse:
        """Lists deliveries."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._deliveries.list_deliveries(page))

    async def GetDelivery(
        self, request: messages.GetDeliveryRequest, _: Context
    ) -> messages.GetDeliveryResponse:
        """Gets a delivery with its attempts."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._deliveries.get_delivery(tenant_id, request.delivery_id)
        return messages.GetDeliveryResponse(delivery=convert.from_delivery(found))

    async def ReplayDelivery(
        self, request: messages.ReplayDeliveryRequest, _: Context
    ) -> messages.ReplayDeliveryResponse:
        """Queues a delivery again."""
        tenant_id = as_tenant(request.tenant_id)
        queued = await self._deliveries.replay_delivery(tenant_id, request.delivery_id)
        return messages.ReplayDeliveryResponse(delivery=convert.from_delivery(queued))

    async def ReplayDeliveries(
        self, request: messages.ReplayDeliveriesRequest, _: Context
    ) -> messages.ReplayDeliveriesResponse:
        """Queues dead letters again."""
        tenant_id = as_tenant(request.tenant_id)
        count = await self._deliveries.replay_deliveries(tenant_id, request.filter)
        return messages.ReplayDeliveriesResponse(replayed_count=count)

    async def PublishNotification(
        self, request: messages.PublishNotificationRequest, _: Context
    ) -> messages.PublishNotificationResponse:
        """Takes a notification of another service."""
        queued = await self._deliveries.publish_notification(
            as_tenant(request.tenant_id),
            convert.to_notification(request.notification),
            channel_ids=request.channel_ids,
            email_addresses=request.email_addresses,
        )
        return messages.PublishNotificationResponse(delivery_ids=queued)
