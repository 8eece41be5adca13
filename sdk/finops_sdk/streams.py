"""Lists page by page, and streams that survive a lost connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from finops_sdk.channel import Retry
from finops_sdk.errors import ApiError

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)

ENDED_EARLY = ApiError(code=grpc.StatusCode.UNAVAILABLE, message="the stream ended early")


async def pages(
    call: Callable[[Request], Awaitable[Answer]], request: Request
) -> AsyncIterator[Answer]:
    """Yields every page of a list, beginning with the page that the request names.

    `async for page in pages(client.pricing.ListPrices, ListPricesRequest()): page.prices`
    """
    following: Any = type(request)()
    following.CopyFrom(request)
    while True:
        page: Any = await call(following)
        yield page
        if not page.next_page_token:
            return
        following.page_token = page.next_page_token


async def resume(
    call: Callable[[Request], AsyncIterable[Answer]],
    request: Request,
    retry: Retry | None = None,
) -> AsyncIterator[Answer]:
    """Yields every message of a feed, each once, over any number of lost connections.

    The request has `after_sequence`, each message `sequence`. It ends only with an error that
    trying again does not mend, or when the caller stops.
    """
    policy = retry or Retry(attempts=1 << 30)
    position: Any = type(request)()
    position.CopyFrom(request)
    failures = 0
    while True:
        try:
            async for message in call(position):
                failures = 0
                sequence: str = getattr(message, "sequence", "")
                position.after_sequence = sequence or position.after_sequence
                yield message
            error = ENDED_EARLY
        except ApiError as failure:
            error = failure
        failures += 1
        if not error.is_transient or failures >= policy.attempts:
            raise error
        await asyncio.sleep(policy.pause(failures, error))


async def deliver(
    call: Callable[[AsyncIterator[Request]], AsyncIterable[Answer]],
    batches: AsyncIterable[Request],
    *,
    window: int = 8,
    retry: Retry | None = None,
) -> AsyncIterator[Answer]:
    """Sends batches and yields the acknowledgement of each, in order, over lost connections.

    window: batches under way at a time, which bounds memory. Batches not acknowledged when a
    connection is lost are sent again; events that were stored already are answered as duplicates.
    """
    policy = retry or Retry(attempts=30)
    outbox = _Outbox[Request](window)
    filling = asyncio.create_task(outbox.fill(batches))
    failures = 0
    try:
        while not outbox.is_done:
            error = ENDED_EARLY
            try:
                async for answer in call(outbox.requests()):
                    failures = 0
                    outbox.acknowledge()
                    yield answer
            except ApiError as failure:
                error = failure
            if outbox.is_done:
                break
            failures += 1
            if not error.is_transient or failures >= policy.attempts:
                raise error
            await asyncio.sleep(policy.pause(failures, error))
        await filling  # raises what the source of the batches raised
    finally:
        filling.cancel()


class _Outbox(Generic[Request]):
    """Batches under way: filled from a source, read by one connection after the other."""

    def __init__(self, window: int) -> None:
        self._room = asyncio.Semaphore(window)
        self._waiting: deque[Request] = deque()
        self._acknowledged = 0
        self._connection = 0
        self._is_exhausted = False
        self._changed = asyncio.Condition()

    @property
    def is_done(self) -> bool:
        """Whether every batch was acknowledged and none will come."""
        return self._is_exhausted and not self._waiting

    async def fill(self, batches: AsyncIterable[Request]) -> None:
        """Takes batches from their source while there is room."""
        try:
            async for batch in batches:
                await self._room.acquire()
                async with self._changed:
                    self._waiting.append(batch)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._is_exhausted = True
                self._changed.notify_all()

    async def requests(self) -> AsyncIterator[Request]:
        """Yields what is not acknowledged, then what comes; ends when a later connection begins."""
        self._connection += 1
        connection = self._connection
        position = self._acknowledged

        def can_go_on() -> bool:
            is_late = connection != self._connection
            return is_late or self._is_exhausted or position < self._filled

        while True:
            async with self._changed:
                await self._changed.wait_for(can_go_on)
            # gRPC may read on for a connection that is lost; what it took then would be skipped.
            if connection != self._connection or position >= self._filled:
                return
            yield self._waiting[position - self._acknowledged]
            position += 1

    @property
    def _filled(self) -> int:
        return self._acknowledged + len(self._waiting)

    def acknowledge(self) -> None:
        """Forgets the oldest batch."""
        self._waiting.popleft()
        self._acknowledged += 1
        self._room.release()
