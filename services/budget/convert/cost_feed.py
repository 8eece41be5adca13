"""Follows the usage service's cost changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import grpc
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.budget.domain.cost_fact import AUTHORIZATION_TAG, CostFact
from services.budget.domain.scope import SpendAttributes
from services.kernel.errors import OutOfRange
from services.kernel.feed import FeedItem, FeedPage, FeedPosition

BATCH_SIZE: Final = 1_000  # the contract's most: fewer and larger transactions keep up longest
END_SECONDS: Final = 30.0
EVERY_TENANT: Final = "*"
DIMENSIONS_MAX: Final = 50_000  # combinations of attributes remembered, about 30 MB

_Known = tuple[SpendAttributes, str]


class CostFeedExpired(OutOfRange):
    """Cost changes after this service's position are no longer kept; ledgers are rebuilt."""

    reason = "COST_FEED_EXPIRED"


class StubCostFeed:
    """The feed of cost changes of all tenants, over the usage service's stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._known: dict[tuple[str, str, str], _Known] = {}

    async def pages(self, after: FeedPosition) -> AsyncGenerator[FeedPage[CostFact], None]:
        """Yields pages after a position, as they come. Raises CostFeedExpired."""
        request = cost_model_pb2.WatchCostsRequest(
            tenant_id=EVERY_TENANT,
            after_sequence=str(after) if after.transaction_id else "",
            batch_size=BATCH_SIZE,
        )
        try:
            async for answer in self._stub.WatchCosts(request):
                items = [self._item(change) for change in answer.changes]
                is_full = len(items) == BATCH_SIZE
                if is_full:
                    items[-1] = replace(items[-1], fact=items[-1].fact._replace(may_continue=True))
                yield FeedPage(items, FeedPosition.parse(answer.sequence), is_full=is_full)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                raise CostFeedExpired(position=after) from error
            raise

    async def end(self) -> FeedPosition:
        """Returns a position before which nothing can appear any more. Raises AioRpcError."""
        request = cost_model_pb2.WatchCostsRequest(tenant_id=EVERY_TENANT, after_sequence="now")
        answers: Any = aiter(self._stub.WatchCosts(request, timeout=END_SECONDS))
        # The feed answers at once, if only with its position.
        first = await anext(answers)
        await answers.aclose()
        return FeedPosition.parse(first.sequence)

    def _item(self, change: cost_model_pb2.CostChange) -> FeedItem[CostFact]:
        attributes, authorization_id = self._attributes(change)
        recorded_at = _instant(change.recorded_time)
        fact = CostFact(
            attributes,
            _instant(change.hour_time),
            change.billed_cost.currency_code,
            (
                change.billed_cost.amount,
                change.effective_cost.amount,
                change.list_cost.amount,
                change.contracted_cost.amount,
            ),
            change.events,
            change.unpriced_events,
            change.is_correction,
            authorization_id,
            change.sequence,
            recorded_at,
        )
        return FeedItem(
            FeedPosition.parse(change.sequence),
            change.tenant_id,
            fact,
            recorded_at,
            change.traceparent or None,
        )

    def _attributes(self, change: cost_model_pb2.CostChange) -> _Known:
        """Returns the attributes of a dimension; reading them all costs ten times a look-up."""
        one = change.dimension
        key = (change.tenant_id, one.dimension_id, one.department)
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self._known) >= DIMENSIONS_MAX:
            self._known.clear()
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
        known = (attributes, one.tags.get(AUTHORIZATION_TAG, ""))
        self._known[key] = known
        return known


def _instant(stamp: Timestamp) -> datetime:
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1_000)
