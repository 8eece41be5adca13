"""Reads ahead, so that getting what comes next and working on this go side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

_T = TypeVar("_T")


async def several_ahead(
    items: AsyncGenerator[_T, None], *, most: int
) -> AsyncGenerator[list[_T], None]:
    """Yields the items that have come since the last ones were taken, at once when one has.

    Who keeps up gets each by itself. most: items that wait, and so come together; a consumer that
    stops reading stops them. Raises what they raise, after what came before it, and ends them
    with itself.
    """
    waiting: deque[_T] = deque()
    room = asyncio.Semaphore(most)
    news = asyncio.Event()

    async def fill() -> None:
        while True:
            await room.acquire()
            try:
                waiting.append(await anext(items))
            except StopAsyncIteration:
                return
            news.set()

    reading = asyncio.create_task(fill())
    reading.add_done_callback(lambda _: news.set())
    try:
        while True:
            found = list(waiting)
            waiting.clear()
            if found:
                for _ in found:
                    room.release()
                yield found
            elif reading.done():
                reading.result()  # raises what ended it
                return
            else:
                news.clear()
                await news.wait()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await items.aclose()


async def one_ahead(items: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    """Yields the items; the next one is asked for before one is worked on. Ends them with itself.

    At most one waits.
    """
    async with aclosing(several_ahead(items, most=1)) as found:
        async for (item,) in found:
            yield item
