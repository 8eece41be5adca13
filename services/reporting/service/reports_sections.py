"""Sections that several kinds of report share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from services.kernel.period import Granularity, Period
from services.reporting.domain.costs import CostAnswer, CostQuestion, CostRow
from services.reporting.domain.figures import both, costs_link, quoted
from services.reporting.domain.report.budgets import budget_table
from services.reporting.domain.report.document import Form, Number, Section, Table
from services.reporting.domain.report.frame import count
from services.reporting.domain.report.outlook import (
    forecast_text,
    scenario_table,
)
from services.reporting.domain.report.risks import RiskFigures, risks_of
from services.reporting.domain.report.savings import savings_charts, savings_table, savings_text
from services.reporting.domain.report.span_of_time import month_edges
from services.reporting.domain.report.variance import Amounts, Effects, decompose
from services.reporting.service.reports_sources import Sources

FORECAST_DAYS: Final = 30
RATE_MONTHS: Final = 12
RATES_SHOWN: Final = 12
RISK_GROUP: Final = "provider"


async def budgets(sources: Sources) -> Section:
    """Returns how budgets stand, or that they are not connected."""
    words = sources.frame.words
    title = words.word("Budgets")
    states = await sources.budgets()
    if states is None:
        text = words.say("No budget service is connected, so nothing is said about budgets.")
        return Section("budgets", title, (text,))
    if not states:
        return Section("budgets", title, (words.say("There is no active budget."),))
    texts = [words.say("Budgets as they stood when this report was made.")]
    if sources.frame.filter:
        texts.append(words.say("They are those of the whole tenant, whatever the filter."))
    return Section("budgets", title, tuple(texts), tables=(budget_table(sources.frame, states),))


async def savings(sources: Sources) -> Section:
    """Returns what may be saved, or that the optimizer is not connected."""
    words = sources.frame.words
    title = words.word("Savings")
    found = await sources.savings()
    if found is None:
        text = words.say("No optimizer is connected, so nothing is said about savings.")
        return Section("savings", title, (text,))
    text = savings_text(sources.frame, found)
    if not found.items:
        return Section("savings", title, (text,))
    return Section(
        "savings",
        title,
        (text,),
        charts=savings_charts(sources.frame, found.items),
        tables=(savings_table(sources.frame, found.items),),
    )


async def outlook(sources: Sources) -> Section:
    """Returns the forecast of the next days with its scenarios."""
    frame, days = sources.frame, FORECAST_DAYS
    title = frame.words.word("Outlook")
    answer = await sources.forecast(days)
    if answer is None:
        text = frame.words.say("There is no history to forecast from.")
        return Section("outlook", title, (text,))
    query = sources.forecast_query(days)
    return Section(
        "outlook",
        title,
        tuple(forecast_text(frame, answer, days, query)),
        tables=(scenario_table(frame, answer, query),),
    )


async def risks(sources: Sources) -> Section:
    """Returns the risks, computed from budgets, forecast, anomalies and concentration."""
    frame, words = sources.frame, sources.frame.words
    question = frame.question(RISK_GROUP)
    by_group = await sources.costs(question)
    answer = await sources.forecast(FORECAST_DAYS)
    savings_open = await sources.savings()
    states = await sources.budgets()
    figures = RiskFigures(
        budgets=states,
        forecast=answer,
        forecast_query=sources.forecast_query(FORECAST_DAYS),
        trailing=await sources.trailing(FORECAST_DAYS),
        anomalies=await sources.anomalies(),
        by_group=by_group,
        group_by=RISK_GROUP,
        months=await _rate_effects(sources, by_group.rows),
        savings=savings_open,
    )
    found = risks_of(frame, figures)
    texts = []
    if not found:
        texts.append(words.say("The figures show no risk."))
    if states is None:
        texts.append(words.say("Budgets are not looked at: no budget service is connected."))
    if savings_open is None:
        text = "Recommendations that mitigate are not named: no optimizer is connected."
        texts.append(words.say(text))
    return Section("risks", words.word("Risks"), tuple(texts), risks=tuple(found))


async def _rate_effects(sources: Sources, rows: Sequence[CostRow]) -> list[Effects]:
    """Returns how the largest provider's prices moved between the months of the last year."""
    if not rows or not any(rows[0].group):
        return []
    frame = sources.frame
    edges = month_edges(frame.now, RATE_MONTHS + 1, frame.tz)
    question = CostQuestion(
        tenant_id=frame.tenant_id,
        period=Period(edges[0], edges[-1]),
        group_by=("service", "resource_type", "resource_id", "unit"),
        granularity=Granularity.MONTH,
        filter=both(frame.filter, f"{RISK_GROUP} = {quoted(rows[0].group[0])}"),
        currency_code=frame.currency_code,
    )
    answer = await sources.costs(question)
    months: dict[object, dict[tuple[str, ...], CostRow]] = {edge: {} for edge in edges[:-1]}
    for row in answer.rows:
        months[row.start_at][row.group] = row
    found = []
    for before, now in pairwise(edges[:-1]):
        pairs = [
            (key, months[before].get(key), months[now].get(key))
            for key in {*months[before], *months[now]}
        ]
        effects = decompose([amounts_of((), key[-1], *pair) for key, *pair in pairs])
        if effects and effects[0].before > 0:
            found.append(effects[0])
    return found


