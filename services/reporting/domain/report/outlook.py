"""What will be: the forecast, its scenarios and how far to trust it."""

from __future__ import annotations

from decimal import Decimal

from services.reporting.domain.figures import link
from services.reporting.domain.forecast.answer import ForecastAnswer
from services.reporting.domain.report.document import Form, Number, Paragraph, Table, Tile
from services.reporting.domain.report.frame import Frame


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


def forecast_tile(frame: Frame, answer: ForecastAnswer, days: int, query: str) -> Tile:
    """Returns the expected cost of the days to come with its interval."""
    words = frame.words
    low, expected, high = answer.total.total
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
    low, expected, high = answer.total.total
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
