"""What usage would have cost without a change: the proof of a saving.

The model is learnt from the days before: the logarithm of cost at constant prices, explained by
the weekday and the volume, with errors that remember the day before. Prices come from the price
book and volume from what the change does not touch, so both are taken out of the comparison. The
interval holds the uncertainty of the coefficients, of the noise and of its memory.
Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., chapters 7 and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.kernel.money import add_exactly
from services.optimizer.domain.finding import Estimate, rounded
from services.optimizer.domain.statistics import Floats

BEFORE_DAYS_MIN = 14
BEFORE_DAYS_MAX = 84  # longer ago says less about now
AFTER_DAYS_MIN = 7
WEEK = 7
DRAWS = 1000
SEED = 20_260_102
ELASTICITY_SPREAD = 0.1  # how far cost may be from proportional to volume, as known beforehand
MEMORY_MAX = 0.9
PERCENTILES = (5, 50, 95)
VOLUME_SPREAD_MIN = 1e-6
MODEL = "log-linear: weekday, volume, constant prices, AR(1)"


class DayUse(NamedTuple):
    """One day of a scope.

    volume_ratio: of a driver that the change does not touch. price_ratio: 1 is the first day's
    price. weekday: 0 for Monday.
    """

    cost: Decimal
    volume_ratio: float
    price_ratio: float
    weekday: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RealizedSaving:
    """What was saved. realized, counterfactual: with 90 % intervals. error_ratio: MAPE before."""

    realized: Estimate
    counterfactual: Estimate
    actual: Decimal
    volume_effect: float
    price_effect_ratio: float
    error_ratio: float
    model: str = MODEL


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    coefficients: Floats
    covariance: Floats
    variance: float
    memory: float
    freedom: int
    last_residual: float
    error_ratio: float


def measure(before: Sequence[DayUse], after: Sequence[DayUse]) -> RealizedSaving | None:
    """Measures a saving; None while there are too few days with cost before or days after.

    before, after: oldest first, without the days on which the change was made.
    """
    known = [day for day in before if day.cost > 0 and day.volume_ratio > 0][-BEFORE_DAYS_MAX:]
    if len(known) < BEFORE_DAYS_MIN or len(after) < AFTER_DAYS_MIN:
        return None
    fit = _fit(known)
    sums = _futures(fit, known, after)
    low, middle, high = (
        Decimal(str(round(float(v), 12))) for v in np.percentile(sums, PERCENTILES)
    )
    actual = add_exactly(day.cost for day in after)
    return RealizedSaving(
        realized=Estimate(*(rounded(value - actual) for value in (middle, low, high))),
        counterfactual=Estimate(rounded(middle), rounded(low), rounded(high)),
        actual=actual,
        volume_effect=_change(known, after, "volume_ratio"),
        price_effect_ratio=_change(known, after, "price_ratio"),
        error_ratio=fit.error_ratio,
    )


def _design(days: Sequence[DayUse], center: float) -> Floats:
    """Returns the regressors: seven weekdays and the logarithm of volume around its mean."""
    rows = np.zeros((len(days), WEEK + 1))
    for row, day in zip(rows, days, strict=True):
        row[day.weekday] = 1
        row[WEEK] = np.log(max(day.volume_ratio, VOLUME_SPREAD_MIN)) - center
    return rows


def _fit(days: Sequence[DayUse]) -> _Fit:
    weights = np.array([float(day.cost / Decimal(str(day.price_ratio))) for day in days])
    target = np.log(weights)
    center = _center(days)
    design = _design(days, center)
    # Beliefs beforehand, as rows: weekdays shrink to their mean, cost is about proportional to
    # volume. Without them a missing weekday or a constant volume would have no answer.
    noise = float(np.std(np.diff(target, n=1))) + 0.01
    mean = float(target.mean())
    belief = np.eye(WEEK + 1)
    spreads = np.array([0.5] * WEEK + [ELASTICITY_SPREAD]) / noise
    rows = np.vstack([design, belief / spreads[:, None]])
    values = np.concatenate([target - mean, np.array([0.0] * WEEK + [1.0]) / spreads])
    inverse: Floats = np.asarray(np.linalg.inv(rows.T @ rows), dtype=np.float64)
    coefficients: Floats = np.asarray(inverse @ rows.T @ values, dtype=np.float64)
    coefficients[:WEEK] += mean
    residuals = target - design @ coefficients
    freedom = max(len(days) - WEEK - 1, 5)
    memory = _memory(residuals)
    variance = float((residuals**2).sum() / freedom)
    # Errors with memory tell less about the mean than so many independent ones.
    inflated = inverse * (1 + memory) / (1 - memory)
    error = float(np.abs(np.expm1(-residuals)).mean())
    return _Fit(coefficients, inflated, variance, memory, freedom, float(residuals[-1]), error)


def _center(days: Sequence[DayUse]) -> float:
    return float(np.mean([np.log(day.volume_ratio) for day in days]))


def _memory(residuals: Floats) -> float:
    """Returns the correlation of errors with those a day before, its bias for few days mended."""
    count = residuals.size
    power = float((residuals[:-1] ** 2).sum())
    raw = float((residuals[1:] * residuals[:-1]).sum()) / power if power > 0 else 0.0
    return float(np.clip(raw + (1 + 3 * raw) / count, 0.0, MEMORY_MAX))


def _futures(fit: _Fit, before: Sequence[DayUse], after: Sequence[DayUse]) -> NDArray[np.float64]:
    """Returns what the days after would have cost together, in so many drawn worlds."""
    draw = np.random.default_rng(SEED)
    design = _design(after, _center(before))
    scale = fit.variance * fit.freedom / draw.chisquare(fit.freedom, DRAWS)
    shape = np.linalg.cholesky(fit.covariance)
    standard = draw.standard_normal((DRAWS, WEEK + 1))
    drawn = fit.coefficients + np.sqrt(scale)[:, None] * (standard @ shape.T)
    # The memory is uncertain as well: its standard error, about sqrt((1 - m^2) / n).
    spread = np.sqrt((1 - fit.memory**2) / len(before))
    memory = np.clip(fit.memory + spread * draw.standard_normal(DRAWS), 0.0, MEMORY_MAX)
    shocks = draw.standard_normal((DRAWS, len(after)))
    errors = np.zeros((DRAWS, len(after)))
    state = np.full(DRAWS, fit.last_residual)
    step = np.sqrt(scale * (1 - memory**2))
    for index in range(len(after)):
        state = memory * state + step * shocks[:, index]
        errors[:, index] = state
    prices = np.array([day.price_ratio for day in after])
    sums: NDArray[np.float64] = (np.exp(drawn @ design.T + errors) * prices).sum(axis=1)
    return sums


def _change(before: Sequence[DayUse], after: Sequence[DayUse], name: str) -> float:
    first = float(np.mean([getattr(day, name) for day in before]))
    then = float(np.mean([getattr(day, name) for day in after]))
    return then / first - 1 if first > 0 else 0.0