def amounts_of(
    key: tuple[str, ...], unit: str, before: CostRow | None, now: CostRow | None
) -> Amounts:
    """Returns cost and quantity before and now of one group; zero where it was not there."""
    nothing = Decimal(0)
    return Amounts(
        key=key,
        unit=unit,
        cost_before=before.cost if before else nothing,
        cost_now=now.cost if now else nothing,
        quantity_before=(before.quantity or nothing) if before else nothing,
        quantity_now=(now.quantity or nothing) if now else nothing,
    )


async def basis(sources: Sources) -> Section:
    """Returns what the numbers stand on: questions, rates, what is not counted."""
    frame, words = sources.frame, sources.frame.words
    question = frame.question()
    answer = await sources.costs(question)
    query = costs_link(question)
    total = answer.total(frame.currency_code)
    texts = [
        words.say(
            "Every number links to the query that gives it again. {events} events are counted.",
            events=count(total.events, query, words.word("Events")),
        ),
        words.say("Costs are billed costs in {code}.", code=frame.currency_code),
    ]
    unpriced = sum(each.unpriced_events for each in answer.totals)
    if unpriced:
        text = "{unpriced} of them have no price yet and cost nothing here."
        number = count(unpriced, query, words.word("Events without a price"))
        texts.append(words.say(text, unpriced=number))
    if frame.filter:
        texts.append(
            words.say("Only usage that matches this filter: {filter}", filter=frame.filter)
        )
    if answer.sequence:
        text = "Changes of cost are counted up to position {place} of the feed."
        texts.append(words.say(text, place=answer.sequence))
    tables = (_rate_table(sources, answer, query),) if answer.rates else ()
    return Section("basis", words.word("About these numbers"), tuple(texts), tables=tables)


def _rate_table(sources: Sources, answer: CostAnswer, query: str) -> Table:
    """Returns the newest rate of each currency that was converted."""
    words = sources.frame.words
    newest = {}
    for rate in sorted(answer.rates, key=lambda each: each.rate_date):
        newest[rate.from_currency] = rate
    return Table(
        title=words.word("Exchange rates of the ECB, of each day of usage; the last of each"),
        columns=(words.word("Currency"), words.word("Day"), words.word("Rate")),
        rows=tuple(
            (
                f"{rate.from_currency} - {rate.to_currency}",
                rate.rate_date,
                Number(rate.rate, Form.UNIT_PRICE, rate.to_currency, query),
            )
            for rate in list(newest.values())[:RATES_SHOWN]
        ),
        text_columns=(1,),
    )
