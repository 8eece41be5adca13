"""Seasonal ARIMA with moving-average terms, by the two regressions of Hannan and Rissanen.

The seasonal difference (without a season the first difference) is regressed on long lags to know
its shocks, then on few lags of itself and of the shocks.
Source: Hannan & Rissanen, Recursive estimation of mixed autoregressive-moving average order,
Biometrika 69 (1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.autoregression import (
    autoregressive_forecasts,
    ridge_weights,
)

Floats = NDArray[np.float64]

RIDGE = 0.01
LONG_LAGS_WITHOUT_SEASON = 13
# Fewer equations than this and the plain autoregression is the better guess.
EQUATIONS_MIN = 30
# In standard deviations: a shock beyond is an outlier and may not echo.
SHOCK_MAX = 6.0


@dataclass(frozen=True, slots=True)
class Order:
    """Which lags of values and shocks a model looks at, and the difference it works on."""

    difference: int
    long: tuple[int, ...]
    values: tuple[int, ...]
    shocks: tuple[int, ...]

    @classmethod
    def of(cls, seasons: tuple[int, ...]) -> Order:
        """Chooses the order for the seasons, `(1, 1)` or with all of them."""
        if not seasons:
            long = tuple(range(1, LONG_LAGS_WITHOUT_SEASON + 1))
            return cls(1, long, (1, 2), (1, 2))
        season = min(seasons)
        long = tuple(range(1, 3 * season + 2))
        return cls(season, long, (1, 2, *sorted(seasons)), (1, 2, season, season + 1))

    @property
    def reach(self) -> int:
        """Values that the first equation of the second regression needs before it."""
        return max(*self.long, *self.values) + max(self.shocks)


def shock_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Forecasts from every origin, with coefficients fitted on what is before the first.

    values: `[series, time]`, complete. Returns `[series, origin, horizon]`. A history too short
    for both regressions is forecast by the autoregression of its differences.
    """
    order = Order.of(seasons)
    fitted = origins[0] - order.difference
    if fitted - order.reach < max(EQUATIONS_MIN, 2 * len(order.long)):
        return autoregressive_forecasts(values, origins, horizon, seasons, difference=True)
    changes = values[:, order.difference :] - values[:, : -order.difference]
    spread = changes[:, :fitted].std(axis=1, keepdims=True)
    scaled = changes / np.where(spread > 0, spread, 1.0)
    shocks = first_shocks(scaled, fitted, order)
    weights = second_regression(scaled[:, :fitted], shocks[:, :fitted], order)
    shocks = replayed_shocks(scaled, weights, order)
    forecasts = np.empty((len(values), len(origins), horizon))
    for place, origin in enumerate(origins):
        start = origin - order.difference
        ahead = continued(scaled[:, :start], shocks[:, :start], weights, order, horizon)
        path = np.concatenate([values[:, :origin], ahead * spread], axis=1)
        for time in range(origin, origin + horizon):
            path[:, time] += path[:, time - order.difference]
        forecasts[:, place] = path[:, origin:]
    return forecasts


def first_shocks(scaled: Floats, fitted: int, order: Order) -> Floats:
    """Returns what the long autoregression does not explain; zero where it cannot look back."""
    weights = ridge_weights(scaled[:, :fitted], order.long)
    lags = np.array(order.long)
    shocks = np.zeros_like(scaled)
    times = np.arange(lags[-1], scaled.shape[1])
    explained = np.zeros((len(scaled), len(times)))
    for place, lag in enumerate(order.long, start=1):
        explained += weights[:, place, None] * scaled[:, times - lag]
    shocks[:, times] = scaled[:, times] - weights[:, :1] - explained
    return np.clip(shocks, -SHOCK_MAX, SHOCK_MAX)


def second_regression(scaled: Floats, shocks: Floats, order: Order) -> Floats:
    """Solves for the coefficients of values and shocks, `[series, lags]`."""
    times = np.arange(order.reach, scaled.shape[1])
    columns = [scaled[:, times - lag] for lag in order.values]
    columns += [shocks[:, times - lag] for lag in order.shocks]
    design = np.stack(columns, axis=2)
    turned = design.transpose(0, 2, 1)
    penalty = RIDGE * len(times) * np.eye(len(columns))
    return np.asarray(
        np.linalg.solve(turned @ design + penalty, turned @ scaled[:, times, None])[:, :, 0]
    )


def explained_at(
    time: int, scaled: Floats, shocks: Floats, weights: Floats, order: Order
) -> Floats:
    """Returns what the model expects at one time, `[series]`."""
    value_lags, shock_lags = np.array(order.values), np.array(order.shocks)
    split = len(order.values)
    return np.asarray(
        (scaled[:, time - value_lags] * weights[:, :split]).sum(axis=1)
        + (shocks[:, time - shock_lags] * weights[:, split:]).sum(axis=1)
    )


def replayed_shocks(scaled: Floats, weights: Floats, order: Order) -> Floats:
    """Returns the shocks as the fitted model itself sees them, one step at a time."""
    shocks = np.zeros_like(scaled)
    for time in range(order.reach, scaled.shape[1]):
        expected = explained_at(time, scaled, shocks, weights, order)
        shocks[:, time] = np.clip(scaled[:, time] - expected, -SHOCK_MAX, SHOCK_MAX)
    return shocks


def continued(
    scaled: Floats, shocks: Floats, weights: Floats, order: Order, horizon: int
) -> Floats:
    """Continues the differences by `horizon` steps without further shocks."""
    start = scaled.shape[1]
    empty = np.zeros((len(scaled), horizon))
    path = np.concatenate([scaled, empty], axis=1)
    known = np.concatenate([shocks, empty], axis=1)
    limit = 1.5 * np.abs(scaled).max(axis=1)
    for time in range(start, start + horizon):
        path[:, time] = np.clip(explained_at(time, path, known, weights, order), -limit, limit)
    return np.asarray(path[:, start:])
