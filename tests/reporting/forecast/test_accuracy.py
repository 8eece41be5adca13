"""The measures reproduce published results, and our forecasts are as good as is claimed."""

from __future__ import annotations

import numpy as np
import pytest

from services.reporting.domain.forecast import accuracy
from tests.support.shared import shared_path
from tools.competition import (
    COMPETITIONS,
    benchmark_scores,
    measured,
    published_benchmarks,
    read_series,
)


def test_measures_of_known_numbers() -> None:
    actual, forecast = np.array([10.0, 0.0, np.nan]), np.array([30.0, 0.0, 5.0])

    assert accuracy.smape(actual, forecast) == pytest.approx(50.0)
    assert accuracy.mase(actual, forecast, 5.0) == pytest.approx(2.0)
    assert accuracy.coverage(actual, np.zeros(3), np.array([9.0, 1, 1])) == pytest.approx(0.5)
    assert accuracy.msis(
        np.array([5.0]), np.array([6.0]), np.array([8.0]), scale=2.0, level=0.95
    ) == pytest.approx((2 + 40 * 1) / 2)


def test_measures_reproduce_the_published_rows_of_m4() -> None:
    folder = shared_path("forecast")

    for method, frequency, smape, mase in published_benchmarks(folder):
        found = benchmark_scores(folder, method, frequency[0].upper())
        assert (round(found[0], 3), round(found[1], 3)) == (smape, mase)


def test_the_naive_row_of_nn5_is_reproduced() -> None:
    series = read_series(shared_path("forecast", "nn5_daily.parquet"))

    errors = []
    for each in series:
        last = each.train[np.isfinite(each.train)][-1]
        scale = float(accuracy.naive_error(each.train, 1))
        errors.append(accuracy.mase(each.test, np.full(56, last), scale))

    assert np.mean(errors) == pytest.approx(1.292, abs=0.02)


def test_daily_cash_is_forecast_as_well_as_promised() -> None:
    series = read_series(shared_path("forecast", "nn5_daily.parquet"))

    scores = measured(COMPETITIONS[0], series)

    assert scores.mase <= 0.85
    assert 0.77 <= scores.coverage[0.8] <= 0.83
    assert 0.93 <= scores.coverage[0.95] <= 0.97


def test_hourly_series_are_forecast_as_well_as_promised() -> None:
    series = read_series(shared_path("forecast", "m4_hourly.parquet"))

    scores = measured(COMPETITIONS[1], series)

    assert scores.mase <= 1.0
    assert scores.coverage[0.95] >= 0.93


def test_monthly_series_are_forecast_as_well_as_promised() -> None:
    series = read_series(shared_path("forecast", "m3_monthly.parquet"))

    assert measured(COMPETITIONS[3], series).smape <= 14.2
