"""Tells what a transaction did to periods: to the feed of budgets, and to the period after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.budget.domain.budget import BudgetPeriod
from services.budget.domain.change import BudgetChange, ChangeKind
from services.budget.service.budget_index import BudgetIndex
from services.budget.service.periods import Periods, change_of_period
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.changes import BudgetFeed
from services.kernel.database import Transaction

STEPS: Final = 1_000  # a busy budget tells each thousandth of its limit, not each call


class SpendLedger:
    """Follows up movements inside their transaction."""

    def __init__(self, feed: BudgetFeed, periods: Periods) -> None:
        """Takes the feed that totals are told on, and the periods that closed ones carry into."""
        self._feed = feed
        self._periods = periods

    async def told(
        self,
        tx: Transaction,
        before: Mapping[AccountKey, LockedAccount],
        after: Mapping[AccountKey, BudgetPeriod],
        indexes: Mapping[str, BudgetIndex],
        now: datetime,
    ) -> None:
        """Appends the facts that figures moved, and carries what closed periods leave now."""
        changes: dict[str, list[BudgetChange]] = defaultdict(list)
        for key, row in after.items():
            if _step(before[key].row) != _step(row):
                fact = change_of_period(row, ChangeKind.TOTALS, now)
                changes[key.tenant_id].append(fact)
        for tenant_id in sorted(changes):
            await self._feed.append(tx, changes[tenant_id], tenant_id=tenant_id)
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
