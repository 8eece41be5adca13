"""Tells what a transaction did to periods: to the feed of budgets, and to the period after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.budget.domain.budget import BudgetPeriod, PeriodTotals
from services.budget.domain.change import BudgetChange, ChangeKind
from services.budget.domain.ledger_entry import Movement
from services.budget.service.budget_index import BudgetIndex
from services.budget.service.evaluating import Evaluator, MovedPeriod
from services.budget.service.periods import Periods, change_of_period
from services.budget.store import accounts
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.changes import BudgetFeed
from services.kernel.database import Transaction
from services.kernel.money import EXACT

STEPS: Final = 1_000  # a busy budget tells each thousandth of its limit, not each call


class SpendLedger:
    """Follows up movements inside their transaction."""

    def __init__(self, feed: BudgetFeed, periods: Periods, evaluator: Evaluator) -> None:
        """Takes the feed of totals, the periods that closed ones carry into, and what alerts."""
        self.feed = feed
        self._periods = periods
        self._evaluator = evaluator

    async def lock(
        self,
        tx: Transaction,
        keys: Collection[AccountKey],
        indexes: Mapping[str, BudgetIndex],
        now: datetime,
    ) -> dict[AccountKey, LockedAccount]:
        """Locks periods; opens those that are missing, and brings limits that have changed up."""
        found = await accounts.lock(tx, keys)
        stale = [
            key
            for key in sorted(keys)
            if key not in found
            or (found[key].row.closed_at is None and found[key].row.limit_until <= now)
        ]
        for key in stale:
            budget = indexes[key.tenant_id].budgets.get(key.budget_id)
            if budget is not None:
                await self._periods.open(tx, budget, key.period_start)
        return await accounts.lock(tx, keys) if stale else found

    async def told(
        self,
        tx: Transaction,
        before: Mapping[AccountKey, LockedAccount],
        after: Mapping[AccountKey, BudgetPeriod],
        indexes: Mapping[str, BudgetIndex],
        now: datetime,
        *,
        movements: Sequence[Movement] = (),
    ) -> None:
        """Appends the facts that figures moved, fires alerts, carries what closed periods leave.

        movements: what made the figures move, in order.
        """
        changes: dict[str, list[BudgetChange]] = defaultdict(list)
        for key, row in after.items():
            if _step(before[key].row) != _step(row):
                fact = change_of_period(row, ChangeKind.TOTALS, now)
                changes[key.tenant_id].append(fact)
        for tenant_id in sorted(changes):
            await self.feed.append(tx, changes[tenant_id], tenant_id=tenant_id)
        moved = [
            MovedPeriod(key.tenant_id, budget, before[key].row, row)
            for key, row in after.items()
            if (budget := indexes[key.tenant_id].budgets.get(key.budget_id)) is not None
        ]
        await self._evaluator.evaluate(tx, moved, movements)
        for key in sorted(after):
            if after[key].closed_at is None:
                continue
            budget = indexes[key.tenant_id].budgets.get(key.budget_id)
            if budget is not None:
                await self._periods.carry(tx, budget, after[key])


def _step(row: BudgetPeriod) -> tuple[int, int, bool]:
    totals = row.totals
    limit = max(totals.limit, Decimal(1).scaleb(-18))
    committed = totals.spent + totals.held
    return (
        int(totals.spent * STEPS / limit),
        int(committed * STEPS / limit),
        totals.unpriced_events > 0,
    )


def told_until(totals: PeriodTotals) -> Decimal:
    """Returns the committed amount from which on a fact tells that more is held."""
    limit = max(totals.limit, Decimal(1).scaleb(-18))
    committed = EXACT.add(totals.spent, totals.held)
    return EXACT.divide(EXACT.multiply(Decimal(int(committed * STEPS / limit) + 1), limit), STEPS)


def following(index: BudgetIndex, key: AccountKey, now: datetime) -> list[AccountKey]:
    """Returns the period that a closed one carries into, to be locked together with it."""
    budget = index.budgets.get(key.budget_id)
    period = None if budget is None else budget.period_at(key.period_start)
    if budget is None or period is None or period.end > now:
        return []
    after = budget.following(period)
    return [] if after is None else [AccountKey(key.tenant_id, key.budget_id, after.start)]
