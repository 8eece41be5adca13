"""Streams that wait while the server stops."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from services.kernel.drain import Drain, ServerDraining


async def test_a_message_that_comes_in_time_is_passed_on() -> None:
    async def message() -> str:
        return "a message"

    assert await Drain().wait(message) == "a message"


async def test_a_stream_that_waits_is_told_to_resume_elsewhere() -> None:
    drain, never, is_waiting = Drain(), asyncio.Event(), asyncio.Event()

    async def message() -> bool:
        is_waiting.set()
        return await never.wait()

    stream = asyncio.create_task(drain.wait(message))
    await is_waiting.wait()
    drain.begin()
    with pytest.raises(ServerDraining) as caught:
        await stream

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert (caught.value.reason, caught.value.metadata) == ("SERVER_DRAINING", {})


async def test_nothing_waits_once_the_drain_has_begun() -> None:
    drain, never = Drain(), asyncio.Event()

    drain.begin()

    with pytest.raises(ServerDraining):
        await drain.wait(never.wait)


async def test_a_client_that_goes_away_cancels_its_stream() -> None:
    drain, never, is_waiting = Drain(), asyncio.Event(), asyncio.Event()

    async def message() -> bool:
        is_waiting.set()
        return await never.wait()

    stream = asyncio.create_task(drain.wait(message))
    await is_waiting.wait()
    stream.cancel()

    with pytest.raises(asyncio.CancelledError):
        await stream
