"""Several seasons taken apart (MSTL) for many series at once, then smoothed and put together.

Every season, shortest first, is the recency-weighted mean of what is left above its own moving
average; two rounds, so that no season keeps what belongs to another. What remains is forecast by
exponential smoothing without seasons.
Source: Bandara, Hyndman & Bergmeir, MSTL (2021). Weighted means stand in for the loess, which
makes it one pass for all series.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.smoothing import smoothed_forecasts
from services.reporting.domain.forecast.theta import centred_average

Floats = NDArray[np.float64]

ROUNDS = 2
# A cycle this many cycles old counts half.
HALF_LIFE_CYCLES = 12.0


def decomposed_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Forecasts from every origin; each decomposition sees only what is before its origin.

    values: `[series, time]`, complete. Returns `[series, origin, horizon]`.
    """
    forecasts = np.empty((len(values), len(origins), horizon))
    for place, origin in enumerate(origins):
        seen = values[:, :origin]
        profiles = seasonal_profiles(seen, seasons)
        adjusted = seen
        ahead = np.zeros((len(values), horizon))
        for season, profile in profiles.items():
            repeated = np.tile(profile, (origin + horizon) // season + 1)
            adjusted = adjusted - repeated[:, :origin]
            ahead = ahead + repeated[:, origin : origin + horizon]
        ahead = ahead + smoothed_forecasts(adjusted, (origin,), horizon, ())[:, 0]
        forecasts[:, place] = ahead
    return forecasts


def seasonal_profiles(values: Floats, seasons: tuple[int, ...]) -> dict[int, Floats]:
    """Returns the profile of every season, `[series, season]`, place 0 at time 0, with sum zero."""
    profiles = {season: np.zeros((len(values), season)) for season in sorted(seasons)}
    for _ in range(ROUNDS):
        for season in profiles:
            left = values
            for other, profile in profiles.items():
                if other != season:
                    repeated = np.tile(profile, values.shape[1] // other + 1)
                    left = left - repeated[:, : values.shape[1]]
            left = left - centred_average(left, season)
            profiles[season] = recent_means(left, season)
    return profiles


def recent_means(values: Floats, season: int) -> Floats:
    """Returns the mean of every place in the season, recent cycles weighing more."""
    cycles = values.shape[1] // season
    start = values.shape[1] - cycles * season
    blocks = values[:, start:].reshape(len(values), cycles, season)
    weights = 0.5 ** (np.arange(cycles)[::-1] / HALF_LIFE_CYCLES)
    means = np.einsum("ncs,c->ns", blocks, weights / weights.sum())
    means = means - means.mean(axis=1, keepdims=True)
    return np.asarray(np.roll(means, start % season, axis=1))
