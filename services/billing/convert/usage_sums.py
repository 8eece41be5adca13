"""Sums of usage as billing reads them from the usage service, to compare its meter with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import grpc
from finops.usage.v1 import cost_model_pb2 as model
from finops.usage.v1 import usage_service_pb2_grpc

from services.billing.domain.metering import Metered, UsageGroup
from services.billing.service.comparing_usage import UsageAnswer
from services.kernel.client import on_behalf_of
from services.kernel.period import Period

PAGE: Final = 1_000
READ_SECONDS: Final = 30.0  # a month of a large tenant
_GROUPS: Final = ("resource_type", "unit", "service", "provider")


class UsageServiceSums:
    """Asks the usage service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service."""
        self._stub: Any = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def of_hours(self, tenant_id: str, hours: Period) -> UsageAnswer:
        """Returns what was used. Raises PeerUnavailable, PeerTimeout."""
        request = model.QueryCostsRequest(
            tenant_id=tenant_id,
            group_by=_GROUPS,
            start=hours.start.isoformat(),
            end=hours.end.isoformat(),
            order_by="resource_type",
            page_size=PAGE,
        )
        found: dict[UsageGroup, Metered] = {}
        with on_behalf_of(tenant_id):
            while True:
                answer = await self._stub.QueryCosts(request, timeout=READ_SECONDS)
                found |= {_group(row): _metered(row) for row in answer.rows}
                if not answer.next_page_token:
                    return UsageAnswer(found, answer.newest_sequence or answer.sequence)
                request.page_token = answer.next_page_token


def _group(row: model.CostRow) -> UsageGroup:
    names = {name: row.group[name] for name in _GROUPS}
    return UsageGroup(**names, currency_code=row.cost.currency_code)


def _metered(row: model.CostRow) -> Metered:
    return Metered(
        quantity=Decimal(row.quantity or "0"),
        cost=Decimal(row.cost.amount),
        events=row.events,
        unpriced_events=row.unpriced_events,
    )
