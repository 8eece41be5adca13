"""Analyses of usage between contract and domain."""

from __future__ import annotations

from decimal import Decimal

from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import analytics_model_pb2 as models

from services.kernel.money import format_decimal
from services.usage.convert.costs import from_instant, from_period
from services.usage.domain.analytics import ErrorCost
from services.usage.domain.efficiency import Efficiency
from services.usage.domain.trend import CapacityOutlook, Growth
from services.usage.service.analyzing import Analysis, AnalysisQuestion


def to_question(request: models.AnalyzeUsageRequest, tenant_id: str) -> AnalysisQuestion:
    """Converts a request."""
    return AnalysisQuestion(
        tenant_id=tenant_id,
        start=request.start,
        end=request.end,
        filter=request.filter,
        currency_code=request.currency,
        unit=request.unit,
    )


def from_analysis(analysis: Analysis) -> models.AnalyzeUsageResponse:
    """Converts an analysis."""
    code = analysis.currency_code
    answer = models.AnalyzeUsageResponse(
        period=from_period(analysis.period),
        time_zone=analysis.tz.key,
        pattern=[
            models.PatternCell(
                weekday=cell.weekday,
                hour=cell.hour,
                mean_quantity=format_decimal(cell.mean_quantity),
                mean_cost=format_decimal(cell.mean_cost),
                events=cell.events,
            )
            for cell in analysis.pattern
        ],
        peaks=[
            models.UsagePeak(
                hour_time=from_instant(peak.hour_at),
                quantity=format_decimal(peak.quantity),
                ratio_to_mean=peak.ratio_to_mean,
            )
            for peak in analysis.peaks
        ],
        errors=_errors(analysis.errors, code),
        growth=_growth(analysis.growth),
        unit=analysis.unit,
        events=analysis.totals.events,
        cost=_money(analysis.totals.billed_cost, code),
        currencies_left_out=analysis.currencies_left_out,
    )
    if analysis.efficiency is not None:
        answer.efficiency.CopyFrom(_efficiency(analysis.efficiency))
    if analysis.unit_cost_per_success is not None:
        answer.unit_cost_per_success.CopyFrom(_money(analysis.unit_cost_per_success, code))
    if analysis.capacity_outlook is not None:
        answer.capacity_outlook.CopyFrom(_outlook(analysis.capacity_outlook))
    return answer


def _money(amount: Decimal, currency_code: str) -> Money:
    return Money(currency_code=currency_code, amount=format_decimal(amount))


def _efficiency(efficiency: Efficiency) -> models.Efficiency:
    parts = [
        models.EfficiencyPart(
            name=part.name, score=part.score, weight=part.weight, explanation=part.explanation
        )
        for part in efficiency.parts
    ]
    return models.Efficiency(score=efficiency.score, parts=parts)


def _errors(errors: ErrorCost, code: str) -> models.ErrorCost:
    return models.ErrorCost(
        failed_events=errors.failed_events,
        error_rate=errors.error_rate,
        retries=errors.retries,
        billed_cost=_money(errors.billed_cost, code),
        list_cost=_money(errors.list_cost, code),
        classes=[
            models.ErrorClass(
                error_code=each.error_code,
                failed_events=each.failed_events,
                billed_cost=_money(each.billed_cost, code),
                list_cost=_money(each.list_cost, code),
            )
            for each in errors.classes
        ],
    )


def _growth(growth: Growth) -> models.Growth:
    return models.Growth(
        quantity_change_ratio=growth.quantity_change_ratio,
        cost_change_ratio=growth.cost_change_ratio,
        daily_growth_ratio=growth.daily_growth_ratio,
    )


def _outlook(outlook: CapacityOutlook) -> models.CapacityOutlook:
    return models.CapacityOutlook(
        capacity=format_decimal(outlook.capacity),
        utilization=outlook.utilization,
        days_until_full=outlook.days_until_full,
        days_until_full_low=outlook.days_until_full_low,
        days_until_full_high=outlook.days_until_full_high,
    )
