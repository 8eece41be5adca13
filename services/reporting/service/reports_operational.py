"""The operational report: what is inefficient, for those who run things."""

from __future__ import annotations

from typing import Final

from services.reporting.domain.chart.rows import HourCost, to_json
from services.reporting.domain.report.document import ChartPlace, Section
from services.reporting.domain.report.operations import (
    anomaly_table,
    capacity_text,
    efficiency_table,
    efficiency_tiles,
    error_table,
    peak_table,
)
from services.reporting.domain.report.spending import breakdown
from services.reporting.service.reports_sources import Sources

RESOURCES: Final = ("resource_id", "resource_type")
RESOURCES_MAX: Final = 20
HEAT_MAP: Final = "cost-heatmap"


async def efficiency(sources: Sources) -> Section:
    """Returns the efficiency score, its parts, and what failures cost."""
    frame = sources.frame
    analysis = await sources.analysis()
    title = frame.words.word("Efficiency")
    if not analysis.events:
        return Section("efficiency", title, (frame.words.say("There was no usage."),))
    tables = [efficiency_table(frame, analysis)] if analysis.parts else []
    if analysis.errors:
        tables.append(error_table(frame, analysis))
    capacity = capacity_text(frame, analysis)
    return Section(
        "efficiency",
        title,
        (capacity,) if capacity else (),
        tiles=efficiency_tiles(frame, analysis),
        tables=tuple(tables),
    )


async def pattern(sources: Sources) -> Section:
    """Returns when the cost arises: by hour and weekday, and the busiest hours."""
    frame, words = sources.frame, sources.frame.words
    analysis = await sources.analysis()
    title = words.word("When it happens")
    if not analysis.pattern:
        return Section("pattern", title, (words.say("There was no usage."),))
    name = words.word("Mean cost by hour and weekday")
    rows = tuple(
        to_json(HourCost(each.weekday, each.hour, each.mean_cost)) for each in analysis.pattern
    )
    tables = (peak_table(frame, analysis),) if analysis.peaks else ()
    return Section(
        "pattern", title, charts=(ChartPlace(HEAT_MAP, name, name, rows),), tables=tables
    )


async def resources(sources: Sources) -> Section:
    """Returns the costliest resources."""
    frame, words = sources.frame, sources.frame.words
    question = frame.question(*(frame.group_by or RESOURCES), has_previous=True)
    answer = await sources.costs(question)
    title = words.word("Costliest resources")
    table = breakdown(frame, question, answer, title=title, top=RESOURCES_MAX)
    return Section("resources", title, tables=(table,))


async def anomalies(sources: Sources) -> Section:
    """Returns what was unusual."""
    frame, words = sources.frame, sources.frame.words
    table = anomaly_table(frame, await sources.anomalies())
    title = words.word("Unusual cost")
    if not table.rows:
        return Section("anomalies", title, (words.say("Nothing unusual was found."),))
    return Section("anomalies", title, tables=(table,))
