"""Replays past usage against a budget before anybody activates it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from services.budget.domain.backtest import Backtest, Replay, ReplayedEvent
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.terms import BudgetTerms
from services.budget.errors import BacktestTooLarge, BudgetNotFound
from services.budget.service.directories import Directories
from services.budget.service.usage import SpendEvent, UsageReader
from services.budget.store import budgets
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import FieldViolations
from services.kernel.exchange import ExchangeRates
from services.kernel.period import Period, day_start, zone

YEAR_MIN: Final = 1970  # the bounds of usage
YEAR_MAX: Final = 2199
EVENTS_MAX: Final = 200_000  # half a minute's reading; a longer replay is asked for in parts

Instants = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BacktestWish:
    """What to try. budget_id: "" for a planned budget alone.

    terms: makes the terms from the stored ones, None without, the tenant's zone and now.
    start, end: RFC 3339 or dates in the budget's zone, "" for the last full quarter.
    """

    budget_id: str
    terms: Callable[[BudgetTerms | None, str, datetime], BudgetTerms]
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class BacktestAnswer:
    """What was replayed and what was found."""

    period: Period
    currency_code: str
    found: Backtest


class Backtests:
    """The use case of backtests; stores nothing."""

    def __init__(
        self,
        database: Database,
        *,
        usage: UsageReader,
        directories: Directories,
        rates: ExchangeRates,
        clock: Clock,
    ) -> None:
        """rates: for usage in other currencies than the budget's."""
        self._database = database
        self._usage = usage
        self._directories = directories
        self._rates = rates
        self._clock = clock

    async def backtest_budget(self, tenant_id: str, wish: BacktestWish) -> BacktestAnswer:
        """Replays the usage of a time under the terms wished for.

        Raises BudgetNotFound, BacktestTooLarge, UsageRefused, MissingRate, FieldViolations.
        """
        now = self._clock.now()
        directory = await self._directories.get(tenant_id)
        stored = await self._stored(tenant_id, wish.budget_id, now)
        terms = wish.terms(stored, directory.time_zone, now)
        period = replayed_period(wish, terms.rule.time_zone, now)
        replay = Replay(terms)
        count = 0
        async for event in self._usage.events(tenant_id, terms, period):
            count += 1
            if count > EVENTS_MAX:
                raise BacktestTooLarge(events_max=EVENTS_MAX)
            replay.add(self._converted(event, terms))
        return BacktestAnswer(period, terms.amount.currency_code, replay.finish(period.end))

    async def _stored(self, tenant_id: str, budget_id: str, now: datetime) -> BudgetTerms | None:
        if not budget_id:
            return None
        async with self._database.read(tenant_id) as tx:
            budget = await budgets.find_budget(tx, tenant_id, budget_id)
        if budget is None:
            raise BudgetNotFound(budget_id=budget_id)
        return budget.version_at(now).terms

    def _converted(self, event: SpendEvent, terms: BudgetTerms) -> ReplayedEvent:
        cost, code = event.cost, terms.amount.currency_code
        if event.currency_code != code and cost != Decimal(0):
            day = event.at.astimezone(zone(terms.rule.time_zone)).date()
            cost = self._rates.rate(event.currency_code, code, day).convert(cost)
        return ReplayedEvent(event.event_id, event.at, cost, event.is_unpriced)


def replayed_period(wish: BacktestWish, time_zone: str, now: datetime) -> Period:
    """Returns the time to replay. Raises FieldViolations, InvalidPeriod."""
    quarter = PeriodRule(Cadence.QUARTERLY, time_zone).period_at(now)
    last = None if quarter is None else quarter.start
    before = PeriodRule(Cadence.QUARTERLY, time_zone).period_at(
        (last or now) - timedelta(microseconds=1)
    )
    if before is None:
        raise LookupError("a calendar has no quarter before")
    start = read_instant("start", wish.start, time_zone) if wish.start else before.start
    end = read_instant("end", wish.end, time_zone) if wish.end else before.end
    if wish.start and not wish.end and end <= start:
        end = now
    if start >= now:
        raise FieldViolations([("start", "must be in the past: usage that happened is replayed")])
    return Period(start, end)


def read_instant(field: str, text: str, time_zone: str) -> datetime:
    """Returns the instant of RFC 3339, or the first one of a local date. Raises FieldViolations."""
    try:
        instant = (
            day_start(date.fromisoformat(text), zone(time_zone))
            if len(text) == len("2026-01-31")
            else datetime.fromisoformat(text)
        )
    except (ValueError, OverflowError) as error:
        raise FieldViolations(
            [(field, f"{text!r} is neither a time such as 2026-03-01T00:00:00Z nor a date")]
        ) from error
    if instant.tzinfo is None:
        raise FieldViolations([(field, f"{text!r} names no time zone; add Z")])
    if not YEAR_MIN <= instant.year <= YEAR_MAX:
        raise FieldViolations([(field, f"must lie in the years {YEAR_MIN} to {YEAR_MAX}")])
    return instant
