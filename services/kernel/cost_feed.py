"""The usage service's cost changes in columns, as every service that follows them reads them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import grpc
from finops.usage.v1 import cost_block_model_pb2, cost_model_pb2, read_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition

_D = TypeVar("_D")
_F = TypeVar("_F")

BATCH_SIZE: Final = 2_000
EVERY_TENANT: Final = "*"


class CostFeed(Generic[_D, _F]):
    """The feed of cost changes of all tenants, over the usage service's stub."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        dimension: Callable[[cost_model_pb2.CostDimension], _D],
        items: Callable[[cost_block_model_pb2.CostBlock, Sequence[_D]], Sequence[FeedItem[_F]]],
    ) -> None:
        """channel: to the usage service, with this service's token on each call.

        dimension: converts attributes, once while a stream lasts and they stay the same. items:
        converts the changes of a transaction, given the dimension of each.
        """
        self._stub: Any = read_service_pb2_grpc.UsageReadServiceStub(channel)
        self._dimension = dimension
        self._items = items

    async def pages(self, after: FeedPosition) -> AsyncGenerator[FeedPage[_F], None]:
        """Yields pages after a position, as they come. Raises FeedPositionExpired."""
        request = cost_block_model_pb2.WatchCostBlocksRequest(
            tenant_id=EVERY_TENANT,
            after_sequence=str(after) if after.transaction_id else "",
            batch_size=BATCH_SIZE,
        )
        known: dict[str, dict[int, _D]] = {}
        try:
            async with aclosing(self._stub.WatchCostBlocks(request)) as answers:
                async for answer in answers:
                    self._learn(known, answer)
                    if answer.sequence:
                        items = [each for one in answer.blocks for each in self._read(one, known)]
                        yield FeedPage(items, FeedPosition.parse(answer.sequence))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise FeedPositionExpired(position=after) from error
            raise

    def _learn(
        self,
        known: dict[str, dict[int, _D]],
        answer: cost_block_model_pb2.WatchCostBlocksResponse,
    ) -> None:
        """Keeps what a stream tells of dimensions; it says itself when to forget that."""
        if answer.forgets_dimensions:
            known.clear()
        for of_tenant in answer.dimensions:
            found = known.setdefault(of_tenant.tenant_id, {})
            for one in of_tenant.dimensions:
                found[int(one.dimension_id)] = self._dimension(one)

    def _read(
        self, block: cost_block_model_pb2.CostBlock, known: dict[str, dict[int, _D]]
    ) -> Sequence[FeedItem[_F]]:
        of_tenant = known[block.tenant_id]
        return self._items(block, [of_tenant[number] for number in block.dimension_ids])


def one_each(block: cost_block_model_pb2.CostBlock, facts: Iterable[_F]) -> list[FeedItem[_F]]:
    """Returns an item for each change of a block. facts: what each change says, in order."""
    recorded_at = to_instant(block.recorded_time)
    traceparent = block.traceparent or None
    return [
        FeedItem(
            FeedPosition(block.transaction_id, number),
            block.tenant_id,
            fact,
            recorded_at,
            traceparent,
        )
        for number, fact in zip(block.numbers, facts, strict=True)
    ]


def counts(block: cost_block_model_pb2.CostBlock, column: Sequence[int]) -> Sequence[int]:
    """Returns a column of counts with a value a change: an empty one stands for zeros."""
    return column or [0] * len(block.numbers)


def to_instant(stamp: Timestamp) -> datetime:
    """Returns an instant of the feed, to the microsecond."""
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1_000)
