"""Deliveries and notifications between contract and domain."""

from __future__ import annotations

import json
from typing import Final

from finops.budget.v1 import delivery_service_pb2 as messages
from finops.budget.v1 import notification_model_pb2 as models
from google.protobuf.duration_pb2 import Duration

from services.budget.convert.alerts import to_severity
from services.budget.convert.instants import from_instant, from_optional
from services.budget.domain.delivery import Delivery, DeliveryAttempt
from services.budget.domain.notification import Attachment, Notification
from services.budget.domain.threshold import Severity
from services.kernel.errors import FieldViolations
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest

_LIST: Final = "finops.budget.v1.DeliveryService/ListDeliveries"


def to_page(request: messages.ListDeliveriesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=_LIST)


def to_notification(message: models.Notification) -> Notification:
    """Converts what another service tells. Raises FieldViolations."""
    return Notification(
        event_type=message.event_type,
        title=message.title,
        text_body=message.text_body,
        html_body=message.html_body,
        payload=_to_payload(message.payload_json),
        severity=to_severity(message.severity) or Severity.INFO,
        deduplication_key=message.deduplication_key,
        link=message.link,
        attachments=[
            Attachment(each.filename, each.content_type, each.content)
            for each in message.attachments
        ],
    )


def _to_payload(text: str) -> dict[str, object]:
    try:
        payload = json.loads(text or "{}")
    except ValueError as error:
        raise FieldViolations([("notification.payload_json", f"is no JSON: {error}")]) from error
    if not isinstance(payload, dict):
        raise FieldViolations([("notification.payload_json", "is no JSON object")])
    return payload


def from_delivery(delivery: Delivery) -> models.Delivery:
    """Converts a delivery with what of it was read."""
    return models.Delivery(
        delivery_id=delivery.delivery_id,
        message_id=delivery.message_id,
        channel_id=delivery.channel_id,
        receiver_hint=delivery.receiver_hint,
        event_type=delivery.event_type,
        alert_id=delivery.alert_id,
        state=models.DeliveryState.Value(f"DELIVERY_STATE_{delivery.state.name}"),
        attempt_count=delivery.attempt_count,
        next_attempt_time=from_optional(delivery.next_attempt_at),
        digest_delivery_id=delivery.digest_delivery_id,
        attempts=map(_from_attempt, delivery.attempts),
        payload_json=delivery.payload_json,
        create_time=from_instant(delivery.created_at),
        deliver_time=from_optional(delivery.delivered_at),
    )


def from_page(page: Page[Delivery]) -> messages.ListDeliveriesResponse:
    """Converts a page."""
    return messages.ListDeliveriesResponse(
        deliveries=map(from_delivery, page.items), next_page_token=page.next_page_token
    )


def _from_attempt(attempt: DeliveryAttempt) -> models.DeliveryAttempt:
    latency = Duration()
    latency.FromTimedelta(attempt.latency)
    return models.DeliveryAttempt(
        attempt_time=from_instant(attempt.attempted_at),
        latency=latency,
        http_status=attempt.http_status,
        response_excerpt=attempt.response_excerpt,
        response_digest=attempt.response_digest,
        error=attempt.error,
        signature=attempt.signature,
    )
