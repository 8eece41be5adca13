"""Reads one item ahead, so that getting the next one and working on this one go side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

_T = TypeVar("_T")


async def one_ahead(items: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    """Yields the items; the next one is asked for before one is given away.

    At most one waits, so a consumer that stops reading stops the items. Ends them with itself.
    """

    async def following() -> _T:
        return await anext(items)

    reading = asyncio.ensure_future(following())
    try:
        while True:
            try:
                item = await reading
            except StopAsyncIteration:
                return
            reading = asyncio.ensure_future(following())
            yield item
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await items.aclose()
