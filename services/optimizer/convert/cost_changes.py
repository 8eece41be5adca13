"""The usage service's change feed as the optimizer reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import grpc
from finops.usage.v1 import cost_block_model_pb2, cost_model_pb2

from services.kernel.cost_feed import CostFeed, counts, one_each
from services.kernel.feed_consumer import Source
from services.kernel.feed_page import FeedItem
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import UsageChange

_Series = tuple[int, Subject]


def cost_changes(usage: grpc.aio.Channel) -> Source[UsageChange]:
    """Returns what opens the feed of all tenants after a position. Raises FeedPositionExpired."""
    return CostFeed(usage, dimension=_series, items=_items).pages


def _series(dimension: cost_model_pb2.CostDimension) -> _Series:
    names = Subject._fields[:-1]
    subject = Subject._make(
        [*(getattr(dimension, name) for name in names), tuple(sorted(dimension.tags.items()))]
    )
    return int(dimension.dimension_id), subject


def _items(
    block: cost_block_model_pb2.CostBlock, series: Sequence[_Series]
) -> list[FeedItem[UsageChange]]:
    columns = zip(
        series,
        block.hours,
        block.billed_costs,
        block.quantities,
        block.events,
        counts(block, block.failed_events),
        counts(block, block.retries),
        counts(block, block.utilization_samples),
        strict=True,
    )
    facts = [
        UsageChange(
            hour_at=datetime.fromtimestamp(hour, UTC),
            series_id=series_id,
            subject=subject,
            cost=Decimal(cost),
            quantity=Decimal(quantity),
            events=events,
            failed_events=failed,
            retries=retries,
            utilization_samples=samples,
        )
        for (series_id, subject), hour, cost, quantity, events, failed, retries, samples in columns
    ]
    return one_each(block, facts)
