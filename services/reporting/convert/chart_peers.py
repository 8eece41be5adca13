"""Asks the budget service what only charts ask."""

from __future__ import annotations

from typing import Final

import grpc
from finops.budget.v1 import (
    alert_model_pb2,
    alert_service_pb2,
    alert_service_pb2_grpc,
    budget_model_pb2,
    budget_service_pb2,
    budget_service_pb2_grpc,
)

from services.kernel.period import Period
from services.reporting.convert.asking import asking
from services.reporting.convert.instants import to_instant
from services.reporting.convert.optimizer_peer import StubOptimizerReader
from services.reporting.convert.peers import StubBudgetReader
from services.reporting.domain.chart.canvas import instant_text
from services.reporting.domain.chart.rows import AlertMark
from services.reporting.domain.figures import quoted
from services.reporting.errors import BudgetRefused
from services.reporting.service.chart_peers import ChartPeers
from services.reporting.service.peers import UsageReader

QUERY_SECONDS: Final = 10.0
OVER: Final = (alert_model_pb2.ALERT_STATE_RESOLVED, alert_model_pb2.ALERT_STATE_AUTO_RESOLVED)
SEVERITIES: Final = {
    budget_model_pb2.ALERT_SEVERITY_INFO: "info",
    budget_model_pb2.ALERT_SEVERITY_WARNING: "warning",
    budget_model_pb2.ALERT_SEVERITY_CRITICAL: "critical",
}
# Parts of a budget's scope that a filter names alike.
ALIKE: Final = ("project", "resource_type", "resource_id", "service", "provider", "region")


class StubBudgetPictures:
    """Reads budgets' scopes and alerts; implements `service.chart_peers.BudgetPictures`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service, with this service's token on each call."""
        self._budgets = budget_service_pb2_grpc.BudgetServiceStub(channel)
        self._alerts = alert_service_pb2_grpc.AlertServiceStub(channel)

    async def cost_filter(self, tenant_id: str, budget_id: str) -> str:
        """Reads a budget's scope."""
        request = budget_service_pb2.GetBudgetRequest(tenant_id=tenant_id, budget_id=budget_id)
        with asking(tenant_id, BudgetRefused):
            answer = await self._budgets.GetBudget(request, timeout=QUERY_SECONDS)
        return to_cost_filter(answer.budget.scope)

    async def alerts(self, tenant_id: str, period: Period, *, most: int) -> list[AlertMark]:
        """Reads one page of alerts, newest first."""
        start, end = (f'"{instant_text(edge)}"' for edge in (period.start, period.end))
        request = alert_service_pb2.ListAlertsRequest(
            tenant_id=tenant_id,
            filter=f"fire_time >= {start} AND fire_time < {end}",
            order_by="fire_time desc",
            page_size=most,
        )
        with asking(tenant_id, BudgetRefused):
            answer = await self._alerts.ListAlerts(request, timeout=QUERY_SECONDS)
        return [_mark(alert) for alert in answer.alerts]


def chart_peers(
    usage: UsageReader, budget: grpc.aio.Channel | None, optimizer: grpc.aio.Channel | None
) -> ChartPeers:
    """Returns what charts ask; services that are not connected are None."""
    return ChartPeers(
        usage=usage,
        budgets=None if budget is None else StubBudgetReader(budget),
        budget_pictures=None if budget is None else StubBudgetPictures(budget),
        optimizer=None if optimizer is None else StubOptimizerReader(optimizer),
    )


def to_cost_filter(scope: budget_model_pb2.BudgetScope) -> str:
    """Returns the filter over cost that has a scope's meaning."""
    terms = [f"{name} = {quoted(value)}" for name in ALIKE if (value := str(getattr(scope, name)))]
    if scope.department_id:
        # `:` takes the departments below too.
        sign = "=" if scope.exclude_subdepartments else ":"
        terms.append(f"department{sign}{quoted(scope.department_id)}")
    if scope.user_id:
        terms.append(f"user = {quoted(scope.user_id)}")
    if scope.manager_id:
        terms.append(f"manager = {quoted(scope.manager_id)}")
    terms += [f"tags.{quoted(key)} = {quoted(value)}" for key, value in sorted(scope.tags.items())]
    return " AND ".join(terms)


def _mark(alert: alert_model_pb2.Alert) -> AlertMark:
    return AlertMark(
        fired_at=to_instant(alert.fire_time),
        severity=SEVERITIES.get(alert.severity, "info"),
        label=alert.message or alert.budget_display_name,
        is_open=alert.state not in OVER,
    )
