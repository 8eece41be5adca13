"""The clients call real servers, over gRPC and REST, from asyncio and blocking code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from finops.usage.v1 import cost_model_pb2, usage_service_pb2, usage_service_pb2_grpc
from finops_sdk import ApiError, AsyncClient, Client, Retry, connect, deliver
from finops_sdk.rest_transport import RestTransport
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

Context = grpc.aio.ServicerContext[Any, Any]
ONCE = Retry(attempts=1)


class UsageServer(usage_service_pb2_grpc.UsageServiceServicer):
    """Answers with what it was asked, and with a rich error for the currency XXX."""

    async def QueryCosts(  # noqa: N802 - the contract's name
        self, request: cost_model_pb2.QueryCostsRequest, context: Context
    ) -> cost_model_pb2.QueryCostsResponse:
        if request.currency == "XXX":
            status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="No such currency")
            info = error_details_pb2.ErrorInfo(reason="NO_CURRENCY", metadata={"currency": "XXX"})
            violation = error_details_pb2.BadRequest.FieldViolation(field="currency")
            for detail in (info, error_details_pb2.BadRequest(field_violations=[violation])):
                packed = any_pb2.Any()
                packed.Pack(detail)
                status.details.append(packed)
            await context.abort_with_status(rpc_status.to_status(status))
        token = dict(context.invocation_metadata() or ()).get("authorization", "")
        return cost_model_pb2.QueryCostsResponse(
            rows=[cost_model_pb2.CostRow(group={"token": str(token)})],
            time_zone="UTC" if context.time_remaining() < 60 else "",
        )

    async def WatchCosts(  # noqa: N802 - the contract's name
        self,
        request: cost_model_pb2.WatchCostsRequest,
        context: Context,  # noqa: ARG002 - the contract's signature
    ) -> AsyncIterator[cost_model_pb2.WatchCostsResponse]:
        for number in range(3):
            yield cost_model_pb2.WatchCostsResponse(sequence=f"{request.after_sequence}{number}")

    async def StreamUsage(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[usage_service_pb2.StreamUsageRequest],
        context: Context,  # noqa: ARG002 - the contract's signature
    ) -> AsyncIterator[usage_service_pb2.StreamUsageResponse]:
        async for request in request_iterator:
            yield usage_service_pb2.StreamUsageResponse(sequence=request.sequence)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    server_side = UsageServer()  # type: ignore[abstract]
    usage_service_pb2_grpc.add_UsageServiceServicer_to_server(server_side, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_grpc_call_carries_token_and_deadline(address: str) -> None:
    async with AsyncClient(address, "secret") as client:
        answer = await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())

    assert answer.rows[0].group["token"] == "Bearer secret"
    assert answer.time_zone == "UTC"


async def test_a_fresh_token_is_asked_for_each_call(address: str) -> None:
    tokens = iter(["first", "second"])
    seen = []

    async with AsyncClient({"usage": address}, lambda: next(tokens)) as client:
        for _ in range(2):
            answer = await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())
            seen.append(answer.rows[0].group["token"])

    assert seen == ["Bearer first", "Bearer second"]


async def test_an_error_keeps_reason_metadata_and_field(address: str) -> None:
    async with AsyncClient(address, retry=ONCE) as client:
        with pytest.raises(ApiError) as caught:
            await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest(currency="XXX"))

    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NO_CURRENCY")
    assert error.metadata == {"currency": "XXX"}
    assert error.violations == (("currency", ""),)
    assert str(error) == "No such currency"


async def test_batches_are_delivered_over_grpc(address: str) -> None:
    async def batches() -> AsyncIterator[usage_service_pb2.StreamUsageRequest]:
        for number in range(20):
            yield usage_service_pb2.StreamUsageRequest(sequence=number)

    async with AsyncClient(address) as client:
        answers = deliver(client.usage.StreamUsage, batches(), window=3)
        acknowledged = [answer.sequence async for answer in answers]

    assert acknowledged == list(range(20))


async def test_a_service_without_an_address_is_unavailable(address: str) -> None:
    async with AsyncClient({"billing": address}, retry=ONCE) as client:
        with pytest.raises(ApiError, match="No address of the service 'usage'"):
            await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())


async def test_blocking_code_calls_and_streams(address: str) -> None:
    def work() -> tuple[str, list[str], list[int]]:
        with Client(address, "secret") as client:
            answer = client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())
            request = cost_model_pb2.WatchCostsRequest(after_sequence="1")
            changes = [change.sequence for change in client.usage.WatchCosts(request)]
            batches = (usage_service_pb2.StreamUsageRequest(sequence=n) for n in range(3))
            stored = [answer.sequence for answer in client.usage.StreamUsage(batches)]
            return answer.rows[0].group["token"], changes, stored

    assert await asyncio.to_thread(work) == ("Bearer secret", ["10", "11", "12"], [0, 1, 2])


def rest_client(handler: httpx.MockTransport) -> AsyncClient:
    transport = RestTransport("https://costs.example", lambda: "secret", transport=handler)
    return AsyncClient(transport=transport, retry=ONCE)


async def test_a_rest_call_carries_token_and_deadline() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        assert 29_000 < int(request.headers["grpc-timeout"].removesuffix("m")) <= 30_000
        assert request.url.params["group_by"] == "user"
        return httpx.Response(200, json={"timeZone": "UTC"})

    async with rest_client(httpx.MockTransport(answer)) as client:
        request = cost_model_pb2.QueryCostsRequest(group_by=["user"])
        assert (await client.usage.QueryCosts(request)).time_zone == "UTC"


async def test_a_rest_error_is_the_same_error() -> None:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMITED",
        "metadata": {"limit": "10"},
    }
    unknown = {"@type": "type.googleapis.com/later.Detail", "x": 1}
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
    body = {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "Slow down",
        "details": [info, unknown, retry],
    }
    handler = httpx.MockTransport(lambda _: httpx.Response(429, json={"error": body}))

    async with rest_client(handler) as client:
        with pytest.raises(ApiError, match="Slow down") as caught:
            await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())

    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.retry_after == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (502, grpc.StatusCode.UNAVAILABLE),
        (403, grpc.StatusCode.PERMISSION_DENIED),
        (418, grpc.StatusCode.UNKNOWN),
    ],
)
async def test_a_proxy_that_answers_in_html_is_understood(
    status: int, code: grpc.StatusCode
) -> None:
    handler = httpx.MockTransport(lambda _: httpx.Response(status, text="<html>"))

    async with rest_client(handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())

    assert caught.value.code is code


async def test_a_page_that_is_not_this_api_is_told_apart() -> None:
    handler = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>hello"))

    async with rest_client(handler) as client:
        with pytest.raises(ApiError, match="check the address"):
            await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())


async def test_a_rest_stream_is_read_line_by_line_up_to_its_error() -> None:
    lines = (
        '{"result": {"sequence": "1"}}\n\n'
        '{"sequence": "2"}\n'
        '{"error": {"status": "OUT_OF_RANGE", "message": "beyond retention"}}\n'
    )
    handler = httpx.MockTransport(lambda _: httpx.Response(200, text=lines))
    seen = []

    async with rest_client(handler) as client:
        with pytest.raises(ApiError, match="beyond retention"):
            async for message in client.usage.WatchCosts(cost_model_pb2.WatchCostsRequest()):
                seen.append(message.sequence)  # noqa: PERF401 - what came before the error counts

    assert seen == ["1", "2"]


async def test_an_address_that_nothing_listens_on_is_unavailable() -> None:
    for address in ("http://127.0.0.1:9", "127.0.0.1:9"):
        async with AsyncClient(address, retry=ONCE, timeout_seconds=5) as client:
            with pytest.raises(ApiError) as caught:
                await client.usage.QueryCosts(cost_model_pb2.QueryCostsRequest())
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_an_address_of_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="grpc://host:port"):
        connect("ftp://127.0.0.1:9")
