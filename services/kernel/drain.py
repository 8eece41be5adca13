"""How streams end when the server stops, so that neither side waits for the other.

A watcher would keep a stopping server alive until its last second, and be cut then. Instead its
stream ends in good order, after a whole message, with a status that tells it to resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from services.kernel.errors import Unavailable

_T = TypeVar("_T")


class ServerDraining(Unavailable):
    """The server is stopping; resume the stream after the last message, on another replica."""

    reason = "SERVER_DRAINING"


class Drain:
    """Knows the tasks that wait for a stream's next message, and stops their waiting."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[Any]] = set()
        self._stopped: set[asyncio.Task[Any]] = set()
        self.has_begun = False

    def begin(self) -> None:
        """Makes every present and later `wait` raise ServerDraining."""
        self.has_begun = True
        for task in self._waiting:
            self._stopped.add(task)
            task.cancel()

    async def wait(self, message: Callable[[], Awaitable[_T]]) -> _T:
        """Awaits the next message. Raises ServerDraining instead, once the drain has begun."""
        task = asyncio.current_task()
        if self.has_begun or task is None:
            raise ServerDraining
        self._waiting.add(task)
        try:
            return await message()
        except asyncio.CancelledError:
            # The client may have cancelled at the same time; then the task is to end.
            if task in self._stopped and task.uncancel() == 0:
                raise ServerDraining from None
            raise
        finally:
            self._waiting.discard(task)
            self._stopped.discard(task)
