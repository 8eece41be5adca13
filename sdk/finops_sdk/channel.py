"""Lets the generated stubs, with their types, speak through any transport, with retries."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message

from finops_sdk.errors import ApiError
from finops_sdk.methods import Method, method_at
from finops_sdk.transport import Transport


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed calls are repeated: exponential pauses with full jitter, within the deadline.

    Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """

    attempts: int = 6
    first_pause_seconds: float = 0.1
    pause_seconds_max: float = 5.0

    def pause(self, attempt: int, error: ApiError) -> float:
        """Returns the seconds to wait after a failed attempt, numbered from 1."""
        ceiling = min(self.pause_seconds_max, self.first_pause_seconds * 2 ** (attempt - 1))
        jittered = random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing
        return max(error.retry_after or 0.0, jittered)


class AsyncChannel:
    """Looks to a generated stub like a `grpc.aio.Channel`."""

    def __init__(self, transport: Transport, *, timeout_seconds: float, retry: Retry) -> None:
        """Takes the deadline of calls that name none."""
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._retry = retry

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Callable[..., Awaitable[Message]]:
        """Returns the callable of a method that takes one message and gives one."""
        method = method_at(path)

        async def call(request: Message, *, timeout: float | None = None) -> Message:  # noqa: ASYNC109 - the stub's own name
            return await self._call(method, request, timeout or self._timeout_seconds)

        return call

    def unary_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., AsyncIterator[Message]]:
        """Returns the callable of a method that takes one message and gives many."""
        method = method_at(path)

        def call(request: Message, *, timeout: float | None = None) -> AsyncIterator[Message]:
            return self._transport.stream(method, _only(request), timeout)

        return call

    def stream_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., AsyncIterator[Message]]:
        """Returns the callable of a method that takes many messages and gives many."""
        method = method_at(path)

        def call(
            requests: AsyncIterator[Message], *, timeout: float | None = None
        ) -> AsyncIterator[Message]:
            return self._transport.stream(method, requests, timeout)

        return call

    async def _call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        request = _identified(method, request)
        attempt = 1
        while True:
            try:
                return await self._transport.call(method, request, deadline - loop.time())
            except ApiError as error:
                pause = self._retry.pause(attempt, error)
                is_last = attempt >= self._retry.attempts or loop.time() + pause >= deadline
                if is_last or not error.is_transient or not method.is_repeatable:
                    raise
            await asyncio.sleep(pause)
            attempt += 1


async def _only(request: Message) -> AsyncIterator[Message]:
    yield request


def _identified(method: Method, request: Message) -> Message:
    """Returns the request with an id by which the service knows a repeated call."""
    if not method.has_request_id:
        return request
    copy: Any = type(request)()
    copy.CopyFrom(request)
    copy.request_id = copy.request_id or uuid.uuid4().hex
    return cast("Message", copy)
