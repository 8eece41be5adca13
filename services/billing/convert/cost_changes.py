"""The usage service's change feed as billing reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC
from decimal import Decimal
from typing import Any

import grpc
from finops.usage.v1 import cost_model_pb2 as model
from finops.usage.v1 import usage_service_pb2_grpc

from services.billing.domain.metering import Dimension, Metered, UsageChange
from services.billing.errors import UsageChangesExpired
from services.kernel.feed import FeedItem, FeedPage, FeedPosition
from services.kernel.feed_consumer import Source

BATCH = 1_000
EVERY_TENANT = "*"


def cost_changes(usage: grpc.aio.Channel) -> Source[UsageChange]:
    """Returns what opens the feed of all tenants after a position.

    Its pages raise UsageChangesExpired.
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
                raise UsageChangesExpired(position=after) from error
            raise

    return open_feed


def to_page(answer: model.WatchCostsResponse) -> FeedPage[UsageChange]:
    """Converts a message of the feed; a heartbeat is a page without items."""
    return FeedPage(
        [_to_item(change) for change in answer.changes], FeedPosition.parse(answer.sequence)
    )


def _to_item(change: model.CostChange) -> FeedItem[UsageChange]:
    recorded_at = change.recorded_time.ToDatetime(UTC)
    fact = UsageChange(
        hour_at=change.hour_time.ToDatetime(UTC),
        dimension=to_dimension(change.dimension),
        metered=Metered(
            quantity=Decimal(change.quantity),
            cost=Decimal(change.billed_cost.amount),
            events=change.events,
            unpriced_events=change.unpriced_events,
        ),
        recorded_at=recorded_at,
    )
    return FeedItem(
        FeedPosition.parse(change.sequence),
        change.tenant_id,
        fact,
        recorded_at,
        change.traceparent or None,
    )


def to_dimension(dimension: model.CostDimension) -> Dimension:
    """Converts the attributes of usage."""
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
