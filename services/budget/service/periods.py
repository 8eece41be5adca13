"""Opens, closes and carries over the periods of budgets.

Whoever needs a period's row opens it in the transaction that uses it; the worker only does the same
a little ahead of time. So a reset is neither late nor double, whether the worker runs or not.
Rows are locked by (budget_id, period_start) in ascending order, in every transaction.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.budget.domain.budget import Budget, BudgetPeriod
from services.budget.domain.change import BudgetChange, ChangeKind
from services.budget.service.evaluating import Evaluator
from services.budget.store import periods
from services.budget.store.changes import BudgetFeed
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.period import Period

ZERO: Final = Decimal(0)


class Periods:
    """The rows of periods, with the limit that holds now."""

    def __init__(self, feed: BudgetFeed, evaluator: Evaluator, *, clock: Clock) -> None:
        """Takes the feed that resets are told on, and what compares limits with thresholds."""
        self._feed = feed
        self._evaluator = evaluator
        self._clock = clock

    async def open(self, tx: Transaction, budget: Budget, at: datetime) -> BudgetPeriod | None:
        """Returns the locked row of the period that holds an instant, None where none does.

        Makes it where it is missing, with all before it; closes what is over; brings amount and
        increases up to now. A closed row is returned as it is: late usage changes it.
        """
        period = budget.period_at(at)
        if period is None:
            return None
        now = self._clock.now()
        row = await periods.find_period(
            tx, budget.tenant_id, budget.budget_id, period.start, for_update=True
        )
        if row is None:
            row = await self._make(tx, budget, period, now)
        return await self._bring_up(tx, budget, row, now)

    async def turn(self, tx: Transaction, budget: Budget) -> int:
        """Brings the budget's newest rows up to now, and returns how many periods began."""
        now = self._clock.now()
        begun = 0
        row = await periods.oldest_open(tx, budget.tenant_id, budget.budget_id)
        while row is not None:
            row = await self._bring_up(tx, budget, row, now)
            if row.closed_at is None:
                break
            begun += 1
            row = await periods.oldest_open(tx, budget.tenant_id, budget.budget_id)
        return begun

    async def refresh(self, tx: Transaction, budget: Budget) -> BudgetPeriod | None:
        """Brings the running period's limit up to a changed budget, and returns its locked row."""
        now = self._clock.now()
        row = await periods.oldest_open(tx, budget.tenant_id, budget.budget_id)
        if row is None:
            return None
        return await self._limited(tx, budget, row, now)

    async def carry(self, tx: Transaction, budget: Budget, row: BudgetPeriod) -> None:
        """Gives the period after a closed one what that leaves now, unless it is closed too.

        For whoever changed spent or held of a closed row. row: locked, with its new figures.
        """
        following = budget.following(row.period)
        if row.closed_at is None or following is None:
            return
        after = await periods.find_period(
            tx, budget.tenant_id, budget.budget_id, following.start, for_update=True
        )
        if after is None or after.closed_at is not None:
            return
        rolled = budget.rolled_out(row)
        if rolled == after.totals.rolled_over:
            return
        after = replace(after, totals=replace(after.totals, rolled_over=rolled))
        after = await self._limited(tx, budget, after, self._clock.now())
        await self._tell(tx, budget, after, ChangeKind.TOTALS)

    async def _bring_up(
        self, tx: Transaction, budget: Budget, row: BudgetPeriod, now: datetime
    ) -> BudgetPeriod:
        if row.closed_at is not None or now < row.limit_until:
            return row
        row = await self._limited(tx, budget, row, now)
        if row.period.end > now:
            await self._tell(tx, budget, row, ChangeKind.TOTALS)
            return row
        return await self._close(tx, budget, row, now)

    async def _limited(
        self, tx: Transaction, budget: Budget, row: BudgetPeriod, now: datetime
    ) -> BudgetPeriod:
        # The end moves where the budget got another end, never back before what has counted.
        period = budget.period_at(row.period.start) or row.period
        parts = budget.limit_parts(period, now)
        limited = await periods.set_limit(tx, budget.tenant_id, row, parts=parts, end=period.end)
        await self._evaluator.evaluate_rows(tx, budget.tenant_id, [limited])
        return limited

    async def _close(
        self, tx: Transaction, budget: Budget, row: BudgetPeriod, now: datetime
    ) -> BudgetPeriod:
        """Closes a period that is over and opens the next one; the row lock makes it once."""
        closed = await periods.close_period(tx, budget.tenant_id, row, now)
        if closed is None:
            return row
        following = budget.following(closed.period)
        if following is not None:
            after = await self._add(tx, budget, following, now, before=closed)
            await self._tell(tx, budget, after, ChangeKind.PERIOD_RESET)
        return closed

    async def _make(
        self, tx: Transaction, budget: Budget, wanted: Period, now: datetime
    ) -> BudgetPeriod:
        """Makes the row of a period, and those that are missing between it and the newest one."""
        row = await periods.latest_period(tx, budget.tenant_id, budget.budget_id)
        first = wanted
        if row is not None and row.period.start < wanted.start:
            await self.turn(tx, budget)
            first = budget.following(row.period) or wanted
        elif row is None and budget.started_at is not None:
            first = budget.period_at(budget.started_at) or wanted
        made: BudgetPeriod | None = None
        for period in budget.periods_from(first, wanted.start):
            made = await self._add(tx, budget, period, now, before=made)
            if period.end <= now and period.start < wanted.start:
                made = await periods.close_period(tx, budget.tenant_id, made, now) or made
        return made or await self._add(tx, budget, wanted, now, before=None)

    async def _add(
        self,
        tx: Transaction,
        budget: Budget,
        period: Period,
        now: datetime,
        *,
        before: BudgetPeriod | None,
    ) -> BudgetPeriod:
        """Adds and locks the row of a period, or gives the row that is there what is carried."""
        parts = budget.limit_parts(period, now)
        is_carrying = before is not None and before.closed_at is not None
        rolled = budget.rolled_out(before) if before is not None and is_carrying else None
        key = (budget.tenant_id, budget.budget_id, period.start)
        added = await periods.add_period(
            tx, budget, period, parts=parts, rolled_over=rolled or ZERO
        )
        row = await periods.find_period(tx, *key, for_update=True)
        if row is None:
            raise LookupError("a period that was just added has no row")
        if added and row.totals.limit <= ZERO:
            # Overspend took all of it: no spend crosses a threshold from here on.
            await self._evaluator.evaluate_rows(tx, budget.tenant_id, [row])
        if added or rolled is None or row.closed_at is not None:
            return row
        row = replace(row, totals=replace(row.totals, rolled_over=rolled))
        return await self._limited(tx, budget, row, now)

    async def _tell(
        self, tx: Transaction, budget: Budget, row: BudgetPeriod, kind: ChangeKind
    ) -> None:
        change = change_of_period(row, kind, self._clock.now())
        await self._feed.append(tx, [change], tenant_id=budget.tenant_id)


def change_of_period(row: BudgetPeriod, kind: ChangeKind, at: datetime) -> BudgetChange:
    """Returns the fact that a period's figures changed."""
    return BudgetChange(
        kind=kind,
        budget_id=row.budget_id,
        version=row.version,
        changed_at=at,
        currency_code=row.currency_code,
        period=row.period,
        totals=row.totals,
    )
