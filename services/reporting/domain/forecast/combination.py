"""Models weighted by how they did, and the effect of last year where a season ago is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.backtest import Plan, Trials

Floats = NDArray[np.float64]

# Weights are 1 / error to this power at most. It grows with the windows of the backtest that do
# not overlap, for few windows tell little about which model is better.
POWER_MAX = 6.0
# The floor is not mixed in: where it is best, it is chosen alone.
FLOOR = "seasonal_naive"

# One year in whole weeks, so that weekdays meet.
YEAR_DAYS = 364
# One past year is one sample; only this share of its course is expected again.
YEAR_SHARE = 1 / 3
YEAR_WINDOW_DAYS = 14
YEAR_REFERENCE_DAYS = 56


def combination_weights(trials: Trials, plan: Plan) -> dict[str, Floats]:
    """Returns the weight of every model but the floor, `[series]`, with sum one."""
    errors = {name: error for name, error in trials.errors().items() if name != FLOOR}
    windows = (plan.origins[-1] - plan.origins[0]) / plan.horizon + 1
    least = np.maximum(np.min(list(errors.values()), axis=0), 1e-12)
    raw = {
        name: (least / np.maximum(error, least)) ** min(POWER_MAX, windows)
        for name, error in errors.items()
    }
    total = np.sum(list(raw.values()), axis=0)
    return {name: weight / total for name, weight in raw.items()}


def combined(forecasts: dict[str, Floats], weights: dict[str, Floats]) -> Floats:
    """Returns the weighted mean of forecasts `[series, …]`."""
    dimensions = next(iter(forecasts.values())).ndim - 1
    return np.asarray(
        sum(
            forecasts[name] * weight.reshape(-1, *(1,) * dimensions)
            for name, weight in weights.items()
        )
    )


def year_effect(values: Floats, origins: tuple[int, ...], horizon: int) -> Floats | None:
    """Returns what the same weeks a year ago add, `[series, origin, horizon]`, already shrunk.

    values: daily. None where an origin has no full year and its reference weeks before it.
    """
    if horizon > YEAR_DAYS or origins[0] < YEAR_DAYS + YEAR_REFERENCE_DAYS:
        return None
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    effect = np.empty((len(values), len(origins), horizon))
    for place, origin in enumerate(origins):
        ago = origin - YEAR_DAYS
        reference = (total[:, ago] - total[:, ago - YEAR_REFERENCE_DAYS]) / YEAR_REFERENCE_DAYS
        centre = ago + np.arange(horizon)
        first = np.maximum(centre - YEAR_WINDOW_DAYS, 0)
        last = np.minimum(centre + YEAR_WINDOW_DAYS, origin)
        course = (total[:, last] - total[:, first]) / (last - first)
        effect[:, place] = YEAR_SHARE * (course - reference[:, None])
    return effect
