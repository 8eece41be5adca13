"""Notices as the budget service takes them."""

from __future__ import annotations

from typing import Final

import grpc
from finops.budget.v1 import delivery_service_pb2, delivery_service_pb2_grpc, notification_model_pb2

from services.reporting.convert.asking import asking
from services.reporting.errors import NoticeRefused
from services.reporting.service.schedules_mailing import ReportNotice

PUBLISH_SECONDS: Final = 20.0


class BudgetNotifier:
    """Hands notices to the budget service's queue; implements `schedules_mailing.Notifier`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service, with this service's token on each call."""
        self._stub = delivery_service_pb2_grpc.DeliveryServiceStub(channel)

    async def publish(self, notice: ReportNotice) -> None:
        """Queues a notice, once for each key."""
        request = delivery_service_pb2.PublishNotificationRequest(
            tenant_id=notice.tenant_id,
            notification=notification_model_pb2.Notification(
                event_type=notice.event_type,
                title=notice.title,
                text_body=notice.body,
                payload_json=notice.payload,
                deduplication_key=notice.key,
                link=notice.link,
                attachments=[
                    notification_model_pb2.Attachment(
                        filename=each.name, content_type=each.media_type, content=each.content
                    )
                    for each in notice.files
                ],
            ),
            email_addresses=list(notice.addresses),
            channel_ids=list(notice.channel_ids),
            request_id=notice.key,
        )
        with asking(notice.tenant_id, NoticeRefused):
            await self._stub.PublishNotification(request, timeout=PUBLISH_SECONDS)
