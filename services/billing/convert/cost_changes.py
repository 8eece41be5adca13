"""The usage service's change feed as billing reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import grpc
from finops.usage.v1 import cost_block_model_pb2, cost_model_pb2

from services.billing.domain.metering import Dimension, Metered, UsageChange
from services.kernel.cost_feed import CostFeed, counts, one_each, to_instant
from services.kernel.feed_consumer import Source
from services.kernel.feed_page import FeedItem


def cost_changes(usage: grpc.aio.Channel) -> Source[UsageChange]:
    """Returns what opens the feed of all tenants after a position. Raises FeedPositionExpired."""
    return CostFeed(usage, dimension=_dimension, items=_items).pages


def _items(
    block: cost_block_model_pb2.CostBlock, dimensions: Sequence[Dimension]
) -> list[FeedItem[UsageChange]]:
    recorded_at = to_instant(block.recorded_time)
    columns = zip(
        dimensions,
        block.hours,
        block.quantities,
        block.billed_costs,
        block.events,
        counts(block, block.unpriced_events),
        strict=True,
    )
    facts = [
        UsageChange(
            hour_at=datetime.fromtimestamp(hour, UTC),
            dimension=dimension,
            metered=Metered(
                quantity=Decimal(quantity),
                cost=Decimal(cost),
                events=events,
                unpriced_events=unpriced,
            ),
            recorded_at=recorded_at,
        )
        for dimension, hour, quantity, cost, events, unpriced in columns
    ]
    return one_each(block, facts)


def _dimension(dimension: cost_model_pb2.CostDimension) -> Dimension:
    return Dimension(
        dimension_id=dimension.dimension_id,
        resource_type=dimension.resource_type,
        unit=dimension.unit,
        currency_code=dimension.currency_code,
        user_id=dimension.user_id,
        department=dimension.department,
        project=dimension.project,
        resource_id=dimension.resource_id,
        service=dimension.service,
        service_category=dimension.service_category,
        provider=dimension.provider,
        region=dimension.region,
        sub_account_id=dimension.sub_account_id,
        charge_category=dimension.charge_category,
        tags=dict(dimension.tags),
    )
