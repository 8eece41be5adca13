"""Rolling origins: what every model would have said in the past, and what came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.models import MODELS

Floats = NDArray[np.float64]

# Origins cost little, for a model is fitted once for all of them. A short horizon takes more of
# them, so that there are some 200 misses to learn from.
ORIGINS = 24
ORIGINS_MAX = 60
MISSES_ENOUGH = 200
# The first origin keeps at least this share of the history for the fit.
FIT_SHARE = 0.6
FIT_POINTS_MIN = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """From where the past is forecast, and how far.

    origins: ascending indices of the first step forecast. horizon: steps from each.
    """

    origins: tuple[int, ...]
    horizon: int

    def samples(self, season: int) -> int:
        """Counts misses that are independent: those of one season, or horizon, go together."""
        span = self.origins[-1] + self.horizon - self.origins[0]
        return max(1, span // max(1, min(season, self.horizon)))


def plan_for(length: int, horizon: int) -> Plan | None:
    """Lays out the origins of a history of `length` values; None where it is too short.

    Where the whole horizon does not fit, a shorter one is tried.
    """
    fit = max(FIT_POINTS_MIN, int(length * FIT_SHARE))
    steps = min(horizon, length - fit)
    if steps < 1:
        return None
    first, last = fit, length - steps
    wanted = max(ORIGINS, min(ORIGINS_MAX, MISSES_ENOUGH // steps))
    count = min(wanted, last - first + 1)
    origins = sorted({round(place) for place in np.linspace(first, last, count)})
    return Plan(tuple(origins), steps)


@dataclass(frozen=True, slots=True)
class Trials:
    """What each model forecast over the plan.

    forecasts: model -> `[series, origin, horizon]`. actual: the same shape.
    """

    forecasts: dict[str, Floats]
    actual: Floats

    def errors(self) -> dict[str, Floats]:
        """Returns the mean absolute error of every model, `[series]`."""
        return {
            name: np.abs(forecast - self.actual).mean(axis=(1, 2))
            for name, forecast in self.forecasts.items()
        }

    def errors_of(self, place: int) -> dict[str, float]:
        """Returns the mean absolute error of every model for one series."""
        return {
            name: float(np.abs(forecast[place] - self.actual[place]).mean())
            for name, forecast in self.forecasts.items()
        }


def run_trials(
    values: Floats, plan: Plan, seasons: tuple[int, ...], names: tuple[str, ...]
) -> Trials:
    """Forecasts from all origins with each named model; forecasts are never negative."""
    reach = np.array(plan.origins)[:, None] + np.arange(plan.horizon)
    forecasts = {
        name: np.maximum(MODELS[name](values, plan.origins, plan.horizon, seasons), 0)
        for name in names
    }
    return Trials(forecasts, values[:, reach])
