"""GetForecastAccuracy: what was forecast beside what came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.period import Granularity, Period, floor
from services.reporting.domain.forecast.comparison import Comparison, error_of
from services.reporting.domain.forecast.series_forecast import BacktestError
from services.reporting.domain.forecast.steps import days_later, read_instant
from services.reporting.service.peers import SeriesQuestion, SeriesReader, UsageReader
from services.reporting.store import forecasts as store

COMPARISONS_MAX: Final = 400
LOOK_BACK: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class AccuracyQuestion:
    """Which forecasts are judged; times as written, empty for the default."""

    tenant_id: str
    horizon_days: int
    filter: str
    start: str
    end: str
    currency_code: str


@dataclass(frozen=True, slots=True)
class AccuracyAnswer:
    """Comparisons, newest first, and the error over all; None without any."""

    comparisons: tuple[Comparison, ...]
    error: BacktestError | None


class Judgements:
    """Compares forecasts that were made with what came."""

    def __init__(self, database: Database, usage: UsageReader, *, clock: Clock) -> None:
        """Takes what it reads from."""
        self._database = database
        self._usage = usage
        self._clock = clock

    async def get_forecast_accuracy(
        self, question: AccuracyQuestion, *, usage: SeriesReader | None = None
    ) -> AccuracyAnswer:
        """Judges every kept forecast whose horizon is over.

        usage: whom a caller that knows some of the cost already wants asked instead.
        """
        usage = usage or self._usage
        tenant = await usage.tenant(question.tenant_id)
        now = self._clock.now()
        end = read_instant(question.end, tenant.tz) if question.end else now
        start = read_instant(question.start, tenant.tz) if question.start else end - LOOK_BACK
        currency = question.currency_code or tenant.currency_code
        async with self._database.read(question.tenant_id) as tx:
            made = await store.made_in(
                tx,
                Period(start, end),
                horizon_days=question.horizon_days,
                filter_text=question.filter,
                currency_code=currency,
                over_at=floor(now, Granularity.DAY, tenant.tz),
                limit=COMPARISONS_MAX,
            )
        if not made:
            return AccuracyAnswer((), None)
        first = min(each.horizon.start for each in made)
        last = max(each.horizon.end for each in made)
        answer = await usage.series(
            SeriesQuestion(
                tenant_id=question.tenant_id,
                period=Period(days_later(first, -question.horizon_days, tenant.tz), last),
                granularity=Granularity.DAY,
                filter=question.filter,
                cost_type="billed",
                currency_code=currency,
            )
        )
        days = {point.start: point.cost for point in answer.points}
        comparisons = []
        for each in made:
            before = days_later(each.horizon.start, -question.horizon_days, tenant.tz)
            comparisons.append(
                Comparison(
                    each,
                    actual=sum_of(days, each.horizon.start, each.horizon.end),
                    before=sum_of(days, before, each.horizon.start),
                )
            )
        return AccuracyAnswer(tuple(comparisons), error_of(comparisons))


def sum_of(days: dict[datetime, Decimal], start: datetime, end: datetime) -> Decimal:
    """Adds up the cost of the days from `start` to before `end`."""
    return sum((cost for day, cost in days.items() if start <= day < end), Decimal(0))
