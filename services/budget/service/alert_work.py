"""The loops that take alerts from the transaction that fired them to people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from services.budget.service.alert_life import FIRED
from services.budget.service.announcing import Announcer
from services.budget.service.delivering import CONCURRENCY, Deliverer
from services.budget.service.digesting import Digester
from services.budget.service.notifying import CHANNEL
from services.kernel.database import Database
from services.kernel.workers import Loop

POLL_SECONDS = 1.0  # how late a step of time is, and what a lost hint costs


class AlertWork:
    """Runs what is due as soon as rows wake it, and looks by itself every second."""

    def __init__(
        self,
        database: Database,
        *,
        announcer: Announcer,
        deliverer: Deliverer,
        digester: Digester,
    ) -> None:
        """Takes what the loops run."""
        self._database = database
        self._announcer = announcer
        self._deliverer = deliverer
        self._digester = digester

    def loops(self) -> list[Loop]:
        """Returns the loops, each safe to cancel and to run in many replicas at once."""
        return [
            Loop("alert announcements", self._announce),
            Loop("alert steps", self._take_steps),
            Loop("deliveries", self._deliver),
        ]

    async def run_once(self) -> int:
        """Does all that is due now, and returns how many attempts to deliver that were."""
        attempts = 0
        while await self._announcer.announce() or await self._announcer.take_due_steps():
            continue
        await self._digester.bundle()
        while count := await self._deliverer.deliver():
            attempts += count
        return attempts

    async def _announce(self) -> None:
        await self._follow(FIRED, self._announcer.announce)

    async def _take_steps(self) -> None:
        async def take() -> int:
            return await self._announcer.take_due_steps() + await self._digester.bundle()

        await self._follow("budget_alert_steps", take)

    async def _deliver(self) -> None:
        """Keeps as many attempts under way as are due, up to the worker's bound.

        Each task is one claim; a slow receiver holds its own tasks, and no other's.
        """
        running: set[asyncio.Task[None]] = set()
        try:
            with self._database.wakeups.subscribed(CHANNEL) as woken:
                while True:
                    woken.clear()
                    free = CONCURRENCY - len(running)
                    while free > 0 and (batch := await self._deliverer.claim(free)):
                        running |= {
                            asyncio.create_task(self._deliverer.attempt(each)) for each in batch
                        }
                        free -= len(batch)
                    running = {task for task in running if not task.done()}
                    await _first(woken, running)
        finally:
            # Cancelled attempts are tried again when their lease ends.
            for task in running:
                task.cancel()

    async def _follow(self, channel: str, work: Callable[[], Awaitable[int]]) -> None:
        with self._database.wakeups.subscribed(channel) as woken:
            while True:
                woken.clear()
                while await work():
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await woken.wait()


async def _first(woken: asyncio.Event, running: set[asyncio.Task[None]]) -> None:
    """Waits for a hint, for the end of an attempt, which makes room, or for the next look."""
    waiting = asyncio.create_task(woken.wait())
    try:
        await asyncio.wait(
            {waiting, *running}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
