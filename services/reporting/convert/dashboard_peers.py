"""Asks the usage, budget and optimizer services what only dashboards ask."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import grpc
from finops.budget.v1 import (
    alert_model_pb2,
    alert_service_pb2,
    alert_service_pb2_grpc,
    budget_model_pb2,
)
from finops.optimizer.v1 import (
    optimizer_messages_pb2,
    optimizer_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    optimizer_service_pb2_grpc,
)
from finops.usage.v1 import (
    cost_model_pb2,
    read_service_pb2,
    read_service_pb2_grpc,
    usage_service_pb2,  # noqa: F401 - as above
    usage_service_pb2_grpc,
)

from services.kernel.money import parse_decimal
from services.kernel.period import Period
from services.reporting.convert.asking import asking, to_amount
from services.reporting.convert.instants import to_instant
from services.reporting.convert.optimizer_peer import StubOptimizerReader
from services.reporting.convert.peers import StubBudgetReader
from services.reporting.domain.costs import CostAnswer, CostQuestion, CostRow, CostSum
from services.reporting.domain.dashboard.dashboard import AlertGlance
from services.reporting.errors import BudgetRefused, OptimizerRefused, UsageQuestionRefused
from services.reporting.service.dashboard_peers import CostPage, DashboardPeers

PAGE: Final = 1_000  # the list's own bound
QUERY_SECONDS: Final = 10.0
GLANCE_SECONDS: Final = 5.0
NOT_CLOSED: Final = "state = OPEN OR state = ACKNOWLEDGED OR state = SNOOZED OR state = ESCALATED"


class StubCostGlance:
    """Reads the costliest groups; implements `service.dashboard_peers.CostGlance`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._read = read_service_pb2_grpc.UsageReadServiceStub(channel)

    async def costliest(self, questions: Sequence[CostQuestion]) -> list[CostPage]:
        """Reads one page of totals for each, largest first."""
        request = read_service_pb2.BatchQueryCostsRequest(
            tenant_id=questions[0].tenant_id,
            questions=[_request(question, page_size=PAGE) for question in questions],
        )
        with asking(questions[0].tenant_id, UsageQuestionRefused):
            found = await self._read.BatchQueryCosts(request, timeout=QUERY_SECONDS)
        return [
            _page(answer, question)
            for answer, question in zip(found.answers, questions, strict=True)
        ]

    async def is_ungrouped(self, question: CostQuestion) -> bool:
        """Reads the group that comes first by its name, which the empty one does."""
        request = _request(question, page_size=1)
        request.order_by = question.group_by[0]
        with asking(question.tenant_id, UsageQuestionRefused):
            answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
        return any(not row.group[question.group_by[0]] for row in answer.rows)


class StubAlertGlances:
    """Reads alerts; implements `service.dashboard_peers.AlertGlances`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service, with this service's token on each call."""
        self._alerts = alert_service_pb2_grpc.AlertServiceStub(channel)

    async def open_alerts(self, tenant_id: str, *, most: int) -> tuple[AlertGlance, ...]:
        """Reads the alerts that are not closed."""
        request = alert_service_pb2.ListAlertsRequest(
            tenant_id=tenant_id,
            filter=NOT_CLOSED,
            order_by="severity desc, fire_time desc",
            page_size=most,
        )
        with asking(tenant_id, BudgetRefused):
            answer = await self._alerts.ListAlerts(request, timeout=GLANCE_SECONDS)
        return tuple(_alert(each) for each in answer.alerts)


class StubRealizedSavings:
    """Reads savings; implements `service.dashboard_peers.RealizedSavings`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the optimizer service, with this service's token on each call."""
        self._optimizer = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    async def realized(
        self, tenant_id: str, period: Period, *, filter_: str, currency_code: str
    ) -> Decimal:
        """Reads what was realized."""
        request = optimizer_messages_pb2.GetSavingsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=filter_,
            currency=currency_code,
        )
        with asking(tenant_id, OptimizerRefused):
            answer = await self._optimizer.GetSavings(request, timeout=GLANCE_SECONDS)
        return to_amount(answer.total.realized.expected)


def dashboard_peers(
    budget: grpc.aio.Channel | None, optimizer: grpc.aio.Channel | None
) -> DashboardPeers:
    """Returns what dashboards ask of services that may not be connected; those are None."""
    return DashboardPeers(
        budgets=None if budget is None else StubBudgetReader(budget),
        alerts=None if budget is None else StubAlertGlances(budget),
        optimizer=None if optimizer is None else StubOptimizerReader(optimizer),
        savings=None if optimizer is None else StubRealizedSavings(optimizer),
    )


def _request(question: CostQuestion, *, page_size: int) -> cost_model_pb2.QueryCostsRequest:
    return cost_model_pb2.QueryCostsRequest(
        tenant_id=question.tenant_id,
        group_by=question.group_by,
        start=question.period.start.isoformat(),
        end=question.period.end.isoformat(),
        granularity=question.granularity.value,
        filter=question.filter,
        cost_type=question.cost_type,
        currency=question.currency_code,
        compare_previous=question.has_previous,
        page_size=page_size,
    )


def _page(answer: cost_model_pb2.QueryCostsResponse, question: CostQuestion) -> CostPage:
    return CostPage(
        CostAnswer(
            tuple(_row(row, question) for row in answer.rows),
            tuple(_total(total, question) for total in answer.totals),
            answer.sequence,
        ),
        sum(total.groups for total in answer.totals),
        not answer.next_page_token,
    )


def _row(row: cost_model_pb2.CostRow, question: CostQuestion) -> CostRow:
    return CostRow(
        group=tuple(row.group[name] for name in question.group_by),
        start_at=None,
        currency_code=row.cost.currency_code,
        cost=parse_decimal(row.cost.amount),
        events=row.events,
        failed_events=row.failed_events,
        previous_cost=to_amount(row.previous_cost) if question.has_previous else None,
    )


def _total(total: cost_model_pb2.CostTotal, question: CostQuestion) -> CostSum:
    return CostSum(
        currency_code=total.cost.currency_code,
        cost=parse_decimal(total.cost.amount),
        events=total.events,
        unpriced_events=total.unpriced_events,
        previous_cost=to_amount(total.previous_cost) if question.has_previous else None,
    )


def _alert(alert: alert_model_pb2.Alert) -> AlertGlance:
    severity = budget_model_pb2.AlertSeverity.Name(alert.severity)
    state = alert_model_pb2.AlertState.Name(alert.state)
    return AlertGlance(
        alert_id=alert.alert_id,
        severity=severity.removeprefix("ALERT_SEVERITY_").lower(),
        state=state.removeprefix("ALERT_STATE_").lower(),
        message=alert.message,
        budget_id=alert.budget_id,
        fired_at=to_instant(alert.fire_time),
    )
