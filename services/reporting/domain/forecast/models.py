"""The forecasting models by name, all of one shape.

A model takes values `[series, time]`, ascending origins, a horizon and seasons; it returns
`[series, origin, horizon]` and fits on nothing behind the first origin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.arima import shock_forecasts
from services.reporting.domain.forecast.autoregression import autoregressive_forecasts
from services.reporting.domain.forecast.decomposition import decomposed_forecasts
from services.reporting.domain.forecast.smoothing import smoothed_forecasts
from services.reporting.domain.forecast.theta import theta_forecasts

Floats = NDArray[np.float64]
Model = Callable[[Floats, tuple[int, ...], int, tuple[int, ...]], Floats]


def seasonal_naive_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Repeats the last season; without one, the last value."""
    season = min(seasons, default=1)
    steps = np.arange(horizon) % season
    return np.stack([values[:, origin - season + steps] for origin in origins], axis=1)


def linear_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Extends the straight line of least squares, with the mean deviation of each season place."""
    season = min(seasons, default=1)
    steps = np.arange(horizon)
    forecasts = np.empty((len(values), len(origins), horizon))
    for place, origin in enumerate(origins):
        time = np.arange(origin)
        centred = time - time.mean()
        seen = values[:, :origin]
        slope = (seen @ centred) / max(float((centred**2).sum()), 1.0)
        middle = seen.mean(axis=1)
        line = middle[:, None] + slope[:, None] * centred
        places = np.stack(
            [(seen - line)[:, first::season].mean(axis=1) for first in range(season)], axis=1
        )
        ahead = middle[:, None] + slope[:, None] * (origin + steps - time.mean())
        forecasts[:, place] = ahead + places[:, (origin + steps) % season]
    return forecasts


def exponential_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Extends constant growth: the straight line through the logarithms.

    Values of zero count as a hundredth of the mean, since they have no logarithm.
    """
    floor = np.maximum(values[:, : origins[0]].mean(axis=1, keepdims=True) / 100, 1e-12)
    logs = np.log(np.maximum(values, floor))
    ahead = linear_forecasts(logs, origins, horizon, seasons)
    # More than 1,000 times the largest value seen is no forecast.
    limit = logs.max(axis=1)[:, None, None] + np.log(1000)
    return np.asarray(np.exp(np.minimum(ahead, limit)))


MODELS: dict[str, Model] = {
    "seasonal_naive": seasonal_naive_forecasts,
    "ets": smoothed_forecasts,
    "theta": theta_forecasts,
    "arima": autoregressive_forecasts,
    "arima_difference": partial(autoregressive_forecasts, difference=True),
    "arima_seasonal": shock_forecasts,
    "mstl": decomposed_forecasts,
    "linear": linear_forecasts,
    "exponential": exponential_forecasts,
}
# What `auto` and `combination` choose from; trends are drawn only on request, for they never end.
CHOICE = ("seasonal_naive", "ets", "theta", "arima", "arima_difference", "mstl")
ARIMA = ("arima", "arima_difference")
# Only seasonal models with enough equations for all their coefficients are worth a trial.
SEASONAL_ARIMA = "arima_seasonal"
SEASONAL_ARIMA_SEASONS = 8
SEASONAL_ARIMA_POINTS_MIN = 100


def trial_names(model: str, seasons: tuple[int, ...], fitted: int) -> tuple[str, ...]:
    """Names what is tried for a wish, with `fitted` values before the first origin.

    The seasonal naive forecast is always tried, so that every error stands beside the floor's.
    """
    longest = min(seasons, default=1) * SEASONAL_ARIMA_SEASONS
    is_long = fitted >= max(longest, SEASONAL_ARIMA_POINTS_MIN)
    more = (SEASONAL_ARIMA,) if is_long else ()
    if model in ("auto", "combination"):
        return (*CHOICE, *more)
    if model == "arima":
        return (*ARIMA, *more, "seasonal_naive")
    return tuple(dict.fromkeys((model, "seasonal_naive")))
