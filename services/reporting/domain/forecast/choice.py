"""Chooses the model of every series by its error in the backtest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.backtest import Plan, Trials
from services.reporting.domain.forecast.combination import (
    combination_weights,
    combined,
)
from services.reporting.domain.forecast.series_forecast import BacktestError, ModelTrial

Floats = NDArray[np.float64]

COMBINATION = "combination"
# A single model must be this much better than the combination, for it was chosen among many.
MARGIN = 0.7
# Orders of one model, of which only the best is spoken of.
FAMILIES = {"arima_difference": "arima", "arima_seasonal": "arima"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for each series of a block.

    names: chosen model, `combination` or one that was tried. weights: of the combination.
    backtest: what the choice would have said, `[series, origin, horizon]`.
    with_year: series to which last year's course is added.
    """

    names: tuple[str, ...]
    weights: dict[str, Floats]
    backtest: Floats
    with_year: NDArray[np.bool_]

    @property
    def needed(self) -> tuple[str, ...]:
        """Models whose forecasts the choice is made of."""
        single = {name for name in self.names if name != COMBINATION}
        mixed = set(self.weights) if COMBINATION in self.names else set()
        return tuple(sorted(single | mixed))

    def model(self, place: int) -> str:
        """Names the model of one series as callers know it."""
        return FAMILIES.get(self.names[place], self.names[place])

    def applied(self, ahead: dict[str, Floats], year: Floats | None) -> Floats:
        """Makes the forecast `[series, horizon]` from those of the models."""
        return taken(self.names, ahead, self.weights, year, self.with_year)


def choose(trials: Trials, plan: Plan, model: str, year: Floats | None) -> Choice:
    """Chooses by mean absolute error over all origins and steps.

    model: `auto`, `combination`, or a family of which the best member is taken.
    year: effect of last year over the backtest, tried with the combination.
    """
    errors = {
        name: error
        for name, error in trials.errors().items()
        if model in ("auto", COMBINATION) or FAMILIES.get(name, name) == model
    }
    stacked = np.stack(list(errors.values()))
    best = [list(errors)[row] for row in stacked.argmin(axis=0)]
    count = stacked.shape[1]
    nothing = np.zeros(count, dtype=bool)
    if model not in ("auto", COMBINATION):
        chosen = tuple(best)
        backtest = taken(chosen, trials.forecasts, {}, None, nothing)
        return Choice(chosen, {}, backtest, nothing)
    weights = combination_weights(trials, plan)
    mixture = combined(trials.forecasts, weights)
    mixed_error = np.abs(mixture - trials.actual).mean(axis=(1, 2))
    with_year = nothing
    if year is not None:
        bent = np.maximum(mixture + year, 0)
        bent_error = np.abs(bent - trials.actual).mean(axis=(1, 2))
        with_year = bent_error < mixed_error
        mixed_error = np.minimum(mixed_error, bent_error)
    is_single = (stacked.min(axis=0) < MARGIN * mixed_error) & (model == "auto")
    chosen = tuple(best[place] if is_single[place] else COMBINATION for place in range(count))
    with_year = with_year & ~is_single
    backtest = taken(chosen, trials.forecasts, weights, year, with_year)
    return Choice(chosen, weights, backtest, with_year)


def taken(
    names: tuple[str, ...],
    forecasts: dict[str, Floats],
    weights: dict[str, Floats],
    year: Floats | None,
    with_year: NDArray[np.bool_],
) -> Floats:
    """Takes for every series the forecast of its model, `[series, …]`."""
    result = np.zeros_like(next(iter(forecasts.values())))
    chosen = np.array(names)
    for name in sorted(set(names)):
        rows = chosen == name
        mixed = combined(forecasts, weights) if name == COMBINATION else forecasts[name]
        result[rows] = mixed[rows]
    if year is not None:
        result[with_year] = np.maximum(result[with_year] + year[with_year], 0)
    return result


def public_error(
    trials: Trials, choice: Choice, place: int, chosen: BacktestError
) -> tuple[ModelTrial, ...]:
    """Lists what was tried for one series, best first; of a family only its best member."""
    mine = float(np.abs(choice.backtest[place] - trials.actual[place]).mean())
    found: dict[str, float] = {}
    for name, error in trials.errors_of(place).items():
        family = FAMILIES.get(name, name)
        found[family] = min(error, found.get(family, np.inf))
    found[choice.model(place)] = mine
    ratio = chosen.mase / mine if mine > 0 else 0.0
    tried = [ModelTrial(name, error * ratio) for name, error in found.items()]
    return tuple(sorted(tried, key=lambda each: (each.mase, each.model)))


def explanation_of(model: str, choice: Choice, place: int, plan: Plan) -> str:
    """Says in one sentence why this model."""
    origins = f"{len(plan.origins)} past origins, {plan.horizon} steps ahead"
    if model != "combination":
        return f"{model} had the least error over {origins}"
    weights = {name: weight[place] for name, weight in choice.weights.items()}
    heaviest = sorted(weights, key=lambda name: -weights[name])[:3]
    parts = ", ".join(f"{name} {weights[name]:.0%}" for name in heaviest)
    year = ", with a third of last year's course" if choice.with_year[place] else ""
    return f"models weighted by their error over {origins}: {parts}{year}"
