"""Statuses of budgets between contract and domain."""

from __future__ import annotations

from decimal import Decimal

from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import budget_status_model_pb2 as models
from finops.common.v1.interval_pb2 import MoneyInterval

from services.budget.convert.budgets import from_state
from services.budget.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.budget.convert.periods import from_totals
from services.budget.convert.terms import from_enforcement, from_threshold, ratio_text
from services.budget.domain.forecast import CONFIDENCE, Forecast
from services.budget.domain.status import (
    BudgetStatus,
    BurnRate,
    FiredThreshold,
    Variance,
    reached_at,
)
from services.kernel.pagination import Page

_KINDS = {
    models.SCENARIO_KIND_BEST: "The spend goes on along the lower bound of the forecast.",
    models.SCENARIO_KIND_LIKELY: "The spend goes on as the forecast expects.",
    models.SCENARIO_KIND_WORST: "The spend goes on along the upper bound of the forecast.",
}


def from_statuses(page: Page[BudgetStatus]) -> messages.ListBudgetStatusesResponse:
    """Converts a page of statuses."""
    return messages.ListBudgetStatusesResponse(
        statuses=[from_status(each) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_status(status: BudgetStatus) -> models.BudgetStatus:
    """Converts a status."""
    row, code, terms = status.row, status.row.currency_code, status.terms
    message = models.BudgetStatus(
        budget_id=row.budget_id,
        display_name=terms.display_name,
        version=status.budget.version_at(status.as_of).number,
        enforcement=from_enforcement(terms.enforcement),
        state=from_state(status.budget.state_at(status.as_of)),
        period=from_period(row.period),
        reset_time=from_optional(status.reset_at),
        totals=from_totals(code, row.totals),
        burn_rate=_from_burn_rate(status.burn_rate, code),
        runway_time=from_optional(status.runway_at),
        plan_variance=_from_variance(status.plan_variance, code),
        previous_variance=None
        if status.previous_variance is None
        else _from_variance(status.previous_variance, code),
        thresholds=[_from_threshold(each, code) for each in status.thresholds],
        as_of_time=from_instant(status.as_of),
        as_of_sequence=status.as_of_sequence,
        drift=None if status.drift is None else from_amount(code, status.drift),
    )
    if status.forecast is not None:
        message.forecast.CopyFrom(_from_forecast(status, status.forecast, code))
        message.scenarios.extend(_from_scenarios(status, status.forecast, code))
    return message


def _from_burn_rate(rate: BurnRate, code: str) -> models.BurnRate:
    return models.BurnRate(
        day=from_amount(code, rate.day),
        week=from_amount(code, rate.week),
        period=from_amount(code, rate.period),
        trend_ratio=ratio_text(rate.trend),
    )


def _from_variance(variance: Variance, code: str) -> models.BudgetVariance:
    return models.BudgetVariance(
        reference=from_amount(code, variance.reference),
        difference=from_amount(code, variance.difference),
        difference_ratio=ratio_text(variance.ratio),
    )


def _from_forecast(status: BudgetStatus, forecast: Forecast, code: str) -> models.BudgetForecast:
    totals = status.row.totals
    return models.BudgetForecast(
        spend=MoneyInterval(
            expected=from_amount(code, forecast.expected),
            lower=from_amount(code, forecast.lower),
            upper=from_amount(code, forecast.upper),
            confidence_ratio=ratio_text(CONFIDENCE),
        ),
        method=models.TrendMethod.Value(f"TREND_METHOD_{forecast.trend.name}"),
        alternatives=[
            models.TrendForecast(
                method=models.TrendMethod.Value(f"TREND_METHOD_{each.trend.name}"),
                expected=from_amount(code, each.expected),
                error_ratio=ratio_text(each.error),
            )
            for each in forecast.alternatives
        ],
        breach_probability_ratio=ratio_text(
            forecast.breach_probability(totals.limit, totals.spent)
        ),
        history_days=forecast.history_days,
    )


def _from_scenarios(
    status: BudgetStatus, forecast: Forecast, code: str
) -> list[models.BudgetScenario]:
    limit = status.row.totals.limit
    ends: tuple[Decimal, ...] = (forecast.lower, forecast.expected, forecast.upper)
    return [
        models.BudgetScenario(
            kind=kind,
            spend=from_amount(code, end),
            remaining=from_amount(code, limit - end),
            breach_time=from_optional(reached_at(status.row, end, limit, status.as_of)),
            assumption=assumption,
        )
        for (kind, assumption), end in zip(_KINDS.items(), ends, strict=True)
    ]


def _from_threshold(fired: FiredThreshold, code: str) -> models.ThresholdStatus:
    return models.ThresholdStatus(
        threshold=from_threshold(fired.threshold),
        amount=from_amount(code, fired.amount),
        fired=fired.fired_at is not None,
        alert_id=fired.alert_id,
        fire_time=from_optional(fired.fired_at),
        expected_time=from_optional(fired.expected_at),
    )
