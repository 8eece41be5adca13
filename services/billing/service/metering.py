"""Meters usage: applies the cost change feed, each change once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.billing.domain.metering import Dimension, Metered, UsageChange, total_of
from services.billing.store import metering as rows
from services.kernel.database import Database, Transaction
from services.kernel.feed_consumer import FeedConsumer, Source
from services.kernel.feed_page import START, FeedItem, FeedPosition

CONSUMER = "usage_costs"

Recount = Callable[[Transaction], Awaitable[None]]
log = structlog.get_logger(__name__)


class Metering:
    """Follows the usage service's feed."""

    def __init__(self, database: Database, source: Source[UsageChange], recount: Recount) -> None:
        """source: opens the feed of all tenants after a position.

        recount: queues what finds the changes that were lost, in the transaction given.
        """
        self._source = source
        self._recount = recount
        self.consumer: FeedConsumer[UsageChange] = FeedConsumer(
            database, name=CONSUMER, apply=apply_changes
        )

    async def follow(self) -> None:
        """Follows until cancelled."""
        await self.consumer.run(self._source, recover=self.resume)

    async def resume(self, lost: FeedPosition) -> None:
        """Goes on with the oldest change that is kept, and has what is missing looked for.

        Everything that is kept comes after the lost position, so nothing counts twice.
        """
        if await self.consumer.skip(lost, START, instead=self._recount):
            log.error(
                "usage is missing from meters", lost_after=str(lost), resumed_at="oldest kept"
            )


async def apply_changes(tx: Transaction, items: Sequence[FeedItem[UsageChange]]) -> None:
    """Adds changes to the hours they happened in; those of billed hours wait for an invoice."""
    dimensions: dict[tuple[str, str], Dimension] = {}
    parts: dict[rows.HourKey, list[Metered]] = {}
    for item in items:
        change = item.fact
        dimension_id = change.dimension.dimension_id
        dimensions[item.tenant_id, dimension_id] = change.dimension
        parts.setdefault((item.tenant_id, change.hour_at, dimension_id), []).append(change.metered)
    tenants = sorted({item.tenant_id for item in items})
    locked = await rows.lock_metering(tx, tenants)
    await rows.set_dimensions(tx, dimensions)
    sums = {key: total_of(changes) for key, changes in parts.items()}
    late = {key: each for key, each in sums.items() if key[1] < locked[key[0]][0]}
    await rows.add_usage(tx, late, is_late=True)
    await rows.add_usage(
        tx, {key: each for key, each in sums.items() if key not in late}, is_late=False
    )
    newest = [item.fact.recorded_at for item in items if item.fact.recorded_at is not None]
    positions = {item.tenant_id: str(item.position) for item in items}
    await rows.set_as_of(tx, positions, max(newest, default=None))
