"""The executive report: where the money goes, for those who decide."""

from __future__ import annotations

from dataclasses import replace

from services.reporting.domain.figures import costs_link, link
from services.reporting.domain.report.budgets import at_risk
from services.reporting.domain.report.document import Section, Tile
from services.reporting.domain.report.frame import count
from services.reporting.domain.report.outlook import course_chart, forecast_tile
from services.reporting.domain.report.savings import joint_number
from services.reporting.domain.report.span_of_time import step_of
from services.reporting.domain.report.spending import (
    breakdown,
    by,
    mover_text,
    movers,
    total_text,
)
from services.reporting.service.reports_sections import FORECAST_DAYS
from services.reporting.service.reports_sources import Sources

FIRST = ("department",)
SECOND = ("service",)
MOVING = ("service", "resource_type")


async def summary(sources: Sources) -> Section:
    """Returns the key numbers of everything that follows."""
    frame, words = sources.frame, sources.frame.words
    whole = await sources.costs(frame.question(has_previous=True))
    total = whole.total(frame.currency_code)
    query = costs_link(frame.question(has_previous=True))
    tiles = [Tile(words.word("Cost"), frame.money(total.cost, costs_link(frame.question())))]
    if total.previous_cost:
        change = frame.change(total.cost, total.previous_cost, query, words.word("Change of cost"))
        tiles[0] = replace(
            tiles[0], note=words.say("{change} against the period before", change=change or "")
        )
    forecast = await sources.forecast(FORECAST_DAYS)
    if forecast is not None:
        tiles.append(
            forecast_tile(frame, forecast, FORECAST_DAYS, sources.forecast_query(FORECAST_DAYS))
        )
    states = await sources.budgets()
    if states:
        statuses = link("budget-statuses", {"filter": "state = ACTIVE"})
        note = words.say(
            "of {count} active", count=count(len(states), statuses, words.word("Budgets"))
        )
        number = count(len(at_risk(states)), statuses)
        tiles.append(Tile(words.word("Budgets at risk"), number, note))
    savings = await sources.savings()
    if savings is not None and savings.items:
        number = joint_number(frame, savings)
        note = words.say("{count} recommendations", count=str(len(savings.items)))
        tiles.append(Tile(number.label, number, note))
    question = frame.question(*MOVING, has_previous=True)
    moved = mover_text(frame, question, await sources.costs(question))
    texts = [total_text(frame, whole), moved] if moved else [total_text(frame, whole)]
    step = step_of(frame.period)
    course = await sources.costs(frame.question(granularity=step))
    return Section(
        "summary",
        words.word("Summary"),
        tuple(texts),
        tiles=tuple(tiles),
        charts=(course_chart(frame, course, step),),
    )


async def spending(sources: Sources) -> Section:
    """Returns cost by the two dimensions that matter most, and what moved."""
    frame, words = sources.frame, sources.frame.words
    dimensions = [frame.group_by] if frame.group_by else [FIRST, SECOND]
    tables = []
    for group_by in dimensions:
        question = frame.question(*group_by, has_previous=True)
        answer = await sources.costs(question)
        tables.append(breakdown(frame, question, answer, title=by(frame, group_by)))
    question = frame.question(*(frame.group_by or MOVING), has_previous=True)
    moved = movers(frame, question, await sources.costs(question))
    if moved.rows:
        tables.append(moved)
    title = words.word("Where the money goes")
    return Section("spending", title, tables=tuple(tables))
