"""Forecasts the series of forecasting competitions, to be compared with published results."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.reporting.domain.forecast import accuracy
from services.reporting.domain.forecast.engine import forecast_all
from services.reporting.domain.forecast.question import ForecastQuestion

Floats = NDArray[np.float64]
LEVELS = (0.8, 0.95)


@dataclass(frozen=True, slots=True)
class Competition:
    """A set of series. season: of MASE and MSIS; seasons: that the models may use."""

    name: str
    horizon: int
    season: int
    seasons: tuple[int, ...]
    is_daily: bool = False


COMPETITIONS = (
    Competition("nn5_daily", 56, 7, (7,), is_daily=True),
    Competition("m4_hourly", 48, 24, (24, 168)),
    Competition("m4_weekly", 13, 1, (52,)),
    Competition("m3_monthly", 18, 12, (12,)),
)


@dataclass(frozen=True, slots=True)
class CompetitionSeries:
    """A series and what came after it; NaN is not known."""

    series_id: str
    train: Floats
    test: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over all series of a set. coverage, msis: by level."""

    series: int
    smape: float
    mase: float
    coverage: dict[float, float]
    msis: dict[float, float]


def read_series(path: Path) -> list[CompetitionSeries]:
    """Reads a file with the columns series_id, part, t and value."""
    columns = pq.read_table(path).to_pydict()
    parts: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for series_id, part, step, value in zip(
        columns["series_id"], columns["part"], columns["t"], columns["value"], strict=True
    ):
        parts[series_id][part].append((step, np.nan if value is None else value))
    return [
        CompetitionSeries(
            series_id,
            np.array([value for _, value in sorted(found["train"])]),
            np.array([value for _, value in sorted(found["test"])]),
        )
        for series_id, found in parts.items()
    ]


def measured(competition: Competition, series: list[CompetitionSeries]) -> Scores:
    """Forecasts the test part of every series from its training part, and scores it."""
    question = ForecastQuestion(
        horizon=competition.horizon,
        seasons=competition.seasons,
        levels=LEVELS,
        is_daily=competition.is_daily,
    )
    forecasts = forecast_all([each.train for each in series], question)
    rows = []
    for each, found in zip(series, forecasts, strict=True):
        scale = float(accuracy.naive_error(each.train, competition.season))
        row = [accuracy.smape(each.test, found.mean), accuracy.mase(each.test, found.mean, scale)]
        for band in found.bands:
            row.append(accuracy.coverage(each.test, band.lower, band.upper))
            row.append(
                accuracy.msis(each.test, band.lower, band.upper, scale=scale, level=band.level)
            )
        rows.append(row)
    means = np.array(rows).mean(axis=0)
    return Scores(
        series=len(series),
        smape=float(means[0]),
        mase=float(means[1]),
        coverage={level: float(means[2 + 2 * place]) for place, level in enumerate(LEVELS)},
        msis={level: float(means[3 + 2 * place]) for place, level in enumerate(LEVELS)},
    )


def benchmark_scores(folder: Path, method: str, letter: str) -> tuple[float, float]:
    """Scores a published M4 forecast: sMAPE and MASE. letter: `H` hourly or `W` weekly.

    It must give the published rows, or the measures are wrong.
    """
    competition = COMPETITIONS[1] if letter == "H" else COMPETITIONS[2]
    series = {each.series_id: each for each in read_series(folder / f"{competition.name}.parquet")}
    table = pq.read_table(folder / "m4_published_benchmark_forecasts.parquet").to_pydict()
    steps: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, series_id, step, value in zip(
        table["method"], table["series_id"], table["step"], table["forecast"], strict=True
    ):
        if name == method and series_id in series:
            steps[series_id].append((step, value))
    rows = []
    for series_id, found in steps.items():
        forecast = np.array([value for _, value in sorted(found)])
        each = series[series_id]
        scale = float(accuracy.naive_error(each.train, competition.season))
        rows.append(
            (accuracy.smape(each.test, forecast), accuracy.mase(each.test, forecast, scale))
        )
    smape, mase = np.mean(rows, axis=0)
    return float(smape), float(mase)


def published_benchmarks(folder: Path) -> list[tuple[str, str, float, float]]:
    """Reads method, frequency, sMAPE and MASE as they were published for these series."""
    path = folder / "m4_published_benchmarks_shared_half.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return [
            (row["method"], row["frequency"], float(row["smape"]), float(row["mase"]))
            for row in csv.DictReader(file)
        ]
