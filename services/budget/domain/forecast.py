"""What a period will have cost at its end, from what its days cost so far.

Money is exact elsewhere; a forecast is an estimate, so it is computed in floating point and handed
out as decimals of six digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

CONFIDENCE: Final = Decimal("0.8")
HISTORY_DAYS_MAX: Final = 90  # older days say little about the next ones
FIT_DAYS: Final = 28  # four whole weeks: trends change
TREND_DAYS_MIN: Final = 7
SEASONAL_DAYS_MIN: Final = 14
BACKTEST_DAYS: Final = 14  # past points that each trend is tried at, at most
GROWTH_MAX: Final = 0.25  # a day; what grows faster than that is a step, not a trend
_SMALLEST: Final = Decimal("0.000001")
_NORMAL: Final = NormalDist()
_Z: Final = _NORMAL.inv_cdf(0.9)

Series = npt.NDArray[np.float64]


class Trend(Enum):
    """How a forecast goes on from the days so far."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    SEASONAL = "seasonal"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class TrendForecast:
    """One trend's answer. error: mean absolute percentage error over past points, None unknown."""

    trend: Trend
    expected: Decimal
    error: Decimal | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The spend expected at the period's end, in [lower, upper] with probability CONFIDENCE.

    deviation: standard deviation of what is still to come. alternatives: all trends tried.
    """

    trend: Trend
    expected: Decimal
    lower: Decimal
    upper: Decimal
    deviation: Decimal
    alternatives: tuple[TrendForecast, ...]
    history_days: int

    def breach_probability(self, limit: Decimal, spent: Decimal) -> Decimal:
        """Returns the probability that the spend passes a limit before the period ends."""
        if spent > limit:
            return Decimal(1)
        if not self.deviation:
            return Decimal(int(self.expected > limit))
        distance = (self.expected - limit) / self.deviation
        return round(Decimal(_NORMAL.cdf(float(distance))), 6)


def forecast(days: Sequence[Decimal], *, spent: Decimal, days_left: float) -> Forecast:
    """Forecasts the spend at the period's end.

    days: cost of each whole day before today, oldest first, without gaps. spent: in the period so
    far. days_left: to the period's end, fractions of days included; the first one goes on today.
    The trend with the least error over past points is taken: a straight line, a constant growth, or
    the weekdays' pattern; the plain average below a week of history.
    Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 5.2 and 5.5.
    """
    history = np.array(days[-HISTORY_DAYS_MAX:], dtype=np.float64)
    tried = [(trend, project) for trend, project, least in _TRENDS if len(history) >= least]
    answers = [
        TrendForecast(
            trend,
            _decimal(spent, _ahead(project, history, days_left)),
            _error(project, history, min(days_left, 7.0)),
        )
        for trend, project in tried
    ]
    # Without errors to compare, the order of the table decides: the plain average first.
    best = min(range(len(answers)), key=lambda place: (_rank(answers[place]), place))
    chosen = answers[best]
    deviation = _deviation(tried[best][1], history, days_left)
    spread = _decimal(Decimal(0), _Z * deviation)
    return Forecast(
        trend=chosen.trend,
        expected=chosen.expected,
        lower=max(chosen.expected - spread, min(spent, chosen.expected)),
        upper=chosen.expected + spread,
        deviation=_decimal(Decimal(0), deviation),
        alternatives=tuple(answers),
        history_days=len(history),
    )


Project = Callable[[Series, int], Series]


def _flat(history: Series, days: int) -> Series:
    return np.full(days, history[-FIT_DAYS:].mean() if len(history) else 0.0)


def _linear(history: Series, days: int) -> Series:
    recent = history[-FIT_DAYS:]
    slope, level = np.polyfit(np.arange(len(recent)), recent, 1)
    line: Series = np.maximum(level + slope * np.arange(len(recent), len(recent) + days), 0.0)
    return line


def _exponential(history: Series, days: int) -> Series:
    """Fits the logarithms; days without cost count as a thousandth of the mean."""
    recent = history[-FIT_DAYS:]
    floor = max(recent.mean() / 1000, 1e-9)
    growth, level = np.polyfit(np.arange(len(recent)), np.log(np.maximum(recent, floor)), 1)
    growth = float(np.clip(growth, -GROWTH_MAX, GROWTH_MAX))
    # From the level of the last day of the fit, so that a cut growth does not leave the data.
    last = level + growth * (len(recent) - 1)
    curve: Series = np.exp(np.minimum(last + growth * np.arange(1, days + 1), 100.0))
    return curve


def _seasonal(history: Series, days: int) -> Series:
    """Weekday pattern of the last weeks times the level of the last one."""
    weeks = history[len(history) % 7 :].reshape(-1, 7)[-FIT_DAYS // 7 :]
    level = weeks.mean()
    if level <= 0:
        return _flat(history, days)
    pattern = weeks.mean(axis=0) / level
    lately = history[-7:].mean()
    course: Series = np.maximum(np.resize(pattern, days) * lately, 0.0)
    return course


_TRENDS: Final[tuple[tuple[Trend, Project, int], ...]] = (
    (Trend.FLAT, _flat, 0),
    (Trend.SEASONAL, _seasonal, SEASONAL_DAYS_MIN),
    (Trend.LINEAR, _linear, TREND_DAYS_MIN),
    (Trend.EXPONENTIAL, _exponential, TREND_DAYS_MIN),
)


def _ahead(project: Project, history: Series, days_left: float) -> float:
    """Returns the cost of the days left; the last one in part."""
    whole = int(days_left)
    days = project(history, whole + 1)
    return float(days[:whole].sum() + days[whole] * (days_left - whole))


def _error(project: Project, history: Series, horizon: float) -> Decimal | None:
    """Returns how wrong the trend was about the next days at past points; None below two."""
    ahead = max(int(horizon), 1)
    errors: list[float] = []
    first = max(TREND_DAYS_MIN, len(history) - BACKTEST_DAYS - ahead + 1)
    for end in range(first, len(history) - ahead + 1):
        actual = history[end : end + ahead].sum()
        if actual > 0 and end >= _least(project):
            errors.append(abs(project(history[:end], ahead).sum() - actual) / actual)
    return round(Decimal(float(np.mean(errors))), 6) if len(errors) > 1 else None


def _least(project: Project) -> int:
    return next(least for _, known, least in _TRENDS if known is project)


def _deviation(project: Project, history: Series, days_left: float) -> float:
    """Returns the standard deviation of the days left, their level's own uncertainty included."""
    recent = history[-FIT_DAYS:]
    if len(recent) < 2:  # noqa: PLR2004 - one day has no spread
        return 0.0
    least = max(_least(project), 2)
    steps = [
        float(history[end] - project(history[:end], 1)[0])
        for end in range(max(least, len(history) - FIT_DAYS), len(history))
    ]
    daily = float(np.sqrt(np.mean(np.square(steps)))) if steps else float(recent.std(ddof=1))
    return float(daily * np.sqrt(days_left * (1 + days_left / len(recent))))


def _rank(answer: TrendForecast) -> Decimal:
    return Decimal(1_000_000) if answer.error is None else answer.error


def _decimal(base: Decimal, added: float) -> Decimal:
    return base + Decimal(added).quantize(_SMALLEST)
