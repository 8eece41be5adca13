"""Makes the forecasts of groups add up to the forecast of their sum.

The sum is forecast on its own, for it is steadier than its parts; the parts keep their shares.
Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from services.reporting.domain.forecast.answer import rounded
from services.reporting.domain.forecast.series_forecast import Band, SeriesForecast


def reconciled(parts: Sequence[SeriesForecast], total: SeriesForecast) -> list[SeriesForecast]:
    """Scales the parts at every step so that they sum to the total; none becomes negative.

    Where all parts expect nothing, they share what the total expects evenly.
    """
    means = np.stack([part.mean for part in parts])
    sums = means.sum(axis=0)
    even = np.full_like(sums, 1 / len(parts)) * total.mean
    factor = np.divide(total.mean, sums, out=np.zeros_like(sums), where=sums > 0)
    scaled = []
    for part in parts:
        mean = np.where(sums > 0, part.mean * factor, even)
        shift = mean - part.mean
        bands = tuple(
            Band(
                band.level,
                np.clip(band.lower + shift, 0, mean),
                np.maximum(band.upper + shift, mean),
            )
            for band in part.bands
        )
        paths = np.maximum(part.paths + shift, 0)
        scaled.append(replace(part, mean=mean, bands=bands, paths=paths))
    return scaled


def rounded_columns(parts: Sequence[SeriesForecast]) -> list[tuple[Decimal, ...]]:
    """Rounds every part's values; the total told is the sum of these, to the last digit."""
    return [tuple(rounded(value) for value in part.mean) for part in parts]


def summed(columns: Sequence[tuple[Decimal, ...]]) -> tuple[Decimal, ...]:
    """Adds the parts up, step by step."""
    return tuple(sum(step, Decimal(0)) for step in zip(*columns, strict=True))
