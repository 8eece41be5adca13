"""Forecasts between contract and domain."""

from __future__ import annotations

import math
from decimal import Decimal

from finops.common.v1.interval_pb2 import MoneyInterval
from finops.reporting.v1 import forecast_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages

from services.kernel.money import format_decimal, parse_decimal
from services.kernel.period import Granularity
from services.reporting.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.reporting.domain.forecast.answer import (
    BudgetOutlook,
    ForecastAnswer,
    Scenario,
    ToldSeries,
)
from services.reporting.domain.forecast.comparison import Comparison
from services.reporting.domain.forecast.series_forecast import BacktestError
from services.reporting.domain.forecast.wish import (
    HORIZON_DAYS,
    ForecastWish,
    WhatIf,
    WhatIfKind,
)
from services.reporting.service.judging import AccuracyAnswer, AccuracyQuestion

DEFAULT_LEVELS = (Decimal("0.8"), Decimal("0.95"))


def to_wish(request: messages.ForecastRequest, tenant_id: str) -> ForecastWish:
    """Converts a request, with the defaults filled in that need no tenant."""
    levels = tuple(sorted(parse_decimal(text) for text in request.confidence_ratios))
    return ForecastWish(
        tenant_id=tenant_id,
        horizon_days=request.horizon_days or HORIZON_DAYS,
        measure=request.measure or "cost",
        cost_type=request.cost_type or "billed",
        filter=request.filter,
        group_by=tuple(request.group_by),
        granularity=Granularity(request.granularity or "day"),
        model=request.model or "auto",
        levels=levels or DEFAULT_LEVELS,
        history_start=request.history_start,
        history_end=request.history_end,
        budget_id=request.budget_id,
        currency_code=request.currency,
        what_ifs=tuple(_to_what_if(each) for each in request.what_ifs),
    )


def _to_what_if(message: model.ForecastWhatIf) -> WhatIf:
    return WhatIf(
        kind=WhatIfKind(message.kind),
        filter=message.filter,
        change_ratio=parse_decimal(message.change_ratio or "0"),
        monthly_amount=parse_decimal(message.monthly_amount.amount or "0"),
        monthly_currency=message.monthly_amount.currency_code,
        ramp_days=message.ramp_days,
        start=message.start,
    )


def from_answer(answer: ForecastAnswer) -> messages.ForecastResponse:
    """Converts an answer."""
    return messages.ForecastResponse(
        series=[_from_series(each, answer) for each in answer.series],
        total=_from_series(answer.total, answer),
        scenarios=[_from_scenario(each, answer) for each in answer.scenarios],
        budget=_from_outlook(answer.budget) if answer.budget else None,
        history=from_period(answer.history),
        horizon=from_period(answer.horizon),
        as_of_sequence=answer.sequence,
        fit_time=from_instant(answer.fitted_at),
    )


def _from_series(series: ToldSeries, answer: ForecastAnswer) -> model.ForecastSeries:
    source = series.source
    names = dict(answer.season_names)
    message = model.ForecastSeries(
        group=dict(series.group),
        points=[
            model.ForecastPoint(
                start_time=from_instant(start),
                value=format_decimal(series.values[step]),
                bands=[
                    model.ForecastBand(
                        confidence_ratio=format_decimal(band.level),
                        lower=format_decimal(band.lower[step]),
                        upper=format_decimal(band.upper[step]),
                    )
                    for band in series.bands
                ],
            )
            for step, start in enumerate(answer.starts)
        ],
        model=source.model,
        baseline=source.is_baseline,
        explanation=source.explanation,
        error=_from_error(source.error) if source.error else None,
        alternatives=[
            model.ModelError(model=each.model, mase=_decimal(each.mase))
            for each in source.alternatives
        ],
        history_points=source.history_points,
        seasonalities=[names[season] for season in source.seasons],
    )
    lower, expected, upper = series.total
    level = format_decimal(series.total_level)
    if answer.measure == "cost":
        code = answer.currency_code
        message.total_cost.CopyFrom(_interval(code, (lower, expected, upper), level))
    else:
        message.total_quantity.CopyFrom(
            model.QuantityInterval(
                expected=format_decimal(expected),
                lower=format_decimal(lower),
                upper=format_decimal(upper),
                confidence_ratio=level,
                unit=answer.unit,
            )
        )
    return message


def _interval(code: str, amounts: tuple[Decimal, Decimal, Decimal], level: str) -> MoneyInterval:
    lower, expected, upper = amounts
    return MoneyInterval(
        expected=from_amount(code, expected),
        lower=from_amount(code, lower),
        upper=from_amount(code, upper),
        confidence_ratio=level,
    )


def _from_error(error: BacktestError) -> model.ForecastError:
    return model.ForecastError(
        smape_ratio=_decimal(error.smape / 100),
        mase=_decimal(error.mase),
        msis=_decimal(error.msis),
        coverage=[
            model.CoverageResult(confidence_ratio=_decimal(level), coverage_ratio=_decimal(share))
            for level, share in error.coverage
        ],
        origin_count=error.origin_count,
    )


def _decimal(value: float) -> str:
    """Returns a computed ratio with six digits; empty for one that is not a number."""
    return format_decimal(round(Decimal(repr(value)), 6)) if math.isfinite(value) else ""


def _from_scenario(scenario: Scenario, answer: ForecastAnswer) -> model.ForecastScenario:
    is_cost = answer.measure == "cost"
    return model.ForecastScenario(
        kind=scenario.kind,
        cost=from_amount(answer.currency_code, scenario.amount) if is_cost else None,
        quantity="" if is_cost else format_decimal(scenario.amount),
        assumptions=scenario.assumptions,
    )


def _from_outlook(outlook: BudgetOutlook) -> model.BudgetOutlook:
    window = outlook.breach_window
    return model.BudgetOutlook(
        budget_id=outlook.budget_id,
        limit=from_amount(outlook.currency_code, outlook.limit),
        runway_time=from_optional(outlook.runway_at),
        breach_time=from_optional(outlook.breach_at),
        breach_window=from_period(window) if window else None,
        breach_probability_ratio=format_decimal(outlook.breach_probability),
    )


def to_accuracy_question(
    request: messages.GetForecastAccuracyRequest, tenant_id: str
) -> AccuracyQuestion:
    """Converts a request."""
    return AccuracyQuestion(
        tenant_id=tenant_id,
        horizon_days=request.horizon_days or HORIZON_DAYS,
        filter=request.filter,
        start=request.start,
        end=request.end,
        currency_code=request.currency,
    )


def from_accuracy(answer: AccuracyAnswer) -> messages.GetForecastAccuracyResponse:
    """Converts the comparisons."""
    return messages.GetForecastAccuracyResponse(
        comparisons=[from_comparison(each) for each in answer.comparisons],
        error=_from_error(answer.error) if answer.error else None,
    )


def from_comparison(comparison: Comparison) -> model.ForecastComparison:
    """Converts a past forecast and what came."""
    made = comparison.made
    ratio = comparison.error_ratio
    amounts = (made.lower, made.expected, made.upper)
    return model.ForecastComparison(
        forecast_time=from_instant(made.made_at),
        horizon=from_period(made.horizon),
        forecast=_interval(made.currency_code, amounts, format_decimal(made.level)),
        actual=from_amount(made.currency_code, comparison.actual),
        error_ratio="" if ratio is None else format_decimal(ratio),
        inside=comparison.is_inside,
        model=made.model,
    )
