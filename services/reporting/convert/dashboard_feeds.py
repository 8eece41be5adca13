"""Follows the alerts and recommendations of all tenants, as far as who has changed ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from finops.budget.v1 import alert_service_pb2, alert_service_pb2_grpc
from finops.optimizer.v1 import (
    optimizer_messages_pb2,
    optimizer_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    optimizer_service_pb2_grpc,
)

from services.kernel.feed import FeedItem, FeedPage, FeedPosition, FeedPositionExpired
from services.kernel.feed_consumer import Source
from services.reporting.convert.cost_feed import StubCostFeed

EVERY_TENANT = "*"


def dashboard_sources(
    usage: grpc.aio.Channel,
    budget: grpc.aio.Channel | None,
    optimizer: grpc.aio.Channel | None,
) -> dict[str, Source[Any]]:
    """Returns the feeds of what dashboards show, by name; those of services that are connected."""
    sources: dict[str, Source[Any]] = {"costs": StubCostFeed(usage).pages}
    if budget is not None:
        sources["alerts"] = alert_changes(budget)
    if optimizer is not None:
        sources["recommendations"] = recommendation_changes(optimizer)
    return sources


def alert_changes(channel: grpc.aio.Channel) -> Source[None]:
    """Returns what opens the feed of alerts after a position. channel: to the budget service."""
    stub: Any = alert_service_pb2_grpc.AlertServiceStub(channel)

    def ask(after: str) -> Any:
        request = alert_service_pb2.WatchAlertsRequest(tenant_id=EVERY_TENANT, after_sequence=after)
        return stub.WatchAlerts(request)

    return _source(ask, "alert")


def recommendation_changes(channel: grpc.aio.Channel) -> Source[None]:
    """Returns what opens the feed of recommendations after a position. channel: the optimizer's."""
    stub: Any = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    def ask(after: str) -> Any:
        request = optimizer_messages_pb2.WatchRecommendationsRequest(
            tenant_id=EVERY_TENANT, after_sequence=after
        )
        return stub.WatchRecommendations(request)

    return _source(ask, "recommendation")


def _source(ask: Any, subject: str) -> Source[None]:
    async def open_feed(after: FeedPosition) -> AsyncGenerator[FeedPage[None], None]:
        try:
            async with aclosing(ask(str(after) if after.transaction_id else "")) as answers:
                async for answer in answers:
                    position = FeedPosition.parse(answer.sequence)
                    tenant_id = getattr(answer, subject).tenant_id
                    items = [FeedItem(position, tenant_id, None)] if tenant_id else []
                    yield FeedPage(items, position)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise FeedPositionExpired(position=after) from error
            raise

    return open_feed
