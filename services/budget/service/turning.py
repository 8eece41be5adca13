"""Ends periods and limits at their instants, ahead of the next authorization.

Authorizations and the cost feed's consumer open what they need by themselves: this only makes
resets visible, and tells them, where nobody spends.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog
from opentelemetry import metrics

from services.budget.service.periods import Periods
from services.budget.store import budgets
from services.budget.store import periods as rows
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction

POLL_SECONDS: Final = 1.0  # a reset is seen within this time of its instant
BATCH: Final = 200  # budgets looked up at once; each is a transaction of its own

log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.budget")
_resets = _meter.create_counter(
    "finops_budget_period_resets_total", description="Periods that the worker began."
)
_failures = _meter.create_counter(
    "finops_budget_turn_failures_total", description="Budgets whose period could not be turned."
)


class PeriodTurns:
    """Looks every second for budgets whose period or limit is over."""

    def __init__(self, database: Database, periods: Periods, *, clock: Clock) -> None:
        """Takes what opens periods."""
        self._database = database
        self._periods = periods
        self._clock = clock

    async def run(self) -> None:
        """Turns periods until it is cancelled."""
        while True:
            if not await self.turn_due():
                await asyncio.sleep(POLL_SECONDS)

    async def turn_due(self) -> int:
        """Brings the most overdue budgets up to now, and returns how many could be.

        One that fails is logged and tried again, and holds no other up.
        """
        async with self._database.system_transaction() as tx:
            due = await rows.due_budgets(tx, self._clock.now(), BATCH)
        turned = 0
        for tenant_id, budget_id in due:
            turn = partial(self._turn, tenant_id=tenant_id, budget_id=budget_id)
            try:
                begun = await self._database.run(None, turn)
            except Exception:
                _failures.add(1)
                log.exception("period not turned", tenant=tenant_id, budget=budget_id)
                continue
            turned += 1
            if begun:
                _resets.add(begun)
                log.info("period reset", tenant=tenant_id, budget=budget_id, periods=begun)
        return turned

    async def _turn(self, tx: Transaction, *, tenant_id: str, budget_id: str) -> int:
        budget = await budgets.find_budget(tx, tenant_id, budget_id)
        return 0 if budget is None else await self._periods.turn(tx, budget)
