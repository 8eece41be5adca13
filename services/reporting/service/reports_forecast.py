"""The forecast report: what will be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.kernel.period import Granularity, Period
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.forecasts import (
    comparison_table,
    group_table,
)
from services.reporting.domain.report.outlook import (
    course_chart,
    forecast_text,
    forecast_tile,
    scenario_table,
)
from services.reporting.service.judging import AccuracyQuestion
from services.reporting.service.reports_sources import Sources

HORIZONS: Final = (30, 60, 90)
SHOWN_DAYS: Final = 90
GROUP_BY: Final = "department"
HISTORY_SHOWN: Final = timedelta(days=92)
JUDGED: Final = timedelta(days=400)


async def course(sources: Sources) -> Section:
    """Returns the next 30, 60 and 90 days with scenarios."""
    frame, words = sources.frame, sources.frame.words
    title = words.word("What is expected")
    longest = await sources.forecast(SHOWN_DAYS)
    if longest is None:
        text = words.say("There is no history to forecast from.")
        return Section("forecast", title, (text,))
    tiles = []
    for days in HORIZONS:
        answer = await sources.forecast(days)
        if answer is not None:
            tiles.append(forecast_tile(frame, answer, days, sources.forecast_query(days)))
    end = longest.horizon.start
    question = replace(
        frame.question(granularity=Granularity.DAY), period=Period(end - HISTORY_SHOWN, end)
    )
    history = await sources.costs(question)
    query = sources.forecast_query(SHOWN_DAYS)
    return Section(
        "forecast",
        title,
        tuple(forecast_text(frame, longest, SHOWN_DAYS, query)),
        tiles=tuple(tiles),
        charts=(course_chart(frame, history, Granularity.DAY, longest),),
        tables=(scenario_table(frame, longest, query),),
    )


async def groups(sources: Sources) -> Section:
    """Returns the forecast by group."""
    frame, words = sources.frame, sources.frame.words
    group_by = frame.group_by[0] if frame.group_by else GROUP_BY
    answer = await sources.forecast(SHOWN_DAYS, group_by)
    title = words.word("By group")
    if answer is None:
        return Section("groups", title, (words.say("There is no history to forecast from."),))
    query = sources.forecast_query(SHOWN_DAYS, group_by)
    table = group_table(frame, group_by, answer, query, SHOWN_DAYS)
    return Section("groups", title, tables=(table,))


async def accuracy(sources: Sources) -> Section:
    """Returns how far earlier forecasts were off."""
    frame, words = sources.frame, sources.frame.words
    question = AccuracyQuestion(
        tenant_id=frame.tenant_id,
        horizon_days=HORIZONS[0],
        filter=frame.filter,
        start=(frame.now - JUDGED).isoformat(),
        end="",
        currency_code=frame.currency_code,
    )
    answer = await sources.peers.judgements.get_forecast_accuracy(question)
    title = words.word("How good earlier forecasts were")
    if not answer.comparisons:
        text = words.say("No forecast of {days} days is over yet.", days=str(HORIZONS[0]))
        return Section("accuracy", title, (text,))
    return Section("accuracy", title, tables=(comparison_table(frame, answer.comparisons),))
