"""Allocated cost as billing reads it from the usage service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import grpc
from finops.usage.v1 import cost_model_pb2 as model
from finops.usage.v1 import usage_service_pb2_grpc

from services.billing.domain.invoice_record import ExchangeRate
from services.billing.domain.metering import Dimension, Metered
from services.billing.service.chargeback import AllocatedCost
from services.kernel.client import on_behalf_of
from services.kernel.period import Period

PAGE: Final = 1_000
READ_SECONDS: Final = 30.0  # allocation computes over a whole month
_GROUPS: Final = ("department", "resource_type", "resource_id", "service", "project", "unit")


class UsageServiceCosts:
    """Asks the usage service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service."""
        self._stub: Any = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def of_period(
        self, tenant_id: str, period: Period, currency_code: str
    ) -> tuple[Sequence[AllocatedCost], Sequence[ExchangeRate]]:
        """Returns all allocated cost of a period. Raises PeerUnavailable, PeerTimeout."""
        request = model.QueryCostsRequest(
            tenant_id=tenant_id,
            group_by=_GROUPS,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            currency=currency_code,
            allocated=True,
            order_by="department",
            page_size=PAGE,
        )
        found: list[AllocatedCost] = []
        rates: dict[str, ExchangeRate] = {}
        with on_behalf_of(tenant_id):
            while True:
                answer = await self._stub.QueryCosts(request, timeout=READ_SECONDS)
                found += [_to_cost(row) for row in answer.rows]
                rates |= {rate.from_currency: _to_rate(rate) for rate in answer.exchange_rates}
                if not answer.next_page_token:
                    return found, list(rates.values())
                request.page_token = answer.next_page_token


def _to_cost(row: model.CostRow) -> AllocatedCost:
    group = row.group
    return AllocatedCost(
        department_id=group["department"],
        dimension=Dimension(
            dimension_id="",
            resource_type=group["resource_type"],
            resource_id=group["resource_id"],
            service=group["service"],
            project=group["project"],
            department=group["department"],
            unit=group["unit"],
            currency_code=row.cost.currency_code,
            tags={},
        ),
        metered=Metered(
            quantity=Decimal(row.quantity or "0"),
            cost=Decimal(row.cost.amount),
            events=row.events,
            unpriced_events=row.unpriced_events,
        ),
    )


def _to_rate(rate: model.ExchangeRate) -> ExchangeRate:
    return ExchangeRate(
        from_currency=rate.from_currency,
        to_currency=rate.to_currency,
        rate=Decimal(rate.rate),
        rate_date=date.fromisoformat(rate.rate_date),
        source="ECB",
    )
