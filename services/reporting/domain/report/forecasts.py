"""The forecast report: what will be, by group, and how far earlier forecasts were off."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.reporting.domain.figures import link
from services.reporting.domain.forecast.answer import ForecastAnswer
from services.reporting.domain.forecast.comparison import Comparison
from services.reporting.domain.report.document import Cell, Form, Number, Table
from services.reporting.domain.report.frame import Frame, name_of, share
from services.reporting.domain.report.outlook import interval
from services.reporting.domain.report.spending import dimension_name

COMPARISONS_MAX: Final = 12
GROUPS_MAX: Final = 20


def group_table(
    frame: Frame, group_by: str, answer: ForecastAnswer, query: str, days: int
) -> Table:
    """Returns the forecast of each group; they add up to the total to the last digit."""
    words = frame.words
    found = sorted(answer.series, key=lambda each: -each.total[1])
    low_of_all, whole, high_of_all = interval(answer.total)
    rows: list[tuple[Cell, ...]] = []
    for each in found[:GROUPS_MAX]:
        low, expected, high = interval(each)
        rows.append(
            (
                name_of(tuple(value for _, value in each.group), words),
                frame.money(expected, query),
                frame.money(low, query),
                frame.money(high, query),
                Number(share(expected, whole), Form.RATIO, "", query),
            )
        )
    rest = found[GROUPS_MAX:]
    if rest:
        left = sum((each.total[1] for each in rest), start=Decimal(0))
        name = words.word("{count} others", count=str(len(rest)))
        part = Number(share(left, whole), Form.RATIO, "", query)
        rows.append((name, frame.money(left, query), "", "", part))
    return Table(
        title=words.word("Expected in {days} days", days=str(days)),
        columns=(
            dimension_name(frame, (group_by,)),
            words.word("Expected"),
            words.word("Lower bound"),
            words.word("Upper bound"),
            words.word("Share"),
        ),
        rows=tuple(rows),
        total=(
            words.word("Total"),
            frame.money(whole, query),
            frame.money(low_of_all, query),
            frame.money(high_of_all, query),
            Number(share(whole, whole), Form.RATIO, "", query),
        ),
        note=words.word("Bounds hold in four of five cases; those of groups do not add up."),
    )


def comparison_table(frame: Frame, comparisons: Sequence[Comparison]) -> Table:
    """Returns earlier forecasts beside what came, newest first."""
    words = frame.words
    query = link("forecast:accuracy", {"filter": frame.filter, "currency": frame.currency_code})
    newest = sorted(comparisons, key=lambda each: each.made.horizon.start, reverse=True)
    rows: list[tuple[Cell, ...]] = []
    for each in newest[:COMPARISONS_MAX]:
        made = each.made
        start, end = (edge.astimezone(frame.tz) for edge in (made.horizon.start, made.horizon.end))
        off: Cell = ""
        if each.error_ratio is not None:
            off = Number(each.error_ratio, Form.CHANGE, "", query)
        rows.append(
            (
                f"{start:%Y-%m-%d} - {end:%Y-%m-%d}",
                Number(made.expected, Form.MONEY, made.currency_code, query),
                Number(each.actual, Form.MONEY, made.currency_code, query),
                off,
                words.word("yes") if each.is_inside else words.word("no"),
            )
        )
    return Table(
        title=words.word("Earlier forecasts and what came"),
        columns=(
            words.word("Days"),
            words.word("Forecast"),
            words.word("Came"),
            words.word("Off by"),
            words.word("Inside its interval"),
        ),
        rows=tuple(rows),
        text_columns=(4,),
    )
