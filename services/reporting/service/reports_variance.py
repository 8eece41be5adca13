"""The variance report: why cost changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.reporting.domain.report.document import Section
from services.reporting.domain.report.span_of_time import previous_period
from services.reporting.domain.report.variance_tables import (
    Variance,
    effect_table,
    price_table,
    variance_chart,
    variance_of,
    variance_text,
    variance_tiles,
)
from services.reporting.service.reports_sources import Sources

GROUP_BY: Final = ("service", "resource_type", "resource_id")


async def why(sources: Sources) -> Section:
    """Returns the effects over everything."""
    variance = await _variance(sources)
    return Section(
        "variance",
        sources.frame.words.word("Why cost changed"),
        tuple(variance_text(variance)),
        tiles=variance_tiles(variance),
        charts=(variance_chart(variance),),
    )


async def effects(sources: Sources) -> Section:
    """Returns the effects by group, and the prices behind them."""
    variance = await _variance(sources)
    tables = [effect_table(variance, (0,))]
    if len(variance.group_by) > 1:
        tables.append(effect_table(variance, range(len(variance.group_by))))
    prices = price_table(variance)
    if prices.rows:
        tables.append(prices)
    return Section("effects", sources.frame.words.word("Where it changed"), tables=tuple(tables))


async def _variance(sources: Sources) -> Variance:
    frame = sources.frame
    # A unit is asked in any case, because quantities of several do not add up.
    group_by = tuple(name for name in frame.group_by or GROUP_BY if name != "unit")
    now = frame.question(*group_by, "unit")
    before = replace(now, period=previous_period(frame.period, frame.tz))
    return variance_of(
        frame,
        group_by,
        before.period,
        (await sources.costs(before)).rows,
        (await sources.costs(now)).rows,
    )
