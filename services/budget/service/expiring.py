"""Gives back holds that ran out, whether anybody asks or not."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import structlog

from services.budget.service.spending import Spending
from services.budget.store import cost_history, counted
from services.kernel.database import Database
from services.kernel.errors import Error

INTERVAL_SECONDS: Final = 1.0  # an authorization that comes earlier gives them back by itself

log = structlog.get_logger(__name__)


class ExpiringHolds:
    """The worker of expiry. Any number may run: each leaves alone what another works on."""

    def __init__(self, spending: Spending) -> None:
        """Takes who keeps the holds."""
        self._spending = spending

    async def run(self) -> None:
        """Works until cancelled. A failure is logged and tried again."""
        while True:
            try:
                expired = await self._spending.expire_holds()
                if expired:
                    log.info("holds expired", holds=expired)
            except Error as error:
                log.warning("expiry failed", reason=error.reason, message=error.message)
            await asyncio.sleep(INTERVAL_SECONDS)


async def trim_ledger(database: Database, now: datetime) -> None:
    """Deletes what no estimate and no look-up needs any more."""
    async with database.system_transaction() as tx:
        await cost_history.trim(tx, now.date())
        await counted.trim(tx, now)
