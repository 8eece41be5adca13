"""Asks all parts of a dashboard at once; one that fails or is late is missing, the rest is told."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from decimal import Decimal
from typing import Final

from services.kernel.circuit import Circuit
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.period import Granularity, Period
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.dashboard.assembling import Parts, assembled
from services.reporting.domain.dashboard.composing import narrowed
from services.reporting.domain.dashboard.dashboard import AlertGlance, Dashboard, Outlook
from services.reporting.domain.dashboard.figures import CostFigures, DayCosts, People, Ranking
from services.reporting.domain.dashboard.question import DashboardQuestion, Frame, Part
from services.reporting.domain.forecast.answer import ForecastAnswer, rounded
from services.reporting.domain.forecast.comparison import Comparison
from services.reporting.domain.forecast.wish import ForecastWish, history_of
from services.reporting.domain.recommendations import OpenSavings
from services.reporting.errors import NoHistory
from services.reporting.service.dashboard_asking import SUMMARY, Asking
from services.reporting.service.dashboard_costs import USER, DashboardCosts, together
from services.reporting.service.dashboard_peers import DashboardPeers
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import AccuracyQuestion, Judgements
from services.reporting.service.peers import SeriesReader
from services.reporting.store import dashboards as store

COST_SECONDS: Final = 8.0
FORECAST_SECONDS: Final = 6.0
PEER_SECONDS: Final = 5.0
# A peer that failed so often in a row is not asked for a while.
FAILURES_MAX: Final = 2
REST_SECONDS: Final = 5.0
HORIZON_DAYS: Final = 30
LEVEL: Final = Decimal("0.8")
# In which the newest forecast was made whose horizon is over.
LOOK_BACK: Final = timedelta(days=40)
# What filters of the lists have in common with those of cost questions.
ANOMALY_FIELDS: Final = frozenset({"department", "service", "resource_type"})
BUDGET_FIELDS: Final = frozenset({"resource_type"})
ALERT_FIELDS: Final[frozenset[str]] = frozenset()
RECOMMENDATION_FIELDS: Final = frozenset({"department", "project", "resource_type", "resource_id"})
SAVING_FIELDS: Final = frozenset({"department", "project"})


class DashboardParts:
    """Asks for all parts at once."""

    def __init__(
        self,
        database: Database,
        costs: DashboardCosts,
        forecasts: Forecasts,
        judgements: Judgements,
        peers: DashboardPeers,
        *,
        clock: Clock,
    ) -> None:
        """Takes whom it asks."""
        self._database = database
        self._costs = costs
        self._forecasts = forecasts
        self._judgements = judgements
        self._peers = peers
        self._clock = clock
        self._circuits = {
            peer: Circuit(failures_max=FAILURES_MAX, open_seconds=REST_SECONDS)
            for peer in ("budget", "optimizer")
        }

    async def gather(self, question: DashboardQuestion, frame: Frame) -> Dashboard:
        """Returns the dashboard as it is now. Raises UsageQuestionRefused for the caller's own."""
        asking = Asking()
        computed_at = self._clock.now()
        async with asyncio.TaskGroup() as group:
            begin = group.create_task
            over_time = begin(self._over_time(asking, question, frame))
            groups = begin(self._groups(asking, question, frame))
            budgets = begin(self._budgets(asking, question))
            alerts = begin(self._alerts(asking, question))
            anomalies = begin(self._anomalies(asking, question))
            savings = begin(self._savings(asking, question, frame))
            saved = begin(self._saved(asking, question, frame))
        if asking.refusal is not None:
            raise asking.refusal
        costs, outlook, accuracy = over_time.result()
        rankings, people = groups.result()
        parts = Parts(
            costs=costs,
            rankings=rankings,
            people=people,
            outlook=outlook,
            accuracy=accuracy,
            budgets=budgets.result(),
            alerts=alerts.result(),
            anomalies=anomalies.result(),
            savings=savings.result(),
            saved=saved.result(),
        )
        return assembled(
            question,
            frame,
            parts,
            missing=frozenset(asking.missing),
            is_passing=asking.is_passing,
            computed_at=computed_at,
        )

    async def _over_time(
        self, asking: Asking, question: DashboardQuestion, frame: Frame
    ) -> tuple[CostFigures | None, Outlook | None, Comparison | None]:
        """Reads the days once, for the figures and for what is forecast from them."""
        history = None
        if Part.FORECAST in question.parts:
            history = history_of(frame.today, Granularity.DAY, frame.tz)
        days = await asking.part(
            SUMMARY,
            lambda: self._costs.days(question, frame, history=history),
            seconds=COST_SECONDS,
        )
        usage = None if days is None else self._costs.known(question, frame, days)
        return await asyncio.gather(
            self._cost_figures(asking, question, frame, days),
            self._outlook(asking, question, frame, usage),
            self._accuracy(asking, question, frame, usage),
        )

    async def _cost_figures(
        self, asking: Asking, question: DashboardQuestion, frame: Frame, days: DayCosts | None
    ) -> CostFigures | None:
        if days is None:
            return None
        wasted, so_far = await together(
            self._wasted(asking, question, frame, days.failed_events),
            self._month_to_date(asking, question, frame, days),
        )
        return CostFigures(days, wasted, so_far)

    async def _wasted(
        self, asking: Asking, question: DashboardQuestion, frame: Frame, failed_events: int
    ) -> Decimal | None:
        """Returns the cost of failed work, which is kept as billed; of none it is zero."""
        if not failed_events:
            return Decimal(0)
        if question.cost_type != "billed":
            asking.absent("summary.wasted")
            return None
        return await asking.part(
            "summary.wasted",
            lambda: self._costs.failed_cost(question, frame),
            seconds=COST_SECONDS,
        )

    async def _month_to_date(
        self, asking: Asking, question: DashboardQuestion, frame: Frame, days: DayCosts
    ) -> Decimal | None:
        known = days.month_to_date(frame)
        if known is not None:
            return known
        if frame.month_start == frame.today:
            return Decimal(0)
        period = Period(frame.month_start, frame.today)
        return await asking.part(
            "summary.expected_period_cost",
            lambda: self._costs.total(question, frame, period),
            seconds=COST_SECONDS,
        )

    async def _groups(
        self, asking: Asking, question: DashboardQuestion, frame: Frame
    ) -> tuple[dict[str, Ranking] | None, People | None]:
        rankings = await asking.part(
            "drivers", lambda: self._costs.rankings(question, frame), seconds=COST_SECONDS
        )
        if rankings is None:
            asking.lose("drivers.user")
            return None, None
        users = rankings.pop(USER)
        active = await asking.part(
            "drivers.user",
            lambda: self._costs.active_users(question, frame, users),
            seconds=COST_SECONDS,
        )
        return rankings, None if active is None else People(users, active)

    async def _outlook(
        self,
        asking: Asking,
        question: DashboardQuestion,
        frame: Frame,
        usage: SeriesReader | None,
    ) -> Outlook | None:
        async def ask() -> Outlook | None:
            wish = ForecastWish(
                tenant_id=question.tenant_id,
                horizon_days=HORIZON_DAYS,
                filter=question.filter,
                cost_type=question.cost_type,
                currency_code=frame.currency_code,
            )
            try:
                return outlook_of(await self._forecasts.forecast(wish, usage=usage), frame)
            except NoHistory:
                return None

        if Part.FORECAST not in question.parts:
            asking.absent("forecast")
            return None
        return await asking.part("forecast", ask, seconds=FORECAST_SECONDS)

    async def _accuracy(
        self,
        asking: Asking,
        question: DashboardQuestion,
        frame: Frame,
        usage: SeriesReader | None,
    ) -> Comparison | None:
        async def ask() -> Comparison | None:
            accuracy = AccuracyQuestion(
                tenant_id=question.tenant_id,
                horizon_days=HORIZON_DAYS,
                filter=question.filter,
                start=(frame.now - LOOK_BACK).isoformat(),
                end="",
                currency_code=frame.currency_code,
            )
            found = await self._judgements.get_forecast_accuracy(accuracy, usage=usage)
            return found.comparisons[0] if found.comparisons else None

        # Only forecasts of billed cost are kept to be judged.
        if Part.FORECAST not in question.parts or question.cost_type != "billed":
            asking.absent("forecast_accuracy")
            return None
        return await asking.part("forecast_accuracy", ask, seconds=FORECAST_SECONDS)

    async def _budgets(
        self, asking: Asking, question: DashboardQuestion
    ) -> tuple[BudgetState, ...] | None:
        reader = self._peers.budgets
        if reader is None or not question.shows(Part.BUDGETS, BUDGET_FIELDS):
            asking.absent("budgets")
            return None
        return await asking.part(
            "budgets",
            lambda: reader.states(
                question.tenant_id, filter_=question.filter, most=question.top_count
            ),
            seconds=PEER_SECONDS,
            circuit=self._circuits["budget"],
        )

    async def _alerts(
        self, asking: Asking, question: DashboardQuestion
    ) -> tuple[AlertGlance, ...] | None:
        reader = self._peers.alerts
        if reader is None or not question.shows(Part.ALERTS, ALERT_FIELDS):
            asking.absent("alerts")
            return None
        return await asking.part(
            "alerts",
            lambda: reader.open_alerts(question.tenant_id, most=question.top_count),
            seconds=PEER_SECONDS,
            circuit=self._circuits["budget"],
        )

    async def _anomalies(
        self, asking: Asking, question: DashboardQuestion
    ) -> tuple[Anomaly, ...] | None:
        async def ask() -> tuple[Anomaly, ...]:
            async with self._database.read(question.tenant_id) as tx:
                return await store.open_anomalies(
                    tx, question.tenant_id, filter_text=question.filter, limit=question.top_count
                )

        if not question.shows(Part.ANOMALIES, ANOMALY_FIELDS):
            asking.absent("anomalies")
            return None
        return await asking.part("anomalies", ask, seconds=PEER_SECONDS)

    async def _savings(
        self, asking: Asking, question: DashboardQuestion, frame: Frame
    ) -> OpenSavings | None:
        reader = self._peers.optimizer
        if reader is None or not question.shows(Part.RECOMMENDATIONS, RECOMMENDATION_FIELDS):
            asking.absent("recommendations")
            return None
        return await asking.part(
            "recommendations",
            lambda: reader.open_savings(
                question.tenant_id, frame.currency_code, question.filter, most=question.top_count
            ),
            seconds=PEER_SECONDS,
            circuit=self._circuits["optimizer"],
        )

    async def _saved(
        self, asking: Asking, question: DashboardQuestion, frame: Frame
    ) -> Decimal | None:
        reader = self._peers.savings
        if reader is None or not question.shows(Part.RECOMMENDATIONS, SAVING_FIELDS):
            asking.absent("summary.saved")
            return None
        return await asking.part(
            "summary.saved",
            lambda: reader.realized(
                question.tenant_id,
                frame.period,
                filter_=question.filter,
                currency_code=frame.currency_code,
            ),
            seconds=PEER_SECONDS,
            circuit=self._circuits["optimizer"],
        )


def outlook_of(answer: ForecastAnswer, frame: Frame) -> Outlook:
    """Tells a forecast with intervals of 80 %."""
    total = answer.total
    band = next(band for band in total.bands if band.level == LEVEL)
    low, _, high = total.source.total(float(LEVEL))
    days = tuple(
        (
            start.astimezone(frame.tz).date(),
            narrowed(band.lower[place], total.values[place], band.upper[place]),
        )
        for place, start in enumerate(answer.starts)
    )
    error = total.source.error
    share = math.nan if error is None else error.smape / 100
    return Outlook(
        narrowed(rounded(low), total.total[1], rounded(high)),
        days,
        total.source.model,
        rounded(share) if math.isfinite(share) else None,
    )
