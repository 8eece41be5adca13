"""Notices as the budget service takes them."""

from __future__ import annotations

from typing import Any, Final

import grpc
from finops.budget.v1 import delivery_service_pb2, delivery_service_pb2_grpc, notification_model_pb2

from services.billing.service.mailing import Notice
from services.kernel.client import on_behalf_of

PUBLISH_SECONDS: Final = 10.0


class BudgetNotifier:
    """Hands notices to the budget service's queue."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service."""
        self._stub: Any = delivery_service_pb2_grpc.DeliveryServiceStub(channel)

    async def publish(self, tenant_id: str, notice: Notice) -> None:
        """Queues a notice. Raises PeerUnavailable, PeerTimeout."""
        request = delivery_service_pb2.PublishNotificationRequest(
            tenant_id=tenant_id,
            notification=notification_model_pb2.Notification(
                event_type=notice.event_type,
                title=notice.title,
                text_body=notice.body,
                payload_json=notice.payload,
                deduplication_key=notice.key,
                attachments=[
                    notification_model_pb2.Attachment(
                        filename=notice.filename,
                        content_type="application/pdf",
                        content=notice.attachment,
                    )
                ],
            ),
            email_addresses=list(notice.addresses),
        )
        with on_behalf_of(tenant_id):
            await self._stub.PublishNotification(request, timeout=PUBLISH_SECONDS)
