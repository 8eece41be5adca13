"""Intervals from what forecasts missed in the backtest, never from a model's own assumption.

Misses are divided by a scale that grows with the step, so that all steps tell about the shape;
their quantiles, times the scale, are the interval.
Source: split conformal prediction, Vovk, Gammerman & Shafer, Algorithmic Learning in a Random
World; rolling origins as calibration set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Below this many independent samples the tails are not known: misses are taken as twice as likely.
SAMPLES_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far forecasts of some series missed.

    scale: `[series, horizon]`, never falling. misses: scaled, `[series, sample]`, signed.
    samples: how many misses count as independent.
    """

    scale: Floats
    misses: Floats
    samples: int

    def bounds(self, mean: Floats, level: float) -> tuple[Floats, Floats]:
        """Returns the interval around `mean` `[series, horizon]`; never below zero.

        It is symmetric before it is cut at zero: on which side a few windows missed is chance.
        """
        missed = (1 - level) * (0.5 if self.samples < SAMPLES_ENOUGH else 1.0)
        reach = np.quantile(np.abs(self.misses), 1 - missed, axis=1)[:, None] * self.scale
        return np.clip(mean - reach, 0, mean), mean + reach


def calibrated(
    actual: Floats, forecast: Floats, *, smooth: int, horizon: int, samples: int
) -> Calibration:
    """Learns from backtest windows `[series, origin, step]` for a horizon that may be longer.

    smooth: steps around each whose misses its scale is the mean of, a season say.
    samples: how many of the misses count as independent.
    """
    misses = actual - forecast
    steps = misses.shape[2]
    scale = smoothed(np.abs(misses).mean(axis=1), smooth)
    scale = np.maximum.accumulate(scale, axis=1)
    floor = 1e-9 * np.maximum(np.abs(actual).mean(axis=(1, 2)), 1e-9)
    scale = np.maximum(scale, floor[:, None])
    scaled = (misses / scale[:, None, :]).reshape(len(misses), -1)
    if horizon > steps:
        # Beyond what could be tried, errors add up like those of independent steps.
        growth = np.sqrt(np.arange(steps + 1, horizon + 1) / steps)
        scale = np.concatenate([scale, scale[:, -1:] * growth], axis=1)
    return Calibration(scale[:, :horizon], scaled, samples)


def smoothed(values: Floats, radius: int) -> Floats:
    """Returns the mean over `radius` steps to both sides, fewer at the ends."""
    length = values.shape[1]
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    place = np.arange(length)
    first = np.maximum(place - radius, 0)
    last = np.minimum(place + radius + 1, length)
    return np.asarray((total[:, last] - total[:, first]) / (last - first))
