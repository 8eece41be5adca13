"""Asks the usage and budget services through their stubs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import grpc
from finops.budget.v1 import budget_service_pb2, budget_service_pb2_grpc
from finops.usage.v1 import (
    cost_model_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    usage_service_pb2_grpc,
)

from services.kernel.client import on_behalf_of
from services.kernel.errors import InvalidArgument
from services.kernel.money import parse_decimal
from services.kernel.period import zone
from services.reporting.convert.instants import to_instant
from services.reporting.domain.forecast.outlook import BudgetStanding
from services.reporting.errors import BudgetRefused, UsageQuestionRefused
from services.reporting.service.peers import (
    SeriesAnswer,
    SeriesPoint,
    SeriesQuestion,
    TenantSettings,
)

PAGE: Final = 1_000  # the lists' own bound
QUERY_SECONDS: Final = 30.0
PLAIN: Final = TenantSettings(tz=zone("UTC"), currency_code="USD")


class StubUsageReader:
    """Reads settings and series; implements `service.peers.UsageReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._directory = directory_service_pb2_grpc.DirectoryServiceStub(channel)

    async def tenant(self, tenant_id: str) -> TenantSettings:
        """Returns the tenant's zone and currency; of an unknown tenant UTC and USD."""
        request = directory_service_pb2.GetTenantRequest(tenant_id=tenant_id)
        with on_behalf_of(tenant_id):
            try:
                tenant = (await self._directory.GetTenant(request)).tenant
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return PLAIN
                raise
        return TenantSettings(
            tz=zone(tenant.time_zone or "UTC"), currency_code=tenant.currency_code or "USD"
        )

    async def series(self, question: SeriesQuestion) -> SeriesAnswer:
        """Reads all pages of a cost question."""
        request = cost_model_pb2.QueryCostsRequest(
            tenant_id=question.tenant_id,
            group_by=question.group_by,
            start=question.period.start.isoformat(),
            end=question.period.end.isoformat(),
            granularity=question.granularity.value,
            filter=question.filter,
            cost_type=question.cost_type,
            currency=question.currency_code,
            order_by="start_time",
            page_size=PAGE,
        )
        points: list[SeriesPoint] = []
        sequence = ""
        with _asking(question.tenant_id, UsageQuestionRefused):
            while True:
                answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
                # The first page's is the oldest, and so true for all of them.
                sequence = sequence or answer.sequence
                points += [_point(row) for row in answer.rows]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return SeriesAnswer(tuple(points), sequence)


class StubBudgetReader:
    """Reads how budgets stand; implements `service.peers.BudgetReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service, with this service's token on each call."""
        self._budgets = budget_service_pb2_grpc.BudgetServiceStub(channel)

    async def standing(self, tenant_id: str, budget_id: str) -> BudgetStanding:
        """Returns limit, spend and end of the budget's current period."""
        request = budget_service_pb2.GetBudgetStatusRequest(
            tenant_id=tenant_id, budget_id=budget_id
        )
        with _asking(tenant_id, BudgetRefused):
            answer = await self._budgets.GetBudgetStatus(request)
        status = answer.budget_status
        has_end = status.HasField("period") and status.period.HasField("end_time")
        return BudgetStanding(
            budget_id=budget_id,
            limit=parse_decimal(status.totals.limit.amount or "0"),
            spent=parse_decimal(status.totals.spent.amount or "0"),
            currency_code=status.totals.limit.currency_code,
            period_end=to_instant(status.period.end_time) if has_end else None,
        )


@contextmanager
def _asking(tenant_id: str, refusal: type[InvalidArgument]) -> Iterator[None]:
    """Acts for the tenant, and says in this service's words what a peer refused."""
    with on_behalf_of(tenant_id):
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise refusal(error.details() or "", code=error.code().name) from error


def _point(row: cost_model_pb2.CostRow) -> SeriesPoint:
    quantity: Decimal | None = parse_decimal(row.quantity) if row.quantity else None
    return SeriesPoint(
        group=tuple(sorted(row.group.items())),
        start=to_instant(row.start_time),
        cost=parse_decimal(row.cost.amount),
        quantity=quantity,
        unit=row.unit,
    )
