"""Forecast and GetForecastAccuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import FieldViolations
from services.kernel.period import Period, floor
from services.reporting.domain.forecast.answer import (
    BudgetOutlook,
    ForecastAnswer,
    ToldSeries,
    told,
)
from services.reporting.domain.forecast.comparison import MadeForecast
from services.reporting.domain.forecast.hierarchy import reconciled, rounded_columns, summed
from services.reporting.domain.forecast.outlook import BudgetStanding, outlook
from services.reporting.domain.forecast.question import SEASON_NAMES, SEASONS, ForecastQuestion
from services.reporting.domain.forecast.scenario import scenarios, with_change
from services.reporting.domain.forecast.series_forecast import SeriesForecast
from services.reporting.domain.forecast.steps import days_later, next_step, read_instant, steps_of
from services.reporting.domain.forecast.wish import ForecastWish, history_of
from services.reporting.errors import BudgetsNotConnected
from services.reporting.service.fits import Fits
from services.reporting.service.histories import Histories, histories
from services.reporting.service.peers import (
    BudgetReader,
    SeriesQuestion,
    SeriesReader,
    TenantSettings,
    UsageReader,
)
from services.reporting.store import forecasts as store

# A question of which so long no forecast was made is no longer repeated.
REPEATED_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Frame:
    """The time a forecast is about. edges: first instants of its steps, and the last one's end."""

    history: Period
    past: tuple[datetime, ...]
    edges: tuple[datetime, ...]
    tenant: TenantSettings
    currency_code: str

    @property
    def horizon(self) -> Period:
        """From the first to the last edge."""
        return Period(self.edges[0], self.edges[-1])


