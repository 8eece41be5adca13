"""Pages of a feed that several readers want at about the same time, read once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

from services.kernel.feed_page import FeedPage, FeedPosition

_F = TypeVar("_F")

PAGES_KEPT: Final = 16  # with full pages, a few thousand facts; who is further behind reads alone


class RecentPages(Generic[_F]):
    """Remembers what was read last, and gives it to each reader that stands within it.

    Readers that follow a feed ask for nearly the same place. The first one's answer ends where the
    others' shall too, so they fall into step with it and share every page from then on. A page
    holds only facts that are certain, so it is as true later as it was when it was read.
    """

    def __init__(
        self,
        read: Callable[[FeedPosition, int], Awaitable[FeedPage[_F]]],
        *,
        kept: int = PAGES_KEPT,
    ) -> None:
        """read: reads the page after a position, of so many facts at most."""
        self._read = read
        self._pages: deque[tuple[FeedPosition, FeedPage[_F]]] = deque(maxlen=kept)
        # One read at a time, so that who waits finds what the one before brought.
        self._reading = asyncio.Lock()

    async def read(self, after: FeedPosition, limit: int) -> FeedPage[_F]:
        """Returns facts after the position, at most `limit`. Raises what reading raises."""
        async with self._reading:
            known = self._find(after, limit)
            if known is not None:
                return known
            page = await self._read(after, limit)
            if page.position > after:
                self._pages.append((after, page))
            return page

    def _find(self, after: FeedPosition, limit: int) -> FeedPage[_F] | None:
        for start, page in self._pages:
            if start == after and len(page.items) <= limit:
                return page
            if start < after < page.position:
                items = [item for item in page.items if item.position > after]
                if len(items) <= limit and not any(item.is_divided_by(after) for item in items):
                    return replace(page, items=items)
        return None
