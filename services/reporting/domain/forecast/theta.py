"""The Theta method for many series at once.

The series, seasonally adjusted, is forecast by simple exponential smoothing plus half the slope of
its straight line.
Source: Assimakopoulos & Nikolopoulos, The theta model, IJF 16 (2000); in this form Hyndman &
Billah, Unmasking the Theta method, IJF 19 (2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHAS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])


def theta_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Forecasts from every origin; season and smoothing saw only what is before the first.

    values: `[series, time]`, complete. Returns `[series, origin, horizon]`.
    """
    factors, additions = seasonal_profile(values[:, : origins[0]], seasons)
    period = factors.shape[1]
    repeats = (values.shape[1] + horizon) // period + 1
    factors = np.tile(factors, repeats)
    additions = np.tile(additions, repeats)
    length = values.shape[1]
    adjusted = (values - additions[:, :length]) / factors[:, :length]
    levels, alphas = smoothed_levels(adjusted, origins)
    forecasts = np.empty((len(values), len(origins), horizon))
    steps = np.arange(horizon)
    for place, origin in enumerate(origins):
        time = np.arange(origin)
        centred = time - time.mean()
        slope = (adjusted[:, :origin] @ centred) / max(float((centred**2).sum()), 1.0)
        memory = (1 - (1 - alphas) ** origin) / alphas
        drift = slope[:, None] / 2 * (steps + memory[:, None])
        ahead = levels[:, place, None] + drift
        season = slice(origin, origin + horizon)
        forecasts[:, place] = ahead * factors[:, season] + additions[:, season]
    return forecasts


def smoothed_levels(adjusted: Floats, origins: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Smooths with the alpha of least squared error; returns levels at the origins and alphas."""
    level = np.repeat(adjusted[:, :1], len(ALPHAS), axis=1)
    loss = np.zeros_like(level)
    levels = np.empty((len(adjusted), len(origins), len(ALPHAS)))
    for time in range(origins[-1]):
        if time in origins:
            levels[:, origins.index(time)] = level
        error = adjusted[:, time, None] - level
        if time < origins[0]:
            loss += error**2
        level = level + ALPHAS * error
    levels[:, -1] = level
    best = loss.argmin(axis=1)
    return levels[np.arange(len(adjusted)), :, best], ALPHAS[best]


def seasonal_profile(values: Floats, seasons: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Returns factors and additions of one period, `[series, period]`, of the longest season.

    Series that are always positive get factors (with additions 0), others additions (factors 1);
    series whose season is not significant get neither.
    """
    season = max(seasons, default=1)
    factors = np.ones((len(values), season))
    additions = np.zeros((len(values), season))
    if season == 1 or values.shape[1] < 2 * season:
        return factors, additions
    trend = centred_average(values, season)
    positive = (values.min(axis=1) > 0.05 * values.mean(axis=1)) & (trend.min(axis=1) > 0)
    seasonal = is_seasonal(values, season)
    safe = np.where(positive[:, None], trend, 1.0)
    ratio = place_means(values / safe, season)
    middle = ratio.mean(axis=1, keepdims=True)
    ratio = ratio / np.where(positive[:, None], middle, 1.0)
    offset = place_means(values - trend, season)
    offset = offset - offset.mean(axis=1, keepdims=True)
    factors = np.where((seasonal & positive)[:, None], np.maximum(ratio, 0.01), factors)
    additions = np.where((seasonal & ~positive)[:, None], offset, additions)
    return factors, additions


def centred_average(values: Floats, season: int) -> Floats:
    """Returns the moving average over one season, held constant at both ends."""
    weights = np.ones(season) / season
    if season % 2 == 0:
        weights = np.concatenate([[0.5], np.ones(season - 1), [0.5]]) / season
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    width = len(weights)
    inner = (total[:, width:] - total[:, :-width]) * weights[len(weights) // 2]
    if season % 2 == 0:
        inner = inner - (values[:, : -width + 1] + values[:, width - 1 :]) * weights[0]
    before = (values.shape[1] - inner.shape[1]) // 2
    after = values.shape[1] - inner.shape[1] - before
    return np.pad(inner, ((0, 0), (before, after)), mode="edge")


def place_means(values: Floats, season: int) -> Floats:
    """Returns the mean of every place in the season, `[series, season]`."""
    missing = -values.shape[1] % season
    padded = np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)
    return np.asarray(np.nanmean(padded.reshape(len(values), -1, season), axis=1))


def is_seasonal(values: Floats, season: int) -> NDArray[np.bool_]:
    """Tells whether the autocorrelation at the season is significant at 90 %, as M4 tests it."""
    centred = values - values.mean(axis=1, keepdims=True)
    variance = np.maximum((centred**2).sum(axis=1), 1e-300)
    correlation = np.stack(
        [
            (centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / variance
            for lag in range(1, season + 1)
        ],
        axis=1,
    )
    limit = 1.645 * np.sqrt((1 + 2 * (correlation[:, :-1] ** 2).sum(axis=1)) / values.shape[1])
    return np.asarray(correlation[:, -1] > limit)
