"""Following the usage service's changes where some are no longer kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
import pytest
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc

from services.kernel.clock import ManualClock
from services.kernel.database import Transaction
from services.kernel.feed import START, FeedItem, FeedPage, FeedPosition
from services.kernel.feed_consumer import FeedConsumer
from services.optimizer.convert.cost_changes import cost_changes
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.errors import CostChangesExpired
from services.optimizer.service.following import Following
from tests.optimizer.conftest import NOW, Desk
from tests.optimizer.making import machine_hours
from tests.support.server import service_token_of
from tests.support.waiting import eventually

LOST = FeedPosition(1, 1)
REAL: Any = usage_service_pb2_grpc.UsageServiceStub


class Forgetful:
    """The real stub, whose service no longer keeps what follows one position."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the real service."""
        self._real = REAL(channel)

    def WatchCosts(  # noqa: N802 - gRPC's name
        self, request: cost_model_pb2.WatchCostsRequest
    ) -> AsyncGenerator[cost_model_pb2.WatchCostsResponse, None]:
        if request.after_sequence == str(LOST):
            return self._refuse()
        answers: AsyncGenerator[cost_model_pb2.WatchCostsResponse, None] = self._real.WatchCosts(
            request
        )
        return answers

    async def _refuse(self) -> AsyncGenerator[cost_model_pb2.WatchCostsResponse, None]:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.OUT_OF_RANGE, grpc.aio.Metadata(), grpc.aio.Metadata()
        )
        yield


async def test_where_changes_are_no_longer_kept_it_goes_on_with_the_oldest_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.record(list(machine_hours("one", lambda _: 0.5, days=1)))
    monkeypatch.setattr(usage_service_pb2_grpc, "UsageServiceStub", Forgetful)
    told: list[str] = []

    async def remember(_: Transaction, items: Sequence[FeedItem[UsageChange]]) -> None:
        told.extend(item.tenant_id for item in items)

    following = Following(desk.stage.database, clock=ManualClock(NOW))
    following.consumer = FeedConsumer(desk.stage.database, name="lost_changes", apply=remember)
    await following.consumer.consume(FeedPage([], LOST), after=START)
    usage = desk.stage.usage.channel_with(service_token_of("optimizer", tenant=""))
    source = cost_changes(usage)

    with pytest.raises(CostChangesExpired) as expired:
        await anext(source(LOST))
    running = asyncio.create_task(following.run(source))

    async def is_told() -> bool:
        return told.count(desk.tenant) == 24

    try:
        await eventually(is_told, seconds=60)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert expired.value.reason == "OPTIMIZER_COST_CHANGES_EXPIRED"
    assert await following.consumer.position() > LOST
