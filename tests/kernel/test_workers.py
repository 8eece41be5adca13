"""Background work: kept running, stopped in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.kernel import workers
from services.kernel.workers import Loop, Workers


class Counted:
    """Fails or returns as often as told, then works until it is stopped."""

    name = "counted"

    def __init__(self, *before: BaseException | None) -> None:
        self.before = list(before)
        self.runs = 0
        self.works = asyncio.Event()
        self.stopped = asyncio.Event()
        self.is_finished = False

    async def run(self) -> None:
        self.runs += 1
        if self.before:
            error = self.before.pop(0)
            if error is not None:
                raise error
            return
        self.works.set()
        await self.stopped.wait()
        self.is_finished = True

    async def stop(self) -> None:
        self.stopped.set()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RESTART_SECONDS", 0.001)
    monkeypatch.setattr(workers, "RESTART_SECONDS_MAX", 0.004)


async def test_work_is_finished_when_it_is_stopped() -> None:
    work = Counted()
    running = Workers([work])
    running.start()
    async with asyncio.timeout(10):
        await work.works.wait()
        await running.stop(10)

    assert work.is_finished
    assert work.runs == 1


@pytest.mark.parametrize("ending", [RuntimeError("broken"), None], ids=["fails", "returns"])
async def test_work_that_ends_by_itself_begins_again(ending: Exception | None) -> None:
    work, other = Counted(ending, ending, ending), Counted()
    running = Workers([work, other])
    running.start()
    async with asyncio.timeout(10):
        await work.works.wait()
        await running.stop(10)

    assert (work.runs, other.runs) == (4, 1)


async def test_work_that_does_not_stop_is_cancelled() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    class Stubborn:
        async def run(self) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async def stop(self) -> None:
            await asyncio.Event().wait()

    running = Workers([Stubborn()])
    running.start()
    async with asyncio.timeout(10):
        await begun.wait()
        await running.stop(0.01)

    assert cancelled.is_set()


async def test_a_stop_between_two_attempts_is_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RESTART_SECONDS", 600)
    monkeypatch.setattr(workers, "RESTART_SECONDS_MAX", 600)
    failed = asyncio.Event()

    class Failing:
        async def run(self) -> None:
            failed.set()
            raise RuntimeError

        async def stop(self) -> None:
            """Has nothing to stop."""

    running = Workers([Failing()])
    running.start()
    async with asyncio.timeout(10):
        await failed.wait()
        await asyncio.sleep(0)
        await running.stop(10)

    assert failed.is_set()


async def test_no_work_needs_no_stop() -> None:
    running = Workers([])
    running.start()

    await running.stop(10)

    assert running._tasks == []


def looping(work: Callable[[], Awaitable[None]]) -> tuple[Loop, Workers]:
    loop = Loop("loop", work)
    return loop, Workers([loop])


async def test_a_loop_is_cancelled_to_stop() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    _, running = looping(work)
    running.start()
    async with asyncio.timeout(10):
        await begun.wait()
        await running.stop(10)

    assert begun.is_set()


async def test_a_loop_that_fails_begins_again() -> None:
    attempts, again = [], asyncio.Event()

    async def work() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("broken")
        again.set()
        await asyncio.Event().wait()

    _, running = looping(work)
    running.start()
    async with asyncio.timeout(10):
        await again.wait()
        await running.stop(10)

    assert len(attempts) == 3


async def test_a_loop_that_never_ran_can_be_stopped() -> None:
    loop, _ = looping(lambda: asyncio.sleep(0))

    await loop.stop()

    assert loop._task is None
