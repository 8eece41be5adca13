"""Asks the usage service for the events behind an anomaly."""

from __future__ import annotations

from typing import Final

import grpc
from finops.usage.v1 import usage_model_pb2, usage_service_pb2, usage_service_pb2_grpc

from services.kernel.money import parse_decimal
from services.kernel.period import Period
from services.reporting.convert.asking import asking
from services.reporting.convert.instants import to_instant
from services.reporting.errors import UsageQuestionRefused
from services.reporting.service.anomaly_events import UsedEvent

PAGE: Final = 1_000  # the list's own bound
QUERY_SECONDS: Final = 10.0


class StubUsageEvents:
    """Reads usage events; implements `service.anomaly_events.UsageEvents`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def events(
        self, tenant_id: str, period: Period, filter_text: str, *, most: int
    ) -> list[UsedEvent]:
        """Reads pages until there are more than `most`."""
        request = usage_service_pb2.ListUsageEventsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=filter_text,
            page_size=PAGE,
        )
        found: list[UsedEvent] = []
        with asking(tenant_id, UsageQuestionRefused):
            while len(found) <= most:
                answer = await self._usage.ListUsageEvents(request, timeout=QUERY_SECONDS)
                found += [_event(each) for each in answer.events]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    break
        return found


def _event(stored: usage_model_pb2.StoredUsageEvent) -> UsedEvent:
    event = stored.event
    return UsedEvent(
        source=event.source,
        event_id=event.event_id,
        start_at=to_instant(event.start_time),
        user_id=event.user_id,
        department=event.department,
        project=event.project,
        resource_id=event.resource_id,
        quantity=parse_decimal(event.quantity or "0"),
        currency_code=stored.cost.currency_code,
        cost=parse_decimal(stored.cost.billed or "0"),
    )
