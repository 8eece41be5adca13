"""Usage events as billing reads them from the usage service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any, Final

import grpc
from finops.usage.v1 import usage_model_pb2, usage_service_pb2, usage_service_pb2_grpc

from services.billing.domain.metering import Dimension
from services.billing.service.tracing import UsageEvent
from services.kernel.client import on_behalf_of
from services.kernel.period import Period

READ_SECONDS: Final = 10.0
_SAME: Final = (
    *("resource_type", "unit", "department", "project", "resource_id", "service"),
    *("service_category", "provider", "region", "sub_account_id", "charge_category"),
)
# What the usage service's filters call otherwise than its events do.
_RENAMED: Final = {"user_id": "user", "sub_account_id": "sub_account"}


class UsageServiceEvents:
    """Asks the usage service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service."""
        self._stub: Any = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def page(
        self,
        tenant_id: str,
        dimension: Dimension,
        hours: Period,
        *,
        filter_text: str,
        token: str,
        limit: int,
    ) -> tuple[Sequence[UsageEvent], str]:
        """Returns a page of one dimension's events. Raises PeerUnavailable, PeerTimeout."""
        own = _filter_of(dimension)
        request = usage_service_pb2.ListUsageEventsRequest(
            tenant_id=tenant_id,
            start=hours.start.isoformat(),
            end=hours.end.isoformat(),
            filter=f"({filter_text}) AND {own}" if filter_text else own,
            order_by="start_time",
            page_size=limit,
            page_token=token,
        )
        with on_behalf_of(tenant_id):
            answer = await self._stub.ListUsageEvents(request, timeout=READ_SECONDS)
        events = [to_event(stored) for stored in answer.events]
        # Filters ask what tags are there, not that there are no others.
        same = [event for event in events if dict(event.dimension.tags) == dict(dimension.tags)]
        return same, answer.next_page_token

    async def find(self, tenant_id: str, source: str, event_id: str) -> UsageEvent | None:
        """Returns one event, None where it is unknown. Raises as `page`."""
        request = usage_service_pb2.GetUsageEventRequest(
            tenant_id=tenant_id, source=source, event_id=event_id
        )
        with on_behalf_of(tenant_id):
            try:
                answer = await self._stub.GetUsageEvent(request, timeout=READ_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                raise
        return to_event(answer.event)


def to_event(stored: usage_model_pb2.StoredUsageEvent) -> UsageEvent:
    """Converts a stored event; its department is the one that bears the cost."""
    event = stored.event
    return UsageEvent(
        source=event.source,
        event_id=event.event_id,
        start_at=event.start_time.ToDatetime(UTC),
        recorded_at=stored.recorded_time.ToDatetime(UTC),
        quantity=Decimal(event.quantity),
        cost=Decimal(stored.cost.billed or "0"),
        dimension=Dimension(
            dimension_id="",
            currency_code=stored.cost.currency_code,
            user_id=event.user_id,
            tags=dict(event.tags),
            **{name: getattr(event, name) for name in _SAME if name != "department"},
            department=stored.resolved_department,
        ),
    )


def _filter_of(dimension: Dimension) -> str:
    terms = [
        f"{_RENAMED.get(name, name)} = {_quoted(getattr(dimension, name))}"
        for name in (*_SAME, "user_id")
    ]
    terms += [f"tags.{_key(key)} = {_quoted(text)}" for key, text in dimension.tags.items()]
    return " AND ".join(terms)


def _key(key: str) -> str:
    return key if key.isidentifier() else _quoted(key)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'
