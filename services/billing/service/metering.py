"""Meters usage: applies the cost change feed, each change once."""

from __future__ import annotations

from collections.abc import Sequence

from services.billing.domain.metering import Dimension, Metered, UsageChange, total_of
from services.billing.store import metering as rows
from services.kernel.database import Database, Transaction
from services.kernel.feed import FeedItem
from services.kernel.feed_consumer import FeedConsumer, Source

CONSUMER = "usage_costs"


class Metering:
    """Follows the usage service's feed."""

    def __init__(self, database: Database, source: Source[UsageChange]) -> None:
        """source: opens the feed of all tenants after a position."""
        self._source = source
        self.consumer: FeedConsumer[UsageChange] = FeedConsumer(
            database, name=CONSUMER, apply=apply_changes
        )

    async def follow(self) -> None:
        """Follows until cancelled."""
        await self.consumer.run(self._source)


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
