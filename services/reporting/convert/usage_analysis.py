"""The usage service's analysis as this service keeps it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from finops.usage.v1 import analytics_model_pb2

from services.kernel.money import parse_decimal
from services.reporting.convert.asking import to_amount
from services.reporting.convert.instants import to_instant
from services.reporting.domain.usage_analysis import (
    Capacity,
    EfficiencyPart,
    ErrorClass,
    PatternHour,
    PeakHour,
    UsageAnalysis,
)

DIGITS: Final = Decimal("0.000001")


def to_analysis(answer: analytics_model_pb2.AnalyzeUsageResponse) -> UsageAnalysis:
    """Converts an answer."""
    has_success = answer.HasField("unit_cost_per_success")
    outlook = answer.capacity_outlook
    capacity = Capacity(
        utilization=_ratio(outlook.utilization),
        days_until_full=(outlook.days_until_full if outlook.HasField("days_until_full") else None),
    )
    return UsageAnalysis(
        unit=answer.unit,
        events=answer.events,
        failed_events=answer.errors.failed_events,
        failed_share=_ratio(answer.errors.error_rate),
        retries=answer.errors.retries,
        failed_cost=to_amount(answer.errors.billed_cost),
        unit_cost_per_success=to_amount(answer.unit_cost_per_success) if has_success else None,
        score=_ratio(answer.efficiency.score),
        parts=tuple(
            EfficiencyPart(each.name, _ratio(each.score), _ratio(each.weight), each.explanation)
            for each in answer.efficiency.parts
        ),
        errors=tuple(
            ErrorClass(each.error_code, each.failed_events, to_amount(each.billed_cost))
            for each in answer.errors.classes
        ),
        pattern=tuple(
            PatternHour(
                each.weekday - 1, each.hour, parse_decimal(each.mean_cost or "0"), each.events
            )
            for each in answer.pattern
        ),
        peaks=tuple(
            PeakHour(
                to_instant(each.hour_time),
                parse_decimal(each.quantity or "0"),
                _ratio(each.ratio_to_mean),
            )
            for each in answer.peaks
        ),
        capacity=capacity if answer.HasField("capacity_outlook") else None,
    )


def _ratio(value: float) -> Decimal:
    """Returns a computed ratio with six digits."""
    return Decimal(repr(value)).quantize(DIGITS)
