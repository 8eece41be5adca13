"""Background work of a service: kept running, then stopped in good order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog
from opentelemetry import metrics

RESTART_SECONDS: Final = 1.0  # doubles with every failure in a row
RESTART_SECONDS_MAX: Final = 30.0
CALM_SECONDS: Final = 60.0  # having run for so long, a failure counts as the first again

log = structlog.get_logger(__name__)
_restarts = metrics.get_meter("finops.workers").create_counter(
    "finops_worker_restarts_total", description="Background work begun again after a failure."
)


class Worker(Protocol):
    """Work that goes on until it is told to stop."""

    async def run(self) -> None:
        """Works until `stop`."""

    async def stop(self) -> None:
        """Makes `run` return once what is in hand is finished."""


class Loop:
    """A worker made of a coroutine function that runs until it is cancelled."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """work: safe to cancel at any await, as a transaction is."""
        self.name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Runs the work; returns when `stop` cancelled it."""
        self._task = asyncio.create_task(self._run(), name=self.name)
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """Cancels the work."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await self._work()


class Workers:
    """Runs workers side by side; one that fails is begun again, and the others go on."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begins all of them."""
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self._workers]

    async def stop(self, seconds: float) -> None:
        """Stops all of them, and cancels those that have not ended in time."""
        if not self._tasks:
            return
        self._stopping.set()
        stops = [asyncio.ensure_future(worker.stop()) for worker in self._workers]
        _, late = await asyncio.wait([*self._tasks, *stops], timeout=seconds)
        for task in late:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, *stops, return_exceptions=True)
        failures = [str(error) for error in ended if isinstance(error, Exception)]
        if late or failures:
            log.warning("workers stopped badly", cancelled=len(late), failures=failures)
        self._tasks = []

    async def _keep(self, worker: Worker) -> None:
        name = getattr(worker, "name", type(worker).__name__)
        loop = asyncio.get_running_loop()
        pause = RESTART_SECONDS
        while not self._stopping.is_set():
            began = loop.time()
            try:
                await worker.run()
            except Exception:
                log.exception("worker failed", worker=name)
            if self._stopping.is_set():
                return
            # Work that ends by itself is as dead as work that fails.
            if loop.time() - began >= CALM_SECONDS:
                pause = RESTART_SECONDS
            _restarts.add(1, {"worker": name})
            log.warning("worker begins again", worker=name, seconds=pause)
            await self._pause(random.uniform(pause / 2, pause))  # noqa: S311 - spreads load only
            pause = min(2 * pause, RESTART_SECONDS_MAX)

    async def _pause(self, seconds: float) -> None:
        """Waits, but not once the stop has begun."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([stopping], timeout=seconds)
        stopping.cancel()
