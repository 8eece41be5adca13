"""The usage service's change feed as the optimizer reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from finops.usage.v1 import cost_model_pb2 as model
from finops.usage.v1 import usage_service_pb2_grpc

from services.kernel.feed import FeedItem, FeedPage, FeedPosition
from services.kernel.feed_consumer import Source
from services.kernel.money import parse_decimal
from services.optimizer.convert.values import to_instant
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.errors import CostChangesExpired

BATCH = 1_000
EVERY_TENANT = "*"


def cost_changes(usage: grpc.aio.Channel) -> Source[UsageChange]:
    """Returns what opens the feed of all tenants after a position.

    It raises CostChangesExpired where what follows the position is no longer kept.
    """
    stub: Any = usage_service_pb2_grpc.UsageServiceStub(usage)

    async def open_feed(after: FeedPosition) -> AsyncGenerator[FeedPage[UsageChange], None]:
        request = model.WatchCostsRequest(
            tenant_id=EVERY_TENANT, after_sequence=str(after), batch_size=BATCH
        )
        try:
            async with aclosing(stub.WatchCosts(request)) as answers:
                async for answer in answers:
                    yield to_page(answer)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise CostChangesExpired(position=after) from error
            raise

    return open_feed


def to_page(answer: model.WatchCostsResponse) -> FeedPage[UsageChange]:
    """Converts a message of the feed; a heartbeat is a page without items."""
    items = [_to_item(change) for change in answer.changes]
    return FeedPage(items, FeedPosition.parse(answer.sequence))


def _to_item(change: model.CostChange) -> FeedItem[UsageChange]:
    dimension = change.dimension
    names = Subject._fields[:-1]
    subject = Subject._make(
        [*(getattr(dimension, name) for name in names), tuple(sorted(dimension.tags.items()))]
    )
    fact = UsageChange(
        hour_at=to_instant(change.hour_time),
        series_id=int(dimension.dimension_id),
        subject=subject,
        cost=parse_decimal(change.billed_cost.amount),
        quantity=parse_decimal(change.quantity),
        events=change.events,
        failed_events=change.failed_events,
        retries=change.retries,
        utilization_samples=change.utilization_samples,
    )
    return FeedItem(
        FeedPosition.parse(change.sequence),
        change.tenant_id,
        fact,
        to_instant(change.recorded_time),
        change.traceparent or None,
    )