class Forecasts:
    """Forecasts cost and quantity of any scope."""

    def __init__(
        self, database: Database, usage: UsageReader, budgets: BudgetReader | None, *, clock: Clock
    ) -> None:
        """budgets: None where that service is not connected."""
        self._database = database
        self._usage = usage
        self._budgets = budgets
        self._clock = clock
        self._fits = Fits()

    async def forecast(
        self, wish: ForecastWish, *, usage: SeriesReader | None = None
    ) -> ForecastAnswer:
        """Answers a wish, and keeps the sum of a plain one to be judged later.

        usage: whom a caller that knows some of the history already wants asked instead.
        Raises NoHistory, UsageQuestionRefused, BudgetsNotConnected and what the wish is refused
        for.
        """
        usage = usage or self._usage
        standing = await self._standing(wish)
        frame = await self._frame(wish, standing, usage)
        answer = await usage.series(self._question(wish, frame))
        past = histories(answer, frame.past, measure=wish.measure)
        parts, total = await self._fitted(wish, frame, past)
        total = await self._changed(wish, frame, total)
        series, whole = self._told(wish, past, parts, total)
        found = ForecastAnswer(
            starts=frame.edges[:-1],
            series=series,
            total=whole,
            scenarios=scenarios(total, whole.total[1], wish.what_ifs),
            budget=self._outlook(standing, total, frame),
            history=Period(past.starts[0], frame.history.end),
            horizon=frame.horizon,
            measure=wish.measure,
            currency_code=frame.currency_code,
            unit=past.unit,
            sequence=answer.sequence,
            fitted_at=self._clock.now(),
            season_names=tuple(
                (steps, name)
                for (step, steps), name in SEASON_NAMES.items()
                if step == wish.granularity.value
            ),
        )
        if wish.is_recorded:
            await self._keep(wish, found)
        return found

    async def _standing(self, wish: ForecastWish) -> BudgetStanding | None:
        if not wish.budget_id:
            return None
        if self._budgets is None:
            raise BudgetsNotConnected
        standing = await self._budgets.standing(wish.tenant_id, wish.budget_id)
        if wish.currency_code not in ("", standing.currency_code):
            text = f"must be the budget's, {standing.currency_code}, or empty"
            raise FieldViolations([("currency", text)])
        return standing

    async def _frame(
        self, wish: ForecastWish, standing: BudgetStanding | None, usage: SeriesReader
    ) -> Frame:
        tenant = await usage.tenant(wish.tenant_id)
        tz, step = tenant.tz, wish.granularity
        named = read_instant(wish.history_end, tz) if wish.history_end else self._clock.now()
        # A step that is not over says too little of itself.
        end = floor(named, step, tz)
        history = history_of(end, step, tz)
        if wish.history_start:
            start = read_instant(wish.history_start, tz)
            history = Period(floor(start, step, tz), end)
        until = days_later(end, wish.horizon_days, tz)
        edges = steps_of(Period(end, until), step, tz)
        currency = standing.currency_code if standing else wish.currency_code
        return Frame(
            history=history,
            past=tuple(steps_of(history, step, tz)),
            edges=(*edges, next_step(edges[-1], step, tz)),
            tenant=tenant,
            currency_code=currency or tenant.currency_code,
        )

    def _question(self, wish: ForecastWish, frame: Frame, narrower: str = "") -> SeriesQuestion:
        both = [text for text in (wish.filter, narrower) if text]
        return SeriesQuestion(
            tenant_id=wish.tenant_id,
            period=frame.history,
            granularity=wish.granularity,
            group_by=wish.group_by,
            filter=" AND ".join(f"({text})" for text in both) if len(both) > 1 else "".join(both),
            cost_type=wish.cost_type,
            currency_code=frame.currency_code,
        )

    async def _fitted(
        self, wish: ForecastWish, frame: Frame, past: Histories
    ) -> tuple[list[SeriesForecast], SeriesForecast]:
        step = wish.granularity.value
        question = ForecastQuestion(
            horizon=len(frame.edges) - 1,
            seasons=SEASONS[step],
            levels=tuple(sorted(float(level) for level in wish.levels)),
            model=wish.model,
            is_daily=step == "day",
        )
        wanted = [past.total, *(past.parts if wish.group_by else ())]
        total, *parts = await self._fits.fit(wanted, question)
        return (reconciled(parts, total) if parts else []), total

    async def _changed(
        self, wish: ForecastWish, frame: Frame, total: SeriesForecast
    ) -> SeriesForecast:
        base = total
        for what_if in wish.what_ifs:
            matched = base
            if what_if.filter:
                question = self._question(wish, frame, what_if.filter)
                answer = await self._usage.series(question)
                past = histories(answer, frame.past, measure=wish.measure)
                _, matched = await self._fitted(wish, frame, past)
            start = (
                read_instant(what_if.start, frame.tenant.tz) if what_if.start else frame.edges[0]
            )
            total = with_change(total, matched, what_if, edges=frame.edges, start=start)
        return total

    @staticmethod
    def _told(
        wish: ForecastWish, past: Histories, parts: list[SeriesForecast], total: SeriesForecast
    ) -> tuple[tuple[ToldSeries, ...], ToldSeries]:
        if not parts:
            whole = told((), total, wish.levels)
            return (whole,), whole
        columns = rounded_columns(parts)
        whole = told((), total, wish.levels, summed(columns))
        series = tuple(
            told(group, part, wish.levels, column)
            for group, part, column in zip(past.groups, parts, columns, strict=True)
        )
        return series, whole

    @staticmethod
    def _outlook(
        standing: BudgetStanding | None, total: SeriesForecast, frame: Frame
    ) -> BudgetOutlook | None:
        return None if standing is None else outlook(standing, total, frame.edges)

    async def _keep(self, wish: ForecastWish, found: ForecastAnswer) -> None:
        lower, expected, upper = found.total.total
        made = MadeForecast(
            tenant_id=wish.tenant_id,
            made_at=found.fitted_at,
            horizon=found.horizon,
            horizon_days=wish.horizon_days,
            filter=wish.filter,
            cost_type=wish.cost_type,
            currency_code=found.currency_code,
            model=found.total.source.model,
            expected=expected,
            lower=lower,
            upper=upper,
            level=found.total.total_level,
        )
        async with self._database.transaction(wish.tenant_id) as tx:
            await store.add(tx, made)

    async def repeat_all(self) -> int:
        """Forecasts anew whatever was asked in the last weeks; returns how many questions.

        So that every day has a forecast to compare, whether or not somebody asked that day.
        """
        since = self._clock.now() - timedelta(days=REPEATED_DAYS)
        async with self._database.system_transaction() as tx:
            asked = await store.questions_since(tx, since)
        for made in asked:
            wish = ForecastWish(
                tenant_id=made.tenant_id,
                horizon_days=made.horizon_days,
                filter=made.filter,
                cost_type=made.cost_type,
                currency_code=made.currency_code,
            )
            levels = tuple(sorted({Decimal("0.8"), made.level}))
            await self.forecast(replace(wish, levels=levels))
        return len(asked)

    async def trim(self, *, kept: timedelta) -> None:
        """Forgets forecasts older than what is kept."""
        async with self._database.system_transaction() as tx:
            await store.trim(tx, self._clock.now() - kept)
