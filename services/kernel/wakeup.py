"""Hints that something was committed, between the tasks and the processes of a database.

One connection listens and notifies for a whole process. A hint may be lost with a connection or a
crash, and one is never proof: whoever waits for one also looks by itself from time to time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from services.kernel.database_errors import DRIVER_ERRORS
from services.kernel.errors import Unavailable
from services.kernel.transaction import Driver

log = structlog.get_logger(__name__)

EVERYBODY = ""  # the payload that wakes the waiters of every tenant
COALESCE_SECONDS = 0.005  # at most 200 notifications a second, whatever the rate of commits
TENANTS_MAX = 64  # beyond so many at once, everybody is woken instead
RECONNECT_SECONDS = 0.1
RECONNECT_SECONDS_MAX = 5.0


class WakeUps:
    """Wakes tasks that wait on a channel, here and in other processes."""

    def __init__(self, connect: Callable[[], Awaitable[Driver]]) -> None:
        """Takes what opens the connection; it is opened with the first use."""
        self._connect = connect
        self._waiting: dict[str, dict[asyncio.Event, str]] = defaultdict(dict)
        self._listeners: dict[str, dict[Callable[[str], None], str]] = defaultdict(dict)
        self._announced: dict[str, set[str]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def subscribed(self, channel: str, tenant_id: str = EVERYBODY) -> Iterator[asyncio.Event]:
        """Yields an event that is set whenever the channel is announced for the tenant, or at all.

        It is also set when the connection was lost, because hints may have been lost with it.
        """
        event = asyncio.Event()
        self._waiting[channel][event] = tenant_id
        self._work()
        try:
            yield event
        finally:
            del self._waiting[channel][event]
            if not self._waiting[channel]:
                del self._waiting[channel]

    @contextmanager
    def listening(
        self, channel: str, callback: Callable[[str], None], *, missed: str
    ) -> Iterator[None]:
        """Calls back with the payload of each notification on the channel.

        For channels that others announce in their own words. missed: what to call back with
        whenever notifications may have been lost.
        """
        self._listeners[channel][callback] = missed
        self._work()
        try:
            yield
        finally:
            del self._listeners[channel][callback]
            if not self._listeners[channel]:
                del self._listeners[channel]

    def announce(self, channel: str, tenant_id: str = EVERYBODY) -> None:
        """Wakes this process at once, and the others within milliseconds."""
        self._wake(channel, tenant_id)
        tenants = self._announced.setdefault(channel, set())
        tenants.add(tenant_id)
        if len(tenants) > TENANTS_MAX:
            self._announced[channel] = {EVERYBODY}
        self._work()

    async def close(self) -> None:
        """Closes the connection; what was announced last may not reach others."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _work(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        delay = RECONNECT_SECONDS
        while True:
            try:
                driver = await self._connect()
            except Unavailable as error:
                log.warning("wake-ups are not connected", error=error.reason)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RECONNECT_SECONDS_MAX)
                continue
            delay = RECONNECT_SECONDS
            try:
                await self._serve(driver)
            except DRIVER_ERRORS as error:
                log.warning("wake-ups lost their connection", error=repr(error))
            finally:
                driver.terminate()

    async def _serve(self, driver: Driver) -> None:
        """Listens to what is waited for and notifies what was announced, until it breaks."""
        listening: set[str] = set()
        driver.add_termination_listener(lambda _: self._changed.set())
        while not driver.is_closed():
            self._changed.clear()
            wanted = {*self._waiting, *self._listeners}
            for channel in wanted - listening:
                await driver.add_listener(channel, self._received)
                self._wake(channel, EVERYBODY)  # for what happened before it was listened to
                for callback, missed in tuple(self._listeners.get(channel, {}).items()):
                    callback(missed)
            for channel in listening - wanted:
                await driver.remove_listener(channel, self._received)
            listening = wanted
            await self._notify(driver)
            await self._changed.wait()

    async def _notify(self, driver: Driver) -> None:
        announced, self._announced = self._announced, {}
        pairs = [(channel, tenant) for channel in announced for tenant in announced[channel]]
        if pairs:
            channels, tenants = zip(*pairs, strict=True)
            await driver.execute(
                "SELECT pg_notify(c, t) FROM unnest($1::text[], $2::text[]) AS hint(c, t)",
                channels,
                tenants,
            )
            await asyncio.sleep(COALESCE_SECONDS)

    def _received(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._wake(channel, str(payload))
        for callback in tuple(self._listeners.get(channel, ())):
            callback(str(payload))

    def _wake(self, channel: str, tenant_id: str) -> None:
        for event, wanted in self._waiting.get(channel, {}).items():
            if EVERYBODY in (tenant_id, wanted) or tenant_id == wanted:
                event.set()
