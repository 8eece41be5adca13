"""Seasonal autoregressive integrated (ARIMA) models of many series, fitted by least squares.

A series, or its first difference, is regressed with a small ridge on its own recent values and on
those around whole seasons before: ARIMA(p, d, 0)(P, 0, 0) with every coefficient of the seasonal
product free. Unlike maximum likelihood this is one batch of normal equations for all series.
Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., chapter 9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 0.02
RECENT_LAGS = 7
# More coefficients than an eighth of the equations would fit noise.
EQUATIONS_PER_LAG = 8
# Design matrices of so many numbers at once, 64 MB.
BLOCK_NUMBERS = 8_000_000


def lags_for(seasons: tuple[int, ...], length: int) -> tuple[int, ...]:
    """Names the values back in time to look at: recent ones and those around whole seasons."""
    lags = set(range(1, RECENT_LAGS + 1))
    for season in seasons:
        repeats = 4 if season == min(seasons) else 2
        for repeat in range(1, repeats + 1):
            lags |= {season * repeat - 1, season * repeat, season * repeat + 1}
        if season == min(seasons) and len(seasons) > 1:
            lags |= {season * day for day in range(1, max(seasons) // season + 1)}
    allowed: list[int] = []
    for lag in sorted(lags - {0}):
        if (len(allowed) + 2) * EQUATIONS_PER_LAG <= length - lag:
            allowed.append(lag)
    return tuple(allowed) or (1,)


def autoregressive_forecasts(
    values: Floats,
    origins: tuple[int, ...],
    horizon: int,
    seasons: tuple[int, ...],
    *,
    difference: bool = False,
) -> Floats:
    """Forecasts from every origin, with coefficients fitted on what is before the first.

    values: `[series, time]`, complete. Returns `[series, origin, horizon]`.
    """
    series = np.diff(values, axis=1) if difference else values
    shift = int(difference)
    fitted = series[:, : origins[0] - shift]
    centre = fitted.mean(axis=1, keepdims=True)
    spread = fitted.std(axis=1, keepdims=True)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = (series - centre) / spread
    lags = lags_for(seasons, fitted.shape[1])
    weights = ridge_weights(scaled[:, : fitted.shape[1]], lags)
    reach = lags[-1]
    starts = [origin - shift for origin in origins]
    window = np.stack([scaled[:, start - reach : start] for start in starts], axis=1)
    path = np.concatenate([window, np.zeros((*window.shape[:2], horizon))], axis=2)
    columns = np.array(lags)
    # What the fit saw bounds what it may say: an unstable root must not explode.
    limit = 1.5 * np.abs(scaled[:, : fitted.shape[1]]).max(axis=1, keepdims=True)
    for step in range(reach, reach + horizon):
        value = np.einsum("nkl,nl->nk", path[:, :, step - columns], weights[:, 1:])
        path[:, :, step] = np.clip(value + weights[:, :1], -limit, limit)
    ahead = path[:, :, reach:] * spread[:, :, None] + centre[:, :, None]
    if difference:
        last = values[:, [origin - 1 for origin in origins], None]
        return np.asarray(last + np.cumsum(ahead, axis=2))
    return np.asarray(ahead)


def ridge_weights(scaled: Floats, lags: tuple[int, ...]) -> Floats:
    """Solves the regressions on the lags; returns `[series, 1 + lags]`, the constant first."""
    count, length = scaled.shape
    rows = length - lags[-1]
    block = max(1, BLOCK_NUMBERS // (rows * len(lags)))
    penalty = RIDGE * rows * np.eye(len(lags) + 1)
    penalty[0, 0] = 1e-9
    weights = np.empty((count, len(lags) + 1))
    places = np.arange(lags[-1], length)[:, None] - np.array(lags)
    for first in range(0, count, block):
        part = scaled[first : first + block]
        design = np.concatenate([np.ones((len(part), rows, 1)), part[:, places]], axis=2)
        turned = design.transpose(0, 2, 1)
        target = part[:, lags[-1] :, None]
        weights[first : first + block] = np.linalg.solve(
            turned @ design + penalty, turned @ target
        )[:, :, 0]
    return weights
