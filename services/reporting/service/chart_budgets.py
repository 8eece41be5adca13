"""Reads what the charts of budgets, alerts and recommendations are drawn from."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate
from typing import Final

from services.kernel.money import EXACT
from services.kernel.period import Granularity, Period
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.chart.catalog import (
    ALERT_TIMELINE,
    BUDGET_BURN_DOWN,
    BUDGET_GAUGE,
    PRIORITIES,
)
from services.reporting.domain.chart.question import ChartFrame, ChartQuestion
from services.reporting.domain.chart.rows import BudgetUse, BurnStep, SavingChoice
from services.reporting.domain.costs import CostQuestion
from services.reporting.domain.figures import quoted
from services.reporting.domain.forecast.steps import steps_of
from services.reporting.errors import ChartBudgetNotFound
from services.reporting.service.chart_peers import ChartPeers
from services.reporting.service.charts import Picture, money_style

ALERTS_MAX: Final = 1_000
RECOMMENDATIONS_MAX: Final = 200
NO_BUDGETS: Final = "The budget service is not connected."
NO_OPTIMIZER: Final = "The optimizer is not connected."


class BudgetCharts:
    """Charts of budgets, alerts and recommendations."""

    def __init__(self, peers: ChartPeers) -> None:
        """Takes whom it asks."""
        self._peers = peers

    async def gauge(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns how much of a budget is used. Raises BudgetRefused, ChartBudgetNotFound."""
        title = "Budget used"
        if self._peers.budgets is None:
            return _missing(BUDGET_GAUGE.name, title, NO_BUDGETS, frame)
        state = await self._budget(question)
        if state is None:
            return _missing(BUDGET_GAUGE.name, title, "", frame)
        forecast = state.forecast
        use = BudgetUse(
            name=state.display_name,
            limit=state.limit,
            spent=state.spent,
            held=state.held,
            expected=forecast.expected if forecast else None,
            lower=forecast.lower if forecast else None,
            upper=forecast.upper if forecast else None,
        )
        said = money_style(state.currency_code).text
        return Picture(
            chart=BUDGET_GAUGE.name,
            rows=[use],
            title=f"Budget {state.display_name}",
            subtitle=_dates(state, frame),
            description=(
                f"Budget {state.display_name}: {said(state.spent)} of {said(state.limit)} spent."
            ),
            currency_code=state.currency_code,
            tz=frame.tz,
        )

    async def burn_down(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns what remains of a budget over its period.

        Raises BudgetRefused, ChartBudgetNotFound, UsageQuestionRefused.
        """
        title = "What remains of the budget"
        if self._peers.budgets is None or self._peers.budget_pictures is None:
            return _missing(BUDGET_BURN_DOWN.name, title, NO_BUDGETS, frame)
        state = await self._budget(question)
        if state is None:
            return _missing(BUDGET_BURN_DOWN.name, title, "", frame)
        scope = await self._peers.budget_pictures.cost_filter(question.tenant_id, state.budget_id)
        known = await self._known(question, frame, state, scope)
        said = money_style(state.currency_code).text
        return Picture(
            chart=BUDGET_BURN_DOWN.name,
            rows=[*known, *_coming(state)],
            title=f"What remains of the budget {state.display_name}",
            subtitle=_dates(state, frame),
            description=(
                f"Of the budget {state.display_name}, {said(state.remaining)} of "
                f"{said(state.limit)} remain."
            ),
            currency_code=state.currency_code,
            tz=frame.tz,
        )

    async def _known(
        self, question: ChartQuestion, frame: ChartFrame, state: BudgetState, scope: str
    ) -> list[BurnStep]:
        """Returns what remained after each day; the last step is as the budget has it now."""
        start, now = state.period_start, frame.now
        last = [BurnStep(now, state.remaining)]
        first = BurnStep(start, state.limit)
        if start >= now:
            return [BurnStep(start, state.remaining)]
        answer = await self._peers.usage.costs(
            CostQuestion(
                tenant_id=question.tenant_id,
                period=Period(start, now),
                granularity=Granularity.DAY,
                filter=scope,
                currency_code=state.currency_code,
            )
        )
        costs = {row.start_at: row.cost for row in answer.rows}
        days = steps_of(Period(start, now), Granularity.DAY, frame.tz)
        spent = accumulate((costs.get(day, Decimal(0)) for day in days), EXACT.add)
        # A day's cost is gone when the next one begins.
        remains = [
            BurnStep(end, EXACT.subtract(state.limit, amount))
            for end, amount in zip(days[1:], spent, strict=False)
            if end > start
        ]
        return [first, *remains, *last]

    async def priorities(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns open recommendations. Raises OptimizerRefused."""
        title = "What to do first"
        if self._peers.optimizer is None:
            return _missing(PRIORITIES.name, title, NO_OPTIMIZER, frame)
        found = await self._peers.optimizer.open_savings(
            question.tenant_id, frame.currency_code, "", most=RECOMMENDATIONS_MAX
        )
        joint = money_style(found.currency_code).text(found.joint)
        return Picture(
            chart=PRIORITIES.name,
            rows=[
                SavingChoice(each.title, each.effort, each.monthly_saving) for each in found.items
            ],
            title=title,
            subtitle=f"open recommendations by effort and monthly saving; all together {joint}",
            currency_code=found.currency_code,
            tz=frame.tz,
        )

    async def alerts(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns when alerts fired. Raises BudgetRefused."""
        if self._peers.budget_pictures is None:
            return _missing(ALERT_TIMELINE.name, "Alerts", NO_BUDGETS, frame)
        rows = await self._peers.budget_pictures.alerts(
            question.tenant_id, frame.period, most=ALERTS_MAX
        )
        return Picture(
            chart=ALERT_TIMELINE.name,
            rows=rows,
            title="Alerts",
            subtitle=frame.dates,
            description=f"Alerts, {frame.dates}: {len(rows):,} fired.",
            currency_code=frame.currency_code,
            tz=frame.tz,
        )

    async def _budget(self, question: ChartQuestion) -> BudgetState | None:
        """Returns the budget asked for, else the largest one, None where there is none at all."""
        budgets = self._peers.budgets
        if budgets is None:
            return None
        wanted = f"budget_id = {quoted(question.budget_id)}" if question.budget_id else ""
        states = await budgets.states(question.tenant_id, filter_=wanted)
        if question.budget_id and not states:
            raise ChartBudgetNotFound(budget_id=question.budget_id)
        return max(states, key=lambda state: (state.limit, state.budget_id), default=None)


def _coming(state: BudgetState) -> list[BurnStep]:
    """Returns what is expected to remain at the end, where that is known, and the runway."""
    steps: list[BurnStep] = []
    end = state.period_end
    if end is not None:
        steps.append(BurnStep(end, Decimal(0), "end"))
        forecast = state.forecast
        if forecast is not None:
            expected, lower, upper = (
                EXACT.subtract(state.limit, spend)
                for spend in (forecast.expected, forecast.upper, forecast.lower)
            )
            steps.append(BurnStep(end, expected, "expected", lower, upper))
    if state.runway_at is not None and (end is None or state.runway_at < end):
        steps.append(BurnStep(state.runway_at, Decimal(0), "runway"))
    return steps


def _dates(state: BudgetState, frame: ChartFrame) -> str:
    if state.period_end is None:
        local = state.period_start.astimezone(frame.tz)
        return f"since {local.day} {local:%B} {local.year}"
    period = Period(state.period_start, state.period_end)
    return ChartFrame(period, frame.granularity, frame.now, frame.tz, frame.currency_code).dates


def _missing(chart: str, title: str, reason: str, frame: ChartFrame) -> Picture:
    """Returns a picture without rows; reason: empty where there is simply nothing."""
    return Picture(
        chart=chart,
        rows=[],
        title=title,
        subtitle="",
        currency_code=frame.currency_code,
        tz=frame.tz,
        missing=reason,
    )
