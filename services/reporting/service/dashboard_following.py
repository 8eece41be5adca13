"""Follows what dashboards show, so that they are computed anew after a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import structlog

from services.kernel.database import Database, Transaction
from services.kernel.errors import OutOfRange
from services.kernel.feed_consumer import FeedConsumer, Source
from services.kernel.feed_page import FeedItem
from services.reporting.store import dashboards as store

_F = TypeVar("_F")
log = structlog.get_logger(__name__)


class DashboardChanges:
    """Consumes feeds of which dashboards only need to know that something changed."""

    def __init__(self, database: Database) -> None:
        """Takes the service's database."""
        self._database = database

    async def follow(self, name: str, source: Source[_F]) -> None:
        """Counts the changes of a feed until cancelled. name: of the consumer.

        Where it was away for longer than the feed is kept, everything counts as changed, and it
        goes on with what is kept.
        """
        consumer: FeedConsumer[_F] = FeedConsumer(self._database, name=name, apply=self.apply)
        while True:
            try:
                await consumer.run(source)
            except OutOfRange:
                log.warning("changes were missed", consumer=name)
                async with self._database.system_transaction() as tx:
                    await store.count_change_of_all(tx)
                    await store.forget_position(tx, name)

    async def apply(self, tx: Transaction, items: Sequence[FeedItem[_F]]) -> None:
        """Counts changes in the transaction that moves the cursor."""
        await store.count_changes(tx, {item.tenant_id for item in items})
