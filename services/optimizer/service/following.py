"""Follows the usage service's cost changes into the optimizer's own statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.feed_consumer import FeedConsumer, Source
from services.kernel.feed_page import START, FeedItem, FeedPosition
from services.optimizer.domain.run import RunTrigger
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.store import runs, statistics

CONSUMER = "usage_changes"
QUIET = timedelta(minutes=15)  # usage comes all the time; advice an hour old is fresh enough
log = structlog.get_logger(__name__)


class Following:
    """Applies each change once, and notes that the tenant's advice is to be refreshed."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        """Takes the database whose statistics it keeps."""
        self._clock = clock
        self.consumer = FeedConsumer(database, name=CONSUMER, apply=self._apply, clock=clock)

    async def run(self, source: Source[UsageChange]) -> None:
        """Follows a source until cancelled."""
        await self.consumer.run(source, recover=self._recover)

    async def _recover(self, lost: FeedPosition) -> None:
        """Goes on with the oldest change that is kept: all of those come after the lost one."""

        async def note(_: Transaction) -> None:
            log.error("cost changes are missing from the statistics", lost=str(lost))

        await self.consumer.skip(lost, START, instead=note)

    async def _apply(self, tx: Transaction, items: Sequence[FeedItem[UsageChange]]) -> None:
        changes = [(item.tenant_id, item.fact) for item in items]
        tenants = await statistics.apply_changes(tx, changes)
        due_at = self._clock.now() + QUIET
        await runs.mark_due(tx, sorted(tenants), RunTrigger.FEED.name, due_at)
