"""Waiting for what no event tells, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")

POLL_SECONDS = 0.01


async def eventually(look: Callable[[], Awaitable[_T]], *, seconds: float = 20) -> _T:
    """Looks until it finds something true, and returns it. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - nothing in this process tells
            await asyncio.sleep(POLL_SECONDS)
        return found
