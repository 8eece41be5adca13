"""The dashboard: what its parts say, all in one currency but for budgets, alerts and anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from services.kernel.money import EXACT, FRACTION_DIGITS_MAX
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.forecast.comparison import Comparison
from services.reporting.domain.recommendations import OpenRecommendation

RATIO_DIGITS = Decimal("0.000001")


def ratio(part: Decimal, whole: Decimal | None) -> Decimal | None:
    """Returns part / whole with six digits; None without a whole."""
    return EXACT.divide(part, whole).quantize(RATIO_DIGITS, context=EXACT) if whole else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a period against the one before. Figures that are not known are None.

    expected: cost at the end of the calendar month. wasted: cost of failed work. saved: by
    recommendations that were done.
    """

    cost: Decimal
    previous_cost: Decimal
    daily_average: Decimal
    expected: Decimal | None
    wasted: Decimal | None
    saved: Decimal | None
    operation_count: int
    previous_operation_count: int
    active_user_count: int
    unpriced_event_count: int

    @property
    def change(self) -> Decimal:
        """Cost above that of the previous period."""
        return EXACT.subtract(self.cost, self.previous_cost)

    @property
    def change_ratio(self) -> Decimal | None:
        """Returns change / previous_cost."""
        return ratio(self.change, self.previous_cost)

    @property
    def wasted_ratio(self) -> Decimal | None:
        """Returns wasted / cost."""
        return None if self.wasted is None else ratio(self.wasted, self.cost)

    @property
    def unit_cost(self) -> Decimal | None:
        """Cost of one successful operation, to 18 digits."""
        return _unit_cost(self.cost, self.operation_count)

    @property
    def unit_cost_change_ratio(self) -> Decimal | None:
        """Change of it against the previous period."""
        now = self.unit_cost
        before = _unit_cost(self.previous_cost, self.previous_operation_count)
        return None if now is None or not before else ratio(EXACT.subtract(now, before), before)


def _unit_cost(cost: Decimal, count: int) -> Decimal | None:
    return per_unit(cost, Decimal(count)) if count > 0 else None


def per_unit(cost: Decimal, units: Decimal) -> Decimal:
    """Returns cost / units to 18 digits."""
    return round(EXACT.divide(cost, units), FRACTION_DIGITS_MAX)


@dataclass(frozen=True, slots=True)
class AlertGlance:
    """An alert at a glance. severity, state: the contract's names in lower case."""

    alert_id: str
    severity: str
    state: str
    message: str
    budget_id: str
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class CostDriver:
    """A group and its cost, now and before. value: empty where the usage has none."""

    dimension: str
    value: str
    cost: Decimal
    previous_cost: Decimal
    share: Decimal | None

    @property
    def change(self) -> Decimal:
        """Cost above that of the previous period."""
        return EXACT.subtract(self.cost, self.previous_cost)

    @property
    def change_ratio(self) -> Decimal | None:
        """Returns change / previous_cost."""
        return ratio(self.change, self.previous_cost)


@dataclass(frozen=True, slots=True)
class DayForecast:
    """What a day is expected to cost, with an interval of 80 %."""

    expected: Decimal
    lower: Decimal
    upper: Decimal


@dataclass(frozen=True, slots=True)
class TrendDay:
    """One day. cost: None for days to come; previous_cost: None where there is no such day."""

    day: date
    cost: Decimal | None
    previous_cost: Decimal | None
    forecast: DayForecast | None


@dataclass(frozen=True, slots=True)
class RegionCost:
    """Cost of one region. country_code: empty when unknown."""

    region: str
    country_code: str
    cost: Decimal
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next 30 days: their sum with an interval of 80 %, day by day, and what it stands on.

    error: of the model in the backtest; None for a plain baseline.
    """

    total: DayForecast
    days: tuple[tuple[date, DayForecast], ...]
    model: str
    error: Decimal | None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """All of it. missing: names of parts that could not be had.

    is_passing: whether something is missing that may be there the next time.
    """

    period: Period
    previous: Period
    currency_code: str
    summary: Summary | None
    highlights: tuple[str, ...]
    budgets: tuple[BudgetState, ...]
    alerts: tuple[AlertGlance, ...]
    anomalies: tuple[Anomaly, ...]
    drivers: tuple[CostDriver, ...]
    movers: tuple[CostDriver, ...]
    trend: tuple[TrendDay, ...]
    geography: tuple[RegionCost, ...]
    recommendations: tuple[OpenRecommendation, ...]
    potential_saving: Decimal | None
    accuracy: Comparison | None
    forecast: Outlook | None
    missing: tuple[str, ...]
    is_passing: bool
    sequence: str
    computed_at: datetime
