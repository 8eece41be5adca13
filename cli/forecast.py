"""`finops forecast`: forecasts cost, or any series of a CSV file by the same engine."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from finops.reporting.v1.reporting_messages_pb2 import ForecastRequest

from cli.connection import open_connection
from cli.errors import UsageError
from cli.forecast_output import show_forecast
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Tenant, Url
from cli.output import Format, Output
from cli.series_file import Row, next_times, read_rows
from services.kernel.errors import InvalidArgument
from services.reporting.domain.forecast.engine import forecast_all
from services.reporting.domain.forecast.question import SEASONS, ForecastQuestion
from services.reporting.domain.forecast.series_forecast import SeriesForecast

app = typer.Typer()
HOURS_IN_DAY = 24
COLUMNS = ("group", "time", "mean", "lo80", "hi80", "lo95", "hi95")


class FileFormat(StrEnum):
    """How the forecast of a file is written."""

    CSV = "csv"
    JSON = "json"


@app.command()
def forecast(
    path: Annotated[
        Path | None,
        typer.Option("--csv", help="File with the series. [default: the suite's cost]"),
    ] = None,
    time: Annotated[str, typer.Option("--time", help="Column of times.")] = "",
    value: Annotated[str, typer.Option("--value", help="Column of values.")] = "",
    *,
    horizon: Annotated[
        int, typer.Option("--horizon", help="Steps of a file, days of cost, to look ahead.", min=1)
    ] = 30,
    season: Annotated[
        str, typer.Option("--season", help="Steps in a season; two with a comma; 1 for none.")
    ] = "",
    group: Annotated[str | None, typer.Option("--group", help="Column that names series.")] = None,
    model: Annotated[str, typer.Option("--model", help="Model, or auto.")] = "auto",
    group_by: Annotated[
        list[str] | None, typer.Option("--group-by", "-g", help="Dimension of cost.")
    ] = None,
    filter_text: Filter = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: Annotated[
        Format | None, typer.Option("--format", help="table, csv or json. [default: csv of a file]")
    ] = None,
) -> None:
    """Forecasts cost, or without a server every series of a file, with 80 and 95 % intervals."""
    if path is not None:
        if not time or not value:
            raise UsageError("Say which columns of the file hold what: --time COL --value COL")
        file_format = FileFormat.JSON if form is Format.JSON else FileFormat.CSV
        _forecast_file(path, time, value, group, horizon, season, model, file_format)
        return
    if time or value or group or season:
        raise UsageError("--time, --value, --group and --season go with --csv FILE")
    with open_connection(data_dir, url, tenant) as connection:
        request = ForecastRequest(
            tenant_id=connection.tenant,
            horizon_days=horizon,
            group_by=group_by or [],
            filter=filter_text,
            model=model,
        )
        answer = connection.client.forecasts.Forecast(request)
    show_forecast(answer, Output(form or Format.TABLE))


def _forecast_file(  # noqa: PLR0917 - the options of the command, as they came
    path: Path,
    time: str,
    value: str,
    group: str | None,
    horizon: int,
    season: str,
    model: str,
    file_format: FileFormat,
) -> None:
    series: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(path, time_column=time, value_column=value, group_column=group):
        series[row.group].append(row)
    if not series:
        raise UsageError(f"{path} holds no row")
    for rows in series.values():
        rows.sort(key=lambda row: row.time)
    seasons = read_seasons(season) if season else guessed_seasons(next(iter(series.values())))
    try:
        question = ForecastQuestion(
            horizon=horizon, seasons=seasons, model=model, is_daily=seasons == SEASONS["day"]
        )
    except InvalidArgument as error:
        raise UsageError(error.message) from error
    histories = [np.array([row.value for row in rows]) for rows in series.values()]
    forecasts = dict(zip(series, forecast_all(histories, question), strict=True))
    if file_format is FileFormat.CSV:
        write_csv(series, forecasts)
    else:
        write_json(series, forecasts)


def read_seasons(text: str) -> tuple[int, ...]:
    """Reads `7` or `24,168`; a season of one step is none."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise UsageError(f"--season is one or two whole numbers, not {text}") from error
    if found[0] < 1:
        raise UsageError("--season must be 1 or more")
    return tuple(each for each in found if each > 1)


def guessed_seasons(rows: list[Row]) -> tuple[int, ...]:
    """Chooses the seasons that go with the distance of the times."""
    gaps = sorted((after.time - before.time).total_seconds() for before, after in pairwise(rows))
    hours = gaps[len(gaps) // 2] / 3600 if gaps else HOURS_IN_DAY
    steps = {1: "hour", 24: "day", 168: "week"}
    nearest = steps.get(round(hours))
    if nearest is None and 28 * HOURS_IN_DAY <= hours <= 31 * HOURS_IN_DAY:
        nearest = "month"
    return SEASONS[nearest] if nearest else ()


def write_csv(series: dict[str, list[Row]], forecasts: dict[str, SeriesForecast]) -> None:
    """Writes a row for each step of each series."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group, found in forecasts.items():
        inner, outer = found.bands
        columns = (found.mean, inner.lower, inner.upper, outer.lower, outer.upper)
        for step, time in enumerate(next_times(series[group], len(found.mean))):
            writer.writerow([group, time, *(f"{column[step]:.10g}" for column in columns)])


def write_json(series: dict[str, list[Row]], forecasts: dict[str, SeriesForecast]) -> None:
    """Writes everything the forecast says about itself."""
    document = [
        {
            "group": group,
            "model": found.model,
            "baseline": found.is_baseline,
            "explanation": found.explanation,
            "historyPoints": found.history_points,
            "historyStart": series[group][0].time_text,
            "historyEnd": series[group][-1].time_text,
            "seasons": list(found.seasons),
            "backtestError": error_of(found),
            "alternatives": [
                {"model": each.model, "mase": finite(each.mase)} for each in found.alternatives
            ],
            "points": [
                {
                    "time": time,
                    "mean": float(found.mean[step]),
                    "bands": [
                        {
                            "level": band.level,
                            "lower": float(band.lower[step]),
                            "upper": float(band.upper[step]),
                        }
                        for band in found.bands
                    ],
                }
                for step, time in enumerate(next_times(series[group], len(found.mean)))
            ],
        }
        for group, found in forecasts.items()
    ]
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def error_of(found: SeriesForecast) -> dict[str, object] | None:
    """Returns the backtest error; None for a baseline."""
    if found.error is None:
        return None
    return {
        "smape": finite(found.error.smape),
        "mase": finite(found.error.mase),
        "msis": finite(found.error.msis),
        "origins": found.error.origin_count,
        "coverage": [{"level": level, "share": share} for level, share in found.error.coverage],
    }


def finite(value: float) -> float | None:
    """Returns the number; None for one that JSON does not know."""
    return value if math.isfinite(value) else None
