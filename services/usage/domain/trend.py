"""How usage grows, and when demand reaches capacity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import NormalDist
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from services.kernel.money import EXACT
from services.kernel.period import Period, day_start
from services.usage.domain.analytics import HourlyUsage, UsageTotals, share_of
from services.usage.domain.rate_plan import ZERO, round_cost

FIT_DAYS_MIN = 7
SEASONAL_FIT_DAYS_MIN = 14
FIT_DAYS_MAX = 366  # bounds the pairs of days that a slope is the median of
LATELY_DAYS = 7
OUTLOOK_DAYS_MAX = 365
INTERVAL_SHARE = 0.8

_Series = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Growth:
    """Shares, 0.1 is 10 % more; None where there is nothing to compare with or too little to fit.

    daily_growth_ratio: the fitted change of a day's quantity over the mean day's quantity.
    """

    quantity_change_ratio: float | None
    cost_change_ratio: float | None
    daily_growth_ratio: float | None


@dataclass(frozen=True, slots=True)
class CapacityOutlook:
    """When demand reaches capacity.

    capacity: mean of the last 7 days with samples, in the unit. utilization: mean of those days.
    days_until_full: from the end of the period until the fitted demand of the busiest hour of a
    day reaches capacity, 0 for full already; None where it does not within a year, or where fewer
    than 7 days have samples. low, high: 80 % interval of those days.
    """

    capacity: Decimal
    utilization: float
    days_until_full: int | None
    days_until_full_low: int | None
    days_until_full_high: int | None


def growth(
    rows: Iterable[HourlyUsage],
    totals: UsageTotals,
    previous: UsageTotals,
    *,
    period: Period,
    tz: ZoneInfo,
) -> Growth:
    """Compares a period with the one before and fits its whole local days."""
    return Growth(
        quantity_change_ratio=_change(totals.quantity, previous.quantity),
        cost_change_ratio=_change(totals.billed_cost, previous.billed_cost),
        daily_growth_ratio=_daily_growth(_daily_quantities(rows, period, tz)),
    )


def capacity_outlook(
    rows: Iterable[HourlyUsage], period: Period, tz: ZoneInfo
) -> CapacityOutlook | None:
    """Extrapolates the demand of each day's busiest hour. None without capacity samples.

    Demand of an hour is its mean utilization times its mean capacity. The fit is a straight line
    by least squares; the interval is where its 80 % prediction band reaches capacity.
    Source: Draper & Smith, Applied Regression Analysis, 3rd ed., section 3.1.
    """
    by_day: dict[date, list[HourlyUsage]] = {}
    for row in rows:
        if row.capacity_samples and row.utilization_samples:
            by_day.setdefault(row.hour_at.astimezone(tz).date(), []).append(row)
    if not by_day:
        return None
    days = sorted(by_day)
    lately = [row for day in days[-LATELY_DAYS:] for row in by_day[day]]
    capacity = round_cost(
        EXACT.divide(
            sum((row.capacity_sum for row in lately), ZERO),
            Decimal(sum(row.capacity_samples for row in lately)),
        )
    )
    used = sum(row.utilization_sum for row in lately)
    utilization = used / sum(row.utilization_samples for row in lately)
    end = (period.end - timedelta(microseconds=1)).astimezone(tz).date()
    ages = np.array([(day - end).days for day in days], dtype=np.float64)
    demands = np.array([max(map(_demand, by_day[day])) for day in days], dtype=np.float64)
    middle, low, high = _days_until(ages, demands, float(capacity))
    return CapacityOutlook(capacity, utilization, middle, low, high)


def _demand(row: HourlyUsage) -> float:
    capacity = float(row.capacity_sum) / row.capacity_samples
    return row.utilization_sum / row.utilization_samples * capacity


def _days_until(
    ages: _Series, demands: _Series, capacity: float
) -> tuple[int | None, int | None, int | None]:
    """Returns the first day ahead at which the fit, its upper and its lower band reach capacity."""
    count = len(ages)
    if count < FIT_DAYS_MIN:
        return None, None, None
    center = ages.mean()
    spread = float(((ages - center) ** 2).sum())
    slope = float(((ages - center) * demands).sum()) / spread
    level = float(demands.mean())
    residuals = demands - (level + slope * (ages - center))
    freedom = count - 2
    deviation = float(np.sqrt((residuals**2).sum() / freedom))
    ahead = np.arange(OUTLOOK_DAYS_MAX + 1, dtype=np.float64)
    fitted = level + slope * (ahead - center)
    band = _student_quantile(freedom) * deviation
    band = band * np.sqrt(1 + 1 / count + (ahead - center) ** 2 / spread)
    return (
        _first_reaching(fitted, capacity),
        _first_reaching(fitted + band, capacity),
        _first_reaching(fitted - band, capacity),
    )


def _first_reaching(values: _Series, capacity: float) -> int | None:
    # One part in a billion absorbs the rounding of the fit where demand is exactly the capacity.
    reached = np.flatnonzero(values >= capacity * (1 - 1e-9))
    return int(reached[0]) if len(reached) else None


def _student_quantile(freedom: int) -> float:
    """Returns the two-sided 80 % quantile of Student's t, within 0.2 % from 5 degrees on.

    Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + INTERVAL_SHARE) / 2)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second


def _change(now: Decimal, before: Decimal) -> float | None:
    return share_of(EXACT.subtract(now, before), before) if before > 0 else None


def _daily_quantities(
    rows: Iterable[HourlyUsage], period: Period, tz: ZoneInfo
) -> Sequence[Decimal]:
    """Returns the quantity of every local day that lies wholly in the period, oldest first."""
    first = period.start.astimezone(tz).date()
    if day_start(first, tz) < period.start:
        first += timedelta(days=1)
    after = period.end.astimezone(tz).date()
    first = max(first, after - timedelta(days=FIT_DAYS_MAX))
    sums = [ZERO] * max(0, (after - first).days)
    for row in rows:
        place = (row.hour_at.astimezone(tz).date() - first).days
        if 0 <= place < len(sums):
            sums[place] = EXACT.add(sums[place], row.quantity)
    return sums


def _daily_growth(quantities: Sequence[Decimal]) -> float | None:
    """Returns the median slope between days, over the mean day.

    From 14 days on only days a whole number of weeks apart are compared, so that the weekend is no
    trend. Source: Hirsch, Slack & Smith, Techniques of trend analysis for monthly water quality
    data, Water Resources Research 18 (1982): the seasonal Theil-Sen slope.
    """
    values = np.array(quantities, dtype=np.float64)
    count = len(values)
    if count < FIT_DAYS_MIN or values.mean() <= 0:
        return None
    lags = range(7, count, 7) if count >= SEASONAL_FIT_DAYS_MIN else range(1, count)
    slopes = np.concatenate([(values[lag:] - values[:-lag]) / lag for lag in lags])
    return float(np.median(slopes) / values.mean())
