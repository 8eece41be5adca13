"""What surrounds calls that stream, in either direction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from services.kernel import interceptors
from services.kernel.api_keys import StoredApiKey, new_api_key
from services.kernel.interceptors import TENANT_METADATA
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import (
    all_of,
    bearer,
    refusal_of,
    refused,
    service_token_of,
    serving,
    token_of,
)

ADMIN = bearer(token_of("platform_admin"))


async def requests(*texts: str) -> AsyncIterator[Any]:
    for text in texts:
        yield EchoRequest(text=text)


async def test_a_server_stream_is_answered_as_its_caller() -> None:
    async with serving(registered(EchoServicer())) as server:
        call = EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=ADMIN)
        initial = dict(await call.initial_metadata())
        answers = await all_of(call, most=3)
        call.cancel()

    assert initial[TENANT_METADATA] == "acme"
    assert [(answer.text, answer.subject) for answer in answers] == [("x", "ada")] * 3


async def test_a_client_stream_is_answered_once_it_ends() -> None:
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.plain).Join(requests("a", "b", "c"), metadata=ADMIN)

    assert answer.text == "a+b+c"


async def test_both_sides_stream() -> None:
    async with serving(registered(EchoServicer())) as server:
        answers = await all_of(EchoStub(server.plain).Chat(requests("a", "b"), metadata=ADMIN))

    assert [answer.text for answer in answers] == ["a", "b"]


@pytest.mark.parametrize("method", ["Count", "Join", "Chat"])
@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ([], grpc.StatusCode.UNAUTHENTICATED),
        (bearer(token_of("viewer")), grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_streams_ask_for_credential_and_permission(
    method: str, metadata: list[tuple[str, str]], code: grpc.StatusCode
) -> None:
    servicer = EchoServicer()
    async with serving(registered(servicer)) as server:
        first = EchoRequest(text="x") if method == "Count" else requests("x")
        call = getattr(EchoStub(server.plain), method)(first, metadata=metadata)
        refusal = await refused(call if method == "Join" else all_of(call))

    assert refusal.code is code
    assert servicer.calls == []


async def test_the_one_request_of_a_server_stream_is_validated() -> None:
    async with serving(registered(EchoServicer())) as server:
        refusal = await refused(all_of(EchoStub(server.plain).Count(EchoRequest(), metadata=ADMIN)))

    assert (refusal.reason, refusal.fields) == ("FIELD_VIOLATIONS", ["text"])


@pytest.mark.parametrize("method", ["Join", "Chat"])
async def test_each_request_of_a_stream_is_validated(method: str) -> None:
    async with serving(registered(EchoServicer())) as server:
        call = getattr(EchoStub(server.plain), method)(requests("a", "", "b"), metadata=ADMIN)
        refusal = await refused(call if method == "Join" else all_of(call))

    assert (refusal.reason, refusal.fields) == ("FIELD_VIOLATIONS", ["text"])


async def test_what_was_answered_before_a_bad_request_arrives() -> None:
    async with serving(registered(EchoServicer())) as server:
        call = EchoStub(server.plain).Chat(requests("a", ""), metadata=ADMIN)
        answers = aiter(call)
        first = await anext(answers)
        refusal = await refused(all_of(answers))

    assert first.text == "a"
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_broken_method_ends_its_stream_with_internal() -> None:
    async def before(_: Any) -> None:
        raise LookupError("secret")

    async with serving(registered(EchoServicer(before=before))) as server:
        refusal = await refused(
            all_of(EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=ADMIN))
        )

    assert refusal.code is grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.message


async def test_a_client_that_leaves_stops_the_method() -> None:
    stopped = asyncio.Event()

    class Watched(EchoServicer):
        async def count(self, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                yield await self.echo(request, context)
                await asyncio.Event().wait()
            finally:
                stopped.set()

    async with serving(registered(Watched())) as server, asyncio.timeout(10):
        call = EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=ADMIN)
        answers = aiter(call)
        await anext(answers)
        call.cancel()
        await stopped.wait()

    assert call.cancelled()


class Directory:
    """One key that can be revoked."""

    def __init__(self) -> None:
        self.key = new_api_key()
        self.is_revoked = False

    async def find(self, _: str) -> StoredApiKey | None:
        if self.is_revoked:
            return None
        roles, key = frozenset({"platform_admin"}), self.key
        return StoredApiKey(key.key_id, "acme", roles, frozenset(), key.secret_digest)


async def test_a_stream_ends_when_its_key_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "CREDENTIAL_CHECK_SECONDS", 0.05)
    monkeypatch.setattr("services.kernel.api_keys.CACHE_SECONDS", 0.05)
    keys = Directory()
    async with serving(registered(EchoServicer()), api_keys=keys) as server:
        metadata = bearer(keys.key.text)
        call = EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=metadata)
        answers = aiter(call)
        await anext(answers)
        keys.is_revoked = True
        async with asyncio.timeout(10):
            refusal = await refused(all_of(answers, most=10**6))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_API_KEY")


async def test_a_service_is_not_cut_off_from_its_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "CREDENTIAL_CHECK_SECONDS", 0.0)
    async with serving(registered(EchoServicer())) as server:
        metadata = bearer(service_token_of(tenant=""))
        call = EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=metadata)
        answers = aiter(call)
        await anext(answers)
        server.running.drain.begin()  # so that the stream ends at all
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await all_of(answers, most=10**6)

    assert refusal_of(ended.value).reason == "SERVER_DRAINING"
