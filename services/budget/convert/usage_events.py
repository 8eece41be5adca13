"""Finds usage events by the id that their reporter gave them."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

import grpc
from finops.usage.v1 import usage_service_pb2, usage_service_pb2_grpc
from finops.usage.v1.usage_model_pb2 import StoredUsageEvent

from services.budget.errors import UsageRefused
from services.budget.service.claiming import PATIENCE, FoundEvent
from services.kernel.client import on_behalf_of
from services.kernel.clock import Clock
from services.kernel.money import Money


class StubUsageEvents:
    """The usage service's events, over its stub."""

    def __init__(self, channel: grpc.aio.Channel, *, clock: Clock) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._clock = clock

    async def find(self, tenant_id: str, source: str, event_id: str) -> FoundEvent | None:
        """Returns a priced event; None where there is none yet. Raises UsageRefused."""
        with on_behalf_of(tenant_id):
            try:
                stored = await self._stored(tenant_id, source, event_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                raise UsageRefused(code=error.code().name) from error
        if stored is None or stored.is_unpriced or stored.is_voided:
            return None
        return FoundEvent(
            Money(stored.cost.currency_code, Decimal(stored.cost.billed)),
            stored.recorded_time.ToDatetime(tzinfo=UTC),
        )

    async def _stored(self, tenant_id: str, source: str, event_id: str) -> StoredUsageEvent | None:
        if source:
            answer = await self._stub.GetUsageEvent(
                usage_service_pb2.GetUsageEventRequest(
                    tenant_id=tenant_id, source=source, event_id=event_id
                )
            )
            return answer.event
        quoted = event_id.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
        now = self._clock.now()
        page = await self._stub.ListUsageEvents(
            usage_service_pb2.ListUsageEventsRequest(
                tenant_id=tenant_id,
                start=(now - PATIENCE).isoformat(),
                end=(now + PATIENCE).isoformat(),
                filter=f'event_id = "{quoted}"',
                page_size=1,
            )
        )
        return next(iter(page.events), None)
