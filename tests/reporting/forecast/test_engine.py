"""The forecasting engine keeps its promises on any series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from services.kernel.errors import FieldViolations
from services.reporting.domain.forecast.engine import forecast_all
from services.reporting.domain.forecast.question import MODEL_NAMES, ForecastQuestion

Floats = NDArray[np.float64]
WEEKS = 20


def weekly_series(*, growth: float = 0.0, noise: float = 1.0, days: int = 7 * WEEKS) -> Floats:
    random = np.random.default_rng(7)
    time = np.arange(days)
    week = np.tile([30, 20, 10, 5, 0, -30, -35], days // 7 + 1)[:days]
    return np.asarray(100 + growth * time + week + random.normal(0, noise, days))


@settings(max_examples=25)
@given(
    history=arrays.arrays(
        np.float64,
        st.integers(1, 80),
        elements=st.floats(0, 1e9, allow_nan=False),
    ),
    horizon=st.integers(1, 40),
)
def test_intervals_hold_the_mean_widen_by_level_and_are_never_negative(
    history: NDArray[np.float64], horizon: int
) -> None:
    found = forecast_all([history], ForecastQuestion(horizon=horizon))[0]

    inner, outer = found.bands
    assert found.mean.shape == (horizon,)
    for band in found.bands:
        assert np.all(band.lower >= 0)
        assert np.all(band.lower <= found.mean)
        assert np.all(band.upper >= found.mean)
    slack = 1e-9 * max(float(history.max()), 1.0)
    assert np.all(outer.lower <= inner.lower + slack)
    assert np.all(outer.upper >= inner.upper - slack)


def test_intervals_widen_with_the_horizon() -> None:
    found = forecast_all([weekly_series(noise=5)], ForecastQuestion(horizon=28))[0]

    width = found.bands[1].upper - found.mean
    assert np.all(np.diff(width) >= -1e-9)
    assert width[-1] >= width[0]


def test_a_weekly_course_is_continued() -> None:
    history = weekly_series(noise=0.5)

    found = forecast_all([history[:-14]], ForecastQuestion(horizon=14))[0]

    assert np.abs(found.mean - history[-14:]).mean() < 3
    assert found.error is not None
    assert found.error.mase < 1
    assert found.error.origin_count >= 24
    assert found.seasons == (7,)
    assert [each.mase for each in found.alternatives] == sorted(
        each.mase for each in found.alternatives
    )


@pytest.mark.parametrize("model", [name for name in MODEL_NAMES if name != "auto"])
def test_every_model_can_be_asked_for(model: str) -> None:
    found = forecast_all([weekly_series(growth=0.2)], ForecastQuestion(horizon=7, model=model))[0]

    assert found.model == model
    assert not found.is_baseline
    assert np.all(np.isfinite(found.mean))


def test_a_linear_trend_goes_on_and_an_exponential_one_grows() -> None:
    days = np.arange(140)
    line = np.asarray(50 + 2.0 * days, dtype=np.float64)
    growth = np.asarray(10 * 1.01**days, dtype=np.float64)

    linear = forecast_all([line], ForecastQuestion(horizon=10, model="linear"))[0]
    exponential = forecast_all([growth], ForecastQuestion(horizon=10, model="exponential"))[0]

    assert linear.mean == pytest.approx(50 + 2.0 * np.arange(140, 150), rel=1e-6)
    assert exponential.mean == pytest.approx(10 * 1.01 ** np.arange(140, 150), rel=1e-6)


def test_a_short_history_gets_a_baseline_that_says_so() -> None:
    found = forecast_all([np.array([10.0, 20.0, 30.0])], ForecastQuestion(horizon=5))[0]

    assert found.is_baseline
    assert found.error is None
    assert "only 3 values" in found.explanation
    assert found.mean == pytest.approx(np.full(5, 20.0))


def test_a_flat_history_stays_flat_and_says_so() -> None:
    found = forecast_all([np.full(400, 12.5)], ForecastQuestion(horizon=5))[0]

    assert found.is_baseline
    assert "flat" in found.explanation
    assert found.mean == pytest.approx(np.full(5, 12.5))
    assert found.bands[1].upper == pytest.approx(np.full(5, 12.5))


def test_answers_come_in_the_order_of_the_histories_whatever_their_lengths() -> None:
    lengths = (60, 3, 120, 60)
    histories = [np.full(length, 10.0 * (place + 1)) for place, length in enumerate(lengths)]

    found = forecast_all(histories, ForecastQuestion(horizon=3))

    assert [each.history_points for each in found] == list(lengths)
    assert [each.mean[0] for each in found] == pytest.approx([10.0, 20.0, 30.0, 40.0])


def test_gaps_are_bridged() -> None:
    history = weekly_series(noise=0.1)
    history[50:53] = np.nan

    found = forecast_all([history], ForecastQuestion(horizon=7))[0]

    assert np.all(np.isfinite(found.mean))


def test_the_total_lies_in_its_interval() -> None:
    found = forecast_all([weekly_series(noise=8)], ForecastQuestion(horizon=30))[0]

    lower, mean, upper = found.total(0.95)
    assert lower <= mean <= upper
    assert mean == pytest.approx(found.mean.sum())
    assert upper - lower < (found.bands[1].upper - found.bands[1].lower).sum()


def test_nonsense_is_refused_with_every_field() -> None:
    with pytest.raises(FieldViolations) as caught:
        ForecastQuestion(horizon=0, seasons=(1,), levels=(1.5,), model="oracle")

    assert [field for field, _ in caught.value.violations] == [
        "horizon",
        "seasons",
        "levels",
        "model",
    ]
