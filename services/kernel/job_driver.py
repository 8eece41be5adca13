"""PgQueuer over the worker's pool, so that a restarted PostgreSQL costs patience and no job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Self, TypeVar

from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.models import TableChangedEvent, utc_now
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver, NotifyCallback

from services.kernel.database import Database
from services.kernel.errors import Unavailable
from services.kernel.transaction import Transaction

_T = TypeVar("_T")

PATIENCE_SECONDS = 60.0  # a restart or a fail-over takes less
RETRY_SECONDS = 0.2


class JobDriver(Driver):
    """Runs each statement in a transaction of its own, again while the database is away.

    All of PgQueuer's worker statements are harmless twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._listening = ExitStack()
        self._entered = 0

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Returns the rows of a query."""

        async def run(tx: Transaction) -> list[dict[str, object]]:
            return [dict(row) for row in await tx.driver.fetch(query, *args)]

        return await self._patiently(run)

    async def execute(self, query: str, *args: object) -> str:
        """Runs a statement and returns its status."""
        return await self._patiently(lambda tx: tx.driver.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        """Notifies a channel."""
        await self._patiently(lambda tx: tx.notify(channel, payload))

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Calls back with each notification until the driver is left."""
        changed = TableChangedEvent(
            channel=Channel(channel),
            sent_at=utc_now(),
            type="table_changed_event",
            operation="update",
            table="pgqueuer",
        )
        self._listening.enter_context(
            self._database.wakeups.listening(channel, callback, missed=changed.model_dump_json())
        )

    async def _patiently(self, run: Callable[[Transaction], Awaitable[_T]]) -> _T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            try:
                return await self._database.run(None, run)
            except Unavailable:
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    @property
    def shutdown(self) -> asyncio.Event:
        """Set when nothing new is to be begun."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """The tasks of the driver itself, of which there are none."""
        return self._tasks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
