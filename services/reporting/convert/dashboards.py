"""Dashboards between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from finops.common.v1.interval_pb2 import MoneyInterval
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import dashboard_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages

from services.kernel.money import format_decimal
from services.reporting.convert.anomalies import from_anomaly
from services.reporting.convert.forecasts import from_comparison
from services.reporting.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.dashboard.dashboard import (
    AlertGlance,
    CostDriver,
    Dashboard,
    DayForecast,
    Outlook,
    RegionCost,
    Summary,
    TrendDay,
)
from services.reporting.domain.dashboard.question import TOP_COUNT, DashboardQuestion, Part
from services.reporting.domain.recommendations import OpenRecommendation

LEVEL = "0.8"


def to_question(
    request: messages.GetDashboardRequest, tenant_id: str, may: Callable[[str], bool]
) -> DashboardQuestion:
    """Converts a request. may: tells whether the caller holds a permission."""
    return DashboardQuestion(
        tenant_id=tenant_id,
        start=request.start,
        end=request.end,
        filter=request.filter,
        cost_type=request.cost_type or "billed",
        currency_code=request.currency,
        top_count=request.top_count or TOP_COUNT,
        parts=frozenset(part for part in Part if may(part.value)),
    )


def from_dashboard(dashboard: Dashboard) -> messages.GetDashboardResponse:
    """Converts a dashboard."""
    code, summary = dashboard.currency_code, dashboard.summary
    found = model.Dashboard(
        period=from_period(dashboard.period),
        previous_period=from_period(dashboard.previous),
        summary=None if summary is None else _summary(summary, dashboard),
        budgets=[_budget(each) for each in dashboard.budgets],
        alerts=[_alert(each) for each in dashboard.alerts],
        anomalies=[_anomaly(each) for each in dashboard.anomalies],
        drivers=[_driver(each, code) for each in dashboard.drivers],
        movers=[_driver(each, code) for each in dashboard.movers],
        trend=[_day(each, code) for each in dashboard.trend],
        geography=[_region(each, code) for each in dashboard.geography],
        recommendations=[_recommendation(each) for each in dashboard.recommendations],
        potential_monthly_saving=_money(code, dashboard.potential_saving),
        forecast_accuracy=(
            None if dashboard.accuracy is None else from_comparison(dashboard.accuracy)
        ),
        forecast=None if dashboard.forecast is None else _outlook(dashboard.forecast, code),
        missing_parts=dashboard.missing,
        as_of_sequence=dashboard.sequence,
        compute_time=from_instant(dashboard.computed_at),
    )
    return messages.GetDashboardResponse(dashboard=found)


def _summary(summary: Summary, dashboard: Dashboard) -> model.ExecutiveSummary:
    code = dashboard.currency_code
    return model.ExecutiveSummary(
        cost=from_amount(code, summary.cost),
        previous_cost=from_amount(code, summary.previous_cost),
        change=from_amount(code, summary.change),
        change_ratio=_decimal(summary.change_ratio),
        daily_average=from_amount(code, summary.daily_average),
        expected_period_cost=_money(code, summary.expected),
        wasted=_money(code, summary.wasted),
        wasted_ratio=_decimal(summary.wasted_ratio),
        saved=_money(code, summary.saved),
        unit_cost=_money(code, summary.unit_cost),
        unit_cost_change_ratio=_decimal(summary.unit_cost_change_ratio),
        operation_count=summary.operation_count,
        active_user_count=summary.active_user_count,
        unpriced_event_count=summary.unpriced_event_count,
        highlights=dashboard.highlights,
    )


def _budget(budget: BudgetState) -> model.DashboardBudget:
    code, forecast = budget.currency_code, budget.forecast
    return model.DashboardBudget(
        budget_id=budget.budget_id,
        display_name=budget.display_name,
        limit=from_amount(code, budget.limit),
        spent=from_amount(code, budget.spent),
        held=from_amount(code, budget.held),
        utilization_ratio=format_decimal(budget.utilization),
        forecast=_money(code, None if forecast is None else forecast.expected),
        breach_probability_ratio=_decimal(
            None if forecast is None else forecast.breach_probability
        ),
        runway_time=from_optional(budget.runway_at),
        reset_time=from_optional(budget.reset_at),
    )


def _alert(alert: AlertGlance) -> model.DashboardAlert:
    return model.DashboardAlert(
        alert_id=alert.alert_id,
        severity=alert.severity,
        state=alert.state,
        message=alert.message,
        budget_id=alert.budget_id,
        fire_time=from_instant(alert.fired_at),
    )


def _anomaly(anomaly: Anomaly) -> model.DashboardAnomaly:
    whole = from_anomaly(anomaly)
    return model.DashboardAnomaly(
        anomaly_id=anomaly.anomaly_id,
        severity=anomaly.severity.name.lower(),
        message=whole.message,
        impact=whole.impact,
        start_time=from_instant(anomaly.start_at),
    )


def _driver(driver: CostDriver, code: str) -> model.CostDriver:
    return model.CostDriver(
        dimension=driver.dimension,
        value=driver.value,
        cost=from_amount(code, driver.cost),
        previous_cost=from_amount(code, driver.previous_cost),
        change=from_amount(code, driver.change),
        change_ratio=_decimal(driver.change_ratio),
        share_ratio=_decimal(driver.share),
    )


def _day(day: TrendDay, code: str) -> model.TrendPoint:
    return model.TrendPoint(
        date=day.day.isoformat(),
        cost=_money(code, day.cost),
        previous_cost=_money(code, day.previous_cost),
        forecast=None if day.forecast is None else _interval(day.forecast, code),
    )


def _region(region: RegionCost, code: str) -> model.RegionCost:
    return model.RegionCost(
        region=region.region,
        country_code=region.country_code,
        cost=from_amount(code, region.cost),
        share_ratio=_decimal(region.share),
    )


def _recommendation(each: OpenRecommendation) -> model.DashboardRecommendation:
    return model.DashboardRecommendation(
        recommendation_id=each.recommendation_id,
        title=each.title,
        monthly_saving=from_amount(each.currency_code, each.monthly_saving),
        effort=each.effort,
        risk=each.risk,
    )


def _outlook(outlook: Outlook, code: str) -> model.Forecast30:
    return model.Forecast30(
        cost=_interval(outlook.total, code),
        model=outlook.model,
        error_ratio=_decimal(outlook.error),
    )


def _interval(forecast: DayForecast, code: str) -> MoneyInterval:
    return MoneyInterval(
        expected=from_amount(code, forecast.expected),
        lower=from_amount(code, forecast.lower),
        upper=from_amount(code, forecast.upper),
        confidence_ratio=LEVEL,
    )


def _money(code: str, amount: Decimal | None) -> Money | None:
    """Converts an amount that may be unknown; then the field is absent, never zero."""
    return None if amount is None else from_amount(code, amount)


def _decimal(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)
