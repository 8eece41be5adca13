"""Forecasts many series: models tried on the past, the best taken, intervals from the misses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.backtest import Plan, Trials, plan_for, run_trials
from services.reporting.domain.forecast.baseline import baseline_forecast, baseline_reason
from services.reporting.domain.forecast.choice import (
    Choice,
    choose,
    explanation_of,
    public_error,
)
from services.reporting.domain.forecast.combination import year_effect
from services.reporting.domain.forecast.conformal import Calibration, calibrated
from services.reporting.domain.forecast.models import MODELS, trial_names
from services.reporting.domain.forecast.question import ForecastQuestion
from services.reporting.domain.forecast.series_forecast import (
    Band,
    SeriesForecast,
    backtest_error,
)

Floats = NDArray[np.float64]

# Series at once: the work arrays of a block stay within some hundred megabytes.
BLOCK_SERIES = 200


def forecast_all(histories: Sequence[Floats], question: ForecastQuestion) -> list[SeriesForecast]:
    """Forecasts every history; the answers are in the order of the histories.

    histories: one value a step, oldest first, at least one, not negative; NaN is not known and is
    filled in. 1,000 series of 730 days take seconds.
    """
    answers: dict[int, SeriesForecast] = {}
    by_length: dict[int, list[int]] = defaultdict(list)
    filled = [fill_gaps(np.asarray(history, dtype=np.float64)) for history in histories]
    for place, history in enumerate(filled):
        reason = baseline_reason(history)
        if reason:
            answers[place] = baseline_forecast(history, question, reason)
        else:
            by_length[len(history)].append(place)
    for places in by_length.values():
        for first in range(0, len(places), BLOCK_SERIES):
            block = places[first : first + BLOCK_SERIES]
            values = np.stack([filled[place] for place in block])
            answers.update(zip(block, forecast_block(values, question), strict=True))
    return [answers[place] for place in range(len(filled))]


def fill_gaps(history: Floats) -> Floats:
    """Replaces unknown values by the straight line between their neighbours."""
    known = np.isfinite(history)
    if known.all() or not known.any():
        return np.where(known, history, 0.0)
    places = np.arange(len(history))
    return np.where(known, history, np.interp(places, places[known], history[known]))


def forecast_block(values: Floats, question: ForecastQuestion) -> list[SeriesForecast]:
    """Forecasts series of one length, `[series, time]`, long enough for a backtest."""
    size = np.maximum(np.abs(values).mean(axis=1, keepdims=True), 1e-12)
    scaled = values / size
    length = values.shape[1]
    plan = plan_for(length, question.horizon)
    if plan is None:
        message = f"a history of {length} values has no backtest"
        raise ValueError(message)
    seasons = question.seasons_seen(plan.origins[0])
    names = trial_names(question.model, seasons, plan.origins[0])
    trials = run_trials(scaled, plan, seasons, names)
    effects = yearly(scaled, plan, question)
    choice = choose(trials, plan, question.model, None if effects is None else effects[0])
    ahead = {
        name: np.maximum(MODELS[name](scaled, (length,), question.horizon, seasons)[:, 0], 0)
        for name in choice.needed
    }
    mean = choice.applied(ahead, None if effects is None else effects[1][:, 0])
    radius = max(min(seasons, default=1), plan.horizon // 8)
    calibration = calibrated(
        trials.actual,
        choice.backtest,
        smooth=radius,
        horizon=question.horizon,
        samples=plan.samples(min(question.seasons, default=1)),
    )
    bands = [(level, *calibration.bounds(mean, level)) for level in sorted(question.levels)]
    block = Block(scaled, size[:, 0], plan, seasons, trials, choice, mean, bands, calibration)
    return [block.answer(place, question) for place in range(len(values))]


def yearly(scaled: Floats, plan: Plan, question: ForecastQuestion) -> tuple[Floats, Floats] | None:
    """Returns the effect of last year over the backtest and over the horizon, if it is known."""
    if not question.is_daily or question.model not in ("auto", "combination"):
        return None
    past = year_effect(scaled, plan.origins, plan.horizon)
    ahead = year_effect(scaled, (scaled.shape[1],), question.horizon)
    return None if past is None or ahead is None else (past, ahead)


@dataclass(frozen=True, slots=True)
class Block:
    """Everything computed for series of one length, scaled to a mean of one."""

    scaled: Floats
    size: Floats
    plan: Plan
    seasons: tuple[int, ...]
    trials: Trials
    choice: Choice
    mean: Floats
    bands: list[tuple[float, Floats, Floats]]
    calibration: Calibration

    def answer(self, place: int, question: ForecastQuestion) -> SeriesForecast:
        """Puts together the forecast of one series, in its own unit again."""
        size = self.size[place]
        model = self.choice.model(place)
        error = backtest_error(
            self.scaled[place],
            self.trials.actual[place],
            self.choice.backtest[place],
            plan=self.plan,
            question=question,
        )
        return SeriesForecast(
            model=model,
            is_baseline=False,
            explanation=explanation_of(model, self.choice, place, self.plan),
            mean=self.mean[place] * size,
            bands=tuple(
                Band(level, lower[place] * size, upper[place] * size)
                for level, lower, upper in self.bands
            ),
            paths=self.paths(place) * size,
            error=error,
            alternatives=public_error(self.trials, self.choice, place, error),
            history_points=self.scaled.shape[1],
            seasons=self.seasons,
        )

    def paths(self, place: int) -> Floats:
        """Returns courses of the future `[path, horizon]`: the mean with whole past misses."""
        shape = self.trials.actual.shape[1:]
        misses = self.calibration.misses[place].reshape(shape)
        horizon = self.mean.shape[1]
        repeated = np.tile(misses, (1, -(-horizon // shape[1])))[:, :horizon]
        course = self.mean[place] + repeated * self.calibration.scale[place]
        return np.asarray(np.maximum(course, 0))
