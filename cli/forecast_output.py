"""Shows what the reporting service forecasts, and how far to trust it."""

from __future__ import annotations

from finops.reporting.v1.forecast_model_pb2 import ForecastSeries
from finops.reporting.v1.reporting_messages_pb2 import ForecastResponse

from cli.output import Format, Output
from cli.recommendation_output import interval_text, money_text
from cli.times import utc_text

_SUMMARY = ("group", "expected", "model", "mase", "history", "explanation")
_POINTS = ("group", "time", "expected", "ratio", "lower", "upper")


def show_forecast(answer: ForecastResponse, output: Output) -> None:
    """Shows each group's total in a table, every step in CSV, all of it in JSON."""
    if output.form is Format.CSV:
        rows = [
            (_name(series), utc_text(point.start_time), point.value, *bands)
            for series in answer.series
            for point in series.points
            for bands in ((one.confidence_ratio, one.lower, one.upper) for one in point.bands)
        ]
        output.rows(_POINTS, rows)
        return
    shown = [*answer.series, *([answer.total] if len(answer.series) > 1 else [])]
    output.rows(_SUMMARY, [_row(series) for series in shown], content=answer)
    period = answer.horizon
    output.note(f"From {utc_text(period.start_time)} to {utc_text(period.end_time)}.")
    for scenario in answer.scenarios:
        why = f": {'; '.join(scenario.assumptions)}" if scenario.assumptions else ""
        output.note(f"{scenario.kind}: {money_text(scenario.cost)}{why}")


def _name(series: ForecastSeries) -> str:
    return ", ".join(f"{key}={value}" for key, value in series.group.items()) or "total"


def _row(series: ForecastSeries) -> tuple[object, ...]:
    return (
        _name(series),
        interval_text(series.total_cost),
        series.model,
        series.error.mase if series.HasField("error") else "",
        f"{series.history_points} steps",
        series.explanation,
    )
