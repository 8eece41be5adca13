"""Evaluates thresholds on the forecast, which moves with time as well as with spend."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import structlog

from services.budget.service.evaluating import Evaluator
from services.budget.service.statuses import Statuses
from services.budget.store import alert_candidates
from services.budget.store.alert_candidates import PeriodKey
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.jobs import Job

JOB: Final = "alerts.forecast"
BATCH: Final = 100  # budgets evaluated in one transaction

log = structlog.get_logger(__name__)


class ForecastAlerts:
    """Asks how each budget with a threshold on its forecast will end."""

    def __init__(
        self, database: Database, statuses: Statuses, evaluator: Evaluator, *, clock: Clock
    ) -> None:
        """Takes what forecasts, and what fires alerts."""
        self._database = database
        self._statuses = statuses
        self._evaluator = evaluator
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Evaluates every running period whose budget has such a threshold."""
        after: PeriodKey | None = None
        while True:
            now = self._clock.now()
            async with self._database.system_transaction() as tx:
                keys = await alert_candidates.forecast_periods(tx, now, after=after, limit=BATCH)
            if not keys:
                return
            await self.evaluate(keys)
            after = keys[-1]

    async def evaluate(self, keys: list[PeriodKey]) -> None:
        """Evaluates some periods. One that has no forecast now is left as it is."""
        forecasts = {key: await self._forecast(key) for key in keys}

        async def work(tx: Transaction) -> None:
            await self._evaluator.evaluate_forecasts(tx, forecasts)

        await self._database.run(None, work)

    async def _forecast(self, key: PeriodKey) -> Decimal | None:
        try:
            status = await self._statuses.get_budget_status(key.tenant_id, key.budget_id, None)
        except Error as error:
            # Tried again with the next run; the other budgets must not wait for this one.
            log.warning("no forecast", budget=key.budget_id, reason=error.reason)
            return None
        if status.forecast is None or status.row.period.start != key.period_start:
            return None
        return status.forecast.expected
