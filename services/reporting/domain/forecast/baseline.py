"""Plain forecasts for histories from which no model can be judged."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.backtest import FIT_POINTS_MIN
from services.reporting.domain.forecast.question import ForecastQuestion
from services.reporting.domain.forecast.series_forecast import Band, SeriesForecast

Floats = NDArray[np.float64]

# Two values to fit no model, and fewer than this to try one on what came after.
HISTORY_POINTS_MIN = FIT_POINTS_MIN + 6
# The mean of the last values, and the share of it that one more value may differ without any
# other knowledge.
LAST_POINTS = 7
PATHS = 40


def baseline_reason(history: Floats) -> str:
    """Says why a history gets the baseline; empty when models can be tried on it."""
    if len(history) < HISTORY_POINTS_MIN:
        return (
            f"only {len(history)} values of history, models need {HISTORY_POINTS_MIN}: "
            f"the mean of the last {min(LAST_POINTS, len(history))}"
        )
    if np.ptp(history) <= 1e-9 * max(abs(float(history.max())), 1e-12):
        return "the history is flat: its constant value"
    return ""


def baseline_forecast(history: Floats, question: ForecastQuestion, reason: str) -> SeriesForecast:
    """Repeats the mean of the last values; bands widen with the square root of the step.

    A single value has no spread, so its bands are as wide as the value itself.
    """
    last = history[-LAST_POINTS:]
    mean = np.full(question.horizon, float(last.mean()))
    spread = float(history.std(ddof=1)) if len(history) > 1 else abs(float(last[0]))
    growth = np.sqrt(1 + np.arange(1, question.horizon + 1) / len(history))
    bands = []
    for level in sorted(question.levels):
        reach = normal_quantile((1 + level) / 2) * spread * growth
        bands.append(Band(level, np.maximum(mean - reach, 0), mean + reach))
    shares = (np.arange(PATHS) + 0.5) / PATHS
    moves = np.array([normal_quantile(float(share)) for share in shares])
    paths = np.maximum(mean + moves[:, None] * spread * growth, 0)
    return SeriesForecast(
        model="mean",
        is_baseline=True,
        explanation=reason,
        mean=mean,
        bands=tuple(bands),
        paths=paths,
        error=None,
        alternatives=(),
        history_points=len(history),
        seasons=(),
    )


def normal_quantile(share: float) -> float:
    """Returns the quantile of the standard normal distribution at `share` in (0, 1)."""
    return NormalDist().inv_cdf(share)
