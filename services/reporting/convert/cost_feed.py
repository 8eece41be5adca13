"""Follows the usage service's cost changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import grpc
from finops.usage.v1 import cost_block_model_pb2, cost_model_pb2

from services.kernel.cost_feed import CostFeed, one_each
from services.kernel.feed_consumer import Source
from services.kernel.feed_page import FeedItem
from services.reporting.domain.anomaly.anomaly import Scope
from services.reporting.domain.anomaly.cost_fact import CostFact


def cost_changes(usage: grpc.aio.Channel) -> Source[CostFact]:
    """Returns what opens the feed of all tenants after a position. Raises FeedPositionExpired."""
    return CostFeed(usage, dimension=_scope, items=_items).pages


def _scope(one: cost_model_pb2.CostDimension) -> Scope:
    return Scope(one.department, one.service, one.resource_type, one.currency_code)


def _items(
    block: cost_block_model_pb2.CostBlock, scopes: Sequence[Scope]
) -> list[FeedItem[CostFact]]:
    columns = zip(scopes, block.hours, block.billed_costs, block.events, strict=True)
    facts = [
        CostFact(
            scope=scope,
            hour_at=datetime.fromtimestamp(hour, UTC),
            cost=Decimal(cost),
            events=events,
        )
        for scope, hour, cost, events in columns
    ]
    return one_each(block, facts)
