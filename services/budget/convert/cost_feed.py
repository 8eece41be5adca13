"""Follows the usage service's cost changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from finops.usage.v1 import cost_block_model_pb2, cost_model_pb2, usage_service_pb2_grpc

from services.budget.domain.cost_block import CostBlock, CostDimension
from services.budget.domain.cost_fact import AUTHORIZATION_TAG
from services.budget.domain.scope import SpendAttributes
from services.kernel.cost_feed import EVERY_TENANT, CostFeed, to_instant
from services.kernel.feed_page import FeedItem, FeedPosition

END_SECONDS: Final = 30.0


class StubCostFeed(CostFeed[CostDimension, CostBlock]):
    """The feed of cost changes of all tenants, a transaction of a tenant an item."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        super().__init__(channel, dimension=_dimension, items=_items)
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)

    async def end(self) -> FeedPosition:
        """Returns a position before which nothing can appear any more. Raises AioRpcError."""
        request = cost_model_pb2.WatchCostsRequest(tenant_id=EVERY_TENANT, after_sequence="now")
        answers: Any = aiter(self._usage.WatchCosts(request, timeout=END_SECONDS))
        # The feed answers at once, if only with its position.
        first = await anext(answers)
        await answers.aclose()
        return FeedPosition.parse(first.sequence)


def _items(
    block: cost_block_model_pb2.CostBlock, dimensions: Sequence[CostDimension]
) -> list[FeedItem[CostBlock]]:
    recorded_at = to_instant(block.recorded_time)
    fact = CostBlock(
        recorded_at,
        list(block.numbers),
        dimensions,
        list(block.hours),
        (
            list(block.billed_costs),
            list(block.effective_costs),
            list(block.list_costs),
            list(block.contracted_costs),
        ),
        list(block.events),
        list(block.unpriced_events),
        list(block.corrections),
    )
    item = FeedItem(
        FeedPosition(block.transaction_id, fact.numbers[-1]),
        block.tenant_id,
        fact,
        recorded_at,
        block.traceparent or None,
        FeedPosition(block.transaction_id, fact.numbers[0]),
    )
    return [item]


def _dimension(one: cost_model_pb2.CostDimension) -> CostDimension:
    attributes = SpendAttributes(
        user_id=one.user_id,
        department_id=one.department,
        project=one.project,
        resource_type=one.resource_type,
        resource_id=one.resource_id,
        service=one.service,
        provider=one.provider,
        region=one.region,
        tags=tuple(sorted(one.tags.items())),
    )
    return CostDimension(attributes, one.currency_code, one.tags.get(AUTHORIZATION_TAG, ""))
