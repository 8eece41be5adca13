"""Calls that arrive together are answered by one transaction: group commit, in a few lanes.

While a lane's batch is in the database, the calls that arrive meanwhile become the next batch, and
so do those that the loop has at hand: a batch costs as much as several calls, so a busy process
would else answer most of its calls in batches of three. A call that comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import Final, Generic, TypeVar

from opentelemetry import metrics

_Op = TypeVar("_Op")
_Answer = TypeVar("_Answer")

LANES: Final = 4  # one that waits for another replica's lock holds up a quarter of the callers
BATCH_MAX: Final = 128  # a batch of so many takes some 30 ms, which the first of it has to wait
GATHER_SECONDS: Final = 0.005  # at most, in which calls that are at hand join a batch
GATHER_TURNS: Final = 20  # of the loop without a new call; a call takes some four to get here
WAITING_MAX: Final = 4_000  # a second of work; more would time out before they are answered

_sizes = metrics.get_meter("finops.coalescing").create_histogram(
    "finops_batch_calls", description="Calls that one transaction answered, by what they are."
)


class Coalescer(Generic[_Op, _Answer]):
    """Collects operations and runs them in batches, in order within a lane."""

    def __init__(
        self,
        run: Callable[[Sequence[_Op]], Awaitable[Sequence[_Answer | Exception]]],
        *,
        name: str,
        refuse: Callable[[], Exception],
    ) -> None:
        """run: answers a batch, each operation with its answer or error. refuse: when full.

        name: what the operations are, on the metric.
        """
        self._run = run
        self._name = name
        self._refuse = refuse
        self._lanes: list[deque[tuple[_Op, asyncio.Future[_Answer]]]] = [
            deque() for _ in range(LANES)
        ]
        self._tasks: list[asyncio.Task[None] | None] = [None] * LANES

    async def submit(self, lane: str, operation: _Op) -> _Answer:
        """Returns the operation's answer once its batch is durable, or raises its error."""
        number = zlib.crc32(lane.encode()) % LANES
        waiting = self._lanes[number]
        if len(waiting) >= WAITING_MAX:
            raise self._refuse()
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        waiting.append((operation, future))
        if self._tasks[number] is None:
            # Its own context: the batch belongs to no single call, nor to that call's span.
            self._tasks[number] = asyncio.create_task(
                self._drain(number), context=contextvars.Context()
            )
        return await future

    async def _drain(self, number: int) -> None:
        waiting = self._lanes[number]
        try:
            while waiting:
                await _gathered(waiting)
                taken = [waiting.popleft() for _ in range(min(len(waiting), BATCH_MAX))]
                # Whoever has gone away is not answered any more, so nothing is done for them.
                batch = [(op, future) for op, future in taken if not future.cancelled()]
                if batch:
                    await self._answer(batch)
        finally:
            self._tasks[number] = None

    async def _answer(self, batch: Sequence[tuple[_Op, asyncio.Future[_Answer]]]) -> None:
        _sizes.record(len(batch), {"calls": self._name})
        try:
            answers = await self._run([op for op, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


async def _gathered(waiting: Sized) -> None:
    """Returns once the loop has no more calls at hand. An idle loop takes some 0.1 ms for it."""
    deadline = time.monotonic() + GATHER_SECONDS
    count, turns = len(waiting), 0
    while turns < GATHER_TURNS and count < BATCH_MAX and time.monotonic() < deadline:
        await asyncio.sleep(0)
        turns = turns + 1 if len(waiting) == count else 0
        count = len(waiting)
