"""The forecast of one series, with everything that says how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast import accuracy
from services.reporting.domain.forecast.conformal import calibrated

if TYPE_CHECKING:
    from services.reporting.domain.forecast.backtest import Plan
    from services.reporting.domain.forecast.question import ForecastQuestion

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """An interval of every step, `[horizon]`; 0 <= lower <= mean <= upper."""

    level: float
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True)
class BacktestError:
    """How far the model was off in the past.

    smape: in percent. mase: in units of the seasonal naive error. msis: of the widest level.
    coverage: level and the share of later values inside, learnt from earlier origins only; empty
    where there was but one origin.
    """

    smape: float
    mase: float
    msis: float
    coverage: tuple[tuple[float, float], ...]
    origin_count: int


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """A model that was tried and its error in the backtest."""

    model: str
    mase: float


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """Expected values of the steps to come and what they stand on.

    mean: `[horizon]`. paths: possible courses, `[path, horizon]`. error: None for a baseline.
    """

    model: str
    is_baseline: bool
    explanation: str
    mean: Floats
    bands: tuple[Band, ...]
    paths: Floats
    error: BacktestError | None
    alternatives: tuple[ModelTrial, ...]
    history_points: int
    seasons: tuple[int, ...]

    def total(self, level: float) -> tuple[float, float, float]:
        """Returns lower bound, mean and upper bound of the sum over the horizon."""
        mean = float(self.mean.sum())
        sums = self.paths.sum(axis=1)
        low, high = np.quantile(sums, [(1 - level) / 2, (1 + level) / 2])
        return min(float(low), mean), mean, max(float(high), mean)


def backtest_error(
    history: Floats,
    actual: Floats,
    forecast: Floats,
    *,
    plan: Plan,
    question: ForecastQuestion,
) -> BacktestError:
    """Measures forecasts `[origin, step]` against what came; the intervals on the later half."""
    season = min(question.seasons, default=1)
    scale = float(accuracy.naive_error(history[: plan.origins[0]], season))
    if not np.isfinite(scale) or scale <= 0:
        scale = float(np.abs(history).mean()) or 1.0
    half = len(actual) // 2
    covered: list[tuple[float, float]] = []
    score = 0.0
    if half:
        steps = actual.shape[1]
        learnt = calibrated(
            actual[None, :half],
            forecast[None, :half],
            smooth=season,
            horizon=steps,
            samples=plan.samples(season) // 2,
        )
        for level in sorted(question.levels):
            pairs = [learnt.bounds(each[None], level) for each in forecast[half:]]
            lower = np.concatenate([pair[0] for pair in pairs])
            upper = np.concatenate([pair[1] for pair in pairs])
            covered.append((level, accuracy.coverage(actual[half:], lower, upper)))
            score = accuracy.msis(actual[half:], lower, upper, scale=scale, level=level)
    return BacktestError(
        smape=accuracy.smape(actual, forecast),
        mase=accuracy.mase(actual, forecast, scale),
        msis=score,
        coverage=tuple(covered),
        origin_count=len(plan.origins),
    )
