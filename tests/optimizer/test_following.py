"""Following the usage service's changes where some are no longer kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
import pytest
from finops.usage.v1 import cost_block_model_pb2, read_service_pb2_grpc

from services.kernel.clock import ManualClock
from services.kernel.database import Transaction
from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_consumer import FeedConsumer
from services.kernel.feed_page import START, FeedItem, FeedPage, FeedPosition
from services.optimizer.convert.cost_changes import cost_changes
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.service.following import Following
from tests.optimizer.conftest import NOW, Desk
from tests.optimizer.making import machine_hours
from tests.support.server import service_token_of
from tests.support.waiting import eventually

LOST = FeedPosition(1, 1)
Request = cost_block_model_pb2.WatchCostBlocksRequest
Answers = AsyncGenerator[cost_block_model_pb2.WatchCostBlocksResponse, None]
REAL: Any = read_service_pb2_grpc.UsageReadServiceStub


class Forgetful:
    """The real stub, whose service no longer keeps what follows one position."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the real service."""
        self._real = REAL(channel)

    def WatchCostBlocks(self, request: Request) -> Answers:  # noqa: N802 - gRPC's name
        if request.after_sequence == str(LOST):
            return self._refuse()
        answers: Answers = self._real.WatchCostBlocks(request)
        return answers

    async def _refuse(self) -> Answers:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.OUT_OF_RANGE, grpc.aio.Metadata(), grpc.aio.Metadata()
        )
        yield


async def test_where_changes_are_no_longer_kept_it_goes_on_with_the_oldest_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.record(list(machine_hours("one", lambda _: 0.5, days=1)))
    monkeypatch.setattr(read_service_pb2_grpc, "UsageReadServiceStub", Forgetful)
    told: list[str] = []

    async def remember(_: Transaction, items: Sequence[FeedItem[UsageChange]]) -> None:
        told.extend(item.tenant_id for item in items)

    following = Following(desk.stage.database, clock=ManualClock(NOW))
    following.consumer = FeedConsumer(desk.stage.database, name="lost_changes", apply=remember)
    await following.consumer.consume(FeedPage([], LOST), after=START)
    usage = desk.stage.usage.channel_with(service_token_of("optimizer", tenant=""))
    source = cost_changes(usage)

    with pytest.raises(FeedPositionExpired) as expired:
        await anext(source(LOST))
    running = asyncio.create_task(following.run(source))

    async def is_told() -> bool:
        return told.count(desk.tenant) == 24

    try:
        await eventually(is_told, seconds=60)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert expired.value.metadata == {"position": str(LOST)}
    assert await following.consumer.position() > LOST
