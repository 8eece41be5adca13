"""A forecast as it is told: decimals that add up, scenarios, outlook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from services.kernel.period import Period
from services.reporting.domain.forecast.series_forecast import SeriesForecast

Floats = NDArray[np.float64]

# Digits behind the point: below, a forecast says nothing.
DIGITS = Decimal("0.000001")


def rounded(value: float) -> Decimal:
    """Returns the decimal that is told for a computed value."""
    return Decimal(repr(float(value))).quantize(DIGITS)


@dataclass(frozen=True, slots=True)
class ToldBand:
    """An interval of every step."""

    level: Decimal
    lower: tuple[Decimal, ...]
    upper: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class ToldSeries:
    """The forecast of one group. total: lower bound, sum and upper bound over the horizon."""

    group: tuple[tuple[str, str], ...]
    values: tuple[Decimal, ...]
    bands: tuple[ToldBand, ...]
    total: tuple[Decimal, Decimal, Decimal]
    total_level: Decimal
    source: SeriesForecast


@dataclass(frozen=True, slots=True)
class Scenario:
    """One course of the future: `best`, `likely` or `worst`."""

    kind: str
    amount: Decimal
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetOutlook:
    """Where a budget is heading. Instants are None where not expected within the horizon."""

    budget_id: str
    limit: Decimal
    currency_code: str
    runway_at: datetime | None
    breach_at: datetime | None
    breach_window: Period | None
    breach_probability: Decimal


@dataclass(frozen=True, slots=True)
class ForecastAnswer:
    """Everything that Forecast tells. unit: of a quantity; currency_code: of a cost."""

    starts: tuple[datetime, ...]
    series: tuple[ToldSeries, ...]
    total: ToldSeries
    scenarios: tuple[Scenario, ...]
    budget: BudgetOutlook | None
    history: Period
    horizon: Period
    measure: str
    currency_code: str
    unit: str
    sequence: str
    fitted_at: datetime
    season_names: tuple[tuple[int, str], ...]


def told(
    group: tuple[tuple[str, str], ...],
    source: SeriesForecast,
    levels: tuple[Decimal, ...],
    values: tuple[Decimal, ...] | None = None,
) -> ToldSeries:
    """Tells a computed forecast. values: where sums of others decide, instead of its own mean."""
    means = values if values is not None else tuple(rounded(value) for value in source.mean)
    bands = []
    for level, band in zip(sorted(levels), source.bands, strict=True):
        lower = tuple(min(rounded(low), mean) for low, mean in zip(band.lower, means, strict=True))
        upper = tuple(
            max(rounded(high), mean) for high, mean in zip(band.upper, means, strict=True)
        )
        bands.append(ToldBand(level, lower, upper))
    widest = max(levels)
    low, _, high = source.total(float(widest))
    amount = sum(means, Decimal(0))
    total = (min(rounded(low), amount), amount, max(rounded(high), amount))
    return ToldSeries(group, means, tuple(bands), total, widest, source)
