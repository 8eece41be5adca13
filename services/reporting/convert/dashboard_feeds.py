"""Follows what other services change about what dashboards show, as far as whose it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import grpc
from finops.budget.v1 import (
    alert_service_pb2,
    alert_service_pb2_grpc,
    budget_service_pb2,
    budget_service_pb2_grpc,
    budget_status_model_pb2,
)
from finops.optimizer.v1 import (
    optimizer_messages_pb2,
    optimizer_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    optimizer_service_pb2_grpc,
)

from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_consumer import Source
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition
from services.reporting.convert.cost_feed import cost_changes

EVERY_TENANT = "*"
PASSED_MAX = 500


def dashboard_sources(
    usage: grpc.aio.Channel,
    budget: grpc.aio.Channel | None,
    optimizer: grpc.aio.Channel | None,
) -> dict[str, Source[Any]]:
    """Returns the feeds of what dashboards show, by name; those of services that are connected."""
    sources: dict[str, Source[Any]] = {"costs": cost_changes(usage)}
    if budget is not None:
        sources["alerts"] = alert_changes(budget)
        sources["budgets"] = budget_changes(budget)
    if optimizer is not None:
        sources["recommendations"] = recommendation_changes(optimizer)
    return sources


def budget_changes(channel: grpc.aio.Channel) -> Source[None]:
    """Returns what opens the feed of budgets after a position. channel: to the budget service.

    That their figures moved is left out: cost moved them, and is followed itself.
    """
    stub: Any = budget_service_pb2_grpc.BudgetServiceStub(channel)
    moved = budget_status_model_pb2.BUDGET_CHANGE_KIND_TOTALS

    def ask(after: str) -> Any:
        request = budget_service_pb2.WatchBudgetsRequest(
            tenant_id=EVERY_TENANT, after_sequence=after
        )
        return stub.WatchBudgets(request)

    def owner(answer: budget_service_pb2.WatchBudgetsResponse) -> str:
        return "" if answer.change.kind == moved else answer.change.tenant_id

    return _source(ask, owner)


def alert_changes(channel: grpc.aio.Channel) -> Source[None]:
    """Returns what opens the feed of alerts after a position. channel: to the budget service."""
    stub: Any = alert_service_pb2_grpc.AlertServiceStub(channel)

    def ask(after: str) -> Any:
        request = alert_service_pb2.WatchAlertsRequest(tenant_id=EVERY_TENANT, after_sequence=after)
        return stub.WatchAlerts(request)

    return _source(ask, lambda answer: answer.alert.tenant_id)


def recommendation_changes(channel: grpc.aio.Channel) -> Source[None]:
    """Returns what opens the feed of recommendations after a position. channel: the optimizer's."""
    stub: Any = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    def ask(after: str) -> Any:
        request = optimizer_messages_pb2.WatchRecommendationsRequest(
            tenant_id=EVERY_TENANT, after_sequence=after
        )
        return stub.WatchRecommendations(request)

    return _source(ask, lambda answer: answer.recommendation.tenant_id)


def _source(ask: Callable[[str], Any], owner: Callable[[Any], str]) -> Source[None]:
    """Returns the feed that a watch makes. owner: tenant of a message, empty for none to count.

    Messages that count nothing are taken together, because each page is a transaction.
    """

    async def open_feed(after: FeedPosition) -> AsyncGenerator[FeedPage[None], None]:
        passed = 0
        try:
            async with aclosing(ask(str(after) if after.transaction_id else "")) as answers:
                async for answer in answers:
                    position = FeedPosition.parse(answer.sequence)
                    tenant_id = owner(answer)
                    passed = 0 if tenant_id else passed + 1
                    if tenant_id:
                        yield FeedPage([FeedItem(position, tenant_id, None)], position)
                    elif passed % PASSED_MAX == 1:
                        yield FeedPage([], position)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise FeedPositionExpired(position=after) from error
            raise

    return open_feed
