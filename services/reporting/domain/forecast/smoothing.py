"""Exponential smoothing (ETS) of many series at once, its parameters searched on a grid.

Additive level, damped trend and any number of seasons, in error correction form. All series and
all parameter sets advance together, one time step a NumPy operation, so a thousand series cost
hardly more than one. Run on logarithms it is the multiplicative model.
Source: Hyndman, Koehler, Ord & Snyder, Forecasting with Exponential Smoothing, chapters 2 and 5;
Taylor, Short-term electricity demand forecasting using double seasonal exponential smoothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHAS = (0.02, 0.06, 0.12, 0.2, 0.35, 0.55, 0.8, 0.98)
# Trend smoothing as a share of alpha, with the damping that goes with it; no trend comes first.
TRENDS = ((0.0, 0.0), (0.05, 0.9), (0.05, 0.97), (0.25, 0.9))
GAMMAS = (0.0, 0.03, 0.08, 0.16, 0.3)
# The first seasons start the states and say nothing about the parameters.
WARM_UP_SEASONS = 2
INITIAL_SEASONS = 4
# Times from which the whole horizon is tried when parameters are chosen.
LOOKS = 12


@dataclass(frozen=True, slots=True)
class Parameters:
    """Smoothing parameters; each array broadcasts against `[series, set]`.

    gamma: `[seasons, …]`, one row a season.
    """

    alpha: Floats
    beta: Floats
    phi: Floats
    gamma: Floats

    @classmethod
    def grid(cls, season_count: int) -> Self:
        """Makes every combination of the grids, `[1, set]`."""
        # Two seasons share what one would take alone, so that the grid stays small.
        gammas = GAMMAS if season_count <= 1 else GAMMAS[::2]
        sets = [
            (alpha, alpha * trend[0], trend[1], *gamma)
            for alpha in ALPHAS
            for trend in TRENDS
            for gamma in itertools.product(gammas, repeat=season_count)
        ]
        columns = np.array(sets).T[:, None, :]
        return cls(columns[0], columns[1], columns[2], columns[3:])

    def chosen(self, index: NDArray[np.intp]) -> Self:
        """Takes one set a series: `[1, set]` becomes `[series, 1]`."""
        return type(self)(
            self.alpha[0, index][:, None],
            self.beta[0, index][:, None],
            self.phi[0, index][:, None],
            self.gamma[:, 0, index][:, :, None],
        )


class States:
    """Level, trend and seasons of `[series, set]` smoothers, advanced by one value at a time."""

    def __init__(self, values: Floats, seasons: tuple[int, ...], parameters: Parameters) -> None:
        """Starts the states from the first seasons of `values`, `[series, time]`."""
        self._parameters = parameters
        self._seasons = seasons
        sets = np.broadcast_shapes(parameters.alpha.shape, (len(values), 1))
        head = values[:, : max(seasons, default=1) * INITIAL_SEASONS]
        start = head[:, : max(max(seasons, default=1), 3)].mean(axis=1)
        self.level = np.broadcast_to(start[:, None], sets).copy()
        self.trend = np.zeros(sets)
        self.cycles: list[Floats] = []
        left = head - head.mean(axis=1, keepdims=True)
        for season in seasons:
            cycle = cycle_means(left, season)
            left = left - np.tile(cycle, left.shape[1] // season + 1)[:, : left.shape[1]]
            self.cycles.append(np.repeat(cycle.T[:, :, None], sets[1], axis=2))

    def advance(self, value: Floats, time: int) -> Floats:
        """Takes in the values of one step, `[series, 1]`; returns the errors of the forecasts."""
        parameters = self._parameters
        drift = parameters.phi * self.trend
        expected = self.level + drift
        places = [time % season for season in self._seasons]
        for cycle, place in zip(self.cycles, places, strict=True):
            expected = expected + cycle[place]
        error = value - expected
        self.level = self.level + drift + parameters.alpha * error
        self.trend = drift + parameters.beta * error
        for row, (cycle, place) in enumerate(zip(self.cycles, places, strict=True)):
            cycle[place] += parameters.gamma[row] * error
        return error

    def ahead(self, time: int, horizon: int) -> Floats:
        """Forecasts the steps `time` to `time + horizon - 1`, `[series, set, horizon]`."""
        steps = np.arange(1, horizon + 1)
        damping = np.cumsum(self._parameters.phi[..., None] ** steps, axis=-1)
        forecast = self.level[..., None] + damping * self.trend[..., None]
        for cycle, season in zip(self.cycles, self._seasons, strict=True):
            forecast = forecast + np.moveaxis(cycle[(time + steps - 1) % season], 0, -1)
        return forecast


def cycle_means(values: Floats, season: int) -> Floats:
    """Returns the mean of every place in the season, `[series, season]`, with sum zero."""
    whole = values.shape[1] // season * season
    means = values[:, :whole].reshape(len(values), -1, season).mean(axis=1)
    return np.asarray(means - means.mean(axis=1, keepdims=True))


def smoothed_forecasts(
    values: Floats, origins: tuple[int, ...], horizon: int, seasons: tuple[int, ...]
) -> Floats:
    """Forecasts from every origin, with parameters that saw only what is before the first.

    values: `[series, time]`, complete. origins: ascending, each at most `time`.
    Returns `[series, origin, horizon]`. O(series x sets x time).
    """
    grid = Parameters.grid(len(seasons))
    loss = grid_loss(values[:, : origins[0]], horizon, seasons, grid)
    states = States(values, seasons, grid.chosen(loss.argmin(axis=1)))
    forecasts = np.empty((len(values), len(origins), horizon))
    for time in range(origins[-1] + 1):
        if time in origins:
            forecasts[:, origins.index(time)] = states.ahead(time, horizon)[:, 0]
        if time < origins[-1]:
            states.advance(values[:, time, None], time)
    return forecasts


def grid_loss(values: Floats, horizon: int, seasons: tuple[int, ...], grid: Parameters) -> Floats:
    """Returns how badly every parameter set forecasts the values, `[series, set]`.

    One step ahead and the horizon ahead weigh the same, each relative to the best set.
    """
    length = values.shape[1]
    warm_up = min(max(seasons, default=1) * WARM_UP_SEASONS, length // 3)
    steps = max(1, min(horizon, (length - warm_up) // 3))
    first = max(warm_up, length // 2)
    looks = {round(time) for time in np.linspace(first, max(first, length - steps), LOOKS)}
    states = States(values, seasons, grid)
    near = np.zeros(states.level.shape)
    far = np.zeros(states.level.shape)
    for time in range(length):
        if time in looks and time + steps <= length:
            ahead = np.maximum(states.ahead(time, steps), 0)
            far += np.abs(ahead - values[:, None, time : time + steps]).mean(axis=2)
        error = states.advance(values[:, time, None], time)
        if time >= warm_up:
            # Absolute errors: one outlier must not choose the parameters.
            near += np.abs(error)
    return relative(near) + relative(far)


def relative(loss: Floats) -> Floats:
    """Scales a loss so that the best set of every series has 1."""
    return np.asarray(loss / np.maximum(loss.min(axis=1, keepdims=True), 1e-12))
