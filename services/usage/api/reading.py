"""UsageReadService: whole periods, every change, or many answers, at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.usage.v1 import cost_block_model_pb2, read_service_pb2_grpc
from finops.usage.v1 import read_service_pb2 as messages

from services.usage.api.tenant import as_tenant
from services.usage.convert import costs as cost_convert
from services.usage.convert import following as follow_convert
from services.usage.convert import reading as convert
from services.usage.service.costs import CostQueries
from services.usage.service.following import CostFollowing
from services.usage.service.reading import BulkReading

Context = grpc.aio.ServicerContext[Any, Any]


class UsageReadServicer(read_service_pb2_grpc.UsageReadServiceServicer):
    """Serves UsageReadService."""

    def __init__(
        self, *, reading: BulkReading, costs: CostQueries, following: CostFollowing
    ) -> None:
        """Takes the use cases."""
        self._reading = reading
        self._costs = costs
        self._following = following

    async def ReadEvents(
        self, request: messages.ReadEventsRequest, _: Context
    ) -> AsyncIterator[messages.ReadEventsResponse]:
        """Streams entries of usage."""
        tenant_id = as_tenant(request.tenant_id)
        entries = self._reading.read_events(
            tenant_id, start=request.start, end=request.end, filter_text=request.filter
        )
        async for found in entries:
            yield convert.from_events(found)

    async def ReadCosts(
        self, request: messages.ReadCostsRequest, _: Context
    ) -> AsyncIterator[messages.ReadCostsResponse]:
        """Streams an answer about cost."""
        asked = request.question
        tenant_id = as_tenant(asked.tenant_id)
        zone_and_now = await self._costs.frame(tenant_id)
        question = cost_convert.to_question(asked, tenant_id, *zone_and_now)
        size = asked.page_size
        pages = self._reading.read_costs(question, order_by=asked.order_by, page_size=size)
        async for page in pages:
            yield convert.from_costs(page, question)

    async def BatchQueryCosts(
        self, request: messages.BatchQueryCostsRequest, _: Context
    ) -> messages.BatchQueryCostsResponse:
        """Answers several questions about cost."""
        tenant_id = as_tenant(request.tenant_id)
        zone_and_now = await self._costs.frame(tenant_id)
        asked = convert.to_questions(request, tenant_id, *zone_and_now)
        pages = await self._costs.batch_query_costs(asked)
        return convert.from_pages(pages, asked)

    async def WatchCostBlocks(
        self, request: cost_block_model_pb2.WatchCostBlocksRequest, _: Context
    ) -> AsyncIterator[cost_block_model_pb2.WatchCostBlocksResponse]:
        """Streams changes of cost in columns."""
        tenant_id = as_tenant(request.tenant_id)
        limit = request.batch_size or follow_convert.FOLLOW_CHANGES
        after = request.after_sequence
        async for found in self._following.watch_cost_blocks(tenant_id, after=after, limit=limit):
            for message in follow_convert.from_following(found):
                yield message
