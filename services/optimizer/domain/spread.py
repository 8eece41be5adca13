"""How uncertain a monthly figure is, from how much the weeks behind it differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.optimizer.domain.statistics import (
    HOURS_OF_WEEK,
    Floats,
    Measure,
    Statistics,
    UsageSeries,
)

WEEKS_OF_MONTH = 4.35
SPREAD_MIN = 0.05  # next month is never known better, whatever the weeks before agreed on
SPREAD_UNKNOWN = 0.25  # with less than two whole weeks


def hourly(members: Sequence[UsageSeries], measure: Measure, hour_count: int) -> Floats:
    """Returns the sum of series, hour by hour."""
    total = np.zeros(hour_count)
    for one in members:
        total += one.hours[measure]
    return total


def cost_spread(statistics: Statistics, members: Sequence[UsageSeries]) -> float:
    """Returns the relative standard deviation of an average month's cost.

    From whole weeks, counted back from the period's end over the time that the series are there.
    """
    first = min((one.active_hours[0] for one in members), default=0)
    values = hourly(members, Measure.COST, statistics.hour_count)[first:]
    weeks = values.size // HOURS_OF_WEEK
    if weeks < 2:  # noqa: PLR2004 - one week has no spread
        return SPREAD_UNKNOWN
    sums = values[values.size - weeks * HOURS_OF_WEEK :].reshape(weeks, HOURS_OF_WEEK).sum(axis=1)
    mean = sums.mean()
    if mean <= 0:
        return SPREAD_UNKNOWN
    # The mean of the weeks is uncertain, and so is the month to come.
    relative = sums.std(ddof=1) / mean
    return max(SPREAD_MIN, float(relative * np.sqrt(1 / WEEKS_OF_MONTH + 1 / weeks)))
