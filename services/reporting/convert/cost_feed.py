"""Follows the usage service's cost changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import grpc
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc

from services.kernel.feed import FeedItem, FeedPage, FeedPosition
from services.kernel.money import parse_decimal
from services.reporting.convert.instants import to_instant
from services.reporting.domain.anomaly.anomaly import Scope
from services.reporting.domain.anomaly.cost_fact import CostFact
from services.reporting.errors import CostHistoryExpired

BATCH_SIZE: Final = 1_000  # the contract's most
EVERY_TENANT: Final = "*"


class StubCostFeed:
    """The feed of cost changes of all tenants, over the usage service's stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def pages(self, after: FeedPosition) -> AsyncGenerator[FeedPage[CostFact], None]:
        """Yields pages after a position, as they come. Raises CostHistoryExpired."""
        request = cost_model_pb2.WatchCostsRequest(
            tenant_id=EVERY_TENANT,
            after_sequence=str(after) if after.transaction_id else "",
            batch_size=BATCH_SIZE,
        )
        try:
            async for answer in self._stub.WatchCosts(request):
                items = [_item(change) for change in answer.changes]
                yield FeedPage(items, FeedPosition.parse(answer.sequence))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise CostHistoryExpired(position=after) from error
            raise


def _item(change: cost_model_pb2.CostChange) -> FeedItem[CostFact]:
    one = change.dimension
    fact = CostFact(
        scope=Scope(
            one.department, one.service, one.resource_type, change.billed_cost.currency_code
        ),
        hour_at=to_instant(change.hour_time),
        cost=parse_decimal(change.billed_cost.amount or "0"),
        events=change.events,
    )
    return FeedItem(
        FeedPosition.parse(change.sequence),
        change.tenant_id,
        fact,
        to_instant(change.recorded_time),
        change.traceparent or None,
    )
