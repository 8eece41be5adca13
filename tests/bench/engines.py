"""How fast the engines of reporting are by themselves: forecasts and anomalies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from services.reporting.domain.anomaly.detector import Detector
from services.reporting.domain.forecast.engine import forecast_all
from services.reporting.domain.forecast.question import ForecastQuestion
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack

SERIES = 1_000
DAYS = 730
HORIZON_DAYS = 90
POINTS = 200_000


def bench_engines(_: BenchStack) -> Iterator[Figure]:
    """Measures one processor; the stack beside it is idle."""
    random = np.random.default_rng(1)
    days = np.arange(DAYS)
    week = 1 + 0.2 * np.sin(days / 7 * 2 * np.pi)
    histories = [
        np.maximum(0, random.uniform(10, 5_000) * (week + random.normal(0, 0.1, DAYS)))
        for _ in range(SERIES)
    ]
    began = time.perf_counter()
    found = forecast_all(histories, ForecastQuestion(horizon=HORIZON_DAYS, is_daily=True))
    seconds = time.perf_counter() - began
    yield Figure("forecast_1000_series_seconds", seconds, "s", len(found))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in range(POINTS)]
    values = [float(value) for value in random.normal(100, 5, POINTS)]
    detector = Detector()
    began = time.perf_counter()
    for moment, value in zip(times, values, strict=True):
        detector.judge(moment, value)
    rate = POINTS / (time.perf_counter() - began)
    yield Figure("anomaly_points_per_second", rate, "points/s", POINTS)
