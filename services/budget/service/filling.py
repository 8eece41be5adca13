"""Counts in what was spent before a budget was stored, so that no cost is missed or double.

Usage answers with the tenant's newest change in the cost feed that its answer counts. The row keeps
that position, and the feed's consumer skips what is not beyond it. The answer is taken only when
everything up to that position was certain before the question, or a change that was still under way
would be skipped as if counted. The row is added while the consumer waits and has counted no newer
change of the tenant, so that nothing lies between the two.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from services.budget.domain.budget import Budget
from services.budget.domain.change import ChangeKind
from services.budget.errors import FillContended, TooManyPastPeriods
from services.budget.service.evaluating import Evaluator
from services.budget.service.periods import Periods, change_of_period
from services.budget.service.usage import SpendAnswer, UsageReader
from services.budget.store import periods as rows
from services.budget.store.changes import BudgetFeed
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.period import Period

COST_CONSUMER: Final = "costs"  # name of the cursor of the cost feed's consumer
PAST_PERIODS_MAX: Final = 120  # ten years of months; one question to usage each
ATTEMPTS: Final = 60  # a tenant that never stops recording leaves a gap between two batches
RETRY_SECONDS: Final = 0.05

Store = Callable[[Transaction], Awaitable[None]]


class Filling:
    """Stores a budget that begins to count, with the rows of its periods so far."""

    def __init__(
        self,
        database: Database,
        *,
        usage: UsageReader,
        periods: Periods,
        feed: BudgetFeed,
        evaluator: Evaluator,
        clock: Clock,
    ) -> None:
        """usage: who knows what was spent."""
        self._evaluator = evaluator
        self._database = database
        self._usage = usage
        self._periods = periods
        self._feed = feed
        self._clock = clock

    async def run(self, budget: Budget, store: Store) -> None:
        """Runs `store` and adds the filled rows in one transaction of the worker.

        Raises TooManyPastPeriods, FillContended, UsageRefused.
        """
        wanted = past_periods(budget, self._clock.now())
        for _ in range(ATTEMPTS):
            certain = await self._usage.horizon(budget.tenant_id) if wanted else ""
            answers = [await self._spend(budget, period) for period in wanted]
            if all(answer.is_certain and answer.sequence <= certain for answer in answers):
                async with self._database.system_transaction() as tx:
                    counted = await rows.lock_counted(tx, budget.tenant_id, COST_CONSUMER)
                    if all(answer.sequence >= counted for answer in answers):
                        await store(tx)
                        await self._fill(tx, budget, wanted, answers)
                        return
            await asyncio.sleep(random.uniform(0, RETRY_SECONDS))  # noqa: S311 - spreads retries
        raise FillContended(budget_id=budget.budget_id)

    async def _spend(self, budget: Budget, period: Period) -> SpendAnswer:
        terms = budget.version_at(period.start).terms
        return await self._usage.spend(budget.tenant_id, terms, period)

    async def _fill(
        self,
        tx: Transaction,
        budget: Budget,
        wanted: list[Period],
        answers: list[SpendAnswer],
    ) -> None:
        now = self._clock.now()
        for period, answer in zip(wanted, answers, strict=True):
            # In order: what one leaves is carried before the next is told.
            row = await self._periods.open(tx, budget, period.start)
            if row is None:
                raise LookupError("a period of the budget has no row")
            row = await rows.fill_period(
                tx,
                budget.tenant_id,
                row,
                spent=answer.cost,
                unpriced_events=answer.unpriced_events,
                sequence=answer.sequence,
            )
            await self._periods.carry(tx, budget, row)
            await self._evaluator.evaluate_rows(tx, budget.tenant_id, [row])
            change = change_of_period(row, ChangeKind.TOTALS, now)
            await self._feed.append(tx, [change], tenant_id=budget.tenant_id)


def past_periods(budget: Budget, now: datetime) -> list[Period]:
    """Returns the periods from the budget's start to now, oldest first; none before it starts.

    Raises TooManyPastPeriods.
    """
    if budget.started_at is None or budget.started_at > now:
        return []
    first = budget.period_at(budget.started_at)
    found: list[Period] = []
    for period in budget.periods_from(first, now) if first is not None else ():
        found.append(period)
        if len(found) > PAST_PERIODS_MAX:
            raise TooManyPastPeriods(budget_id=budget.budget_id, past_periods_max=PAST_PERIODS_MAX)
    return found
