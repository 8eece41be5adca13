"""Past forecasts and what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from services.kernel.period import Period
from services.reporting.domain.forecast import accuracy
from services.reporting.domain.forecast.series_forecast import BacktestError

DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class MadeForecast:
    """A forecast of a sum, kept to be judged. level: of the interval."""

    tenant_id: str
    made_at: datetime
    horizon: Period
    horizon_days: int
    filter: str
    cost_type: str
    currency_code: str
    model: str
    expected: Decimal
    lower: Decimal
    upper: Decimal
    level: Decimal


@dataclass(frozen=True, slots=True)
class Comparison:
    """A forecast beside what came, and what came in the same length of time before it."""

    made: MadeForecast
    actual: Decimal
    before: Decimal

    @property
    def error_ratio(self) -> Decimal | None:
        """(forecast - actual) / actual; None when nothing came."""
        if not self.actual:
            return None
        return ((self.made.expected - self.actual) / self.actual).quantize(DIGITS)

    @property
    def is_inside(self) -> bool:
        """Whether what came lay in the interval."""
        return self.made.lower <= self.actual <= self.made.upper


def error_of(comparisons: Sequence[Comparison]) -> BacktestError | None:
    """Returns the error over all comparisons, scaled by that of repeating the time before."""
    if not comparisons:
        return None
    actual = np.array([float(each.actual) for each in comparisons])
    expected = np.array([float(each.made.expected) for each in comparisons])
    before = np.array([float(each.before) for each in comparisons])
    scale = float(np.abs(actual - before).mean()) or float(np.abs(actual).mean()) or 1.0
    level = float(comparisons[0].made.level)
    lower = np.array([float(each.made.lower) for each in comparisons])
    upper = np.array([float(each.made.upper) for each in comparisons])
    return BacktestError(
        smape=accuracy.smape(actual, expected),
        mase=accuracy.mase(actual, expected, scale),
        msis=accuracy.msis(actual, lower, upper, scale=scale, level=level),
        coverage=((level, accuracy.coverage(actual, lower, upper)),),
        origin_count=len(comparisons),
    )
