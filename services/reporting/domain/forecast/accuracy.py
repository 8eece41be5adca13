"""The error measures by which forecasts are judged, as the M4 competition defines them.

Source: Makridakis, Spiliotis & Assimakopoulos, The M4 Competition, IJF 36 (2020), section 2.
Actual values that are missing (NaN) are left out of every mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def smape(actual: Floats, forecast: Floats) -> float:
    """Returns the symmetric mean absolute percentage error, in percent, 0 to 200.

    Two zeros are no error.
    """
    scale = np.abs(actual) + np.abs(forecast)
    error = np.abs(actual - forecast)
    ratio = np.divide(error, scale, out=np.zeros_like(error), where=scale != 0)
    return float(200 * np.nanmean(np.where(np.isnan(actual), np.nan, ratio)))


def naive_error(history: Floats, season: int) -> Floats:
    """Returns the mean absolute change over one season in the last axis; NaN where there is none.

    It is the scale of MASE and MSIS, taken from the training part alone.
    """
    change = np.abs(history[..., season:] - history[..., :-season])
    seen = np.isfinite(change)
    total = np.where(seen, change, 0.0).sum(axis=-1)
    count = seen.sum(axis=-1)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.asarray(mean)


def mase(actual: Floats, forecast: Floats, scale: float) -> float:
    """Returns the mean absolute error in units of `scale`, as `naive_error` gives it."""
    return float(np.nanmean(np.abs(actual - forecast)) / scale)


def msis(actual: Floats, lower: Floats, upper: Floats, *, scale: float, level: float) -> float:
    """Returns the mean scaled interval score of a `level` interval: width plus misses."""
    alpha = 1 - level
    below = 2 / alpha * np.maximum(lower - actual, 0)
    above = 2 / alpha * np.maximum(actual - upper, 0)
    return float(np.nanmean(upper - lower + below + above) / scale)


def coverage(actual: Floats, lower: Floats, upper: Floats) -> float:
    """Returns the share of actual values within `[lower, upper]`."""
    inside = (lower <= actual) & (actual <= upper)
    return float(inside[np.isfinite(actual)].mean())
