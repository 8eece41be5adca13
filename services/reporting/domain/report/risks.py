"""Risks computed from figures: what may happen, how probable it is, what it would cost.

Every probability is a share that was counted or computed, never an opinion; `basis` says of what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from services.kernel.money import add_exactly
from services.reporting.domain.anomaly.anomaly import SHIFT_HOURS, Anomaly, State
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.costs import CostAnswer
from services.reporting.domain.figures import costs_link, link
from services.reporting.domain.forecast.answer import ForecastAnswer
from services.reporting.domain.recommendations import OpenRecommendation, OpenSavings
from services.reporting.domain.report.budgets import breach_probability, budget_link
from services.reporting.domain.report.document import Risk
from services.reporting.domain.report.frame import Frame, name_of, share
from services.reporting.domain.report.outlook import interval
from services.reporting.domain.report.variance import Effects

PROBABILITY_MIN: Final = Decimal("0.05")  # less is not worth a line
GROWTH: Final = Decimal("0.1")  # growth by more than this is a risk
PRICE_RISE: Final = Decimal("0.1")  # the rise whose cost is told
RATE_NOTICED: Final = Decimal("0.01")  # a rate effect below is noise
CONCENTRATED: Final = Decimal("0.4")  # share of one group from which cost hangs on it
MONTH_DAYS: Final = 30
RISKS_MAX: Final = 10
MITIGATIONS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class RiskFigures:
    """What risks are computed from; None where a service is not connected or nothing is known.

    trailing: cost of as many days as the forecast is long, before it. by_group: cost by the
    dimension whose concentration is looked at. months: effects between consecutive months of the
    largest group, oldest first.
    """

    budgets: Sequence[BudgetState] | None
    forecast: ForecastAnswer | None
    forecast_query: str
    trailing: Decimal
    anomalies: Sequence[Anomaly]
    by_group: CostAnswer
    group_by: str
    months: Sequence[Effects]
    savings: OpenSavings | None


def risks_of(frame: Frame, figures: RiskFigures) -> list[Risk]:
    """Returns the risks by what they are expected to cost, largest first, at most RISKS_MAX."""
    found = [
        *_budget_risks(frame, figures),
        *_growth_risk(frame, figures),
        *_anomaly_risk(frame, figures),
        *_concentration_risk(frame, figures),
        *_unpriced_risk(frame, figures),
    ]
    found.sort(key=lambda risk: -risk.probability * risk.impact)
    return [_mitigated(frame, risk, figures.savings) for risk in found[:RISKS_MAX]]


def _budget_risks(frame: Frame, figures: RiskFigures) -> list[Risk]:
    words = frame.words
    found = []
    for state in figures.budgets or ():
        probability = breach_probability(state)
        if probability < PROBABILITY_MIN:
            continue
        expected = state.forecast.expected if state.forecast is not None else state.spent
        upper = state.forecast.upper if state.forecast is not None else state.spent
        beyond = max(expected, state.spent) - state.limit
        impact = beyond if beyond > 0 else max(upper - state.limit, Decimal(0))
        found.append(
            Risk(
                title=words.word("Budget “{name}” is passed", name=state.display_name),
                probability=probability,
                impact=impact,
                currency_code=state.currency_code,
                basis=words.word(
                    "Share of the forecast's courses that pass the limit of this period; "
                    "the impact is the expected cost beyond it, else that of one course in ten."
                ),
                query=budget_link(state),
                mitigations=(
                    words.word("Let the budget refuse spend at its limit, or raise it now"),
                ),
            )
        )
    return found


def _growth_risk(frame: Frame, figures: RiskFigures) -> list[Risk]:
    answer, words = figures.forecast, frame.words
    if answer is None or figures.trailing <= 0 or not len(answer.total.source.paths):
        return []
    bound = figures.trailing * (1 + GROWTH)
    sums = answer.total.source.paths.sum(axis=1)
    above = int(np.count_nonzero(sums > float(bound)))
    probability = share(Decimal(above), Decimal(len(sums)))
    if probability < PROBABILITY_MIN:
        return []
    _, expected, upper = interval(answer.total)
    more = expected - figures.trailing
    return [
        Risk(
            title=words.word(
                "Cost grows by more than {share} % in {days} days",
                share=f"{GROWTH * 100:.0f}",
                days=str(len(answer.starts)),
            ),
            probability=probability,
            impact=more if more > 0 else upper - figures.trailing,
            currency_code=frame.currency_code,
            basis=words.word(
                "Share of {count} possible courses of the forecast above the same number of days "
                "before; the impact is the expected rise, else that of one course in ten.",
                count=str(len(sums)),
            ),
            query=figures.forecast_query,
            mitigations=(words.word("Set budgets where the growth is, and review its drivers"),),
        )
    ]


def _anomaly_risk(frame: Frame, figures: RiskFigures) -> list[Risk]:
    """Returns what goes on unusually, if it goes on for a month. Laplace's rule of succession."""
    words = frame.words
    going_on = [
        each
        for each in figures.anomalies
        if each.state is State.OPEN
        and each.impact > 0
        and each.scope.currency_code == frame.currency_code
    ]
    if not going_on:
        return []
    lasting = sum(each.end_at - each.start_at >= SHIFT_HOURS for each in figures.anomalies)
    probability = share(Decimal(lasting + 1), Decimal(len(figures.anomalies) + 2))
    daily = Decimal(0)
    for each in going_on:
        days = Decimal((each.end_at - each.start_at) // timedelta(hours=1)) / 24
        daily += each.impact / max(days, Decimal(1))
    return [
        Risk(
            title=words.word("Unusual cost goes on ({count} open)", count=str(len(going_on))),
            probability=probability,
            impact=(daily * MONTH_DAYS).quantize(Decimal("0.000001")),
            currency_code=frame.currency_code,
            basis=words.word(
                "{lasting} of {count} anomalies lasted a day or more; the impact is the excess of "
                "a day of what is open, for {days} days.",
                lasting=str(lasting),
                count=str(len(figures.anomalies)),
                days=str(MONTH_DAYS),
            ),
            query=link("anomalies", {"filter": "state = OPEN"}),
            mitigations=(words.word("Find the cause, or mark it as expected"),),
        )
    ]


def _concentration_risk(frame: Frame, figures: RiskFigures) -> list[Risk]:
    words = frame.words
    total = figures.by_group.total(frame.currency_code).cost
    if not figures.by_group.rows or total <= 0:
        return []
    largest = figures.by_group.rows[0]
    part = share(largest.cost, total)
    if part < CONCENTRATED or not any(largest.group) or not figures.months:
        return []
    rises = sum(
        each.before > 0 and each.rate / each.before > RATE_NOTICED for each in figures.months
    )
    days = Decimal(int(frame.period.duration.total_seconds())) / 86_400
    monthly = largest.cost / days * MONTH_DAYS
    return [
        Risk(
            title=words.word(
                "{name} raises its prices; {share} % of all cost is there",
                name=name_of(largest.group, words),
                share=f"{part * 100:.0f}",
            ),
            probability=share(Decimal(rises + 1), Decimal(len(figures.months) + 2)),
            impact=(monthly * PRICE_RISE).quantize(Decimal("0.000001")),
            currency_code=frame.currency_code,
            basis=words.word(
                "In {rises} of {count} months a unit cost over 1 % more than in the month before; "
                "the impact is a rise by {share} % for {days} days.",
                rises=str(rises),
                count=str(len(figures.months)),
                share=f"{PRICE_RISE * 100:.0f}",
                days=str(MONTH_DAYS),
            ),
            query=costs_link(frame.question(figures.group_by)),
            mitigations=(words.word("Agree prices for a term, or keep a second source ready"),),
        )
    ]


def _unpriced_risk(frame: Frame, figures: RiskFigures) -> list[Risk]:
    words = frame.words
    total = figures.by_group.total(frame.currency_code)
    unpriced = add_exactly(Decimal(each.unpriced_events) for each in figures.by_group.totals)
    priced = Decimal(total.events - total.unpriced_events)
    if not unpriced or priced <= 0:
        return []
    return [
        Risk(
            title=words.word("Usage without a price is not counted yet"),
            probability=Decimal(1),
            impact=(total.cost / priced * unpriced).quantize(Decimal("0.000001")),
            currency_code=frame.currency_code,
            basis=words.word(
                "{count} events have no price; the impact takes the mean cost of the others.",
                count=str(int(unpriced)),
            ),
            query=costs_link(frame.question()),
            mitigations=(words.word("Add the missing prices; the usage is then rated again"),),
        )
    ]


def _mitigated(frame: Frame, risk: Risk, savings: OpenSavings | None) -> Risk:
    """Adds the open recommendations that save most; those of carbon or quality save no money."""
    if savings is None:
        return risk
    best = sorted(savings.items, key=lambda one: -one.monthly_saving)
    helping = [one for one in best if one.monthly_saving > 0][:MITIGATIONS_MAX]
    return replace(
        risk,
        mitigations=(*risk.mitigations, *(_help(frame, one) for one in helping)),
        recommendation_ids=tuple(one.recommendation_id for one in helping),
    )


def _help(frame: Frame, one: OpenRecommendation) -> str:
    amount = f"{one.monthly_saving:,.2f} {one.currency_code}"
    return frame.words.word("{title} (saves {amount} a month)", title=one.title, amount=amount)
