"""Goes on after a gap in the cost feed: what is lost there is asked of the usage service."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.budget.domain.budget import Budget
from services.budget.domain.cost_block import CostBlock
from services.budget.service.filling import PAST_PERIODS_MAX
from services.budget.service.reconciling import Reconciler
from services.budget.store import budgets, reconciliations
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.feed_consumer import FeedConsumer
from services.kernel.feed_page import FeedPosition
from services.kernel.jobs import Job, enqueue
from services.kernel.period import Period

JOB: Final = "rebuild_ledger"

End = Callable[[], Awaitable[FeedPosition]]
log = structlog.get_logger(__name__)


class Rebuilding:
    """Rebuilds ledgers from usage when changes that they need are no longer kept.

    The consumer was away for longer than the feed is kept. It goes on from the feed's end at once,
    and a job for each tenant, queued in the same transaction, sets every period to what usage says.
    """

    def __init__(
        self, database: Database, reconciler: Reconciler, end: End, *, clock: Clock
    ) -> None:
        """end: returns a position of the feed before which nothing can appear any more."""
        self._database = database
        self._reconciler = reconciler
        self._end = end
        self._clock = clock

    async def resume(self, consumer: FeedConsumer[CostBlock], lost: FeedPosition) -> None:
        """Goes on from the feed's end and queues the rebuilding of every ledger."""
        end = await self._end()
        await consumer.skip(lost, end, instead=self._queue)
        log.error("ledgers are rebuilt from usage", lost=str(lost), end=str(end))

    async def pass_over(self, consumer: FeedConsumer[CostBlock], lost: FeedPosition) -> None:
        """Goes on from the feed's end without what nobody can tell any more."""

        async def nothing(_: Transaction) -> None:
            log.error("events of lost cost changes are not sent", lost=str(lost))

        await consumer.skip(lost, await self._end(), instead=nothing)

    async def _queue(self, tx: Transaction) -> None:
        for tenant_id in await reconciliations.tenants_with_budgets(tx):
            payload = json.dumps({"tenant_id": tenant_id}).encode()
            await enqueue(tx, JOB, payload, tenant_id=tenant_id)

    async def run(self, job: Job) -> None:
        """Sets all periods of a tenant to what usage says; again from its beginning when it fails.

        The running periods come first, because work is admitted by them.
        """
        tenant_id: str = json.loads(job.payload)["tenant_id"]
        async with self._database.system_transaction() as tx:
            found = await budgets.live_budgets(tx, tenant_id)
        waiting = [(budget, budget.period_at(self._clock.now())) for budget in found]
        for depth in range(PAST_PERIODS_MAX):
            waiting = [await self._recounted(*each) for each in waiting if each[1] is not None]
            if not waiting:
                log.info("ledger rebuilt", tenant=tenant_id, budgets=len(found), periods=depth)
                return
        log.warning("older periods keep what they had", tenant=tenant_id, periods=PAST_PERIODS_MAX)

    async def _recounted(
        self, budget: Budget, period: Period | None
    ) -> tuple[Budget, Period | None]:
        """Returns the budget with the period before the one that was set."""
        if period is None:
            return budget, None
        await self._reconciler.recount(budget, period)
        return budget, budget.preceding(period)
