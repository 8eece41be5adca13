"""How calls end when the server stops: those in flight are answered, later ones go elsewhere.

A watcher would keep a stopping server alive until its last second, and be cut then. Instead its
stream ends in good order, after a whole message, with a status that tells it to resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from services.kernel.errors import Unavailable

_T = TypeVar("_T")


class ServerDraining(Unavailable):
    """The server is stopping; repeat the call, or resume the stream after its last message."""

    reason = "SERVER_DRAINING"


class Drain:
    """The calls in flight, and those among them that wait for a stream's next message."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._stopped: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self.has_begun = False

    def enter(self) -> None:
        """Counts a call in flight. Raises ServerDraining once the server takes no more."""
        if self._is_closed:
            raise ServerDraining
        self._in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        """Counts it out again."""
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()

    def close(self) -> None:
        """Makes every later `enter` raise ServerDraining, which clients repeat elsewhere.

        gRPC's own stop answers CANCELLED to calls that were on their way, and nobody repeats those.
        """
        self._is_closed = True

    async def idle(self, seconds: float) -> None:
        """Waits until no call is in flight, so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

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
