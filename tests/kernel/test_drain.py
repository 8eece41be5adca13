"""How streams end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kernel.drain import Drain, ServerDraining
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import all_of, bearer, refused, serving, token_of

ADMIN = bearer(token_of("platform_admin"))


class Silent(EchoServicer):
    """Answers once, then has nothing to say, as a watcher of a quiet feed."""

    async def count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield await self.echo(request, context)
        await asyncio.Event().wait()


async def test_a_silent_stream_ends_soon_and_is_told_to_resume() -> None:
    async with serving(registered(Silent())) as server, asyncio.timeout(10):
        call = EchoStub(server.plain).Count(EchoRequest(text="x"), metadata=ADMIN)
        answers = aiter(call)
        first = await anext(answers)
        stopping = asyncio.ensure_future(server.running.stop(20))
        refusal = await refused(all_of(answers))
        await stopping

    assert first.text == "x"
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    assert refusal.reason == "SERVER_DRAINING"


async def test_what_a_bidirectional_stream_took_is_acknowledged() -> None:
    open_requests: asyncio.Queue[Any] = asyncio.Queue()
    may_answer, taken = asyncio.Event(), asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        while (request := await open_requests.get()) is not None:
            yield request

    async def before(_: Any) -> None:
        taken.set()
        await may_answer.wait()

    async with serving(registered(EchoServicer(before=before))) as server, asyncio.timeout(10):
        call = EchoStub(server.plain).Chat(requests(), metadata=ADMIN)
        answers = aiter(call)
        open_requests.put_nowait(EchoRequest(text="batch"))
        await taken.wait()
        server.running.drain.begin()
        may_answer.set()
        acknowledged = await anext(answers)
        refusal = await refused(all_of(answers))
        open_requests.put_nowait(None)

    assert acknowledged.text == "batch"
    assert refusal.reason == "SERVER_DRAINING"


async def test_an_idle_bidirectional_stream_ends_too() -> None:
    async def requests() -> AsyncIterator[Any]:
        yield EchoRequest(text="a")
        await asyncio.Event().wait()

    async with serving(registered(EchoServicer())) as server, asyncio.timeout(10):
        call = EchoStub(server.plain).Chat(requests(), metadata=ADMIN)
        answers = aiter(call)
        await anext(answers)
        server.running.drain.begin()
        refusal = await refused(all_of(answers))

    assert refusal.reason == "SERVER_DRAINING"


async def test_unary_calls_in_flight_are_answered() -> None:
    begun, may_answer = asyncio.Event(), asyncio.Event()

    async def before(_: Any) -> None:
        begun.set()
        await may_answer.wait()

    async with serving(registered(EchoServicer(before=before))) as server, asyncio.timeout(10):
        call = EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=ADMIN)
        await begun.wait()
        stopping = asyncio.ensure_future(server.running.stop(20))
        await asyncio.wait([stopping], timeout=0.05)
        may_answer.set()
        answer = await call
        await stopping

    assert answer.text == "x"


async def test_health_says_so_before_calls_are_refused() -> None:
    async with serving(registered(Silent())) as server, asyncio.timeout(10):
        health: Any = health_pb2_grpc.HealthStub(server.plain)
        request = health_pb2.HealthCheckRequest(service="finops.test.v1.EchoService")
        watch = health.Watch(request)
        before = await watch.read()
        stopping = asyncio.ensure_future(server.running.stop(20))
        after = await watch.read()
        await stopping

    assert before.status == health_pb2.HealthCheckResponse.SERVING
    assert after.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_caller_that_leaves_during_the_drain_only_leaves() -> None:
    drain, waiting = Drain(), asyncio.Event()

    async def message() -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(drain.wait(message))
    await waiting.wait()
    drain.begin()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_waits_once_the_drain_has_begun() -> None:
    drain = Drain()
    drain.begin()

    with pytest.raises(ServerDraining):
        await drain.wait(asyncio.Event().wait)
