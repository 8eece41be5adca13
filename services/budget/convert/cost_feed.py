"""Follows the usage service's cost changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Final

import grpc
from finops.usage.v1 import (
    cost_block_model_pb2,
    cost_model_pb2,
    read_service_pb2_grpc,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp

from services.budget.domain.cost_block import CostBlock, CostDimension
from services.budget.domain.cost_fact import AUTHORIZATION_TAG
from services.budget.domain.scope import SpendAttributes
from services.kernel.errors import OutOfRange
from services.kernel.feed import FeedItem, FeedPage, FeedPosition

BATCH_SIZE: Final = 2_000
END_SECONDS: Final = 30.0
EVERY_TENANT: Final = "*"


class CostFeedExpired(OutOfRange):
    """Cost changes after this service's position are no longer kept; ledgers are rebuilt."""

    reason = "COST_FEED_EXPIRED"


class StubCostFeed:
    """The feed of cost changes of all tenants, over the usage service's stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._read = read_service_pb2_grpc.UsageReadServiceStub(channel)

    async def pages(self, after: FeedPosition) -> AsyncGenerator[FeedPage[CostBlock], None]:
        """Yields pages after a position, as they come. Raises CostFeedExpired."""
        request = cost_block_model_pb2.WatchCostBlocksRequest(
            tenant_id=EVERY_TENANT,
            after_sequence=str(after) if after.transaction_id else "",
            batch_size=BATCH_SIZE,
        )
        told = _Told()
        try:
            async for answer in self._read.WatchCostBlocks(request):
                told.learn(answer)
                if answer.sequence:
                    items = [told.item(block) for block in answer.blocks]
                    yield FeedPage(items, FeedPosition.parse(answer.sequence))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise CostFeedExpired(position=after) from error
            raise

    async def end(self) -> FeedPosition:
        """Returns a position before which nothing can appear any more. Raises AioRpcError."""
        request = cost_model_pb2.WatchCostsRequest(tenant_id=EVERY_TENANT, after_sequence="now")
        answers: Any = aiter(self._usage.WatchCosts(request, timeout=END_SECONDS))
        # The feed answers at once, if only with its position.
        first = await anext(answers)
        await answers.aclose()
        return FeedPosition.parse(first.sequence)


class _Told:
    """What a stream told of dimensions; it says itself when to forget that."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, CostDimension]] = {}

    def learn(self, answer: cost_block_model_pb2.WatchCostBlocksResponse) -> None:
        if answer.forgets_dimensions:
            self._known.clear()
        for of_tenant in answer.dimensions:
            known = self._known.setdefault(of_tenant.tenant_id, {})
            for one in of_tenant.dimensions:
                known[int(one.dimension_id)] = _dimension(one)

    def item(self, block: cost_block_model_pb2.CostBlock) -> FeedItem[CostBlock]:
        known = self._known[block.tenant_id]
        recorded_at = _instant(block.recorded_time)
        fact = CostBlock(
            recorded_at,
            list(block.numbers),
            [known[dimension_id] for dimension_id in block.dimension_ids],
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
        return FeedItem(
            FeedPosition(block.transaction_id, fact.numbers[-1]),
            block.tenant_id,
            fact,
            recorded_at,
            block.traceparent or None,
            FeedPosition(block.transaction_id, fact.numbers[0]),
        )


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


def _instant(stamp: Timestamp) -> datetime:
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1_000)
