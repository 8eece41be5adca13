"""Lists are read to their end, and streams lose and repeat nothing when connections break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import grpc
import pytest
from finops.usage.v1 import (
    cost_model_pb2,
    pricing_model_pb2,
    pricing_service_pb2,
    usage_service_pb2,
)
from finops_sdk import ApiError, Retry, deliver, pages, resume
from hypothesis import given
from hypothesis import strategies as st

QUICK = Retry(attempts=3, first_pause_seconds=0.001, pause_seconds_max=0.001)
LOST = ApiError(grpc.StatusCode.UNAVAILABLE, "connection lost")


async def test_pages_follow_the_token_to_the_last() -> None:
    async def list_prices(
        request: pricing_service_pb2.ListPricesRequest,
    ) -> pricing_service_pb2.ListPricesResponse:
        number = int(request.page_token or 0)
        return pricing_service_pb2.ListPricesResponse(
            prices=[pricing_model_pb2.Price(price_id=f"p{number}")],
            next_page_token=str(number + 1) if number < 2 else "",
        )

    request = pricing_service_pb2.ListPricesRequest(page_size=1)

    ids = [price.price_id async for page in pages(list_prices, request) for price in page.prices]

    assert ids == ["p0", "p1", "p2"]
    assert request.page_token == ""


async def test_a_feed_goes_on_after_the_last_message_seen() -> None:
    connections = count()

    async def watch(
        request: cost_model_pb2.WatchCostsRequest,
    ) -> AsyncIterator[cost_model_pb2.WatchCostsResponse]:
        is_first = next(connections) == 0
        position = int(request.after_sequence or 0)
        for number in range(position + 1, position + 4):
            yield cost_model_pb2.WatchCostsResponse(sequence=str(number))
            if is_first and number == 2:
                raise LOST

    seen = []
    async for message in resume(watch, cost_model_pb2.WatchCostsRequest(), QUICK):
        seen.append(int(message.sequence))
        if len(seen) == 6:
            break

    assert seen == [1, 2, 3, 4, 5, 6]


async def test_a_feed_that_cannot_go_on_says_why() -> None:
    async def watch(
        request: cost_model_pb2.WatchCostsRequest,
    ) -> AsyncIterator[cost_model_pb2.WatchCostsResponse]:
        yield cost_model_pb2.WatchCostsResponse(sequence=request.after_sequence)
        raise ApiError(grpc.StatusCode.OUT_OF_RANGE, "beyond retention")

    with pytest.raises(ApiError, match="beyond retention"):
        async for _ in resume(watch, cost_model_pb2.WatchCostsRequest(after_sequence="1"), QUICK):
            pass


class Store:
    """Stands in for the service: stores batches, and loses the connection where it is told to."""

    def __init__(self, losses: list[tuple[int, bool]]) -> None:
        """Takes (batches until it is lost, whether the last was stored) of each connection."""
        self.losses = losses
        self.stored: list[int] = []

    async def stream(
        self, requests: AsyncIterator[usage_service_pb2.StreamUsageRequest]
    ) -> AsyncIterator[usage_service_pb2.StreamUsageResponse]:
        after, is_stored = self.losses.pop(0) if self.losses else (1 << 30, True)
        taken = 0
        async for request in requests:
            taken += 1
            if taken < after or is_stored:
                self.stored.append(request.sequence)
            if taken >= after:
                raise LOST
            yield usage_service_pb2.StreamUsageResponse(sequence=request.sequence)


async def batches(number: int) -> AsyncIterator[usage_service_pb2.StreamUsageRequest]:
    for sequence in range(number):
        yield usage_service_pb2.StreamUsageRequest(sequence=sequence)


@given(
    number=st.integers(0, 12),
    window=st.integers(1, 4),
    losses=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=4),
)
def test_every_batch_is_stored_and_acknowledged_in_order(
    number: int, window: int, losses: list[tuple[int, bool]]
) -> None:
    store = Store(losses)
    retry = Retry(attempts=20, first_pause_seconds=0, pause_seconds_max=0)

    async def send() -> list[int]:
        answers = deliver(store.stream, batches(number), window=window, retry=retry)
        return [answer.sequence async for answer in answers]

    acknowledged = asyncio.run(send())

    assert acknowledged == list(range(number))
    assert set(store.stored) == set(range(number))


async def test_an_error_of_the_source_reaches_the_caller() -> None:
    async def broken() -> AsyncIterator[usage_service_pb2.StreamUsageRequest]:
        yield usage_service_pb2.StreamUsageRequest(sequence=1)
        raise ValueError("line 2 is not JSON")

    with pytest.raises(ValueError, match="line 2"):
        async for _ in deliver(Store([]).stream, broken(), retry=QUICK):
            continue
