"""Follows the cost of budgets that count what allocation rules move.

The feed tells what usage cost where it arose, not what rules make of it, so these budgets ask: as
soon as the tenant's cost has changed, and now and then because rules may have.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from services.budget.service.reconciling import Reconciler
from services.budget.store import budgets, reconciliations
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error

INTERVAL_SECONDS: Final = 1.0  # with the question itself, how late such a budget is
RULES_SECONDS: Final = 60.0  # after which it asks although no cost has changed
CALLS: Final = 4  # questions in flight

log = structlog.get_logger(__name__)


class AllocatedCosts:
    """The worker that asks."""

    def __init__(self, database: Database, reconciler: Reconciler, *, clock: Clock) -> None:
        """reconciler: sets a period to the usage service's answer."""
        self._database = database
        self._reconciler = reconciler
        self._clock = clock
        # By (tenant_id, budget_id): the newest change counted when it was asked last, and when.
        self._asked: dict[tuple[str, str], tuple[str, float]] = {}

    async def run(self) -> None:
        """Works until cancelled. A failure is logged and tried again."""
        while True:
            try:
                await self.count()
            except Error as error:
                log.warning("allocated cost not read", reason=error.reason, message=error.message)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def count(self) -> int:
        """Brings every budget up to date whose cost may have changed; returns how many asked."""
        async with self._database.system_transaction() as tx:
            wanted = await reconciliations.allocated_budgets(tx)
        began = time.monotonic()
        due = {key: counted for key, counted in wanted.items() if self._is_due(key, counted, began)}
        # Budgets that ended or were deleted are forgotten.
        self._asked = {key: asked for key, asked in self._asked.items() if key in wanted}
        turns = asyncio.Semaphore(CALLS)

        async def one(key: tuple[str, str], counted: str) -> None:
            async with turns:
                if await self._count_one(*key):
                    self._asked[key] = (counted, began)

        await asyncio.gather(*(one(key, counted) for key, counted in due.items()))
        return len(due)

    def _is_due(self, key: tuple[str, str], counted: str, now: float) -> bool:
        sequence, at = self._asked.get(key, (None, 0.0))
        return sequence != counted or now - at >= RULES_SECONDS

    async def _count_one(self, tenant_id: str, budget_id: str) -> bool:
        async with self._database.system_transaction() as tx:
            budget = await budgets.find_budget(tx, tenant_id, budget_id)
        period = None if budget is None else budget.period_at(self._clock.now())
        if budget is None or period is None:
            return True
        try:
            await self._reconciler.count_allocated(budget, period)
        except Error as error:
            # Asked again in a moment; the other budgets must not wait for this one.
            log.warning("allocated cost not counted", budget=budget_id, reason=error.reason)
            return False
        return True
