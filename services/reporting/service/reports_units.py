"""The report of unit economics: what a unit, an operation and a person cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from services.kernel.period import Granularity, Period
from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.document import Number, Section, Tile
from services.reporting.domain.report.frame import count
from services.reporting.domain.report.span_of_time import month_edges, previous_period
from services.reporting.domain.report.unit_costs import (
    operation_table,
    people_table,
    trend_table,
    unit_price,
    unit_table,
)
from services.reporting.service.reports_sources import Sources

GROUP_BY: Final = ("service", "resource_type")
PEOPLE_BY: Final = ("department",)
PERSON: Final = "user"
MONTHS: Final = 6


async def summary(sources: Sources) -> Section:
    """Returns what an operation and a person cost on the whole."""
    frame, words = sources.frame, sources.frame.words
    question = frame.question(PERSON)
    answer = await sources.costs(question)
    total = answer.total(frame.currency_code)
    failed = sum(row.failed_events for row in answer.rows)
    people = sum(bool(row.group[0]) for row in answer.rows)
    query = costs_link(question)
    tiles = [Tile(words.word("Cost"), frame.money(total.cost, costs_link(frame.question())))]
    success = unit_price(frame, total.cost, Decimal(total.events - failed), query)
    if isinstance(success, Number):
        note = words.say(
            "{count} succeeded", count=count(total.events - failed, query, words.word("Operations"))
        )
        tiles.append(Tile(words.word("Cost of a success"), success, note))
    one = unit_price(frame, total.cost, Decimal(people), query)
    if isinstance(one, Number):
        note = words.say("{count} active", count=count(people, query, words.word("People")))
        tiles.append(Tile(words.word("Cost of a person"), one, note))
    return Section("summary", words.word("Summary"), tiles=tuple(tiles))


async def units(sources: Sources) -> Section:
    """Returns cost by unit and by operation."""
    frame = sources.frame
    group_by = tuple(name for name in frame.group_by or GROUP_BY if name != "unit")
    by_unit = frame.question(*group_by, "unit")
    before = replace(by_unit, period=previous_period(frame.period, frame.tz))
    then = await sources.costs(before)
    question = frame.question(*group_by)
    return Section(
        "units",
        frame.words.word("Units and operations"),
        tables=(
            unit_table(frame, by_unit, await sources.costs(by_unit), then.rows),
            operation_table(frame, question, await sources.costs(question)),
        ),
    )


async def people(sources: Sources) -> Section:
    """Returns cost by active person of each group."""
    frame = sources.frame
    group_by = tuple(name for name in frame.group_by or PEOPLE_BY if name != PERSON)
    question = frame.question(*(group_by or PEOPLE_BY), PERSON)
    answer = await sources.costs(question)
    title = frame.words.word("People")
    return Section("people", title, tables=(people_table(frame, question, answer),))


async def trend(sources: Sources) -> Section:
    """Returns the cost of an operation over the last months up to the period's end."""
    frame = sources.frame
    edges = month_edges(frame.period.end, MONTHS, frame.tz)
    question = replace(
        frame.question(granularity=Granularity.MONTH), period=Period(edges[0], edges[-1])
    )
    answer = await sources.costs(question)
    title = frame.words.word("Trend")
    return Section("trend", title, tables=(trend_table(frame, question, answer),))
