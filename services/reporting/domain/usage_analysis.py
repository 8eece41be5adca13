"""What the usage service finds in a period's usage: its pattern, its efficiency, its errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PatternHour:
    """One hour of the week. weekday: 0 is Monday; mean_cost: of such an hour."""

    weekday: int
    hour: int
    mean_cost: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class PeakHour:
    """One of the busiest hours. ratio_to_mean: times the mean hour."""

    start_at: datetime
    quantity: Decimal
    ratio_to_mean: Decimal


@dataclass(frozen=True, slots=True)
class EfficiencyPart:
    """A part of the efficiency score. score: 0 to 100; weight: parts' add up to 1."""

    name: str
    score: Decimal
    weight: Decimal
    explanation: str


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """Failed events of one error code, and what they were billed."""

    error_code: str
    failed_events: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Capacity:
    """Mean utilization lately, and the days until demand reaches capacity; None without an end."""

    utilization: Decimal
    days_until_full: int | None


@dataclass(frozen=True, slots=True)
class UsageAnalysis:
    """The whole of it. unit: of quantities; failed_share: 0 to 1; capacity: None without samples.

    unit_cost_per_success: None where nothing succeeded.
    """

    unit: str
    events: int
    failed_events: int
    failed_share: Decimal
    retries: int
    failed_cost: Decimal
    unit_cost_per_success: Decimal | None
    score: Decimal
    parts: tuple[EfficiencyPart, ...]
    errors: tuple[ErrorClass, ...]
    pattern: tuple[PatternHour, ...]
    peaks: tuple[PeakHour, ...]
    capacity: Capacity | None
