"""Calls that are at hand are answered together, and a call that is alone at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

import pytest

from services.kernel.coalescing import BATCH_MAX, WAITING_MAX, Coalescer

TURNS = 4  # of the loop that a call takes to be read from the network


class _Busy(Exception):
    """Too many wait."""


class _Store:
    """Answers each number with its double, and keeps the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.calls: Coalescer[int, int] = Coalescer(self._run, name="test", refuse=_Busy)

    async def _run(self, batch: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append([*batch])
        await asyncio.sleep(0)
        return [ValueError("seven") if number == 7 else 2 * number for number in batch]

    async def submit_after(self, turns: int, number: int) -> int:
        """Submits a number once the loop has gone round so often."""
        for _ in range(turns):
            await asyncio.sleep(0)
        return await self.calls.submit("lane", number)


async def test_calls_that_the_loop_is_reading_join_the_first_batch() -> None:
    store = _Store()

    answers = await asyncio.gather(*(store.submit_after(TURNS * n, n) for n in range(6)))

    assert answers == [0, 2, 4, 6, 8, 10]
    assert store.batches == [[0, 1, 2, 3, 4, 5]]


async def test_a_stream_of_calls_without_end_does_not_hold_a_batch_up() -> None:
    store = _Store()

    await asyncio.gather(*(store.submit_after(n, n + 10) for n in range(2 * BATCH_MAX)))

    assert max(map(len, store.batches)) <= BATCH_MAX
    assert sorted(chain.from_iterable(store.batches)) == [n + 10 for n in range(2 * BATCH_MAX)]


async def test_an_error_of_one_call_is_its_own() -> None:
    store = _Store()

    answers = await asyncio.gather(
        *(store.calls.submit("lane", number) for number in (6, 7, 8)), return_exceptions=True
    )

    assert answers[0] == 12
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 16


async def test_a_call_that_was_cancelled_while_it_waited_is_not_done() -> None:
    store = _Store()
    first = asyncio.create_task(store.calls.submit("lane", 1))
    second = asyncio.create_task(store.calls.submit("lane", 2))
    await asyncio.sleep(0)

    second.cancel()

    assert await first == 2
    assert store.batches == [[1]]


async def test_a_lane_that_is_full_refuses() -> None:
    store = _Store()
    waiting = [asyncio.create_task(store.calls.submit("lane", n)) for n in range(WAITING_MAX)]
    await asyncio.sleep(0)

    with pytest.raises(_Busy):
        await store.calls.submit("lane", 0)

    for task in waiting:
        task.cancel()
