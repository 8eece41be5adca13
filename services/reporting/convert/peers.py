"""Asks the usage and budget services through their stubs."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import grpc
from finops.budget.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    budget_status_model_pb2,
)
from finops.usage.v1 import (
    analytics_model_pb2,
    cost_model_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    usage_service_pb2_grpc,
)

from services.kernel.client import on_behalf_of
from services.kernel.money import parse_decimal
from services.kernel.period import Period, zone
from services.reporting.convert.asking import asking, to_amount
from services.reporting.convert.instants import to_instant
from services.reporting.convert.usage_analysis import to_analysis
from services.reporting.domain.budgets import BudgetForecast, BudgetState
from services.reporting.domain.costs import (
    AppliedRate,
    CostAnswer,
    CostQuestion,
    CostRow,
    CostSum,
)
from services.reporting.domain.figures import both
from services.reporting.domain.forecast.outlook import BudgetStanding
from services.reporting.domain.usage_analysis import UsageAnalysis
from services.reporting.errors import (
    BudgetRefused,
    CostsKeepChanging,
    UsageQuestionRefused,
)
from services.reporting.service.peers import (
    SeriesAnswer,
    SeriesPoint,
    SeriesQuestion,
    TenantSettings,
)

PAGE: Final = 1_000  # the lists' own bound
QUERY_SECONDS: Final = 30.0
COST_ATTEMPTS: Final = 5  # readings of all pages until no usage came in between
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
        with asking(question.tenant_id, UsageQuestionRefused):
            while True:
                answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
                # The first page's is the oldest, and so true for all of them.
                sequence = sequence or answer.sequence
                points += [_point(row) for row in answer.rows]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return SeriesAnswer(tuple(points), sequence)

    async def costs(self, question: CostQuestion) -> CostAnswer:
        """Reads all pages, again while usage came in between two of them."""
        with asking(question.tenant_id, UsageQuestionRefused):
            for _ in range(COST_ATTEMPTS):
                answer = await self._costs(question)
                if answer is not None:
                    return answer
        raise CostsKeepChanging

    async def analysis(
        self, tenant_id: str, period: Period, *, filter_: str, currency_code: str
    ) -> UsageAnalysis:
        """Reads pattern, efficiency and cost of errors."""
        request = analytics_model_pb2.AnalyzeUsageRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=filter_,
            currency=currency_code,
        )
        with asking(tenant_id, UsageQuestionRefused):
            answer = await self._usage.AnalyzeUsage(request, timeout=QUERY_SECONDS)
        return to_analysis(answer)

    async def _costs(self, question: CostQuestion) -> CostAnswer | None:
        request = cost_model_pb2.QueryCostsRequest(
            tenant_id=question.tenant_id,
            group_by=question.group_by,
            start=question.period.start.isoformat(),
            end=question.period.end.isoformat(),
            granularity=question.granularity.value,
            filter=question.filter,
            cost_type=question.cost_type,
            currency=question.currency_code,
            compare_previous=question.has_previous,
            allocated=question.is_allocated,
            page_size=PAGE,
        )
        rows: list[CostRow] = []
        states: set[tuple[str, str]] = set()
        while True:
            answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
            states.add((answer.sequence, answer.newest_sequence))
            if len(states) > 1:
                return None
            rows += [_cost_row(row, question) for row in answer.rows]
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return CostAnswer(
            tuple(rows),
            tuple(_cost_sum(each, question) for each in answer.totals),
            answer.sequence,
            tuple(_rate(each) for each in answer.exchange_rates),
        )


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
        with asking(tenant_id, BudgetRefused):
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

    async def states(
        self, tenant_id: str, *, filter_: str = "", most: int = 0
    ) -> tuple[BudgetState, ...]:
        """Reads how active budgets stand."""
        request = budget_service_pb2.ListBudgetStatusesRequest(
            tenant_id=tenant_id, filter=both(filter_, "state = ACTIVE"), page_size=most or PAGE
        )
        found: list[BudgetState] = []
        with asking(tenant_id, BudgetRefused):
            while True:
                answer = await self._budgets.ListBudgetStatuses(request, timeout=QUERY_SECONDS)
                found += [_state(each) for each in answer.statuses]
                request.page_token = answer.next_page_token
                if most or not request.page_token:
                    return tuple(found)


def _point(row: cost_model_pb2.CostRow) -> SeriesPoint:
    quantity: Decimal | None = parse_decimal(row.quantity) if row.quantity else None
    return SeriesPoint(
        group=tuple(sorted(row.group.items())),
        start=to_instant(row.start_time),
        cost=parse_decimal(row.cost.amount),
        quantity=quantity,
        unit=row.unit,
    )


def _cost_row(row: cost_model_pb2.CostRow, question: CostQuestion) -> CostRow:
    return CostRow(
        group=tuple(row.group[name] for name in question.group_by),
        start_at=to_instant(row.start_time) if row.HasField("start_time") else None,
        currency_code=row.cost.currency_code,
        cost=parse_decimal(row.cost.amount),
        quantity=parse_decimal(row.quantity) if row.quantity else None,
        unit=row.unit,
        events=row.events,
        failed_events=row.failed_events,
        unpriced_events=row.unpriced_events,
        previous_cost=to_amount(row.previous_cost) if question.has_previous else None,
    )


def _cost_sum(total: cost_model_pb2.CostTotal, question: CostQuestion) -> CostSum:
    return CostSum(
        currency_code=total.cost.currency_code,
        cost=parse_decimal(total.cost.amount),
        events=total.events,
        unpriced_events=total.unpriced_events,
        previous_cost=to_amount(total.previous_cost) if question.has_previous else None,
    )


def _rate(rate: cost_model_pb2.ExchangeRate) -> AppliedRate:
    return AppliedRate(rate.from_currency, rate.to_currency, rate.rate_date, Decimal(rate.rate))


def _state(status: budget_status_model_pb2.BudgetStatus) -> BudgetState:
    totals, period = status.totals, status.period
    spend = status.forecast.spend
    forecast = BudgetForecast(
        expected=to_amount(spend.expected),
        lower=to_amount(spend.lower),
        upper=to_amount(spend.upper),
        breach_probability=parse_decimal(status.forecast.breach_probability_ratio or "0"),
    )
    return BudgetState(
        budget_id=status.budget_id,
        display_name=status.display_name,
        currency_code=totals.limit.currency_code,
        limit=to_amount(totals.limit),
        spent=to_amount(totals.spent),
        held=to_amount(totals.held),
        remaining=to_amount(totals.remaining),
        utilization=parse_decimal(totals.utilization_ratio or "0"),
        period_start=to_instant(period.start_time),
        period_end=to_instant(period.end_time) if period.HasField("end_time") else None,
        forecast=forecast if status.HasField("forecast") else None,
        runway_at=to_instant(status.runway_time) if status.HasField("runway_time") else None,
        reset_at=to_instant(status.reset_time) if status.HasField("reset_time") else None,
    )
