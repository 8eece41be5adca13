"""What tests of alerts share: stubs, channels and the work that is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finops.budget.v1 import (
    alert_model_pb2,
    alert_policy_service_pb2_grpc,
    alert_service_pb2,
    alert_service_pb2_grpc,
    channel_service_pb2,
    channel_service_pb2_grpc,
    delivery_service_pb2,
    delivery_service_pb2_grpc,
    notification_model_pb2,
)

from services.budget.bootstrap import BudgetService
from services.kernel.clock import ManualClock
from tests.budget.conftest import Caller

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy1mb3Itd2ViaG9va3M="


@dataclass(frozen=True, slots=True)
class Alerting:
    """One tenant's stubs, and the service's work on alerts, which a test lets run.

    publishing: of another service, which acts for the tenant.
    """

    caller: Caller
    built: BudgetService
    clock: ManualClock
    alerts: alert_service_pb2_grpc.AlertServiceAsyncStub
    policies: alert_policy_service_pb2_grpc.AlertPolicyServiceAsyncStub
    channels: channel_service_pb2_grpc.ChannelServiceAsyncStub
    deliveries: delivery_service_pb2_grpc.DeliveryServiceAsyncStub
    publishing: delivery_service_pb2_grpc.DeliveryServiceAsyncStub

    async def work(self) -> int:
        """Does what is due now, and returns how many attempts to deliver that were."""
        return await self.built.alert_work.run_once()

    async def listed(self, text: str = "", order: str = "fire_time") -> list[alert_model_pb2.Alert]:
        """Returns the tenant's alerts, the oldest first."""
        request = alert_service_pb2.ListAlertsRequest(filter=text, order_by=order)
        return list((await self.alerts.ListAlerts(request)).alerts)

    async def got(self, alert_id: str) -> alert_model_pb2.Alert:
        """Returns an alert with its history."""
        request = alert_service_pb2.GetAlertRequest(alert_id=alert_id)
        return (await self.alerts.GetAlert(request)).alert

    async def webhook(self, url: str, **fields: Any) -> str:
        """Creates a webhook channel with SECRET, and returns its id."""
        return await self.channel(
            kind=notification_model_pb2.CHANNEL_KIND_WEBHOOK,
            address=url,
            signing_secret=SECRET,
            **fields,
        )

    async def channel(self, **fields: Any) -> str:
        """Creates a channel, and returns its id."""
        channel = notification_model_pb2.NotificationChannel(
            **{"display_name": "Operations"} | fields
        )
        request = channel_service_pb2.CreateNotificationChannelRequest(channel=channel)
        answer = await self.channels.CreateNotificationChannel(request)
        return answer.notification_channel.channel_id

    async def subscribe(self, channel_id: str, *event_types: str, text: str = "") -> str:
        """Sends events to a channel, and returns the subscription's id."""
        subscription = notification_model_pb2.EventSubscription(
            channel_id=channel_id, event_types=event_types, filter=text
        )
        request = channel_service_pb2.CreateEventSubscriptionRequest(subscription=subscription)
        answer = await self.channels.CreateEventSubscription(request)
        return answer.event_subscription.subscription_id

    async def sent(self, text: str = "") -> list[notification_model_pb2.Delivery]:
        """Returns the tenant's deliveries, the oldest first."""
        request = delivery_service_pb2.ListDeliveriesRequest(filter=text, order_by="create_time")
        return list((await self.deliveries.ListDeliveries(request)).deliveries)

    async def delivery(self, delivery_id: str) -> notification_model_pb2.Delivery:
        """Returns a delivery with its attempts."""
        request = delivery_service_pb2.GetDeliveryRequest(delivery_id=delivery_id)
        return (await self.deliveries.GetDelivery(request)).delivery
