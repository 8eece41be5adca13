"""Pages of a feed read while those before are applied, and applied together when they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar

from services.kernel.feed import FeedPage

_F = TypeVar("_F")

# Some 15,000 changes: the locks of a transaction over them are held for a quarter of a second, for
# which calls about the same budgets wait.
TOGETHER_MAX: Final = 5


async def read_ahead(
    pages: AsyncGenerator[FeedPage[_F], None], *, together_max: int = TOGETHER_MAX
) -> AsyncGenerator[FeedPage[_F], None]:
    """Yields what has come since the last page was taken as one page, at once when it is little.

    Who keeps up gets each page by itself; who is behind begins, locks, writes and commits less
    often. Raises what reading raises, after what came before it.
    """
    waiting: asyncio.Queue[FeedPage[_F] | None] = asyncio.Queue()
    room = asyncio.Semaphore(together_max)

    async def fill() -> None:
        async with aclosing(pages):
            async for page in pages:
                await room.acquire()
                waiting.put_nowait(page)

    reading = asyncio.create_task(fill())
    reading.add_done_callback(lambda _: waiting.put_nowait(None))
    try:
        while True:
            page = await waiting.get()
            if page is None:
                await reading
                return
            found = [page]
            while len(found) < together_max and not waiting.empty():
                more = waiting.get_nowait()
                if more is None:
                    waiting.put_nowait(None)
                    break
                found.append(more)
            for _ in found:
                room.release()
            yield joined(found)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def joined(pages: list[FeedPage[_F]]) -> FeedPage[_F]:
    """Returns pages that follow each other as one."""
    last = pages[-1]
    if len(pages) == 1:
        return last
    items = [item for page in pages for item in page.items]
    return FeedPage(items, last.position, is_full=last.is_full, is_pending=last.is_pending)
