"""Calls are repeated where that is safe, within their deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from finops.usage.v1 import api_key_service_pb2, cost_model_pb2, pricing_service_pb2
from finops_sdk import ApiError, AsyncClient, Retry
from finops_sdk.methods import Method
from google.protobuf.message import Message

QUICK = Retry(attempts=4, first_pause_seconds=0.001, pause_seconds_max=0.002)


class Script:
    """Stands in for the network: answers with the scripted errors, then with empty answers."""

    def __init__(self, *errors: ApiError) -> None:
        self.errors = list(errors)
        self.requests: list[Message] = []

    async def call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        assert timeout_seconds > 0
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return method.response_class()

    async def stream(
        self, method: Method, requests: AsyncIterator[Message], timeout_seconds: float | None
    ) -> AsyncIterator[Message]:
        async for request in requests:
            yield await self.call(method, request, timeout_seconds or 1)

    async def close(self) -> None:
        self.errors.clear()


def unavailable(retry_after: float | None = None) -> ApiError:
    return ApiError(grpc.StatusCode.UNAVAILABLE, "connection lost", retry_after=retry_after)


async def test_a_lost_connection_is_repeated_with_the_same_request_id() -> None:
    script = Script(unavailable(), unavailable())
    client = AsyncClient(transport=script, retry=QUICK)

    await client.pricing.CreatePrice(pricing_service_pb2.CreatePriceRequest())

    ids = {getattr(request, "request_id", "") for request in script.requests}
    assert len(script.requests) == 3
    assert len(ids) == 1
    assert ids != {""}


async def test_a_creation_without_an_id_is_not_repeated() -> None:
    script = Script(unavailable())
    client = AsyncClient(transport=script, retry=QUICK)

    with pytest.raises(ApiError, match="connection lost"):
        await client.api_keys.CreateApiKey(api_key_service_pb2.CreateApiKeyRequest())

    assert len(script.requests) == 1


async def test_an_error_of_the_request_is_not_repeated() -> None:
    script = Script(ApiError(grpc.StatusCode.INVALID_ARGUMENT, "bad filter"))
    client = AsyncClient(transport=script, retry=QUICK)

    with pytest.raises(ApiError, match="bad filter"):
        await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())

    assert len(script.requests) == 1


async def test_attempts_are_bounded() -> None:
    script = Script(*(unavailable() for _ in range(9)))
    client = AsyncClient(transport=script, retry=QUICK)

    with pytest.raises(ApiError):
        await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())

    assert len(script.requests) == 4


async def test_a_pause_longer_than_the_deadline_is_not_waited_for() -> None:
    script = Script(ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", retry_after=60))
    client = AsyncClient(transport=script, retry=QUICK, timeout_seconds=1)

    with pytest.raises(ApiError, match="slow down"):
        await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())


async def test_a_named_pause_is_kept() -> None:
    assert QUICK.pause(1, unavailable(retry_after=3)) == 3
    assert QUICK.pause(30, unavailable()) <= QUICK.pause_seconds_max
