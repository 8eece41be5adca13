"""Tells how budgets stand and where they go."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.budget.domain.budget import Budget, BudgetPeriod
from services.budget.domain.calendar import midnight_before
from services.budget.domain.status import (
    DAY,
    BudgetStatus,
    FiredThreshold,
    SpendHistory,
    history_start,
    status_of,
)
from services.budget.errors import BudgetNotFound, NoPeriod
from services.budget.service.filling import COST_CONSUMER
from services.budget.service.periods import Periods
from services.budget.service.usage import UsageReader
from services.budget.store import budgets, statuses
from services.budget.store import periods as rows
from services.budget.store.statuses import PeriodKey
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

HISTORY_SECONDS: Final = 60.0  # what usage says about the past is asked again after so long
HISTORIES_MAX: Final = 5_000  # kept, about 20 MB
QUESTIONS_MAX: Final = 8  # to usage at once, so that an overview does not crowd out others


class Statuses:
    """The use cases of statuses."""

    def __init__(
        self,
        database: Database,
        *,
        usage: UsageReader,
        periods: Periods,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """usage: who knows what was spent when."""
        self._database = database
        self._usage = usage
        self._periods = periods
        self._tokens = tokens
        self._clock = clock
        self._histories: OrderedDict[tuple[str, int, datetime], tuple[float, SpendHistory]]
        self._histories = OrderedDict()
        self._asking = asyncio.Semaphore(QUESTIONS_MAX)

    async def get_budget_status(
        self, tenant_id: str, budget_id: str, at: datetime | None
    ) -> BudgetStatus:
        """Returns how a budget stands in the period that holds an instant, default now.

        Raises BudgetNotFound, NoPeriod, UsageRefused.
        """
        now = self._clock.now()
        instant = at or now
        sequence = await self._position()
        async with self._database.transaction(tenant_id) as tx:
            budget = await budgets.find_budget(tx, tenant_id, budget_id)
            if budget is None:
                raise BudgetNotFound(budget_id=budget_id)
            row = await self._periods.open(tx, budget, instant)
            if row is None:
                raise NoPeriod(budget_id=budget_id, at_time=instant.isoformat())
            fired = await statuses.fired_thresholds(tx, tenant_id, [_key(row)])
            drifts = await statuses.open_drifts(tx, tenant_id, [_key(row)])
        found = await self._status(budget, row, fired.get(budget_id, ()), now, sequence)
        return replace(found, drift=drifts.get(budget_id))

    async def list_budget_statuses(self, page: PageRequest) -> Page[BudgetStatus]:
        """Returns a page of the budgets that have a running period.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken, UsageRefused.
        """
        now = self._clock.now()
        tenant_id = page.tenant_id
        sequence = await self._position()
        async with self._database.read(tenant_id) as tx:
            found = await statuses.list_running(tx, page, self._tokens, now)
            known = await budgets.find_budgets(tx, tenant_id, found.items)
            stored = await rows.periods_of(tx, tenant_id, found.items, now)
            keys = [_key(row) for row in stored.values()]
            fired = await statuses.fired_thresholds(tx, tenant_id, keys)
            drifts = await statuses.open_drifts(tx, tenant_id, keys)
        items = await asyncio.gather(
            *(
                self._status(known[each], stored[each], fired.get(each, ()), now, sequence)
                for each in found.items
                if each in known and each in stored
            )
        )
        with_drifts = [replace(each, drift=drifts.get(each.budget.budget_id)) for each in items]
        return Page(with_drifts, found.next_page_token)

    async def _position(self) -> str:
        """Returns up to where of the cost feed rows read from now on are complete."""
        async with self._database.system_transaction() as tx:
            return await rows.cursor_position(tx, COST_CONSUMER)

    async def _status(
        self,
        budget: Budget,
        row: BudgetPeriod,
        fired: Sequence[FiredThreshold],
        now: datetime,
        sequence: str,
    ) -> BudgetStatus:
        history = await self._history(budget, row, min(now, row.period.end))
        return status_of(budget, row, history, now=now, fired=fired, sequence=sequence)

    async def _history(self, budget: Budget, row: BudgetPeriod, at: datetime) -> SpendHistory:
        key = (budget.budget_id, budget.revision, row.period.start)
        known = self._histories.get(key)
        if known is not None and time.monotonic() - known[0] < HISTORY_SECONDS:
            return known[1]
        async with self._asking:
            history = await self._read_history(budget, row, at)
        self._histories[key] = (time.monotonic(), history)
        self._histories.move_to_end(key)
        while len(self._histories) > HISTORIES_MAX:
            self._histories.popitem(last=False)
        return history

    async def _read_history(self, budget: Budget, row: BudgetPeriod, at: datetime) -> SpendHistory:
        tenant_id, terms = budget.tenant_id, budget.terms_of(row.period, at)
        today = midnight_before(at, terms.rule.time_zone)
        hours = Period(at - 14 * DAY, max(at, at - 14 * DAY + timedelta(hours=1)))
        days = Period(history_start(today), today)
        by_hour, by_day, previous = await asyncio.gather(
            self._usage.spend_series(tenant_id, terms, hours, by_hour=True),
            self._usage.spend_series(tenant_id, terms, days, by_hour=False),
            self._previous(budget, row, at),
        )
        return SpendHistory(by_hour, without_gaps(by_day, today), previous)

    async def _previous(self, budget: Budget, row: BudgetPeriod, at: datetime) -> Decimal | None:
        """Returns the cost of the period before up to the same point."""
        before = budget.preceding(row.period)
        if before is None:
            return None
        end = min(before.start + (at - row.period.start), before.end)
        if end <= before.start:
            return Decimal(0)
        terms = budget.terms_of(before, before.end)
        answer = await self._usage.spend(budget.tenant_id, terms, Period(before.start, end))
        return answer.cost


def without_gaps(by_day: Sequence[tuple[datetime, Decimal]], today: datetime) -> list[Decimal]:
    """Returns a cost for each day from the first that had one up to yesterday."""
    if not by_day:
        return []
    first = by_day[0][0]
    costs = [Decimal(0)] * max(round((today - first) / DAY), 1)
    for start, cost in by_day:
        place = min(round((start - first) / DAY), len(costs) - 1)
        costs[place] += cost
    return costs


def _key(row: BudgetPeriod) -> PeriodKey:
    return PeriodKey(row.budget_id, row.period.start)
