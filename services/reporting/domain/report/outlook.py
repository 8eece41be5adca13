"""What will be: the forecast, its scenarios and how far to trust it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from services.kernel.period import Granularity
from services.reporting.domain.chart.rows import CostStep, to_json
from services.reporting.domain.costs import CostAnswer
from services.reporting.domain.figures import link
from services.reporting.domain.forecast.answer import ForecastAnswer, ToldSeries, rounded
from services.reporting.domain.report.document import (
    ChartPlace,
    Form,
    Number,
    Paragraph,
    Table,
    Tile,
)
from services.reporting.domain.report.frame import Frame

LEVEL: Final = 0.8  # holds in four of five cases
OVER_TIME: Final = "cost-over-time"
_TITLES: Final = {
    Granularity.HOUR: "Cost an hour",
    Granularity.DAY: "Cost a day",
    Granularity.WEEK: "Cost a week",
    Granularity.MONTH: "Cost a month",
}


def forecast_link(frame: Frame, days: int, history_end: str, group_by: str = "") -> str:
    """Returns where a forecast is from; the end of its history makes it repeatable."""
    return link(
        "forecast",
        {
            "horizon_days": str(days),
            "filter": frame.filter,
            "currency": frame.currency_code,
            "confidence_ratios": "0.8",
            "history_end": history_end,
            "group_by": group_by,
        },
    )


def interval(series: ToldSeries) -> tuple[Decimal, Decimal, Decimal]:
    """Returns lower bound, sum and upper bound over the horizon, of 80 %."""
    low, _, high = series.source.total(LEVEL)
    amount = series.total[1]
    return min(rounded(low), amount), amount, max(rounded(high), amount)


def course_chart(
    frame: Frame,
    history: CostAnswer,
    step: Granularity,
    answer: ForecastAnswer | None = None,
) -> ChartPlace:
    """Returns the course of cost, and as it is expected to go on where a forecast is given."""
    steps = [
        CostStep(row.start_at, row.cost)
        for row in sorted(history.rows, key=lambda each: each.start_at or frame.now)
        if row.start_at is not None
    ]
    title = frame.words.word(_TITLES[step])
    if answer is not None:
        title = frame.words.word("Cost a day, and as it is expected to go on")
        bands = {band.level: band for band in answer.total.bands}
        inner, outer = bands[min(bands)], bands[max(bands)]
        steps += [
            CostStep(
                start,
                answer.total.values[place],
                lower_80=inner.lower[place],
                upper_80=inner.upper[place],
                lower_95=outer.lower[place],
                upper_95=outer.upper[place],
            )
            for place, start in enumerate(answer.starts)
        ]
    return ChartPlace(OVER_TIME, title, title, tuple(to_json(each) for each in steps), height=260)


def forecast_tile(frame: Frame, answer: ForecastAnswer, days: int, query: str) -> Tile:
    """Returns the expected cost of the days to come with its interval."""
    words = frame.words
    low, expected, high = interval(answer.total)
    label = words.word("Forecast of {days} days", days=str(days))
    return Tile(
        label,
        frame.money(expected, query, label),
        words.say(
            "80 %: {low} to {high}",
            low=frame.money(low, query, words.word("Lower bound")),
            high=frame.money(high, query, words.word("Upper bound")),
        ),
    )


def forecast_text(frame: Frame, answer: ForecastAnswer, days: int, query: str) -> list[Paragraph]:
    """Says what is expected, by which model, and how far it was off in the past."""
    words = frame.words
    low, expected, high = interval(answer.total)
    found = [
        words.say(
            "The {days} days from {first} are expected to cost {expected}; "
            "in four of five cases between {low} and {high}.",
            days=str(days),
            first=f"{answer.horizon.start.astimezone(frame.tz):%Y-%m-%d}",
            expected=frame.money(expected, query, words.word("Expected cost")),
            low=frame.money(low, query, words.word("Lower bound")),
            high=frame.money(high, query, words.word("Upper bound")),
        )
    ]
    source = answer.total.source
    if source.error is None:
        found.append(words.say("It is a plain baseline: {why}.", why=source.explanation))
        return found
    error = Number(
        Decimal(repr(source.error.smape / 100)).quantize(Decimal("0.000001")),
        Form.RATIO,
        "",
        query,
        words.word("Backtest error"),
    )
    found.append(
        words.say(
            "Model: {model}. In a backtest of {origins} past origins it was off by {error} "
            "(sMAPE of a day).",
            model=source.model,
            origins=str(source.error.origin_count),
            error=error,
        )
    )
    return found


def scenario_table(frame: Frame, answer: ForecastAnswer, query: str) -> Table:
    """Returns best, likely and worst case with what they assume."""
    words = frame.words
    names = {
        "best": words.word("Best case"),
        "likely": words.word("Likely"),
        "worst": words.word("Worst case"),
    }
    return Table(
        title=words.word("Scenarios"),
        columns=(words.word("Scenario"), words.word("Assumptions"), words.word("Cost")),
        rows=tuple(
            (
                names[each.kind],
                "; ".join(each.assumptions),
                frame.money(each.amount, query),
            )
            for each in answer.scenarios
        ),
        text_columns=(1,),
    )
