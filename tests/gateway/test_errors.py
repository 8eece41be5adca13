"""Errors: AIP-193 documents, grpc-gateway's statuses, and what is kept from callers."""

from __future__ import annotations

import asyncio

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2

from gateway import errors
from gateway.errors import HTTP_STATUS, failure_of
from services.kernel.errors import INTERNAL_MESSAGE, Error
from tests.gateway.example_server import ExampleServer

# github.com/grpc-ecosystem/grpc-gateway, runtime.HTTPStatusFromCode.
STATUSES = {
    "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429, "FAILED_PRECONDITION": 400, "ABORTED": 409, "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501, "INTERNAL": 500, "DATA_LOSS": 500,
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
async def test_a_code_becomes_its_status(client: httpx.AsyncClient, code: str, status: int) -> None:
    answer = await client.get(f"/v1/fail/{code}?with_details=true")

    error = answer.json()["error"]
    assert answer.status_code == error["code"] == status
    assert error["status"] == code
    assert error["message"] == "as asked"
    assert error["details"] == [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TEST", "domain": "test"}
    ]


async def test_a_safe_call_to_a_busy_service_is_retried_and_then_refused(
    client: httpx.AsyncClient, example: ExampleServer
) -> None:
    example.calls.clear()

    answer = await client.get("/v1/fail/UNAVAILABLE")

    assert example.calls == ["Fail", "Fail", "Fail"]
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_the_time_to_retry_is_a_header(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/fail/RESOURCE_EXHAUSTED?retry_delay=7s")

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["details"][0]["retryDelay"] == "7s"


async def test_a_missing_credential_is_asked_for(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as stranger:
        answer = await stranger.get("/v1/query")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("code", ["CRASH", "INTERNAL", "UNKNOWN", "DATA_LOSS"])
async def test_an_internal_error_tells_nothing(client: httpx.AsyncClient, code: str) -> None:
    answer = await client.get(f"/v1/fail/{code}")

    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == INTERNAL_MESSAGE
    assert "secret" not in answer.text


def test_an_unknown_exception_is_internal() -> None:
    failure = failure_of(KeyError("a secret detail"))

    assert failure.http_status == 500
    assert b"secret" not in failure.body()
    assert b'"INTERNAL"' in failure.body()


def test_a_detail_of_unknown_type_is_passed_on_as_bytes() -> None:
    status = status_pb2.Status(code=5, message="gone")
    status.details.append(any_pb2.Any(type_url="type.googleapis.com/none.Such", value=b"\x01"))

    body = errors.Failure(404, grpc.StatusCode.NOT_FOUND, status).body()

    assert b'{"@type":"type.googleapis.com/none.Such","value":"AQ=="}' in body


def test_every_code_has_a_documented_status() -> None:
    assert set(HTTP_STATUS) == set(grpc.StatusCode)
    assert {status for status in HTTP_STATUS.values() if status != 200} <= set(errors.DOCUMENTED)


@pytest.mark.parametrize(
    ("error", "reason", "status", "code"),
    [
        (errors.RouteNotFound(), "ROUTE_NOT_FOUND", 404, "NOT_FOUND"),
        (errors.MalformedPath(), "MALFORMED_PATH", 400, "INVALID_ARGUMENT"),
        (errors.MalformedBody(), "MALFORMED_BODY", 400, "INVALID_ARGUMENT"),
        (errors.MalformedHeader(), "MALFORMED_HEADER", 400, "INVALID_ARGUMENT"),
        (errors.UnknownParameter(), "UNKNOWN_PARAMETER", 400, "INVALID_ARGUMENT"),
        (errors.RateLimited(), "RATE_LIMITED", 429, "RESOURCE_EXHAUSTED"),
        (errors.MethodNotAllowed(["GET"]), "METHOD_NOT_ALLOWED", 405, "UNIMPLEMENTED"),
        (errors.BodyTooSlow(), "BODY_TOO_SLOW", 408, "DEADLINE_EXCEEDED"),
        (errors.BodyTooLarge(), "BODY_TOO_LARGE", 413, "INVALID_ARGUMENT"),
        (errors.TargetTooLong(), "TARGET_TOO_LONG", 414, "INVALID_ARGUMENT"),
        (errors.UnsupportedMediaType(), "UNSUPPORTED_MEDIA_TYPE", 415, "INVALID_ARGUMENT"),
        (errors.HeadersTooLarge(), "HEADERS_TOO_LARGE", 431, "INVALID_ARGUMENT"),
        (errors.ClientClosed(), "CLIENT_CLOSED", 499, "CANCELLED"),
    ],
)
def test_each_error_has_its_reason_and_status(
    error: Error, reason: str, status: int, code: str
) -> None:
    failure = failure_of(error)

    assert error.reason == reason
    assert failure.http_status == status
    assert failure.code.name == code
    assert status in errors.DOCUMENTED


async def test_a_caller_who_leaves_cancels_the_call(address: str, example: ExampleServer) -> None:
    example.cancelled.clear()
    headers = {"authorization": "Bearer alice"}

    async with httpx.AsyncClient(base_url=address, headers=headers) as impatient:
        with pytest.raises(httpx.ReadTimeout):
            await impatient.get("/v1/fail/SLOW", timeout=0.3)

    await asyncio.wait_for(example.cancelled.wait(), 5)


async def test_a_deadline_ends_the_call(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/fail/SLOW", headers={"grpc-timeout": "100m"})

    assert answer.status_code == 504
    assert answer.json()["error"]["details"][0]["reason"] == "DEADLINE_EXCEEDED"
